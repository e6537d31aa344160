//! The admin listener's guards: no page that an operator has open can ask or act in its name.

use crate::harness::{Connection, Gateway, Request, nowhere, run, stripe};

async fn gateway(name: &str) -> Gateway {
    let settings = stripe(name, &nowhere().await, "");
    Gateway::start_with("admin_hosts = [\"gate.example\"]", &settings, |_| {}).await
}

fn from_host(gateway: &Gateway, method: &'static str, path: &str, host: &str) -> Request {
    let mut request = Request::new(gateway.admin, path, Vec::new()).header("host", host);
    request.method = method;
    request
}

#[test]
fn a_name_that_is_not_ours_is_refused_and_told_the_mend() {
    run(async {
        let gateway = gateway("hosts").await;
        let port = gateway.admin.port();
        for host in [
            gateway.admin.to_string(),
            "127.0.0.1".to_owned(),
            format!("[::1]:{port}"),
            format!("localhost:{port}"),
            "GATE.example".to_owned(),
        ] {
            for path in ["/api/v1/events", "/metrics"] {
                let answer = from_host(&gateway, "GET", path, &host).send().await;
                assert_eq!(answer.status, 200, "{host} {path}");
            }
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "hooks.example:80"] {
            for (method, path) in [
                ("GET", "/api/v1/events"),
                ("GET", "/api/v1/events/hosts/evt_1"),
                ("GET", "/metrics"),
                ("GET", "/no/such/path"),
                ("POST", "/api/v1/compact"),
            ] {
                let answer = from_host(&gateway, method, path, host).send().await;
                assert_eq!(answer.status, 403, "{method} {path} {host}");
                assert!(answer.text().contains("\"error\":\"forbidden\""), "{}", answer.text());
                assert!(answer.text().contains("server.admin_hosts"), "{}", answer.text());
            }
            // Probes call by whatever name.
            assert_eq!(from_host(&gateway, "GET", "/healthz", host).send().await.status, 200);
            assert_eq!(from_host(&gateway, "GET", "/readyz", host).send().await.status, 200);
        }
        gateway.finish().await;
    });
}

#[test]
fn what_a_page_of_another_site_sends_changes_nothing() {
    run(async {
        let gateway = gateway("origins").await;
        let ours = gateway.admin.to_string();
        let path = "/api/v1/events/origins/evt_1/forget";
        // 404: it got through to where there is no such event.
        for (name, value, status) in [
            ("origin", format!("http://{ours}"), 404),
            ("origin", format!("https://{ours}"), 404),
            ("origin", "http://evil.example".to_owned(), 403),
            ("origin", format!("http://{ours}.evil.example"), 403),
            ("origin", format!("ftp://{ours}"), 403),
            ("origin", "http://127.0.0.1:1".to_owned(), 403),
            ("origin", "null".to_owned(), 403),
            ("origin", String::new(), 403),
            ("sec-fetch-site", "same-origin".to_owned(), 404),
            ("sec-fetch-site", "none".to_owned(), 404),
            ("sec-fetch-site", "same-site".to_owned(), 403),
            ("sec-fetch-site", "cross-site".to_owned(), 403),
            ("sec-fetch-site", "whatever".to_owned(), 403),
        ] {
            let request = gateway.ask("POST", path, "{}").header(name, &value);
            assert_eq!(request.send().await.status, status, "{name}: {value}");
            // Reading is not changing; a page cannot see the answer.
            let read = gateway.ask("GET", "/api/v1/events", "").header(name, &value);
            let answer = read.send().await;
            assert_eq!(answer.status, 200, "{name}: {value}");
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
        let twice = gateway.ask("POST", path, "{}").header("origin", &format!("http://{ours}"));
        let twice = twice.header("origin", "http://evil.example");
        assert_eq!(twice.send().await.status, 403);
        // A preflight is no more welcome.
        let asks = gateway.ask("OPTIONS", path, "").header("origin", "http://evil.example");
        assert_eq!(asks.send().await.status, 403);
        gateway.finish().await;
    });
}

#[test]
fn a_body_is_small_json_or_nothing() {
    run(async {
        let gateway = gateway("bodies").await;
        let path = "/api/v1/events/bodies/evt_1/forget";
        let send = async |kind: Option<&str>, body: &[u8]| {
            let mut request = gateway.ask("POST", path, "");
            request.body = body.to_vec();
            if let Some(kind) = kind {
                request = request.header("content-type", kind);
            }
            let answer = request.send().await;
            let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            (answer.status, told["error"].as_str().unwrap().to_owned())
        };
        let large = format!("{{\"note\":\"{}\"}}", "x".repeat(64 << 10));
        for (kind, body, status, code) in [
            (None, "", 404, "no_such_event"),
            (Some("application/json"), "{}", 404, "no_such_event"),
            (Some("Application/JSON; charset=utf-8"), "{}", 404, "no_such_event"),
            (None, "{}", 415, "not_json"),
            (Some("text/plain"), "{}", 415, "not_json"),
            (Some("application/x-www-form-urlencoded"), "force=true", 415, "not_json"),
            (Some("application/json"), "{", 400, "bad_body"),
            (Some("application/json"), "[]x", 400, "bad_body"),
            (Some("application/json"), "[true,\"a list\"]", 400, "bad_body"),
            (Some("application/json"), "{\"forse\":true}", 400, "bad_body"),
            (Some("application/json"), "{\"force\":1}", 400, "bad_body"),
            (Some("application/json"), &large, 413, "too_large"),
        ] {
            let told = send(kind, body.as_bytes()).await;
            assert_eq!(told, (status, code.to_owned()), "{kind:?} {body:.30}");
        }
        gateway.finish().await;
    });
}

#[test]
fn every_answer_is_stored_nowhere_and_is_what_it_says() {
    run(async {
        let gateway = gateway("headers").await;
        for (method, path, status, code) in [
            ("GET", "/api/v1/events", 200, ""),
            ("GET", "/api/v1/events/headers/evt_1", 404, "no_such_event"),
            ("GET", "/api/v1/nothing", 404, "no_such_path"),
            ("GET", "/api/v1/events/headers/evt_1/forget", 405, "method"),
            ("DELETE", "/api/v1/events/headers/evt_1", 405, "method"),
            ("PUT", "/api/v1/events", 405, "method"),
            ("GET", "/api/v1/events/headers/%ff", 400, "bad_path"),
        ] {
            let answer = gateway.ask(method, path, "").send().await;
            assert_eq!(answer.status, status, "{method} {path}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
            assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
            let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(told["error"].as_str().unwrap_or_default(), code, "{path}");
            assert_eq!(answer.header("allow").is_some(), status == 405, "{path}");
        }
        gateway.finish().await;
    });
}

#[test]
fn a_request_without_a_name_is_refused() {
    run(async {
        let gateway = gateway("nameless").await;
        let mut connection = Connection::open(gateway.admin).await;
        assert!(connection.write(b"GET /api/v1/events HTTP/1.0\r\n\r\n").await);
        let answer = connection.read().await.expect("an answer");
        assert!([400, 403].contains(&answer.status), "{}", answer.status);
        gateway.finish().await;
    });
}

#[test]
fn the_token_guards_what_acts_too() {
    run(async {
        let settings = stripe("token", &nowhere().await, "");
        let server = "admin_token = \"a-token-of-22-letters.\"";
        let gateway = Gateway::start_with(server, &settings, |_| {}).await;
        for (method, path) in [
            ("GET", "/api/v1/events"),
            ("GET", "/api/v1/sources"),
            ("GET", "/api/v1/sources/token/rejections"),
            ("POST", "/api/v1/events/token/evt_1/forget"),
            ("POST", "/api/v1/events/token/evt_1/settle"),
            ("POST", "/api/v1/events/token/evt_1/redeliver"),
            ("POST", "/api/v1/compact"),
        ] {
            assert_eq!(gateway.ask(method, path, "").send().await.status, 401, "{path}");
            let bearer = "Bearer a-token-of-22-letters.";
            let answer = gateway.ask(method, path, "").header("authorization", bearer).send().await;
            assert_ne!(answer.status, 401, "{path}");
        }
        gateway.finish().await;
    });
}
