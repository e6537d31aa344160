//! What forged requests can make us fetch: little, and nothing that is then believed.

use std::time::Duration;

use tokio::time::{advance, pause, resume};

use super::site::Site;
use crate::gate::{Certificates, Missed};
use crate::verify::{Address, Certificate, made};

const PATH: &str = "/SimpleNotificationService-1.pem";

/// The address of a certificate that a request names.
fn at(name: &str) -> Address {
    Address::of("sns.us-east-1.amazonaws.com", &format!("/{name}.pem"))
}

fn first() -> Address {
    at("SimpleNotificationService-1")
}

async fn with_certificate() -> (Site, Certificates, Certificate) {
    let site = Site::open().await;
    let (_, pem) = made();
    site.has(PATH, &pem);
    let certificates = site.certificates();
    (site, certificates, Certificate::from_pem(pem.as_bytes()).unwrap())
}

/// Lets time pass, of which the sockets know nothing.
async fn pass(time: Duration) {
    pause();
    advance(time).await;
    resume();
}

#[tokio::test]
async fn a_certificate_is_fetched_once_a_day_whoever_asks() {
    let (site, certificates, certificate) = with_certificate().await;
    let first = first();
    let ask = || certificates.get(&first);
    let (a, b, c) = tokio::join!(ask(), ask(), ask());
    for got in [a, b, c, ask().await] {
        assert_eq!(*got.unwrap(), certificate);
    }
    let asked = format!("sns.us-east-1.amazonaws.com{PATH}");
    assert_eq!(site.asked(), [asked.as_str()]);
    pass(Duration::from_hours(23)).await;
    assert!(ask().await.is_ok());
    assert_eq!(site.asked().len(), 1);
    pass(Duration::from_hours(1)).await;
    assert!(ask().await.is_ok());
    assert_eq!(site.asked().len(), 2);
}

#[tokio::test]
async fn whoever_hangs_up_cancels_no_fetch() {
    let (site, certificates, certificate) = with_certificate().await;
    let first = first();
    {
        let mut asking = Box::pin(certificates.get(&first));
        let polled = is_ready(&mut asking).await;
        assert!(!polled, "nothing can be there yet");
    }
    assert_eq!(*certificates.get(&first).await.unwrap(), certificate);
    assert_eq!(site.asked().len(), 1);
}

/// Whether `future` is ready at once.
async fn is_ready<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_ready())
    })
    .await
}

#[tokio::test]
async fn an_answer_that_is_no_certificate_is_none_and_is_not_fetched_again_at_once() {
    let (_, pem) = made();
    let site = Site::open().await;
    let elsewhere = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{pem}", pem.len());
    site.answer("/elsewhere.pem", elsewhere.as_bytes());
    let padded = format!("{pem}{}", "#".repeat(64 << 10));
    let length = padded.len();
    let with = |status: &str, headers: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\n{headers}\r\n\r\n{body}")
    };
    let told = format!("content-length: {length}");
    for (answer, why) in [
        (with("404 Not Found", "content-length: 0", ""), "nothing is there"),
        (with("500 Oops", &format!("content-length: {}", pem.len()), &pem), "an error"),
        (with("206 Partial Content", &format!("content-length: {}", pem.len()), &pem), "a part"),
        (
            with(
                "302 Found",
                "location: https://sns.us-east-1.amazonaws.com/elsewhere.pem\r\ncontent-length: 0",
                "",
            ),
            "a redirect",
        ),
        (with("301 Moved", "location: /elsewhere.pem\r\ncontent-length: 0", ""), "a redirect"),
        (with("200 OK", &told, &padded), "too long, and it says so"),
        (with("200 OK", "x: y", &padded), "too long, to the end"),
        (
            with(
                "200 OK",
                "transfer-encoding: chunked",
                &format!("{length:x}\r\n{padded}\r\n0\r\n\r\n"),
            ),
            "too long, in a chunk",
        ),
        (with("200 OK", &format!("x: {}\r\n{told}", "y".repeat(70 << 10)), &pem), "a long head"),
        (with("200 OK", &told, &pem), "cut short"),
        (with("200 OK", "content-length: 4", "AAAA"), "no PEM"),
        ("SSH-2.0-x\r\n\r\n".to_owned(), "no HTTP"),
    ] {
        let certificates = site.certificates();
        site.answer(PATH, answer.as_bytes());
        let before = site.asked().len();
        assert_eq!(certificates.get(&first()).await, Err(Missed), "{why}");
        assert_eq!(certificates.get(&first()).await, Err(Missed), "{why}");
        assert_eq!(site.asked().len(), before + 1, "{why}");
        assert!(!site.asked().iter().any(|asked| asked.contains("elsewhere")), "{why}");
    }
}

#[tokio::test]
async fn what_failed_is_tried_again_before_the_providers_next_retry() {
    let (site, certificates, _) = with_certificate().await;
    let right = site.certificates();
    site.answer(PATH, b"HTTP/1.1 503 Later\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(certificates.get(&first()).await, Err(Missed));
    site.has(PATH, &made().1);
    assert_eq!(certificates.get(&first()).await, Err(Missed));
    assert_eq!(site.asked().len(), 1);
    pass(Duration::from_secs(10)).await;
    assert!(certificates.get(&first()).await.is_ok());
    assert!(right.get(&first()).await.is_ok());
}

#[tokio::test]
async fn a_host_that_never_answers_is_not_waited_for() {
    let (site, certificates, _) = with_certificate().await;
    site.answer(PATH, b"");
    let first = first();
    let asking = certificates.get(&first);
    let late = async {
        site.until(1).await;
        // Nothing happens any more: the clock goes on to what is next.
        pause();
    };
    let (got, ()) = tokio::join!(asking, late);
    assert_eq!(got, Err(Missed));
    resume();
    // So is one that lets a byte through now and then.
    site.answer(PATH, b"HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\n-----");
    assert_eq!(site.certificates().get(&first).await, Err(Missed));
}

#[tokio::test]
async fn a_host_without_the_right_certificate_of_its_own_is_not_believed() {
    let (site, _, _) = with_certificate().await;
    assert_eq!(site.distrusted().get(&first()).await, Err(Missed));
    let other = Address::of("sns.ap-south-1.amazonaws.com", PATH);
    assert_eq!(site.certificates().get(&other).await, Err(Missed), "another host's");
    assert!(site.asked().is_empty());
}

#[tokio::test]
async fn names_that_are_made_up_cost_ten_fetches_a_minute_and_not_what_is_proved() {
    let (site, certificates, _) = with_certificate().await;
    assert!(certificates.get(&first()).await.is_ok());
    certificates.proved(&first());
    pass(Duration::from_hours(24)).await;
    for name in 0..30 {
        assert_eq!(certificates.get(&at(&format!("forged-{name}"))).await, Err(Missed));
    }
    assert_eq!(site.asked().len(), 11, "one, and ten");
    assert_eq!(certificates.call(&first()).await, Err(Missed), "calls are counted too");
    assert!(certificates.get(&first()).await.is_ok(), "known for right, so fetched anew");
    assert_eq!(site.asked().len(), 12);
    pass(Duration::from_mins(1)).await;
    assert_eq!(certificates.get(&at("forged-30")).await, Err(Missed));
    assert_eq!(certificates.call(&first()).await, Ok(()));
    assert_eq!(site.asked().len(), 14);
}

#[tokio::test]
async fn certificates_that_nobody_signed_with_drive_out_none_that_is_used() {
    let (site, certificates, _) = with_certificate().await;
    assert!(certificates.get(&first()).await.is_ok());
    certificates.proved(&first());
    let (_, other) = made();
    for name in 0..40 {
        pass(Duration::from_secs(6)).await;
        site.has(&format!("/old-{name}.pem"), &other);
        assert!(certificates.get(&at(&format!("old-{name}"))).await.is_ok());
    }
    let asked = site.asked().len();
    assert!(certificates.get(&first()).await.is_ok());
    assert!(certificates.get(&at("old-39")).await.is_ok());
    assert_eq!(site.asked().len(), asked);
    pass(Duration::from_secs(6)).await;
    assert!(certificates.get(&at("old-0")).await.is_ok());
    assert_eq!(site.asked().len(), asked + 1, "it gave way");
}
