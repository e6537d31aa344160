//! The real binary under a service manager: what that is told over its socket.

use std::collections::VecDeque;
use std::path::Path;

use tokio::net::UnixDatagram;
use tokio::time::timeout;

use crate::harness::{nowhere, run, stripe};
use crate::process::{SOON, Site};

/// A service manager's ear: each thing told, in order.
struct Manager {
    socket: UnixDatagram,
    told: VecDeque<String>,
}

impl Manager {
    fn listen(dir: &Path) -> (Self, String) {
        let path = dir.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        (Self { socket, told: VecDeque::new() }, path.to_str().unwrap().to_owned())
    }

    async fn next(&mut self) -> String {
        while self.told.is_empty() {
            let mut bytes = [0; 4096];
            let length = timeout(SOON, self.socket.recv(&mut bytes)).await.expect("told").unwrap();
            let text = std::str::from_utf8(&bytes[..length]).unwrap();
            self.told.extend(text.lines().map(str::to_owned));
        }
        self.told.pop_front().unwrap()
    }

    /// What is told before `word`.
    async fn until(&mut self, word: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            let told = self.next().await;
            if told == word {
                return before;
            }
            before.push(told);
        }
    }
}

#[test]
fn the_manager_hears_of_the_start_of_every_beat_and_of_the_stop() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let (mut manager, socket) = Manager::listen(dir.path());
        let site = Site::new(dir.path(), "", &stripe("s", &nowhere().await, ""));
        // Half of it is the beat.
        let env = [("NOTIFY_SOCKET", socket.as_str()), ("WATCHDOG_USEC", "100000")];
        let gateway = site.run(&["serve"], &env);

        let starting = manager.until("READY=1").await;
        assert!(
            starting.iter().any(|told| told.starts_with("EXTEND_TIMEOUT_USEC=")),
            "{starting:?}"
        );
        assert!(starting.iter().any(|told| told.starts_with("STATUS=checking the file")));
        assert!(!starting.contains(&"WATCHDOG=1".to_owned()));
        // Ready is no promise but a fact.
        assert_eq!(site.get("/readyz", &[]).await.body, b"ready\n");
        assert_eq!(manager.next().await, "STATUS=taking events");
        for _ in 0..5 {
            assert_eq!(manager.until("WATCHDOG=1").await, [""; 0]);
        }

        gateway.terminate();
        manager.until("STOPPING=1").await;
        assert_eq!(manager.next().await, "STATUS=draining, for 35 s at most");
        assert_eq!(gateway.ended().await.code(), Some(0), "{}", site.said());
    });
}

#[test]
fn a_start_that_fails_is_never_told_as_ready() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let (manager, socket) = Manager::listen(dir.path());
        let site = Site::new(dir.path(), "lisen = 1", "");
        let gateway = site.run(&["serve"], &[("NOTIFY_SOCKET", &socket)]);
        // The unit has it under RestartPreventExitStatus.
        assert_eq!(gateway.ended().await.code(), Some(3), "{}", site.said());
        manager.socket.try_recv(&mut [0; 64]).expect_err("nothing was told");
    });
}
