//! What the application receives.

use super::*;

const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\n\r\n";

/// What an application at `path` received of an attempt.
async fn received(path: &str, attempt: &Attempt<'_>) -> String {
    let app = App::listen().await;
    let upstream = upstream(&format!("http://{}{path}", app.0.local_addr().unwrap()));
    let (report, (request, _)) = tokio::join!(upstream.attempt(attempt), app.answer(NO_CONTENT));
    assert_eq!(report.settlement.verdict, Verdict::Success, "{report:?}");
    let authority = app.0.local_addr().unwrap().to_string();
    assert!(request.contains(&format!("\r\nhost: {authority}\r\n")), "{request}");
    request.replace(&authority, "APP")
}

fn lines(request: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = request.split("\r\n\r\n").next().unwrap().lines().collect();
    lines[1..].sort_unstable();
    lines
}

#[tokio::test]
async fn the_request_is_the_providers_with_what_we_know_added() {
    let delivery = Delivery {
        query: Some("a=%20&b".into()),
        ..delivery(&[
            ("host", "shop.example"),
            ("content-type", "application/json"),
            ("stripe-signature", "t=1,v1=ab"),
            ("user-agent", "Stripe/1.0"),
            ("content-length", "9"),
        ])
    };
    let request = received("/webhooks", &attempt(&delivery)).await;
    assert_eq!(
        lines(&request),
        [
            "POST /webhooks?a=%20&b HTTP/1.1",
            "content-length: 9",
            "content-type: application/json",
            "host: APP",
            "idempotency-key: \"acme:evt_1\"",
            "oncegate-attempt: 2",
            "oncegate-key: evt_1",
            "oncegate-received: 2023-11-14T22:13:20.000Z",
            "oncegate-source: acme",
            "stripe-signature: t=1,v1=ab",
            "user-agent: Stripe/1.0",
            "x-forwarded-for: 203.0.113.7",
            "x-forwarded-host: shop.example",
            "x-forwarded-proto: https",
        ]
    );
    assert!(request.ends_with("\r\n\r\n{\"id\": 1}"), "{request}");
}

#[tokio::test]
async fn what_a_provider_must_not_say_is_removed() {
    let delivery = delivery(&[
        ("connection", "close, X-Nominated"),
        ("x-nominated", "1"),
        ("keep-alive", "timeout=5"),
        ("transfer-encoding", "chunked"),
        ("te", "trailers"),
        ("trailer", "x-end"),
        ("upgrade", "h2c"),
        ("proxy-authorization", "Basic eA=="),
        ("expect", "100-continue"),
        ("idempotency-key", "forged"),
        ("oncegate-unknown", "true"),
        ("oncegate-anything", "1"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-port", "1"),
        ("forwarded", "for=10.0.0.1"),
    ]);
    let request = received("/", &attempt(&delivery)).await;
    assert_eq!(
        lines(&request),
        [
            "POST / HTTP/1.1",
            "content-length: 9",
            "host: APP",
            "idempotency-key: \"acme:evt_1\"",
            "oncegate-attempt: 2",
            "oncegate-key: evt_1",
            "oncegate-received: 2023-11-14T22:13:20.000Z",
            "oncegate-source: acme",
            "x-forwarded-for: 203.0.113.7",
            "x-forwarded-proto: https",
        ]
    );
}

#[tokio::test]
async fn an_attempt_after_doubt_says_so() {
    let delivery = delivery(&[]);
    let request = received("/", &Attempt { doubt: true, ..attempt(&delivery) }).await;
    assert!(request.contains("\r\noncegate-unknown: true\r\n"), "{request}");
}

#[tokio::test]
async fn the_providers_query_follows_the_targets() {
    let delivery = Delivery { query: Some("b=2".into()), ..delivery(&[]) };
    let request = received("/hook?a=1", &attempt(&delivery)).await;
    assert!(request.starts_with("POST /hook?a=1&b=2 HTTP/1.1\r\n"), "{request}");
}

#[tokio::test]
async fn a_header_sent_twice_arrives_twice_in_order() {
    let delivery = delivery(&[("x-two", "1"), ("x-one", "0"), ("x-two", "2")]);
    let request = received("/", &attempt(&delivery)).await;
    let two: Vec<&str> = request.lines().filter(|line| line.starts_with("x-two")).collect();
    assert_eq!(two, ["x-two: 1", "x-two: 2"]);
}

#[tokio::test]
async fn a_get_without_a_body_has_no_length() {
    let delivery = Delivery { method: Method::GET, body: bytes::Bytes::new(), ..delivery(&[]) };
    let request = received("/", &attempt(&delivery)).await;
    assert!(request.starts_with("GET / HTTP/1.1\r\n"), "{request}");
    assert!(!request.contains("content-length"), "{request}");
}

#[tokio::test]
async fn a_key_that_cannot_be_a_header_is_never_sent() {
    let app = App::listen().await;
    let delivery = delivery(&[]);
    let bad = Attempt { id: "acme:line\nbreak", ..attempt(&delivery) };
    let report = app.upstream().attempt(&bad).await;
    assert_eq!(report.settlement.verdict, Verdict::Failed);
}
