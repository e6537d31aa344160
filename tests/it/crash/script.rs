//! A fixed mix of everything the store does, and what was acknowledged of it when.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use oncegate::clock::Clock;
use oncegate::record::{Act, Finish, Lead, Meets, Verdict};
use oncegate::store::{RedbStore, Seen, Store as _};
use oncegate::time::Millis;

use super::disk::{Disk, Op};
use super::world::{self, FIRST_DELAY, History, KEEP, Known, START, TTL, body};

/// What a run left: the disk's log and what was acknowledged along it.
pub(super) struct Run {
    pub(super) log: Vec<Op>,
    pub(super) history: History,
    /// When the last of it happened.
    pub(super) end: Millis,
}

struct Player {
    disk: Disk,
    clock: Arc<Clock>,
    store: RedbStore,
    history: History,
}

/// Bodies of a page's fraction, a page, many pages, and none.
const SIZES: [usize; 4] = [0, 100, 5 << 10, 40 << 10];

pub(super) async fn run() -> Run {
    let disk = Disk::default();
    let clock = Arc::new(Clock::still(START));
    let store = world::open(&disk, &clock).unwrap();
    let mut player = Player { disk, clock, store, history: History::default() };
    player.proxy("1").await;
    player.queue("1").await;
    player.batch("1").await;
    player.at_once("a").await;
    player.restart(false).await;
    player.holds().await;
    player.queue("2").await;
    player.batch("2").await;
    player.at_once("b").await;
    player.compact().await;
    player.restart(true).await;
    player.proxy("2").await;
    player.time_passes().await;
    player.compact().await;
    player.at_once("c").await;
    player.store.close().await;
    let end = player.clock.now();
    Run { log: player.disk.log(), history: player.history, end }
}

impl Player {
    /// Remembers how `id` stands, as acknowledged now.
    async fn acknowledged(&mut self, id: &str) {
        let ops = self.disk.ops();
        let (snapshot, noted) = world::look(&self.store, id).await.unwrap();
        let snapshot = snapshot.map(Arc::new);
        self.history.add(id, Known { ops, snapshot, noted });
    }

    async fn all_acknowledged(&mut self) {
        let ids: BTreeSet<String> = self.history.events.keys().cloned().collect();
        for id in ids {
            self.acknowledged(&id).await;
        }
    }

    async fn arrive(&mut self, id: &str, bytes: &[u8]) -> Meets {
        let (copy, payload) = world::delivery(id, bytes);
        let met = self.store.arrive(copy, &payload).await.unwrap().arrival.meets;
        if let Meets::Lead(lead) = &met {
            self.history.tokens.push((self.disk.ops(), lead.token));
        }
        self.acknowledged(id).await;
        met
    }

    async fn lead(&mut self, id: &str, bytes: &[u8]) -> Lead {
        match self.arrive(id, bytes).await {
            Meets::Lead(lead) => lead,
            other => panic!("{id} met {other:?}"),
        }
    }

    async fn settle(&mut self, id: &str, lead: &Lead, verdict: Verdict, answer: &[u8]) {
        let settlement = world::settlement(verdict, answer);
        self.store.settle(id, lead.token, settlement).await.unwrap();
        self.acknowledged(id).await;
    }

    async fn take(&mut self, source: &str, limit: usize) -> Vec<(String, Lead)> {
        let taken = self.store.take_due(source, limit).await.unwrap().events;
        let ops = self.disk.ops();
        let mut leads = Vec::new();
        for event in taken {
            self.history.tokens.push((ops, event.lead.token));
            self.acknowledged(&event.id).await;
            leads.push((event.id, event.lead));
        }
        leads
    }

    async fn operate(&mut self, id: &str, act: Act) {
        self.store.operate(id, act, "because").await.unwrap().unwrap();
        self.acknowledged(id).await;
    }

    async fn note(&mut self, ids: &[&str]) {
        for (at, id) in ids.iter().enumerate() {
            for _ in 0..=at {
                let outcome = "duplicate".to_owned();
                let at = self.clock.now();
                self.store.note(id, Seen { at, outcome, status: 200, mismatch: false });
            }
        }
        self.store.flush().await.unwrap();
        for id in ids {
            self.acknowledged(id).await;
        }
    }

    /// Closed, or killed.
    async fn restart(&mut self, killed: bool) {
        if killed {
            self.disk.kill();
        }
        self.store.close().await;
        self.store = world::open(&self.disk, &self.clock).unwrap();
        self.all_acknowledged().await;
    }

    /// The file is compacted: every event stands as before.
    async fn compact(&mut self) {
        self.store.compact().await.unwrap();
        self.all_acknowledged().await;
    }

    /// Claims and their ends, copies of each, and copies with other bytes.
    async fn proxy(&mut self, round: &str) {
        for (size, verdict) in SIZES.into_iter().zip([
            Verdict::Success,
            Verdict::Failed,
            Verdict::Unknown,
            Verdict::Final,
        ]) {
            let id = format!("p:{round}-{size}");
            let bytes = body(&id, size);
            let lead = self.lead(&id, &bytes).await;
            assert_eq!(self.arrive(&id, &bytes).await, Meets::InFlight);
            if size == 100 {
                self.arrive(&id, b"other bytes in flight").await;
            }
            self.settle(&id, &lead, verdict, &body("answer", size)).await;
            self.arrive(&id, &body("again", size + 7)).await;
            self.clock.advance(Duration::from_secs(1));
        }
        // Failed: the second copy leads, and its bytes are the event's.
        let id = format!("p:{round}-open");
        let first = self.lead(&id, &body("one", 5000)).await;
        self.settle(&id, &first, Verdict::NotSent, b"").await;
        let second = self.lead(&id, &body("two", 300)).await;
        self.settle(&id, &first, Verdict::Success, b"stale").await;
        self.settle(&id, &second, Verdict::Failed, b"").await;
        self.settle(&id, &second, Verdict::Success, b"late").await;
        self.note(&[&id, &format!("p:{round}-0")]).await;
        // Left in flight.
        self.lead(&format!("p:{round}-left"), &body("left", 2000)).await;
    }

    /// Accepted, taken, failed, taken again, given up, revived.
    async fn queue(&mut self, round: &str) {
        for size in SIZES {
            let id = format!("q:{round}-{size}");
            assert_eq!(self.arrive(&id, &body(&id, size)).await, Meets::Queued);
            self.arrive(&id, &body(&id, size)).await;
        }
        let taken = self.take("q", 3).await;
        let verdicts = [Verdict::Success, Verdict::Failed, Verdict::Unknown];
        for ((id, lead), verdict) in taken.iter().zip(verdicts) {
            self.settle(id, lead, verdict, b"ok").await;
        }
        self.clock.advance(FIRST_DELAY);
        for (id, lead) in self.take("q", 10).await.into_iter().skip(1) {
            self.settle(&id, &lead, Verdict::Success, b"ok").await;
        }
        let id = format!("d:{round}");
        self.arrive(&id, &body(&id, 700)).await;
        for (id, lead) in self.take("d", 10).await {
            self.settle(&id, &lead, Verdict::Failed, b"").await;
        }
        self.arrive(&id, &body("mismatch", 900)).await;
        for (id, lead) in self.take("d", 10).await {
            self.settle(&id, &lead, Verdict::Final, b"").await;
        }
        self.operate(&id, Act::Redeliver { force: false }).await;
    }

    /// Elements of every size that come together, one of them twice, and one of before.
    async fn batch(&mut self, round: &str) {
        let new: Vec<_> = (0..9).map(|nth| format!("b:{round}-{nth}")).collect();
        let (mut ids, old) = (new.clone(), ["b:1-7", &new[7]]);
        ids.extend(old.map(str::to_owned));
        let bytes = |id: &str| body(id, SIZES[id.len() % 2 + usize::from(id.ends_with('4')) * 2]);
        let elements = ids.iter().map(|id| world::delivery(id, &bytes(id))).collect();
        let met = self.store.arrive_all(elements).await.unwrap();
        assert!(met[..9].iter().all(|met| met.arrival.meets == Meets::Queued));
        let acknowledged = Meets::Duplicate(Finish::Acknowledged);
        assert!(met[9..].iter().all(|met| met.arrival.meets == acknowledged));
        for id in &new {
            self.acknowledged(id).await;
        }
        self.history.batches.push(new);
    }

    /// Held, and what an operator does about it.
    async fn holds(&mut self) {
        for (id, act) in [
            ("h:done", Act::SettleDone),
            ("h:queued", Act::SettleQueued),
            ("h:forget", Act::Forget { force: true }),
        ] {
            let lead = self.lead(id, &body(id, 1500)).await;
            self.settle(id, &lead, Verdict::Unknown, b"").await;
            assert_eq!(self.arrive(id, &body(id, 1500)).await, Meets::Held);
            self.operate(id, act).await;
        }
        // Forgotten: a first copy again.
        self.lead("h:forget", &body("once more", 60)).await;
        self.operate("h:done", Act::Redeliver { force: true }).await;
        let taken = self.take("h", 10).await;
        for (id, lead) in &taken {
            self.settle(id, lead, Verdict::Success, b"done").await;
        }
        // Let through once more, by which it is queued and taken again.
        self.operate("h:done", Act::Admit).await;
        assert_eq!(self.arrive("h:done", &body("resent", 800)).await, Meets::Queued);
        for (id, lead) in self.take("h", 10).await {
            self.settle(&id, &lead, Verdict::Success, b"done").await;
        }
    }

    /// Several verbs in one commit, of all lanes: they wait while a first one is written.
    async fn at_once(&mut self, round: &str) {
        let id = |name: &str| format!("p:{round}-{name}");
        let (left, first) = (id("left"), id("first"));
        let lead = self.lead(&left, &body(&left, 6000)).await;
        let queued = format!("q:{round}-batch");
        self.disk.close_gate();
        let arrive = |id: String, len: usize| {
            let (copy, payload) = world::delivery(&id, &body(&id, len));
            let (store, disk) = (&self.store, &self.disk);
            async move {
                let met = store.arrive(copy, &payload).await.unwrap().arrival.meets;
                (disk.ops(), met)
            }
        };
        let batch: Vec<_> = (0..5).map(|nth| format!("b:{round}-{nth}")).collect();
        let elements = batch.iter().map(|id| world::delivery(id, &body(id, 3000))).collect();
        let all = async {
            self.store.arrive_all(elements).await.unwrap();
            self.disk.ops()
        };
        let settle = async {
            let settlement = world::settlement(Verdict::Success, &body("answer", 9000));
            self.store.settle(&left, lead.token, settlement).await.unwrap();
            self.disk.ops()
        };
        let gate = async {
            while !self.disk.waits_at_gate() {
                tokio::task::yield_now().await;
            }
            // The first waits in its commit; now the others are sent, and join one batch.
        };
        let rest = async {
            gate.await;
            let open = async { self.disk.open_gate() };
            tokio::join!(
                settle,
                arrive(id("x"), 40),
                arrive(id("x"), 40),
                arrive(id("y"), 20_000),
                arrive(queued.clone(), 3000),
                all,
                open,
            )
        };
        let (one, (settled, x, copy_of_x, y, q, all, ())) =
            tokio::join!(arrive(first.clone(), 10), rest);
        let mut acks = vec![
            (first, one.0),
            (left, settled),
            (id("x"), x.0),
            (id("x"), copy_of_x.0),
            (id("y"), y.0),
            (queued, q.0),
        ];
        acks.extend(batch.iter().map(|id| (id.clone(), all)));
        self.history.batches.push(batch);
        for (_, met) in [&one, &x, &y] {
            let Meets::Lead(lead) = met else { panic!("{met:?}") };
            self.history.tokens.push((self.disk.ops(), lead.token));
        }
        for (id, ops) in acks {
            let (snapshot, noted) = world::look(&self.store, &id).await.unwrap();
            self.history.add(&id, Known { ops, snapshot: snapshot.map(Arc::new), noted });
        }
    }

    /// `keep` takes bodies, a copy brings one back, `ttl` takes events.
    async fn time_passes(&mut self) {
        self.clock.advance(KEEP);
        self.store.sweep().await.unwrap();
        self.all_acknowledged().await;
        self.arrive("p:2-0", &body("p:2-0", 0)).await;
        self.arrive("q:1-0", &body("q:1-0", 0)).await;
        self.clock.advance(TTL - Duration::from_secs(60));
        while self.store.sweep().await.unwrap().more {}
        self.all_acknowledged().await;
        self.lead("p:1-0", &body("p:1-0", 0)).await;
        for (id, lead) in self.take("q", 2).await {
            self.settle(&id, &lead, Verdict::Success, b"").await;
        }
    }
}
