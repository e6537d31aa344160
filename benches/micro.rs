//! The steps of one webhook by themselves: where a change of one of them would be lost in the
//! noise of a whole run.
//!
//! ```text
//! cargo bench --bench micro -- store
//! ```
#![expect(clippy::expect_used, reason = "a broken invariant of a benchmark ends it")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, Method};
use oncegate::clock::{self, Clock};
use oncegate::config::{Config, Environment, Source};
use oncegate::record::{
    self, Answer, Boot, Context, Copy, Event, Settlement, State, Token, Verdict,
};
use oncegate::store::{Medium, Payload, RedbStore, SourceRules, Store as _, fuzz};
use oncegate::verify::{Delivery, Verified};
use tokio::task::JoinSet;
use uuid::Uuid;
use wincode::config::Configuration;

/// Bytes of a body.
const BODY: usize = 1024;
const SETTINGS: &str = r#"
    [sources.shop]
    provider = "stripe"
    mode = "proxy"
    secrets = ["whsec_made_up_for_the_benchmark"]
    target = "http://127.0.0.1:9/"
"#;

/// The binary's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn config() -> Config {
    Config::parse(SETTINGS, &Environment::new()).expect("right settings")
}

fn source() -> Arc<Source> {
    config().sources.first().map(Arc::clone).expect("a source")
}

/// A delivery of an event with a random id, signed as of now.
fn delivery(source: &Source) -> Delivery {
    let id = format!("evt_{:016x}", fastrand::u64(..));
    let mut body = format!("{{\"id\":\"{id}\",\"object\":\"event\",\"note\":\"");
    body.extend(std::iter::repeat_n('x', BODY - body.len() - 2));
    body += "\"}";
    let mut delivery = Delivery {
        method: Method::POST,
        query: None,
        headers: HeaderMap::new(),
        body: Bytes::from(body),
    };
    source.sign(&mut delivery, &id, clock::wall()).expect("a signature");
    delivery
}

fn verified(source: &Source) -> Verified {
    source.verifier.check(delivery(source), clock::wall()).expect("a right signature")
}

/// A copy of an event that is not stored, its id random.
fn copy() -> Copy {
    let (id, sha256) = (format!("shop:evt_{:016x}", fastrand::u64(..)), [7; 32]);
    Copy { id, earlier: None, long: None, sha256, bytes: BODY as u64 }
}

fn settlement() -> Settlement {
    let answer = Answer { status: 200, headers: Vec::new(), body: Vec::new(), truncated: false };
    Settlement { verdict: Verdict::Success, answer: Some(answer), detail: String::new() }
}

fn verify_and_key(c: &mut Criterion) {
    let source = source();
    let (delivery, now) = (delivery(&source), clock::wall());
    c.bench_function("verify: Stripe's HMAC of 1 KiB", |b| {
        b.iter_batched(
            || delivery.clone(),
            |delivery| source.verifier.check(delivery, now),
            BatchSize::SmallInput,
        );
    });
    let verified = verified(&source);
    c.bench_function("key: /id of 1 KiB of JSON", |b| {
        b.iter(|| source.key.derive(black_box(&verified), Uuid::new_v4));
    });
}

fn transitions(c: &mut Criterion) {
    let (source, copy, settlement) = (source(), copy(), settlement());
    let cx = Context {
        now: clock::wall(),
        policy: &source.policy,
        token: Token(7),
        orphaned: false,
        boot: Boot(1),
        draw: 0.5,
    };
    let stored = |event: Option<Event>| event.expect("it is stored");
    let claimed = stored(record::arrive(None, &copy, &cx).event);
    let done = stored(record::settle(Some(&claimed), Token(7), &settlement, &cx).event);
    assert_eq!(done.state, State::Done, "a success ends an event");
    c.bench_function("record: arrive, new", |b| {
        b.iter(|| record::arrive(None, black_box(&copy), &cx));
    });
    c.bench_function("record: arrive, a copy of Done", |b| {
        b.iter(|| record::arrive(Some(black_box(&done)), &copy, &cx));
    });
    c.bench_function("record: settle", |b| {
        b.iter(|| record::settle(Some(black_box(&claimed)), Token(7), &settlement, &cx));
    });
}

fn codec(c: &mut Criterion) {
    let payload = Payload::new(&delivery(&source()), None, false);
    let mut bytes = vec![1];
    let format = Configuration::default().with_varint_encoding();
    wincode::config::serialize_into(&mut bytes, &payload, format).expect("memory");
    let row = [3; 8];
    let sealed = fuzz::seal("payloads", &row, &bytes);
    assert_eq!(
        fuzz::again("payloads", &row, &sealed).as_ref(),
        Some(&sealed),
        "they are a payload's bytes"
    );
    c.bench_function("codec: seal a payload of 1 KiB", |b| {
        b.iter(|| fuzz::seal("payloads", &row, black_box(&bytes)));
    });
    c.bench_function("codec: open it and store it again", |b| {
        b.iter(|| fuzz::again("payloads", &row, black_box(&sealed)));
    });
}

/// New events claimed at once, until all are durable: so many share a sync.
fn store(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().build().expect("a runtime");
    // Not the system's folder for temporary files, which may be in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let (config, medium) = (config(), Medium::File(folder.path().join("oncegate.redb")));
    let sources: BTreeMap<_, _> = config
        .sources
        .iter()
        .map(|source| (source.name.clone(), SourceRules::from(source.as_ref())))
        .collect();
    let opened = RedbStore::open(medium, &config.storage, sources, Arc::new(Clock::start()));
    let store = Arc::new(opened.expect("a new store"));
    let payload = Arc::new(Payload::new(&delivery(&source()), None, false));
    let mut group = c.benchmark_group("store: new events at once");
    group.measurement_time(Duration::from_secs(3));
    for at_once in [1_u64, 16, 64] {
        group.throughput(Throughput::Elements(at_once));
        group.bench_with_input(BenchmarkId::from_parameter(at_once), &at_once, |b, &at_once| {
            b.iter(|| {
                runtime.block_on(async {
                    let mut claims = JoinSet::new();
                    for _ in 0..at_once {
                        let (store, payload) = (Arc::clone(&store), Arc::clone(&payload));
                        claims.spawn(async move { store.arrive(copy(), &payload).await });
                    }
                    while let Some(claimed) = claims.join_next().await {
                        claimed.expect("a task").expect("a claim");
                    }
                });
            });
        });
    }
    group.finish();
    runtime.block_on(store.close());
}

criterion_group!(steps, verify_and_key, transitions, codec, store);
criterion_main!(steps);
