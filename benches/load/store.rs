//! Filling a store with finished events, through the library: the same rows that the gateway
//! would have written, at the speed of its writer.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use aws_lc_rs::digest;
use oncegate::clock::Clock;
use oncegate::config;
use oncegate::record::{Answer, Copy, Meets, Settlement, Verdict};
use oncegate::store::{Arrived, Medium, Payload, RedbStore, SourceRules, Store as _};
use tokio::task::JoinSet;

use crate::net::{Id, Request, body};
use crate::process::Site;

/// Events on their way to the store at once: as many as share a sync.
const AT_ONCE: usize = 512;
/// The cache while a store is filled: fewer pages are written for each event, the same rows.
const CACHE: usize = 512 << 20;
/// How often progress is told.
const TELL: Duration = Duration::from_secs(10);

/// What makes the events of one source.
#[derive(Debug)]
pub(crate) struct Maker {
    pub(crate) source: &'static str,
    /// Bytes of a body.
    pub(crate) size: usize,
    headers: Vec<(String, Vec<u8>)>,
}

impl Maker {
    /// The events of `source` as they come to `site`.
    pub(crate) fn new(site: &Site, source: &'static str, size: usize) -> Self {
        let headers = Request::new(site.public, &format!("/hooks/{source}"), size).headers();
        Self { source, size, headers }
    }

    /// Claims the event of this number and settles it: Done, with the application's answer.
    pub(crate) async fn finish(&self, store: &RedbStore, number: u64) -> anyhow::Result<()> {
        let id = Id::of(number);
        let body = body(&id, self.size);
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest::digest(&digest::SHA256, &body).as_ref());
        let copy = Copy {
            id: format!("{}:{}", self.source, id.text()),
            earlier: None,
            long: None,
            sha256,
            bytes: u64::try_from(body.len())?,
        };
        let payload = Payload {
            method: "POST".to_owned(),
            query: None,
            headers: self.headers.clone(),
            body,
            from: Some("127.0.0.1".to_owned()),
            https: false,
        };
        let Arrived { arrival, .. } = store.arrive(copy, &payload).await?;
        let Meets::Lead(lead) = arrival.meets else {
            anyhow::bail!("{} was stored before", arrival.id);
        };
        let answer =
            Answer { status: 200, headers: Vec::new(), body: Vec::new(), truncated: false };
        let settlement =
            Settlement { verdict: Verdict::Success, answer: Some(answer), detail: String::new() };
        store.settle(&arrival.id, lead.token, settlement).await?;
        Ok(())
    }
}

/// Opens the store of `site` as its gateway does, or with another cache.
pub(crate) fn open(
    site: &Site,
    clock: Arc<Clock>,
    cache: Option<usize>,
) -> anyhow::Result<RedbStore> {
    let settings = site.settings()?;
    let sources: BTreeMap<_, _> = settings
        .sources
        .iter()
        .map(|source| (source.name.clone(), SourceRules::from(source.as_ref())))
        .collect();
    let cache = cache.unwrap_or(settings.storage.cache);
    let storage = config::Storage { cache, ..settings.storage };
    Ok(RedbStore::open(Medium::File(storage.path.clone()), &storage, sources, clock)?)
}

/// Finishes the events with the numbers from `from` to below `to`, many at once.
pub(crate) async fn finish_all(
    store: &Arc<RedbStore>,
    maker: &Arc<Maker>,
    from: u64,
    to: u64,
) -> anyhow::Result<()> {
    let next = Arc::new(AtomicU64::new(from));
    let mut tasks = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (store, maker, next) = (Arc::clone(store), Arc::clone(maker), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= to {
                    return anyhow::Ok(());
                }
                maker.finish(&store, number).await?;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.context("a task of the filling")??;
    }
    Ok(())
}

/// Fills the store of `site` with `count` finished events, and closes it.
pub(crate) async fn fill(site: &Site, maker: Maker, count: u64) -> anyhow::Result<()> {
    let store = Arc::new(open(site, Arc::new(Clock::start()), Some(CACHE))?);
    let (maker, begun) = (Arc::new(maker), Instant::now());
    let (mut done, mut told) = (0, Instant::now());
    let step = (count / 1000).max(10_000);
    while done < count {
        let to = (done + step).min(count);
        finish_all(&store, &maker, done, to).await?;
        done = to;
        if told.elapsed() > TELL || done == count {
            told = Instant::now();
            let seconds = begun.elapsed().as_secs_f64();
            eprintln!("  filled {done} of {count} events, {seconds:.0} s");
        }
    }
    store.close().await;
    Ok(())
}

/// Bytes of the files in `folder`.
pub(crate) fn bytes(folder: &Path) -> anyhow::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        sum += entry?.metadata()?.len();
    }
    Ok(sum)
}
