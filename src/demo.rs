//! `oncegate demo`: what oncegate does, seen from outside.
//!
//! A gateway, a sample application and two providers in one process, on free ports and over
//! real sockets: the gateway is the one that `serve` runs, on settings as anyone would write
//! them. Nothing is shown that was not checked: each promise is a function in
//! [`promise`], and one that does not hold makes the demo fail.

use std::fs::{self, DirBuilder};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use aws_lc_rs::rand;
use data_encoding::BASE64;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::config::{Config, Environment};
use crate::server::Bound;
use crate::telemetry;

mod application;
mod call;
mod event;
mod promise;
mod provider;
mod table;

use application::Application;
use event::Event;
use promise::Played;
use provider::Provider;

/// Copies of each event that are sent at once.
const COPIES: usize = 20;
/// The longest the show may take; it takes two seconds.
const LONGEST: Duration = Duration::from_mins(1);
/// How long the queue may take to finish what it was given.
const QUEUE_TIME: Duration = Duration::from_secs(20);
/// How often the queue is looked at meanwhile.
const QUEUE_POLL: Duration = Duration::from_millis(50);

/// Runs the demo, a line at a time to `say`; true if every promise held.
pub async fn run(once: bool, mut say: impl FnMut(&str)) -> anyhow::Result<bool> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let place = Place::new().context("making a folder for the demo")?;
    let (stage, gateway) = Stage::build(&place, stop.clone()).await?;
    let show = async {
        let held = timeout(LONGEST, stage.show(&mut say)).await;
        let held =
            held.map_err(|_unspecified| anyhow!("the demo did not end within {LONGEST:?}"))??;
        if !once {
            stage.invite(&place, &mut say)?;
            std::future::pending::<()>().await;
        }
        Ok(held)
    };
    let shown = tokio::select! {
        shown = show => shown,
        // Cut short: with `--once` nothing was shown to hold.
        _ = term.recv() => Ok(!once),
        _ = int.recv() => Ok(!once),
    };
    stop.cancel();
    let stopped = gateway.await.context("the gateway's task died")?;
    shown.and_then(|held| stopped.map(|()| held))
}

/// A folder that is gone when the demo is.
struct Place(PathBuf);

impl Place {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("oncegate-demo-{}", Uuid::new_v4().simple()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "the demo's folder stays behind");
        }
    }
}

/// Everyone who takes part.
struct Stage {
    events: Vec<Arc<Event>>,
    application: Arc<Application>,
    provider: Arc<Provider>,
    admin: SocketAddr,
}

impl Stage {
    async fn build(
        place: &Place,
        stop: CancellationToken,
    ) -> anyhow::Result<(Self, JoinHandle<anyhow::Result<()>>)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let config = settings(place, listener.local_addr()?)?;
        telemetry::install_logging(&config.log)?;
        let metrics = telemetry::install_metrics()?;
        let sources = config.sources.clone();
        let bound = Bound::bind(config, Some(metrics)).await?;
        let (public, admin) = (bound.public()?, bound.admin()?);
        let events = event::all();
        let application = Arc::new(Application::new(events.clone(), sources.clone()));
        tokio::spawn(application::serve(listener, Arc::clone(&application), stop.clone()));
        let gateway = tokio::spawn(bound.run(stop.cancelled_owned()));
        let provider = Arc::new(Provider { gateway: public, sources });
        let ready = async {
            while !call::get(admin, "/readyz").await?.status.is_success() {
                sleep(QUEUE_POLL).await;
            }
            anyhow::Ok(())
        };
        timeout(QUEUE_TIME, ready).await.context("the gateway was not ready in time")??;
        Ok((Self { events, application, provider, admin }, gateway))
    }

    /// Sends everything, waits for the queue, and tells what came of it.
    async fn show(&self, say: &mut impl FnMut(&str)) -> anyhow::Result<bool> {
        say("oncegate demo: a gateway, an application and two providers, over real sockets.");
        say(&format!(
            "Each event is sent {COPIES} times at once, correctly signed. The application fails"
        ));
        say("some at first; whatever is not answered 2xx, the provider sends again.");
        say("");
        let sending: Vec<_> = self
            .events
            .iter()
            .map(|event| {
                let (provider, event) = (Arc::clone(&self.provider), Arc::clone(event));
                tokio::spawn(async move { provider.send(&event, COPIES).await })
            })
            .collect();
        let mut played = Vec::new();
        for (event, sending) in self.events.iter().zip(sending) {
            let answers = sending.await?;
            let story = self.story(event).await?;
            let seen = self.application.seen(event);
            played.push(Played { event: Arc::clone(event), answers, seen, story });
        }
        for line in table::lines(&played) {
            say(&line);
        }
        let verdict = promise::check(&played, self.application.strays());
        for line in &verdict.lines {
            say(line);
        }
        Ok(verdict.held)
    }

    /// What the admin API tells of `event`, once it is done or its time is over.
    async fn story(&self, event: &Event) -> anyhow::Result<serde_json::Value> {
        let done = async {
            loop {
                let answer = call::get(self.admin, &event.story_path()).await?;
                let story: serde_json::Value = serde_json::from_slice(&answer.body)?;
                if story.get("state").is_some_and(|state| state == "done") {
                    return anyhow::Ok(story);
                }
                sleep(QUEUE_POLL).await;
            }
        };
        if let Ok(story) = timeout(QUEUE_TIME, done).await {
            return story;
        }
        let answer = call::get(self.admin, &event.story_path()).await?;
        Ok(serde_json::from_slice(&answer.body)?)
    }

    /// Two commands to try it by hand.
    fn invite(&self, place: &Place, say: &mut impl FnMut(&str)) -> anyhow::Result<()> {
        let Some(event) = self.events.first() else { return Ok(()) };
        let body = place.path("event.json");
        fs::write(&body, &event.body)?;
        say("");
        say("Try it. One more copy of the first event (its signature is good for 5 minutes):");
        say("");
        for line in self.provider.curl(event, &body)? {
            say(&line);
        }
        say("");
        say("and what oncegate knows of that event:");
        say("");
        say(&format!("  curl -s http://{}{}", self.admin, event.story_path()));
        say("");
        say(&format!("Metrics are at http://{}/metrics. Ctrl-C ends it.", self.admin));
        Ok(())
    }
}

/// The settings, as anyone would write them; the secrets come from an environment of its own.
fn settings(place: &Place, application: SocketAddr) -> anyhow::Result<Config> {
    let path = place.path("config.toml");
    fs::write(&path, text(&place.path("oncegate.redb"), application))?;
    let mut env = Environment::new();
    for name in ["STRIPE_SECRET", "PARTNER_SECRET"] {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).map_err(|_unspecified| anyhow!("the system has no random bytes"))?;
        env.insert(name.to_owned(), format!("whsec_{}", BASE64.encode(&bytes)));
    }
    Ok(Config::load(Some(&path), &env)?)
}

fn text(store: &Path, application: SocketAddr) -> String {
    // Quoted as TOML has it: the folder for temporary files is the user's choice.
    let store = toml::Value::from(store.to_string_lossy().into_owned());
    format!(
        r#"
[server]
listen = "127.0.0.1:0"
admin = "127.0.0.1:0"
drain = "5s"
[storage]
path = {store}
cache = "16MiB"
reserve = "16MiB"
[log]
level = "warn"
format = "text"
[sources.stripe]
provider = "stripe"
secrets = [{{ env = "STRIPE_SECRET" }}]
mode = "proxy"
target = "http://{application}/stripe"
timeout = "10s"
[sources.partner]
provider = "standard-webhooks"
secrets = [{{ env = "PARTNER_SECRET" }}]
mode = "queue"
target = "http://{application}/partner"
timeout = "10s"
[sources.partner.retry]
first = "300ms"
jitter = false
"#
    )
}
