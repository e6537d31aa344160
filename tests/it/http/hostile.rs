//! Requests that no honest client sends, byte by byte over raw sockets, and honest ones beside
//! them.

use crate::harness::{App, Connection, Gateway, Request, Step, run, stripe};

mod bodies;
mod corpus;
mod passes;
mod slow;

/// What is put behind a hostile request: the application must never see it.
fn hidden(gateway: &Gateway, source: &str) -> Vec<u8> {
    gateway.stripe(source, "evt_hidden").bytes()
}

#[test]
fn no_hostile_request_reaches_the_application_nor_one_hidden_behind_it() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&stripe("hostile", &app.url, "max_body = \"64KiB\"")).await;
        let event = gateway.stripe("hostile", "evt_1");
        let before = gateway.delivered("_none", "invalid").await.unwrap();
        let cases = corpus::cases(&event);
        assert!(cases.len() >= 60, "only {}", cases.len());
        let mut wrong = Vec::new();
        for case in &cases {
            let mut connection = Connection::open(gateway.public).await;
            connection.write(&case.bytes).await;
            connection.write(&hidden(&gateway, "hostile")).await;
            let told = match connection.read().await {
                Some(answer) => format!("{} {}", answer.status, answer.outcome()),
                None => "nothing".to_owned(),
            };
            let ended = connection.has_ended().await;
            if told != case.told || !ended {
                wrong.push(format!("{}: {told}, ended: {ended}, not {}", case.name, case.told));
            }
        }
        assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
        assert!(app.got().is_empty(), "{:?}", app.got());
        for key in ["evt_1", "evt_hidden"] {
            assert!(gateway.story("hostile", key).await.is_none(), "{key}");
        }
        let after = gateway.delivered("_none", "invalid").await.unwrap();
        let refused = cases.iter().filter(|case| case.at_the_door()).count();
        #[expect(clippy::cast_precision_loss, reason = "a hundred")]
        let counted = after - before >= refused as f64;
        assert!(counted, "{refused} were refused, {} counted", after - before);
        // The same event, sent as it should be, is new.
        assert_eq!(event.send().await.told(), (200, "processed"));
        assert_eq!(app.got().len(), 1);
        println!("{} hostile requests, {refused} of them refused at the door", cases.len());
        gateway.finish().await;
    });
}

#[test]
fn no_answer_and_no_application_for_heads_that_never_end() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&stripe("endless", &app.url, "")).await;
        let whole = gateway.stripe("endless", "evt_1").bytes();
        let end = whole.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        for cut in [0, 1, 4, 20, end, end + 2, end + 3] {
            let mut connection = Connection::open(gateway.public).await;
            assert!(connection.write(&whole[..cut]).await);
            connection.half_close().await;
            assert!(connection.has_ended().await, "cut at {cut}");
        }
        assert!(app.got().is_empty());
        gateway.finish().await;
    });
}

#[test]
fn behind_a_request_that_passes_a_hostile_one_is_refused_in_its_turn() {
    run(async {
        let app = App::always(Step::says(200, "fine").held()).await;
        let gateway = Gateway::start(&stripe("in-turn", &app.url, "")).await;
        let first = gateway.stripe("in-turn", "evt_1");
        let second = gateway.stripe("in-turn", "evt_2").head("content-length: 0, 0\r\n");
        let mut connection = Connection::open(gateway.public).await;
        let sent = [first.bytes(), second, hidden(&gateway, "in-turn")].concat();
        assert!(connection.write(&sent).await);
        app.until(1).await;
        app.release(1);
        assert_eq!(connection.read().await.unwrap().told(), (200, "processed"));
        assert_eq!(connection.read().await.unwrap().told(), (400, "invalid"));
        assert!(connection.has_ended().await);
        assert_eq!(app.got().len(), 1);
        gateway.finish().await;
    });
}

#[test]
fn behind_chunks_nothing_is_read() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&stripe("chunks", &app.url, "")).await;
        let event = gateway.stripe("chunks", "evt_1");
        let mut connection = Connection::open(gateway.public).await;
        let sent = [corpus::chunked(&event, ""), hidden(&gateway, "chunks")].concat();
        assert!(connection.write(&sent).await);
        let answer = connection.read().await.unwrap();
        assert_eq!(answer.told(), (200, "processed"));
        assert!(connection.has_ended().await);
        assert_eq!(app.got().len(), 1);
        gateway.finish().await;
    });
}

#[test]
fn odd_paths_methods_and_headers_make_no_series() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&stripe("series", &app.url, "")).await;
        let series = async || {
            let text = String::from_utf8(gateway.get("/metrics").await.body).unwrap();
            let ours = |line: &&str| line.contains("\"series\"") || line.contains("\"_none\"");
            text.lines().filter(ours).count()
        };
        let before = series().await;
        for nth in 0..100 {
            for head in [
                format!("POST /{nth} HTTP/1.1\r\nhost: a\r\n"),
                format!("M{nth} /hooks/series HTTP/1.1\r\nhost: a\r\n"),
                format!("POST /hooks/series HTTP/1.1\r\nhost: a\r\nexpect: {nth}\r\n"),
            ] {
                let mut connection = Connection::open(gateway.public).await;
                assert!(connection.write(format!("{head}\r\n").as_bytes()).await);
                assert!(connection.read().await.unwrap().status >= 400);
            }
        }
        assert_eq!(series().await, before);
        gateway.finish().await;
    });
}

#[test]
fn the_operators_side_is_as_strict_but_for_the_path() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&stripe("operator", &app.url, "")).await;
        let ask = async |bytes: &str| {
            let mut connection = Connection::open(gateway.admin).await;
            assert!(connection.write(bytes.as_bytes()).await);
            connection.read().await.unwrap().status
        };
        let host = format!("host: {}", gateway.admin);
        assert_eq!(ask(&format!("GET /healthz HTTP/1.1\r\n{host}\r\n\r\n")).await, 200);
        assert_eq!(ask("GET /healthz HTTP/1.1\r\n\r\n").await, 400);
        assert_eq!(ask(&format!("TRACE /healthz HTTP/1.1\r\n{host}\r\n\r\n")).await, 405);
        assert_eq!(ask(&format!("GET http://a/healthz HTTP/1.1\r\n{host}\r\n\r\n")).await, 400);
        // A key may have any character, encoded.
        let odd = "/api/v1/events/operator/a%252Fb%2C..%3Bc";
        assert_eq!(ask(&format!("GET {odd} HTTP/1.1\r\n{host}\r\n\r\n")).await, 404);
        gateway.finish().await;
    });
}

/// A source's request with one more line in its head, and its length.
fn with_line(event: &Request, line: &str) -> Vec<u8> {
    let length = event.body.len();
    [event.head(&format!("content-length: {length}\r\n{line}\r\n")), event.body.clone()].concat()
}
