//! What is refused before it is claimed: too large, unsigned, unkeyed, elsewhere.

use crate::harness::{App, Connection, Gateway, Request, Step, run, stripe};

#[test]
fn a_body_over_the_limit_is_refused_before_it_is_read() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&stripe("large", &app.url, "max_body = \"64KiB\"")).await;

        // Stated: no byte of the body is needed.
        let request = gateway.request("large", Vec::new());
        let mut stated = Connection::open(gateway.public).await;
        assert!(stated.write(&request.head("content-length: 65537\r\n")).await);
        assert_eq!(stated.read().await.unwrap().told(), (413, "too_large"));

        // Not stated: the byte after the limit is enough.
        let mut chunked = Connection::open(gateway.public).await;
        assert!(chunked.write(&request.head("transfer-encoding: chunked\r\n")).await);
        let chunk = [b"10000\r\n".as_slice(), &vec![b'x'; 65_536], b"\r\n"].concat();
        assert!(chunked.write(&chunk).await);
        assert!(chunked.write(b"1\r\nx\r\n").await);
        assert_eq!(chunked.read().await.unwrap().told(), (413, "too_large"));

        // At the limit it is read, and only then its signature is missed.
        let at_limit = gateway.request("large", vec![b'x'; 65_536]).send().await;
        assert_eq!(at_limit.told(), (401, "rejected"));
        assert!(app.got().is_empty());
        gateway.finish().await;
    });
}

#[test]
fn a_provider_that_sends_all_of_a_body_too_large_still_reads_its_answer() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&stripe("insists", &app.url, "max_body = \"64KiB\"")).await;
        for _ in 0..20 {
            let answer = gateway.request("insists", vec![b'x'; 8 << 20]).send().await;
            assert_eq!(answer.told(), (413, "too_large"));
        }
        gateway.finish().await;
    });
}

#[test]
fn an_unknown_path_and_a_wrong_method_are_told_apart() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let settings = stripe("paths", &app.url, "path = \"/here\"");
        let gateway = Gateway::start(&settings).await;
        for path in ["/", "/hooks/paths", "/here/", "/Here", "/here%20", "/%68ere"] {
            let answer = Request::new(gateway.public, path, b"{}".to_vec()).send().await;
            assert_eq!(answer.told(), (404, "not_found"), "{path}");
        }
        for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let mut request = gateway.stripe("paths", "evt_1");
            request.method = method;
            let answer = request.send().await;
            assert_eq!(answer.told(), (405, "method"), "{method}");
            assert_eq!(answer.header("allow"), Some("POST"));
        }
        assert!(app.got().is_empty());
        let answer = gateway.stripe("paths", "evt_1").query("a=b").send().await;
        assert_eq!(answer.told(), (200, "processed"));
        gateway.finish().await;
    });
}

#[test]
fn an_event_without_a_key_is_refused_where_nothing_else_is_to_apply() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let open = "[sources.SOURCE.verify]\nscheme = \"none\"\n[sources.SOURCE.key]\nparts = [\"json:/id\"]\n";
        let custom = |name: &str, fallback: &str| {
            format!(
                "[sources.{name}]\nprovider = \"custom\"\ntarget = \"{}\"\n{}fallback = \"{fallback}\"\n",
                app.url,
                open.replace("SOURCE", name)
            )
        };
        let settings =
            custom("rejects", "reject") + &custom("by-body", "body") + &custom("each", "none");
        let gateway = Gateway::start(&settings).await;
        for body in ["", "{}", "{\"id\":null}", "{\"id\":\"\"}", "{\"id\":1,\"id\":2}", "not json"]
        {
            let answer = gateway.request("rejects", body).send().await;
            assert_eq!(answer.told(), (400, "invalid"), "{body}");
        }
        assert!(app.got().is_empty());
        assert_eq!(gateway.request("by-body", "").send().await.told(), (400, "invalid"));
        assert_eq!(gateway.request("by-body", "x").send().await.told(), (200, "processed"));
        assert_eq!(gateway.request("by-body", "x").send().await.told(), (200, "duplicate"));
        assert_eq!(gateway.request("by-body", "y").send().await.told(), (200, "processed"));
        for _ in 0..2 {
            assert_eq!(gateway.request("each", "").send().await.told(), (200, "processed"));
        }
        assert_eq!(app.got().len(), 4);
        gateway.finish().await;
    });
}

#[test]
fn a_body_that_does_not_come_in_time_is_told_so() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway =
            Gateway::start_with("body_timeout = \"50ms\"", &stripe("slow", &app.url, ""), |_| {})
                .await;
        let request = gateway.stripe("slow", "evt_1");
        let mut connection = Connection::open(gateway.public).await;
        assert!(connection.write(&request.head("content-length: 100\r\n")).await);
        assert_eq!(connection.read().await.unwrap().told(), (408, "invalid"));
        assert!(gateway.story("slow", "evt_1").await.is_none());
        gateway.finish().await;
    });
}

#[test]
fn of_bodies_that_do_not_fit_together_the_elder_gives_way() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let settings =
            stripe("heavy", &app.url, "max_body = \"200MiB\"") + &stripe("light", &app.url, "");
        let gateway = Gateway::start(&settings).await;
        let request = gateway.request("heavy", Vec::new());
        let part = vec![b'x'; 130 << 20];
        let mut held = Vec::new();
        // Two bodies of 130 of their 200 MiB do not fit in 256 MiB.
        for _ in 0..2 {
            let mut connection = Connection::open(gateway.public).await;
            assert!(connection.write(&request.head("content-length: 209715200\r\n")).await);
            assert!(connection.write(&part).await);
            held.push(connection);
        }
        assert_eq!(held[0].read().await.unwrap().told(), (408, "invalid"));
        // What fits is still taken.
        assert_eq!(gateway.stripe("light", "evt_1").send().await.told(), (200, "processed"));
        held.pop().unwrap().reset();
        assert_eq!(gateway.stripe("light", "evt_2").send().await.told(), (200, "processed"));
        gateway.finish().await;
    });
}
