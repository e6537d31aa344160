//! `oncegate demo --once`, as a newcomer runs it.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The demo limits itself to 60 s; it takes two.
const LIMIT: Duration = Duration::from_secs(90);

#[test]
fn the_demo_holds_its_promises_and_cleans_up() {
    let temp = tempfile::tempdir().expect("a folder");
    let mut demo = Command::new(env!("CARGO_BIN_EXE_oncegate"))
        .args(["demo", "--once"])
        .env("TMPDIR", temp.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("it starts");
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = demo.try_wait().expect("its status") {
            break status;
        }
        if begun.elapsed() > LIMIT {
            demo.kill().expect("it can be ended");
            panic!("the demo did not end within {LIMIT:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let mut told = String::new();
    demo.stdout.take().expect("its output").read_to_string(&mut told).expect("text");
    assert!(status.success(), "{told}");
    for words in [
        "deliveries  attempts  duplicates",
        "checkout.session.completed",
        "1x",
        "2x (first failed)",
        "2x (second flagged unknown)",
        "Every promise held",
    ] {
        assert!(told.contains(words), "{words:?} is not in\n{told}");
    }
    assert!(told.lines().all(|line| line.len() <= 100), "{told}");
    assert!(!told.contains("BROKEN"), "{told}");
    assert_eq!(std::fs::read_dir(temp.path()).expect("the folder").count(), 0, "left behind");
}
