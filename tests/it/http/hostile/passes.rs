//! Honest requests of every shape: strictness must not cost one of them.

use super::{corpus, with_line};
use crate::harness::{App, Connection, Gateway, Request, Step, run, stripe};

#[test]
fn every_honest_shape_of_a_request_passes() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&stripe("honest", &app.url, "")).await;
        let event = |nth: usize| gateway.stripe("honest", &format!("evt_{nth}"));
        let text = |nth| String::from_utf8(event(nth).bytes()).unwrap();
        let path = "/hooks/honest";
        let shapes = [
            ("chunked", corpus::chunked(&event(0), "")),
            ("chunked, in capitals", {
                let bytes = String::from_utf8(corpus::chunked(&event(1), "")).unwrap();
                bytes.replace("transfer-encoding: chunked", "TRANSFER-ENCODING:\tCHUNKED").into()
            }),
            ("with trailers", corpus::chunked(&event(2), "oncegate-key: theirs\r\nx-b: c\r\n")),
            ("HTTP/1.0", text(3).replace("HTTP/1.1", "HTTP/1.0").into_bytes()),
            ("names in capitals", text(4).replace("stripe-sig", "STRIPE-SIG").into_bytes()),
            ("no space behind a colon", text(5).replace("host: ", "host:").into_bytes()),
            ("spaces around a value", text(6).replace("host: ", "host: \t ").into_bytes()),
            ("a port", text(7).replace("hooks.example", "hooks.example:8443").into_bytes()),
            ("an IPv6 host", text(8).replace("hooks.example", "[2001:db8::1]:80").into_bytes()),
            ("64 headers", with_line(&event(9), &["x: y"; 60].join("\r\n"))),
            ("a long header", with_line(&event(10), &format!("x: {}", "y".repeat(60_000)))),
            ("a value in UTF-8", with_line(&event(11), "x-name: J\u{fc}rgen")),
            ("an empty line before", format!("\r\n{}", text(12)).into_bytes()),
            ("Connection: close", with_line(&event(13), "connection: close")),
            ("hop-by-hop headers", with_line(&event(14), "connection: TE, x-a\r\nte: trailers")),
            ("an odd query", text(15).replace(path, "/hooks/honest?a=%2f..//;\\&b").into_bytes()),
            ("a name with an underscore", with_line(&event(16), "content_length: 3")),
        ];
        for (nth, (name, bytes)) in shapes.iter().enumerate() {
            let mut connection = Connection::open(gateway.public).await;
            assert!(connection.write(bytes).await, "{name}");
            let answer = connection.read().await.unwrap();
            assert_eq!((answer.told(), answer.text()), ((200, "processed"), "fine"), "{name}");
            let got = app.until(nth + 1).await;
            assert_eq!(got.len(), nth + 1, "{name}");
            assert_eq!(got[nth].body, event(nth).body, "{name}");
            assert_eq!(got[nth].header("oncegate-key"), Some(format!("evt_{nth}").as_str()));
            for gone in ["x-b", "te", "x-a", "content_length", "connection", "trailer"] {
                assert_eq!(got[nth].header(gone), None, "{name}");
            }
        }
        gateway.finish().await;
    });
}

#[test]
fn a_request_may_come_a_byte_at_a_time() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&stripe("drips", &app.url, "")).await;
        let mut connection = Connection::open(gateway.public).await;
        for nth in 0..2 {
            for byte in gateway.stripe("drips", &format!("evt_{nth}")).bytes() {
                assert!(connection.write(&[byte]).await);
            }
            assert_eq!(connection.read().await.unwrap().told(), (200, "processed"));
        }
        assert_eq!(app.got().len(), 2);
        gateway.finish().await;
    });
}

#[test]
fn requests_sent_ahead_are_answered_in_order_on_one_connection() {
    run(async {
        let app = App::start(|got, _| Step::says(200, got.header("oncegate-key").unwrap())).await;
        let gateway = Gateway::start(&stripe("ahead", &app.url, "")).await;
        let mut connection = Connection::open(gateway.public).await;
        // Cut within the third's head, and within the fourth's body.
        let all: Vec<_> =
            (0..4).map(|nth| gateway.stripe("ahead", &format!("evt_{nth}"))).collect();
        let bytes = all.iter().flat_map(Request::bytes).collect::<Vec<_>>();
        let (first, rest) = bytes.split_at(all[0].bytes().len() * 2 + 40);
        let (second, third) = rest.split_at(rest.len() - 10);
        for (part, answers) in [(first, 0..2), (second, 2..3), (third, 3..4)] {
            assert!(connection.write(part).await);
            for nth in answers {
                assert_eq!(connection.read().await.unwrap().text(), format!("evt_{nth}"));
            }
        }
        gateway.finish().await;
    });
}

#[test]
fn who_waits_for_100_is_told_to_go_on() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&stripe("waits", &app.url, "")).await;
        let event = gateway.stripe("waits", "evt_1");
        let length = event.body.len();
        let line = format!("content-length: {length}\r\nexpect: 100-continue\r\n");
        let mut connection = Connection::open(gateway.public).await;
        assert!(connection.write(&event.head(&line)).await);
        assert_eq!(connection.read().await.unwrap().status, 100);
        assert!(connection.write(&event.body).await);
        assert_eq!(connection.read().await.unwrap().told(), (200, "processed"));
        assert_eq!(app.got()[0].header("expect"), None);
        gateway.finish().await;
    });
}

#[test]
fn an_answer_before_the_end_of_the_body_is_read_in_peace() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&stripe("early", &app.url, "max_body = \"1KiB\"")).await;
        let large = vec![b'x'; 4 << 20];
        let refused = gateway.request("early", large.clone());
        let mut other_path = refused.clone();
        other_path.target = "/no/source".to_owned();
        let mut other_method = refused.clone();
        other_method.method = "PUT";
        let mut no_path = refused.clone();
        no_path.target = "/hooks/..".to_owned();
        let bad_head = refused.clone().header("upgrade", "h2c");
        for (request, told) in [
            (refused, (413, "too_large")),
            (other_path, (404, "not_found")),
            (other_method, (405, "method")),
            (no_path, (400, "invalid")),
            (bad_head, (400, "invalid")),
        ] {
            for _ in 0..5 {
                let mut connection = Connection::open(gateway.public).await;
                // All of it is sent before a byte is read.
                assert!(connection.write(&request.bytes()).await, "{told:?}");
                let answer = connection.read().await.unwrap();
                assert_eq!(answer.told(), told);
                assert_eq!(answer.header("connection"), Some("close"), "{told:?}");
                assert!(connection.has_ended().await, "{told:?}");
            }
        }
        assert!(app.got().is_empty());
        gateway.finish().await;
    });
}
