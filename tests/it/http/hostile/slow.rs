//! Clients that take their time, by the thousand, beside one that does not.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::harness::{App, Connection, Gateway, Step, run, stripe};

/// Slow clients of each of the four kinds.
const EACH: usize = 500;

/// Lets this process have enough sockets: two for each connection, as both ends are here.
fn allow_sockets(many: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|now| now < many) {
        let most = limit.maximum.map_or(many, |most| most.min(many));
        setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..limit }).unwrap();
    }
}

/// What a slow client has sent when it begins to be slow.
async fn slow(gateway: &Gateway, nth: usize) -> Connection {
    let mut connection = Connection::open(gateway.public).await;
    let request = gateway.request("slow-2000", vec![b'x'; 1000]);
    let bytes = match nth % 4 {
        // A head that drips, a body that drips, nothing at all.
        0 => request.head("x: ")[..50].to_vec(),
        1 => [request.head("content-length: 100000\r\n"), vec![b'x'; 500]].concat(),
        2 => Vec::new(),
        // Answers that are not read.
        _ => request.bytes().repeat(40),
    };
    assert!(connection.write(&bytes).await);
    connection
}

#[test]
fn two_thousand_slow_clients_do_not_hurt_a_healthy_one() {
    allow_sockets(3 * 4 * EACH as u64);
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let server = "header_timeout = \"4s\"\nbody_timeout = \"4s\"\nidle_timeout = \"4s\"";
        let gateway = Gateway::start_with(server, &stripe("slow-2000", &app.url, ""), |_| {}).await;
        let mut crowd = Vec::new();
        for nth in 0..4 * EACH {
            crowd.push((nth, slow(&gateway, nth).await));
        }
        // They go on for as long as they are let.
        let mut dripping = JoinSet::new();
        for (nth, mut connection) in crowd {
            dripping.spawn(async move {
                while nth % 4 < 2 && connection.write(b"x").await {
                    sleep(Duration::from_millis(500)).await;
                }
                while connection.read().await.is_some() {}
            });
        }
        let mut healthy = Connection::open(gateway.public).await;
        let (begun, mut slowest) = (Instant::now(), Duration::ZERO);
        for nth in 0..200 {
            let event = gateway.stripe("slow-2000", &format!("evt_{nth}"));
            let sent = Instant::now();
            assert_eq!(healthy.send(&event).await.told(), (200, "processed"), "{nth}");
            slowest = slowest.max(sent.elapsed());
        }
        println!("200 events in {:?}, the slowest in {slowest:?}", begun.elapsed());
        // And every one of the crowd comes to its end.
        while dripping.join_next().await.is_some() {}
        assert_eq!(app.got().len(), 200);
        gateway.finish().await;
    });
}

#[test]
fn bodies_that_are_never_finished_do_not_take_the_room_of_others() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&stripe("crowded", &app.url, "")).await;
        let stranger = gateway.request("crowded", Vec::new());
        let begun = [stranger.head("content-length: 1048576\r\n"), vec![b'x'; (1 << 20) - 1]];
        let begun = begun.concat();
        // 300 bodies of nearly 1 MiB in room for 256.
        let mut strangers = Vec::new();
        for nth in 0..300 {
            let mut connection = Connection::open(gateway.public).await;
            assert!(connection.write(&begun).await);
            strangers.push(connection);
            if nth % 10 == 0 {
                let event = gateway.stripe("crowded", &format!("evt_{nth}"));
                assert_eq!(event.send().await.told(), (200, "processed"), "{nth}");
            }
        }
        // The first gave way, and is told so; the last is still waited for.
        let first = strangers[0].read().await.unwrap();
        assert_eq!((first.told(), first.header("connection")), ((408, "invalid"), Some("close")));
        let last = strangers.last_mut().unwrap();
        assert!(last.write(b"x").await);
        assert_eq!(last.read().await.unwrap().told(), (401, "rejected"));
        assert_eq!(app.got().len(), 30);
        drop(strangers);
        gateway.finish().await;
    });
}
