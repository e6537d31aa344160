//! What the application receives: the provider's request, and what oncegate knows of it.

use oncegate::clock;
use oncegate::preset;
use oncegate::verify::{Delivery, Verifier};

use crate::harness::{App, Connection, Gateway, Got, SECRET, Step, run, stripe};

/// The headers, sorted, less those whose value differs from run to run.
fn lines(got: &Got) -> Vec<String> {
    let varies = ["stripe-signature", "oncegate-received", "host"];
    let kept = got.headers.iter().filter(|(name, _)| !varies.contains(&name.as_str()));
    let mut lines: Vec<_> = kept.map(|(name, value)| format!("{name}: {value}")).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn the_application_receives_the_providers_request_with_what_we_know_added() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&stripe("adds", &app.url, "")).await;
        let body = b"{\"id\":\"evt_1\",\"text\":\"\xc3\xa9 \\u0000\"}\r\n\0".to_vec();
        let body = body[..body.len() - 1].to_vec();
        let request = gateway
            .signed("adds", "evt_1", body.clone())
            .query("theirs=%20&b")
            .header("content-type", "application/json; charset=utf-8")
            .header("user-agent", "Stripe/1.0")
            .header("x-list", "one")
            .header("x-list", "two");
        assert_eq!(request.send().await.told(), (200, "processed"));
        let got = app.got().remove(0);
        assert_eq!(got.method, "POST");
        assert_eq!(got.target, "/hook?theirs=%20&b");
        assert_eq!(got.body, body);
        assert!(app.url.contains(got.header("host").unwrap()));
        assert_eq!(got.header("stripe-signature"), Some(request.headers[0].1.as_str()));
        let received = got.header("oncegate-received").unwrap();
        assert!(received.ends_with('Z') && received.contains('T'), "{received}");
        let length = format!("content-length: {}", body.len());
        let expected = [
            length.as_str(),
            "content-type: application/json; charset=utf-8",
            "idempotency-key: \"adds:evt_1\"",
            "oncegate-attempt: 1",
            "oncegate-key: evt_1",
            "oncegate-source: adds",
            "user-agent: Stripe/1.0",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: hooks.example",
            "x-forwarded-proto: http",
            "x-list: one",
            "x-list: two",
        ];
        assert_eq!(lines(&got), expected);
        gateway.finish().await;
    });
}

#[test]
fn what_a_provider_must_not_say_does_not_reach_the_application() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&stripe("removes", &app.url, "")).await;
        let mut request = gateway.stripe("removes", "evt_1");
        for (name, value) in [
            ("connection", "keep-alive, X-Nominated"),
            ("x-nominated", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("proxy-authorization", "Basic eA=="),
            ("idempotency-key", "theirs"),
            ("oncegate-unknown", "true"),
            ("oncegate-stale", "true"),
            ("oncegate-key", "forged"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("idempotency_key", "theirs"),
            ("oncegate_unknown", "true"),
            ("x_shop_id", "7"),
        ] {
            request = request.header(name, value);
        }
        assert_eq!(request.send().await.told(), (200, "processed"));
        let length = format!("content-length: {}", request.body.len());
        let expected = [
            length.as_str(),
            "idempotency-key: \"removes:evt_1\"",
            "oncegate-attempt: 1",
            "oncegate-key: evt_1",
            "oncegate-source: removes",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: hooks.example",
            "x-forwarded-proto: http",
        ];
        assert_eq!(lines(&app.got()[0]), expected);
        gateway.finish().await;
    });
}

#[test]
fn a_key_may_be_read_from_a_header_that_is_then_removed() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let settings = format!(
            "[sources.by-header]\nprovider = \"custom\"\ntarget = \"{}\"\n\
             [sources.by-header.verify]\nscheme = \"none\"\n\
             [sources.by-header.key]\nparts = [\"header:Idempotency-Key\"]\nfallback = \"reject\"\n",
            app.url
        );
        let gateway = Gateway::start(&settings).await;
        let request = gateway.request("by-header", "1").header("idempotency-key", "a b/1");
        assert_eq!(request.send().await.told(), (200, "processed"));
        let again = gateway.request("by-header", "1").header("idempotency-key", "a b/1");
        assert_eq!(again.send().await.told(), (200, "duplicate"));
        let got = app.got();
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].header("idempotency-key"), Some("\"by-header:a%20b%2F1\""));
        assert_eq!(got[0].header("oncegate-key"), Some("a%20b%2F1"));
        let story = gateway.story("by-header", "a%20b%2F1").await.unwrap();
        assert_eq!(story["key"], "a%20b%2F1");
        gateway.finish().await;
    });
}

#[test]
fn a_binary_body_arrives_byte_for_byte_in_either_mode() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let queue = stripe("binary-queue", &app.url, "mode = \"queue\"");
        let settings = stripe("binary", &app.url, "") + &queue;
        let gateway = Gateway::start(&settings).await;
        let body: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        for (nth, source) in ["binary", "binary-queue"].iter().enumerate() {
            let answer = gateway.signed(source, "", body.clone()).send().await;
            assert_eq!(answer.status, 200);
            assert_eq!(app.until(nth + 1).await[nth].body, body, "{source}");
        }
        gateway.finish().await;
    });
}

#[test]
fn a_chunked_body_arrives_whole_with_its_length() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&stripe("chunked", &app.url, "")).await;
        let request = gateway.stripe("chunked", "evt_1");
        let mut connection = Connection::open(gateway.public).await;
        let framing = "transfer-encoding: chunked\r\ntrailer: x-end\r\nexpect: 100-continue\r\n";
        assert!(connection.write(&request.head(framing)).await);
        assert_eq!(connection.read().await.unwrap().status, 100);
        for byte in &request.body {
            assert!(connection.write(&[b"1\r\n", [*byte].as_slice(), b"\r\n"].concat()).await);
        }
        assert!(connection.write(b"0\r\nx-end: 1\r\n\r\n").await);
        assert_eq!(connection.read().await.unwrap().told(), (200, "processed"));
        let got = app.got().remove(0);
        assert_eq!(got.body, request.body);
        assert_eq!(got.header("content-length"), Some(request.body.len().to_string().as_str()));
        for name in ["transfer-encoding", "trailer", "x-end", "expect"] {
            assert_eq!(got.header(name), None);
        }
        gateway.finish().await;
    });
}

#[test]
fn our_signature_verifies_with_either_secret_and_replaces_the_providers() {
    run(async {
        let (new, old) = (SECRET, "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
        let app = App::steps([Step::says(500, "again"), Step::says(200, "fine")]).await;
        let settings = format!(
            "[sources.signs]\nprovider = \"standard-webhooks\"\nsecrets = [\"{old}\"]\n\
             target = \"{}\"\nsign_with = [\"{new}\", \"{old}\"]\n",
            app.url
        );
        let gateway = Gateway::start(&settings).await;
        let request = gateway.signed("signs", "msg_1", "{\"a\":1}").header("webhook-extra", "1");
        assert_eq!(request.send().await.told(), (500, "failed"));
        assert_eq!(request.send().await.told(), (200, "processed"));
        let spec = &preset::find("standard-webhooks").unwrap().verify;
        for got in app.got() {
            assert_eq!(got.header("webhook-id"), Some("signs:msg_1"));
            assert_eq!(got.header("webhook-extra"), None);
            let mut headers = ::http::HeaderMap::new();
            for (name, value) in &got.headers {
                let name: ::http::HeaderName = name.parse().unwrap();
                headers.append(name, value.parse().unwrap());
            }
            for secret in [new, old] {
                let delivery = Delivery {
                    method: ::http::Method::POST,
                    query: None,
                    headers: headers.clone(),
                    body: got.body.clone().into(),
                };
                let secret = oncegate::verify::Secret::from(secrecy::SecretSlice::from(
                    secret.as_bytes().to_vec(),
                ));
                let verifier = Verifier::new(spec, vec![secret]).unwrap();
                let verified = verifier.check(delivery, clock::wall()).unwrap();
                assert_eq!(verified.signed_id(), Some("signs:msg_1"));
            }
        }
        gateway.finish().await;
    });
}
