//! Bits that flip and sectors that vanish: noticed, or harmless; never served.
//!
//! `ONCEGATE_FLIPS` sets the number of damaged images.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;
use oncegate::clock::Clock;
use oncegate::record::{Finish, Label, Meets, Verdict};
use oncegate::store::{Medium, Store as _};
use tokio::time::timeout;

use super::disk::{Disk, Image};
use super::world::{self, START, Snapshot, body};

const SECTOR: usize = 512;
const NEVER: Duration = Duration::from_secs(20);
const ANSWER: &[u8] = b"the recorded answer";

/// What became of the damaged images.
#[derive(Debug, Default)]
struct Tally {
    harmless: AtomicUsize,
    not_opened: AtomicUsize,
    /// Some event is Held, or a verb was refused.
    noticed: AtomicUsize,
    /// An event is gone: redb read another tree than was written, unchecked.
    absent: AtomicUsize,
}

/// A file of 50 events of every kind, closed, and what it holds.
async fn good() -> (Vec<u8>, BTreeMap<String, Snapshot>) {
    let (disk, clock) = (Disk::default(), Arc::new(Clock::still(START)));
    let store = world::open(&disk, &clock).unwrap();
    let mut truth = BTreeMap::new();
    for n in 0..50 {
        let id = format!("{}:{n}", ["p", "q", "p", "h", "p"][n % 5]);
        let (copy, payload) = world::delivery(&id, &body(&id, [10, 600, 5000][n % 3]));
        if let Meets::Lead(lead) = store.arrive(copy, &payload).await.unwrap().arrival.meets {
            let verdict = [Verdict::Success, Verdict::Unknown, Verdict::Failed][n % 3];
            store.settle(&id, lead.token, world::settlement(verdict, ANSWER)).await.unwrap();
        }
        truth.insert(id.clone(), world::look(&store, &id).await.unwrap().0.unwrap());
    }
    store.close().await;
    let [file, ..] = disk.image();
    (file, truth)
}

#[test]
fn rot_is_noticed_or_harmless_and_nothing_wrong_is_served() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (bytes, truth) = runtime().block_on(good());
    // A page that is all zeros holds nothing.
    let used: Vec<usize> = (0..bytes.len() / SECTOR)
        .filter(|n| bytes[n * SECTOR..][..SECTOR] != [0; SECTOR])
        .collect();
    let tally = Tally::default();
    let one = |thread: usize| {
        let runtime = runtime();
        for seed in (thread..flips()).step_by(2) {
            let mut rng = Rng::with_seed(seed as u64);
            let mut image = bytes.clone();
            let sector = used[rng.usize(0..used.len())] * SECTOR;
            if rng.u8(0..4) == 0 {
                image[sector..sector + SECTOR].fill(0);
            } else {
                image[sector + rng.usize(0..SECTOR)] ^= 1 << rng.u8(0..8);
            }
            let tested = examine(image, &truth, &tally);
            let found = runtime.block_on(async { timeout(NEVER, tested).await });
            found.unwrap_or_else(|_| panic!("flip {seed}: hangs"));
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| one(0));
        one(1);
    });
    println!("rot: {tally:?}");
    // What can be read of a damaged file is saved, its indexes are made anew: an event is
    // there, Held, or the file is refused, never absent.
    assert_eq!(tally.absent.into_inner(), 0);
}

/// What a crash leaves of a few events that are in the log alone; all ids but the last.
async fn crashed() -> (Image, Vec<String>) {
    let (disk, clock) = (Disk::default(), Arc::new(Clock::still(START)));
    let store = world::open(&disk, &clock).unwrap();
    let mut ids = Vec::new();
    for n in 0..12 {
        let id = format!("q:{n}");
        let (copy, payload) = world::delivery(&id, &body(&id, [10, 600, 2000][n % 3]));
        store.arrive(copy, &payload).await.unwrap();
        ids.push(id);
    }
    let image = disk.image();
    store.close().await;
    ids.pop();
    (image, ids)
}

#[test]
fn rot_in_the_log_is_noticed_and_no_acknowledged_event_is_passed_over() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (image, ids) = runtime.block_on(crashed());
    let used: Vec<usize> = (0..image[1].len()).step_by(7).filter(|at| image[1][*at] != 0).collect();
    let mut refused = 0;
    for seed in 0..flips() {
        let mut rng = Rng::with_seed(seed as u64);
        let mut image = image.clone();
        image[1][used[rng.usize(0..used.len())]] ^= 1 << rng.u8(0..8);
        let disk = Disk::new(image);
        let Ok(store) = world::open(&disk, &Arc::new(Clock::still(START))) else {
            refused += 1;
            continue;
        };
        // In the last batch: as if that had never been finished.
        runtime.block_on(async {
            for id in &ids {
                let found = world::look(&store, id).await.unwrap().0;
                assert!(found.is_some(), "flip {seed}: {id} is absent");
            }
            store.close().await;
        });
    }
    println!("rot in the log: {refused} of {} refused", flips());
    assert!(refused > flips() / 2);
}

#[expect(clippy::disallowed_methods, reason = "how long to test is said from outside")]
fn flips() -> usize {
    std::env::var("ONCEGATE_FLIPS").map_or(500, |count| count.parse().unwrap())
}

async fn examine(image: Vec<u8>, truth: &BTreeMap<String, Snapshot>, tally: &Tally) {
    let count = |of: &AtomicUsize| {
        of.fetch_add(1, Ordering::Relaxed);
    };
    let clock = Arc::new(Clock::still(START));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("oncegate.redb");
    std::fs::write(&path, image).unwrap();
    let opened = world::open_on(Medium::File(path), &clock);
    let Ok(store) = opened else { return count(&tally.not_opened) };
    let (mut noticed, mut absent) = (false, false);
    for (id, true_one) in truth {
        let bytes = &true_one.payloads[0].1.body;
        let stored = store.payloads(id);
        for (slot, payload) in stored.iter().flatten() {
            assert!(*slot == 0 && payload == &true_one.payloads[0].1, "{id}: a wrong body");
        }
        match store.story(id).await {
            Err(_) => noticed = true,
            Ok(None) => absent = true,
            Ok(Some(story)) => {
                if let Some(answer) = &story.answer {
                    assert_eq!(answer.body, ANSWER, "{id}: a wrong answer");
                }
                let same = story.event == true_one.event;
                noticed |= !same || story.damaged_entries > 0;
                assert!(same || story.event.label() == Label::Held, "{id}: {:?}", story.event);
            },
        }
        let (copy, payload) = world::delivery(id, bytes);
        match store.arrive(copy, &payload).await.map(|a| (a.arrival.meets, a.answer)) {
            Ok((Meets::Duplicate(Finish::Answered), answer)) => {
                assert_eq!(answer.unwrap().body, ANSWER, "{id}: a wrong answer");
            },
            Ok((Meets::Lead(_), _)) if true_one.event.label() != Label::Open => absent = true,
            Ok((Meets::Held, _)) => noticed |= true_one.event.label() != Label::Held,
            Ok(_) => {},
            Err(_) => noticed = true,
        }
    }
    match store.take_due("q", 100).await {
        Ok(taken) => {
            for event in taken.events {
                let right = &truth[&event.id].payloads[0].1;
                assert_eq!(&event.payload, right, "{}: a wrong body", event.id);
            }
        },
        Err(_) => noticed = true,
    }
    store.close().await;
    count(match (absent, noticed) {
        (true, _) => &tally.absent,
        (_, true) => &tally.noticed,
        _ => &tally.harmless,
    });
}
