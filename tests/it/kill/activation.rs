//! Restarts under load with a socket that the service manager keeps: nobody notices.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::Full;
use oncegate::clock;
use oncegate::config::Source;
use oncegate::verify::Delivery;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::app::{App, Client, Script};
use super::child::{Plan, SOON, Site, until};
use super::{drained, per_event, runtime};

const CALM: Script = Script { seed: 0, fails: 0, hangs_up: 0, slow: 300, too_slow: 0 };
const PLANS: [Plan; 2] = [
    Plan { provider: "stripe", mode: "proxy", on_unknown: "redeliver" },
    Plan { provider: "standard-webhooks", mode: "queue", on_unknown: "redeliver" },
];
const RESTARTS: usize = 4;
/// Answers before each stop, so that every process has its share.
const ANSWERS: usize = 150;
/// Half of them open a connection for each request.
const PROVIDERS: usize = 12;
/// A provider waits this long: through a drain and a start.
const PATIENCE: Duration = Duration::from_secs(15);

#[test]
fn a_restart_by_socket_activation_under_load_fails_no_request_and_repeats_no_event() {
    runtime().block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let app = App::start(CALM).unwrap();
        let site = Site::new(dir.path(), dir.path(), app.addr, &PLANS, "1MiB");
        // What systemd does for `ListenStream=`.
        let socket = TcpListener::bind(site.public).unwrap();
        let load = Load::start(&site);
        for _ in 0..RESTARTS {
            let mut gateway = site.start_handed(&socket, None);
            site.wait_ready(&mut gateway).await;
            load.until_answered(ANSWERS).await;
            gateway.terminate();
            let ended = gateway.ended().await;
            assert_eq!(ended.code(), Some(0), "{}", site.said());
        }
        let mut gateway = site.start_handed(&socket, None);
        site.wait_ready(&mut gateway).await;
        load.until_answered(ANSWERS).await;
        let sent = load.finish().await;
        drained(&site, &app).await;

        let failed: Vec<_> = sent.iter().filter(|sent| !sent.is_fine()).collect();
        assert!(failed.is_empty(), "{} of {}: {:?}", failed.len(), sent.len(), failed.first());
        let (kept, fresh): (Vec<&Sent>, Vec<&Sent>) = sent.iter().partition(|sent| sent.kept);
        assert!(!fresh.is_empty() && kept.iter().any(|sent| sent.last), "no stop met any load");
        let receipts = app.receipts();
        let times = per_event(&receipts);
        assert!(times.values().all(|times| *times == 1), "an event came twice");
        let seen: BTreeSet<&str> = times.into_keys().collect();
        assert_eq!(seen, sent.iter().map(|sent| sent.id.as_str()).collect());
        assert!(receipts.iter().all(|receipt| !receipt.flagged && receipt.attempt == 1));
        println!("{} events, {} over kept connections: all once", sent.len(), kept.len());
        gateway.terminate();
        assert_eq!(gateway.ended().await.code(), Some(0), "{}", site.said());
    });
}

#[test]
fn an_admin_socket_that_is_handed_over_is_used_and_left_in_place() {
    runtime().block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let app = App::start(CALM).unwrap();
        let site = Site::new(dir.path(), dir.path(), app.addr, &PLANS, "1MiB");
        let public = TcpListener::bind(site.public).unwrap();
        let path = dir.path().join("admin.sock");
        let admin = UnixListener::bind(&path).unwrap();
        let mut gateway = site.start_handed(&public, Some(&admin));
        until("ready", SOON, async || {
            assert!(gateway.runs(), "{}", site.said());
            let mut stream = UnixStream::connect(&path).unwrap();
            let request = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
            stream.write_all(request).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            if answer.ends_with("ready\n") { Ok(()) } else { Err(answer) }
        })
        .await;
        assert!(TcpStream::connect(site.admin).is_err(), "it listens at server.admin besides");
        gateway.terminate();
        assert_eq!(gateway.ended().await.code(), Some(0), "{}", site.said());
        assert!(path.exists(), "the file of another's socket was removed");
    });
}

/// One event, sent once.
#[derive(Debug)]
struct Sent {
    id: String,
    /// Over a connection that is kept.
    kept: bool,
    /// The answer was its connection's last.
    last: bool,
    answer: Result<(u16, String), String>,
}

impl Sent {
    fn is_fine(&self) -> bool {
        matches!(&self.answer, Ok((200, outcome)) if outcome == "processed" || outcome == "queued")
    }
}

/// Providers that send new events as fast as they are answered, each event once.
struct Load {
    providers: JoinSet<Vec<Sent>>,
    answered: Arc<AtomicUsize>,
    stop: CancellationToken,
}

impl Load {
    fn start(site: &Site) -> Self {
        let (stop, answered) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let mut providers = JoinSet::new();
        for number in 0..PROVIDERS {
            let source = Arc::clone(&site.sources[number % site.sources.len()]);
            let (addr, kept) = (site.public, number < PROVIDERS / 2);
            let (stop, answered) = (stop.clone(), Arc::clone(&answered));
            providers.spawn(async move {
                let (mut client, mut log) = (Client::new(addr), Vec::new());
                while !stop.is_cancelled() {
                    let key = format!("evt_{number}_{}", log.len());
                    let answer = client.send(event(&source, &key), PATIENCE).await;
                    let header = |name| {
                        let value = answer.as_ref().ok()?.headers().get(name)?;
                        Some(value.to_str().unwrap().to_owned())
                    };
                    let last = header("connection").as_deref() == Some("close");
                    let outcome = header("oncegate-outcome").unwrap_or_default();
                    if !kept || last {
                        client = Client::new(addr);
                    }
                    let answer = answer.map(|answer| (answer.status().as_u16(), outcome));
                    log.push(Sent { id: format!("{}:{key}", source.name), kept, last, answer });
                    answered.fetch_add(1, Ordering::SeqCst);
                }
                log
            });
        }
        Self { providers, answered, stop }
    }

    /// Waits for this many more answers.
    async fn until_answered(&self, more: usize) {
        let goal = self.answered.load(Ordering::SeqCst) + more;
        until("answers", SOON, async || {
            let answered = self.answered.load(Ordering::SeqCst);
            if answered < goal { Err(format!("{answered} of {goal}")) } else { Ok(()) }
        })
        .await;
    }

    /// Ends the load; all that was sent.
    async fn finish(self) -> Vec<Sent> {
        self.stop.cancel();
        let ended = tokio::time::timeout(SOON, self.providers.join_all()).await;
        ended.expect("every request ends").into_iter().flatten().collect()
    }
}

/// A signed event.
pub(super) fn event(source: &Source, key: &str) -> Request<Full<Bytes>> {
    let mut delivery = Delivery {
        method: Method::POST,
        query: None,
        headers: HeaderMap::new(),
        body: Bytes::from(format!("{{\"id\":\"{key}\"}}")),
    };
    source.verifier.sign(&mut delivery, key, clock::wall()).unwrap();
    let mut request = Request::post(&source.path).body(Full::new(delivery.body)).unwrap();
    *request.headers_mut() = delivery.headers;
    request.headers_mut().insert("host", "hooks.example".parse().unwrap());
    request
}
