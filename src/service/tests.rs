//! The watchdog is fed while the store answers, and only then.

use std::io;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::clock::Clock;
use crate::config::Config;
use crate::record::Copy;
use crate::store::{Medium, Payload, RedbStore};
use crate::time::Millis;
use crate::verify::Delivery;

/// What a sync of the disk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sync {
    Works,
    Hangs,
    Full,
}

/// A disk in memory.
#[derive(Clone, Debug)]
struct Disk(Arc<InMemoryBackend>, Arc<Switch>);

#[derive(Debug)]
struct Switch {
    sync: Mutex<(Sync, usize)>,
    changed: Condvar,
}

impl Switch {
    fn set(&self, sync: Sync) {
        self.sync.lock().0 = sync;
        self.changed.notify_all();
    }

    /// Waits until a sync has begun that does not end.
    fn until_hanging(&self) {
        let mut state = self.sync.lock();
        let limit = Duration::from_secs(20);
        let waited = self.changed.wait_while_for(&mut state, |(_, waiting)| *waiting == 0, limit);
        assert!(!waited.timed_out(), "nothing was synced");
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, io::Error> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut state = self.1.sync.lock();
        while state.0 == Sync::Hangs {
            state.1 += 1;
            self.1.changed.notify_all();
            self.1.changed.wait(&mut state);
            state.1 -= 1;
        }
        if state.0 == Sync::Full {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.0.write(offset, data)
    }
}

fn open() -> (Arc<RedbStore>, Arc<Switch>) {
    let switch = Arc::new(Switch { sync: Mutex::new((Sync::Works, 0)), changed: Condvar::new() });
    let (bytes, state) = (Arc::new(InMemoryBackend::new()), Arc::clone(&switch));
    let log = [0, 1].map(|_| Disk(Arc::new(InMemoryBackend::new()), Arc::clone(&switch)));
    let medium = Medium::Custom {
        file: Arc::new(move |builder| {
            builder.create_with_backend(Disk(Arc::clone(&bytes), Arc::clone(&state)))
        }),
        log: Arc::new(move |n| Ok(Box::new(log[n].clone()))),
    };
    let env = [
        ("ONCEGATE_STORAGE__RESERVE", "0"),
        ("ONCEGATE_SOURCES__P__PROVIDER", "stripe"),
        ("ONCEGATE_SOURCES__P__SECRETS", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("ONCEGATE_SOURCES__P__TARGET", "http://127.0.0.1:9/"),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let config = Config::load(None, &env).unwrap();
    let policies = config.sources.iter().map(|it| (it.name.clone(), it.as_ref().into())).collect();
    let clock = Arc::new(Clock::still(Millis(1_800_000_000_000)));
    let store = RedbStore::open(medium, &config.storage, policies, clock).unwrap();
    (Arc::new(store), switch)
}

fn watched(store: &Arc<RedbStore>, period: Duration) -> mpsc::Receiver<Health> {
    let (fed, feeds) = mpsc::channel(10_000);
    let store = Arc::clone(store) as _;
    tokio::spawn(feed(store, period, move |health| fed.try_send(health).unwrap_or_default()));
    feeds
}

async fn next(feeds: &mut mpsc::Receiver<Health>) -> Health {
    timeout(Duration::from_secs(20), feeds.recv()).await.expect("fed").expect("watched")
}

/// An event arrives: something to write.
fn write(store: &Arc<RedbStore>) {
    let copy =
        Copy { id: "p:evt_1".to_owned(), earlier: None, long: None, sha256: [0; 32], bytes: 2 };
    let delivery = Delivery {
        method: http::Method::POST,
        query: None,
        headers: http::HeaderMap::new(),
        body: bytes::Bytes::from_static(b"{}"),
    };
    let store = Arc::clone(store);
    tokio::spawn(async move {
        let payload = Payload::new(&delivery, None, false);
        // Refused while the disk is full.
        drop(store.arrive(copy, &payload).await);
    });
}

const PERIOD: Duration = Duration::from_millis(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_watchdog_starves_while_the_writer_hangs() {
    let (store, disk) = open();
    let mut feeds = watched(&store, PERIOD);
    for _ in 0..5 {
        assert_eq!(next(&mut feeds).await, Health::Ready);
    }
    disk.set(Sync::Hangs);
    write(&store);
    let hanging = Arc::clone(&disk);
    tokio::task::spawn_blocking(move || hanging.until_hanging()).await.unwrap();
    while feeds.try_recv().is_ok() {}
    // What was answered just before may still be on its way; one at most.
    let mut late = 0;
    while timeout(PERIOD * 50, feeds.recv()).await.is_ok() {
        late += 1;
        assert!(late <= 1, "fed while the writer hangs");
    }
    // It starved for 50 periods; now it is well.
    disk.set(Sync::Works);
    assert_eq!(next(&mut feeds).await, Health::Ready);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_that_is_waited_out_starves_no_watchdog() {
    let (store, disk) = open();
    let mut feeds = watched(&store, PERIOD);
    disk.set(Sync::Full);
    write(&store);
    while next(&mut feeds).await != Health::DiskFull {}
    for _ in 0..3 {
        assert_eq!(next(&mut feeds).await, Health::DiskFull);
    }
    disk.set(Sync::Works);
    while next(&mut feeds).await != Health::Ready {}
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_stopped_is_not_vouched_for() {
    let (store, _disk) = open();
    let mut feeds = watched(&store, PERIOD);
    next(&mut feeds).await;
    store.close().await;
    let ended = async { while feeds.recv().await.is_some() {} };
    timeout(Duration::from_secs(20), ended).await.expect("the watch ends with the store");
}
