//! What an answer means, what of it is kept, and what the provider is told.

use super::*;
use crate::record::Answer;

async fn answered(answer: &str) -> Report {
    let app = App::listen().await;
    while_app(&app.upstream(), app.answer_and_close(answer)).await.0
}

fn kept(report: &Report) -> &Answer {
    report.settlement.answer.as_ref().unwrap()
}

#[tokio::test]
async fn a_2xx_is_kept_and_passed_as_it_is() {
    let report = answered(
        "HTTP/1.1 201 Created\r\ncontent-type: text/x-odd\r\ncontent-length: 4\r\n\r\n\0ok\n",
    )
    .await;
    assert_eq!(report.settlement.verdict, Verdict::Success);
    let answer = kept(&report);
    assert_eq!((answer.status, answer.truncated), (201, false));
    assert_eq!(answer.headers, [("content-type".to_owned(), b"text/x-odd".to_vec())]);
    assert_eq!(answer.body, b"\0ok\n");
    let reply = provider_answer(&report);
    assert_eq!((reply.status, reply.outcome), (201, Outcome::Processed));
    assert_eq!((&reply.headers, &reply.body[..]), (&answer.headers, &b"\0ok\n"[..]));
}

#[tokio::test]
async fn a_204_has_no_body_and_does_not_wait_for_one() {
    let report = answered("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(report.settlement.verdict, Verdict::Success);
    assert!(!kept(&report).truncated);
}

#[tokio::test]
async fn informational_answers_are_passed_over() {
    let report = answered(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    assert_eq!((report.settlement.verdict, kept(&report).status), (Verdict::Success, 200));
}

#[tokio::test]
async fn a_chunked_answer_is_kept_without_its_chunks() {
    let report = answered(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n1\r\n!\r\n0\r\n\r\n",
    )
    .await;
    assert_eq!(kept(&report).body, b"ok!");
    assert_eq!(kept(&report).headers, []);
}

#[tokio::test]
async fn what_belongs_to_others_is_dropped_from_an_answer() {
    let report = answered(
        "HTTP/1.1 200 OK\r\nset-cookie: a=b\r\nconnection: close, x-hop\r\nx-hop: 1\r\n\
         keep-alive: timeout=5\r\nlocation: /x\r\nwebhook-delivery: stop\r\n\
         x-slack-no-retry: 1\r\noncegate-outcome: duplicate\r\nidempotency-replayed: true\r\n\
         content-encoding: gzip\r\ncontent-length: 2\r\n\r\nok",
    )
    .await;
    assert_eq!(kept(&report).headers, [("content-encoding".to_owned(), b"gzip".to_vec())]);
}

#[tokio::test]
async fn a_2xx_whose_body_is_cut_is_a_success_without_a_kept_body() {
    let report = answered("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
    assert_eq!(report.settlement.verdict, Verdict::Success);
    assert_eq!((kept(&report).truncated, &kept(&report).body[..]), (true, &b""[..]));
    let reply = provider_answer(&report);
    assert_eq!((reply.status, &reply.body[..]), (200, &b"half"[..]));
    assert_eq!(header(&reply, "oncegate-truncated"), Some("true"));
}

#[tokio::test]
async fn a_2xx_whose_body_does_not_end_in_time_is_a_success() {
    let app = App::listen().await;
    let report = before_app(&app.upstream(), async {
        let (_, _stream) = app.answer("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
        tokio::time::pause();
        pending::<()>().await;
    })
    .await;
    assert_eq!(report.settlement.verdict, Verdict::Success, "{report:?}");
    assert!(kept(&report).truncated);
}

#[tokio::test]
async fn an_answer_over_what_is_kept_is_passed_whole() {
    let body = "x".repeat(KEPT + 1);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    let report = answered(&(head + &body)).await;
    assert_eq!(report.settlement.verdict, Verdict::Success);
    assert_eq!((kept(&report).truncated, kept(&report).body.len()), (true, 0));
    let reply = provider_answer(&report);
    assert_eq!(reply.body.len(), KEPT + 1);
    assert_eq!(header(&reply, "oncegate-truncated"), None);
}

#[tokio::test]
async fn an_endless_answer_is_read_to_its_limit_and_no_further() {
    let app = App::listen().await;
    let (report, ()) = while_app(&app.upstream(), async {
        let (_, mut stream) = app.answer("HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b'x'; 8192]).await.is_ok() {}
    })
    .await;
    assert_eq!(report.settlement.verdict, Verdict::Success);
    assert_eq!((report.body.len(), report.whole), (PASSED, false));
}

#[tokio::test]
async fn what_a_provider_must_not_see_becomes_502() {
    for status in [101, 301, 302, 304, 307, 400, 401, 404, 409, 410] {
        let report = answered(&format!(
            "HTTP/1.1 {status} No\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
        ))
        .await;
        assert_eq!(report.settlement.verdict, Verdict::Failed, "{status}");
        let reply = provider_answer(&report);
        assert_eq!((reply.status, reply.outcome), (502, Outcome::Failed), "{status}");
        assert_eq!(header(&reply, "oncegate-upstream-status"), Some(&*status.to_string()));
        assert_eq!(header(&reply, "location"), None);
    }
}

#[tokio::test]
async fn a_502_carries_the_applications_body() {
    let report = answered("HTTP/1.1 404 No\r\ncontent-length: 4\r\n\r\nnope").await;
    assert_eq!(&provider_answer(&report).body[..], b"nope");
    assert_eq!(report.settlement.detail, "answered 404");
}

#[tokio::test]
async fn a_5xx_and_a_429_pass_with_retry_after() {
    for status in [429, 500, 503, 599] {
        let report = answered(&format!(
            "HTTP/1.1 {status} Later\r\nretry-after: 7\r\ncontent-length: 5\r\n\r\nlater"
        ))
        .await;
        assert_eq!(report.settlement.verdict, Verdict::Failed, "{status}");
        let reply = provider_answer(&report);
        assert_eq!(
            (reply.status, reply.outcome, &reply.body[..]),
            (status, Outcome::Failed, &b"later"[..])
        );
        assert_eq!(header(&reply, "retry-after"), Some("7"));
        assert_eq!(header(&reply, "oncegate-upstream-status"), None);
    }
}

#[tokio::test]
async fn a_final_status_passes_and_ends_the_event() {
    let report = answered("HTTP/1.1 422 Never\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(report.settlement.verdict, Verdict::Final);
    assert_eq!(provider_answer(&report).status, 422);
}

#[tokio::test]
async fn an_answer_before_the_whole_request_was_read_counts() {
    let app = App::listen().await;
    let mut large = delivery(&[]);
    large.body = vec![b'x'; 8 << 20].into();
    let early = async {
        let mut stream = app.accept().await;
        stream.read_u8().await.unwrap();
        let no = b"HTTP/1.1 413 Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(no).await.unwrap();
        stream
    };
    let upstream = app.upstream();
    let open = attempt(&large);
    let (report, _stream) = tokio::join!(upstream.attempt(&open), early);
    assert_eq!(report.settlement.detail, "answered 413");
}
