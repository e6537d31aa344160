//! Power cuts at every write and sync of a mix of everything the store does.
//!
//! `ONCEGATE_POWER_CUTS` sets the number of images. A violation prints the cut and the
//! seed, and leaves the image as a file.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use fastrand::Rng;
use oncegate::clock::Clock;
use oncegate::store::Store as _;

use super::disk::{Disk, Image};
use super::image::Cutter;
use super::script::{self, Run};
use super::world;

const THREADS: u64 = 2;

/// What came of many images.
struct Found {
    images: usize,
    violations: Vec<String>,
}

#[test]
fn nothing_acknowledged_is_lost_in_a_power_cut_and_nothing_is_half_there() {
    let begun = Instant::now();
    let run = runtime().block_on(script::run());
    let found = cut_everywhere(&run, images(), 0);
    let (images, seconds) = (found.images, begun.elapsed().as_secs_f64());
    println!(
        "{images} images of {} operations in {seconds:.0} s, {} violations",
        run.log.len(),
        found.violations.len()
    );
    assert!(found.violations.is_empty(), "{}", found.violations.join("\n"));
}

#[test]
fn a_lying_disk_is_caught() {
    let run = runtime().block_on(script::run());
    let found = cut_everywhere(&run, 300, 50);
    println!("{} of {} images of a lying disk fail", found.violations.len(), found.images);
    assert!(found.violations.len() > found.images / 10);
}

#[expect(clippy::disallowed_methods, reason = "how long to test is said from outside")]
fn images() -> usize {
    std::env::var("ONCEGATE_POWER_CUTS").map_or(3000, |count| count.parse().unwrap())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Cuts at every position in turn, with as many seeds each as make up `images`.
fn cut_everywhere(run: &Run, images: usize, lies: u8) -> Found {
    let done = AtomicUsize::new(0);
    let one = |thread: u64| {
        let runtime = runtime();
        let mut cutter = Cutter::new(&run.log, Image::default(), lies);
        let mut violations = Vec::new();
        let first = first_acknowledged(run);
        let positions = run.log.len() + 1 - first;
        for image in 0..images {
            // Spread evenly over all positions; neighbours go to different threads.
            let cut = first + image * positions / images;
            let seed = image as u64;
            if seed % THREADS != thread {
                continue;
            }
            let bytes = cutter.image(cut, seed);
            let found = runtime.block_on(examine(run, cut, seed, bytes.clone()));
            done.fetch_add(1, Ordering::Relaxed);
            if let Some(violation) = found {
                let kept =
                    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cut-{cut}-{seed}.0"));
                if lies == 0 && violations.len() < 5 {
                    for (file, bytes) in bytes.iter().enumerate() {
                        std::fs::write(kept.with_extension(file.to_string()), bytes).unwrap();
                    }
                }
                violations
                    .push(format!("cut {cut}, seed {seed} ({}): {violation}", kept.display()));
            }
        }
        violations
    };
    let violations = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || one(n))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    Found { images: done.into_inner(), violations }
}

/// A file that is not made yet may not open: nothing was acknowledged. (A real one is made
/// beside and renamed.)
fn first_acknowledged(run: &Run) -> usize {
    run.history.events.values().map(|states| states[1].ops).min().unwrap()
}

/// Opens an image and looks at all of it; for some, after a second cut while it is opened.
async fn examine(run: &Run, cut: usize, seed: u64, bytes: Image) -> Option<String> {
    let disk = Disk::new(bytes.clone());
    let clock = Arc::new(Clock::still(run.end));
    let store = match world::open(&disk, &clock) {
        Ok(store) => store,
        Err(error) => return Some(error.to_string()),
    };
    if seed % 4 != 3 {
        let found = run.history.violations(&store, cut, run.end).await;
        store.close().await;
        return (!found.is_empty()).then(|| found.join("\n  "));
    }
    let log = disk.log();
    disk.kill();
    store.close().await;
    let again = Rng::with_seed(seed).usize(0..=log.len());
    let bytes = Cutter::new(&log, bytes, 0).image(again, seed);
    let store = match world::open(&Disk::new(bytes), &clock) {
        Ok(store) => store,
        Err(error) => return Some(format!("second cut {again}: {error}")),
    };
    let found = run.history.violations(&store, cut, run.end).await;
    store.close().await;
    (!found.is_empty()).then(|| format!("second cut {again}: {}", found.join("\n  ")))
}
