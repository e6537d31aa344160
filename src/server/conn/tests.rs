//! Over raw sockets: clients that are slow, silent, many, or cut off.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;

/// Long enough never to be over in a test.
const NEVER: Duration = Duration::from_mins(10);

/// Short enough to wait for.
const SOON: Duration = Duration::from_millis(150);

const PATIENT: Limits = Limits {
    side: Side::Providers,
    header_timeout: NEVER,
    idle_timeout: NEVER,
    write_stall: NEVER,
    linger: NEVER,
    max_connections: 100,
};

/// A server on a free port.
struct Running {
    addr: SocketAddr,
    stop: Stop,
    /// Requests whose head has come.
    begun: Arc<AtomicUsize>,
    /// Lets one request to `/wait` be answered.
    go: Arc<Notify>,
    task: JoinHandle<()>,
}

async fn running(limits: Limits) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let stop = Stop { asked: CancellationToken::new(), shut: CancellationToken::new() };
    let begun = Arc::new(AtomicUsize::new(0));
    let go = Arc::new(Notify::new());
    let (count, gate) = (Arc::clone(&begun), Arc::clone(&go));
    let service = Shared(Arc::new(move |request| answer(request, &count, &gate)));
    let task = tokio::spawn(serve(listener, limits, service, stop.clone()));
    Running { addr, stop, begun, go, task }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// hyper's `service_fn` cannot be cloned.
struct Shared<F>(Arc<F>);

impl<F> Clone for Shared<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<F: Fn(Request<Incoming>) -> Answering> Service<Request<Incoming>> for Shared<F> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        (self.0)(request)
    }
}

fn answer(request: Request<Incoming>, count: &Arc<AtomicUsize>, gate: &Arc<Notify>) -> Answering {
    count.fetch_add(1, Ordering::SeqCst);
    let gate = Arc::clone(gate);
    Box::pin(async move {
        let peer = *request.extensions().get::<Peer>().unwrap();
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Ok(Response::new(match path.as_str() {
            "/wait" => {
                gate.notified().await;
                Body::from("waited")
            },
            "/panic" => panic!("on purpose"),
            "/peer" => Body::from(peer.addr.unwrap().to_string()),
            "/huge" => Body::from(vec![b'x'; 64 << 20]),
            _ => Body::from(body),
        }))
    })
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    /// Waits until it listens no more.
    async fn until_deaf(&self) {
        while TcpStream::connect(self.addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until `many` requests have begun.
    async fn until_begun(&self, many: usize) {
        while self.begun.load(Ordering::SeqCst) < many {
            tokio::task::yield_now().await;
        }
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")
}

async fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// Reads until `end` was read.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        let text = String::from_utf8_lossy(&read).into_owned();
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "ended early: {text}");
    }
    String::from_utf8(read).unwrap()
}

/// Reads the answer of `/peer`.
async fn read_own_address(stream: &mut TcpStream) {
    let address = stream.local_addr().unwrap().to_string();
    read_until(stream, &address).await;
}

/// Waits for the end of the connection; returns what came before it.
async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    // A reset is an end, too.
    while matches!(stream.read_buf(&mut read).await, Ok(1..)) {}
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn a_client_that_says_nothing_is_cut() {
    let server = running(Limits { header_timeout: SOON, ..PATIENT }).await;
    assert_eq!(read_to_end(&mut server.connect().await).await, "");
}

#[tokio::test]
async fn a_head_that_drips_is_cut() {
    let server = running(Limits { header_timeout: SOON, ..PATIENT }).await;
    let (mut read, mut write) = server.connect().await.into_split();
    let drip = tokio::spawn(async move {
        let mut tick = tokio::time::interval(SOON / 10);
        write.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
        while write.write_all(b"x").await.is_ok() {
            tick.tick().await;
        }
    });
    while matches!(read.read(&mut [0; 64]).await, Ok(1..)) {}
    drip.await.unwrap();
    assert_eq!(server.begun.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_second_head_that_drips_is_cut() {
    let server = running(Limits { header_timeout: SOON, ..PATIENT }).await;
    let mut stream = server.connect().await;
    send(&mut stream, &get("/peer")).await;
    read_own_address(&mut stream).await;
    send(&mut stream, "GET").await;
    assert_eq!(read_to_end(&mut stream).await, "");
}

#[tokio::test]
async fn an_idle_connection_is_cut_at_the_idle_time_out() {
    let server = running(Limits { idle_timeout: SOON, ..PATIENT }).await;
    let mut stream = server.connect().await;
    send(&mut stream, &get("/peer")).await;
    read_own_address(&mut stream).await;
    assert_eq!(read_to_end(&mut stream).await, "");
}

#[tokio::test]
async fn an_idle_connection_outlives_the_header_time_out() {
    let server = running(Limits { header_timeout: SOON, ..PATIENT }).await;
    let mut resting = server.connect().await;
    send(&mut resting, &get("/peer")).await;
    read_own_address(&mut resting).await;
    // Opened later, a silent one is cut: so the header time-out is over.
    read_to_end(&mut server.connect().await).await;
    send(&mut resting, &get("/peer")).await;
    read_own_address(&mut resting).await;
}

#[tokio::test]
async fn a_request_being_handled_has_no_deadline_here() {
    let limits = Limits { header_timeout: SOON, idle_timeout: SOON, ..PATIENT };
    let server = running(limits).await;
    let mut stream = server.connect().await;
    send(&mut stream, &get("/wait")).await;
    server.until_begun(1).await;
    read_to_end(&mut server.connect().await).await;
    server.go.notify_one();
    read_until(&mut stream, "waited").await;
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_cut() {
    let server =
        running(Limits { write_stall: SOON, idle_timeout: SOON, max_connections: 1, ..PATIENT })
            .await;
    let mut deaf = server.connect().await;
    send(&mut deaf, &get("/huge")).await;
    server.until_begun(1).await;
    // There is room for one connection: the next is served when the deaf one was cut.
    let mut next = server.connect().await;
    send(&mut next, &get("/peer")).await;
    read_own_address(&mut next).await;
    drop(deaf);
}

#[tokio::test]
async fn a_client_that_goes_on_sending_after_its_last_answer_is_cut() {
    let server = running(Limits { linger: SOON, max_connections: 1, ..PATIENT }).await;
    let mut insists = server.connect().await;
    send(&mut insists, "GET /peer HTTP/1.1\r\n\r\n").await;
    assert!(read_to_end(&mut insists).await.starts_with("HTTP/1.1 400 "));
    // There is room for one connection: the next is served when this one was cut.
    let mut next = server.connect().await;
    send(&mut next, &get("/peer")).await;
    read_own_address(&mut next).await;
    drop(insists);
}

#[tokio::test]
async fn a_refused_request_never_reaches_the_service() {
    let server = running(PATIENT).await;
    for head in ["GET / HTTP/1.1\r\n\r\n", "TRACE / HTTP/1.1\r\nhost: x\r\n\r\n"] {
        let mut stream = server.connect().await;
        send(&mut stream, &(head.to_owned() + &get("/peer"))).await;
        let told = read_to_end(&mut stream).await;
        assert!(told.starts_with("HTTP/1.1 40"), "{told}");
        assert_eq!(told.matches("HTTP/1.1").count(), 1, "{told}");
    }
    assert_eq!(server.begun.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_follows_a_refused_head_request_is_no_body() {
    let server = running(PATIENT).await;
    let mut stream = server.connect().await;
    send(&mut stream, "HEAD / HTTP/1.1\r\n\r\n").await;
    let told = read_to_end(&mut stream).await;
    assert!(told.starts_with("HTTP/1.1 400 ") && told.ends_with("\r\n\r\n"), "{told}");
}

#[tokio::test]
async fn a_head_that_has_begun_at_a_stop_is_waited_for_and_answered() {
    let server = running(PATIENT).await;
    let mut fresh = server.connect().await;
    let mut kept = server.connect().await;
    send(&mut kept, &get("/peer")).await;
    read_own_address(&mut kept).await;
    let request = get("/peer");
    let (first, second) = request.split_at(20);
    send(&mut fresh, first).await;
    send(&mut kept, first).await;
    // A third that says nothing is closed at the stop: the others have been looked at, too.
    let mut silent = server.connect().await;
    let mut last = server.connect().await;
    send(&mut last, &get("/peer")).await;
    read_own_address(&mut last).await;
    server.stop.asked.cancel();
    server.stop.shut.cancel();
    assert_eq!(read_to_end(&mut silent).await, "");
    for stream in [&mut fresh, &mut kept] {
        send(stream, second).await;
        let address = stream.local_addr().unwrap().to_string();
        let told = read_to_end(stream).await;
        assert!(told.contains("connection: close") && told.ends_with(&address), "{told}");
    }
    server.task.await.unwrap();
}

#[tokio::test]
async fn a_connection_over_the_limit_waits_and_is_served() {
    let server = running(Limits { max_connections: 1, ..PATIENT }).await;
    let mut first = server.connect().await;
    send(&mut first, &get("/wait")).await;
    server.until_begun(1).await;
    let mut second = server.connect().await;
    send(&mut second, &get("/peer")).await;
    server.go.notify_one();
    read_until(&mut first, "waited").await;
    assert_eq!(server.begun.load(Ordering::SeqCst), 1);
    drop(first);
    read_own_address(&mut second).await;
}

#[tokio::test]
async fn requests_follow_each_other_and_may_be_sent_ahead() {
    let server = running(PATIENT).await;
    let mut stream = server.connect().await;
    let post = |body: &str| {
        format!("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    send(&mut stream, &(post("one") + &post("two") + &post("three"))).await;
    let read = read_until(&mut stream, "three").await;
    let at = |body| read.find(body).unwrap();
    assert!(at("\r\none") < at("\r\ntwo") && at("\r\ntwo") < at("\r\nthree"), "{read}");
    send(&mut stream, &post("four")).await;
    read_until(&mut stream, "four").await;
}

#[tokio::test]
async fn a_client_that_shut_its_sending_side_gets_its_answer() {
    let server = running(PATIENT).await;
    let mut stream = server.connect().await;
    send(&mut stream, &get("/wait")).await;
    stream.shutdown().await.unwrap();
    server.until_begun(1).await;
    server.go.notify_one();
    assert!(read_to_end(&mut stream).await.ends_with("waited"));
}

#[tokio::test]
async fn too_many_or_too_large_headers_are_431() {
    let server = running(PATIENT).await;
    let many = "x: y\r\n".repeat(MAX_HEADERS + 1);
    let large = format!("x: {}\r\n", "y".repeat(MAX_HEAD));
    for headers in [many, large] {
        let mut stream = server.connect().await;
        send(&mut stream, &format!("GET / HTTP/1.1\r\n{headers}\r\n")).await;
        let status = read_to_end(&mut stream).await;
        assert!(status.starts_with("HTTP/1.1 431 "), "{status}");
    }
    assert_eq!(server.begun.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_panic_ends_its_connection_and_no_other() {
    let server = running(Limits { max_connections: 2, ..PATIENT }).await;
    let mut other = server.connect().await;
    send(&mut other, &get("/wait")).await;
    server.until_begun(1).await;
    for _ in 0..3 {
        let mut stream = server.connect().await;
        send(&mut stream, &get("/panic")).await;
        assert_eq!(read_to_end(&mut stream).await, "");
    }
    server.go.notify_one();
    read_until(&mut other, "waited").await;
}

#[tokio::test]
async fn a_stop_serves_what_is_on_its_way_and_ends_each_connection_with_its_answer() {
    let server = running(PATIENT).await;
    let silent = server.connect().await;
    let mut resting = server.connect().await;
    send(&mut resting, &get("/peer")).await;
    read_own_address(&mut resting).await;
    let mut open = server.connect().await;
    send(&mut open, &get("/wait")).await;
    server.until_begun(2).await;
    server.stop.asked.cancel();
    server.until_deaf().await;
    for mut stream in [silent, resting] {
        send(&mut stream, &get("/peer")).await;
        let last = read_to_end(&mut stream).await;
        let own = stream.local_addr().unwrap().to_string();
        assert!(last.contains("connection: close") && last.ends_with(&own), "{last}");
    }
    assert!(!server.task.is_finished());
    server.go.notify_one();
    let last = read_to_end(&mut open).await;
    assert!(last.contains("connection: close") && last.ends_with("waited"), "{last}");
    server.task.await.unwrap();
}

#[tokio::test]
async fn a_shut_server_finishes_what_is_open_and_closes_what_rests() {
    let server = running(PATIENT).await;
    let mut silent = server.connect().await;
    let mut resting = server.connect().await;
    send(&mut resting, &get("/peer")).await;
    read_own_address(&mut resting).await;
    let mut open = server.connect().await;
    send(&mut open, &get("/wait")).await;
    server.until_begun(2).await;
    server.stop.asked.cancel();
    server.stop.shut.cancel();
    assert_eq!(read_to_end(&mut silent).await, "");
    assert_eq!(read_to_end(&mut resting).await, "");
    server.until_deaf().await;
    assert!(!server.task.is_finished());
    server.go.notify_one();
    let last = read_to_end(&mut open).await;
    assert!(last.contains("connection: close") && last.ends_with("waited"), "{last}");
    server.task.await.unwrap();
}

#[tokio::test]
async fn what_waits_in_the_backlog_at_a_stop_is_served() {
    let server = running(PATIENT).await;
    // Connected, as far as the client can know; the server had no chance to accept it.
    let waiting = std::net::TcpStream::connect(server.addr).unwrap();
    server.stop.asked.cancel();
    waiting.set_nonblocking(true).unwrap();
    let mut waiting = TcpStream::from_std(waiting).unwrap();
    send(&mut waiting, &get("/peer")).await;
    let last = read_to_end(&mut waiting).await;
    assert!(last.ends_with(&waiting.local_addr().unwrap().to_string()), "{last}");
    server.task.await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_dropped_cuts_everything() {
    let server = running(PATIENT).await;
    let mut open = server.connect().await;
    send(&mut open, &get("/wait")).await;
    server.until_begun(1).await;
    server.task.abort();
    assert_eq!(read_to_end(&mut open).await, "");
}

#[tokio::test]
async fn an_axum_router_fits() {
    use axum::{Router, routing};
    use hyper_util::service::TowerToHyperService;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let router = Router::new().route("/healthz", routing::get(async || "alive"));
    let service = TowerToHyperService::new(router);
    let _server = tokio::spawn(serve(listener, PATIENT, service, CancellationToken::new()));
    let mut stream = TcpStream::connect(addr).await.unwrap();
    send(&mut stream, &get("/healthz")).await;
    read_until(&mut stream, "alive").await;
}
