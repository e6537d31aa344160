//! The gateway as providers, applications and operators meet it: over sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;

use crate::harness::{Answer, Connection, Gateway, Request};

mod admin;
mod answers;
mod api;
mod batches;
mod compact;
mod copies;
mod drain;
mod failures;
mod guards;
mod hangup;
mod hostile;
mod mismatch;
mod presets;
mod proxies;
mod queue;
mod received;
mod refused;
mod replays;
mod settings;
mod tls;
mod unix;

/// Sends every request at once, each over a connection that is open already. The answers
/// come in the order of the requests.
async fn at_once(requests: &[Request]) -> Vec<Answer> {
    let mut open = Vec::new();
    for request in requests {
        open.push((Connection::open(request.to).await, request.clone()));
    }
    let sending =
        open.into_iter().enumerate().map(|(place, (mut connection, request))| async move {
            (place, connection.send(&request).await)
        });
    let mut answers = sending.collect::<JoinSet<_>>().join_all().await;
    answers.sort_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// Sends every request, in order, over this many connections. The answers come in the order
/// of the requests.
async fn over(connections: usize, requests: Vec<Request>) -> Vec<Answer> {
    let requests = Arc::new(requests);
    let next = Arc::new(AtomicUsize::new(0));
    let mut sending = JoinSet::new();
    for _ in 0..connections {
        let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
        sending.spawn(async move {
            let mut connection = Connection::open(requests[0].to).await;
            let mut answers = Vec::new();
            loop {
                let place = next.fetch_add(1, Ordering::SeqCst);
                let Some(request) = requests.get(place) else { return answers };
                answers.push((place, connection.send(request).await));
            }
        });
    }
    let mut answers: Vec<_> = sending.join_all().await.into_iter().flatten().collect();
    answers.sort_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// Sends requests and does not wait for their answers, but until the gateway must have read
/// them: it has since answered twenty others, one after the other.
async fn send_and_be_read(gateway: &Gateway, requests: &[Request]) -> Vec<Connection> {
    let mut open = Vec::new();
    for request in requests {
        let mut connection = Connection::open(request.to).await;
        assert!(connection.write(&request.bytes()).await);
        open.push(connection);
    }
    let mut other = Connection::open(gateway.public).await;
    let nothing = Request::new(gateway.public, "/no/source", b"read me".to_vec());
    for _ in 0..20 {
        assert_eq!(other.send(&nothing).await.told(), (404, "not_found"));
    }
    open
}

/// The answers of requests that were sent before.
async fn answers_of(open: Vec<Connection>) -> Vec<Answer> {
    let mut answers = Vec::new();
    for mut connection in open {
        answers.push(connection.read().await.expect("an answer"));
    }
    answers
}

/// How many answers say `outcome`.
fn count(answers: &[Answer], outcome: &str) -> usize {
    answers.iter().filter(|answer| answer.outcome() == outcome).count()
}
