//! `fallback = "coalesce"`: no two runs of a signal at once, and every copy that was
//! acknowledged is followed by a run that starts after it came.

use ::redb::ReadableDatabase as _;
use proptest::prelude::*;

use super::*;
use crate::key;
use crate::record::{Act, Refused};

const SIGNAL: &str = "=signal.e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn sources(name: &str, mode: Mode, on_unknown: OnUnknown) -> BTreeMap<String, SourceRules> {
    let was = ["s", "t"].into_iter().filter(|was| *was != name).map(str::to_owned).collect();
    let policy = Policy { on_unknown, ..policy(mode) };
    BTreeMap::from([(
        name.to_owned(),
        SourceRules { was, key: Some(key::Spec::default()), ..policy.into() },
    )])
}

/// A store of one source in memory of the file system, as it is started.
fn start(dir: &tempfile::TempDir, clock: &Arc<Clock>, mode: Mode) -> RedbStore {
    let (settings, rules) = (settings(dir), sources("s", mode, OnUnknown::Redeliver));
    RedbStore::open(Medium::File(settings.path.clone()), &settings, rules, Arc::clone(clock))
        .unwrap()
}

async fn come(store: &RedbStore) -> Arrived {
    arrive(store, &format!("s:{SIGNAL}"), "body").await
}

fn ended(verdict: Verdict) -> Settlement {
    Settlement { verdict, ..answered(200) }
}

#[tokio::test]
async fn a_copy_joins_the_run_that_has_not_started_and_else_is_the_next() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = start(&dir, &clock, Mode::Queue);
    let first = come(&store).await.arrival;
    assert_eq!(first.meets, Meets::Queued);
    assert!(first.id.starts_with(&format!("s:{SIGNAL}.")), "{}", first.id);
    let joined = come(&store).await.arrival;
    assert_eq!((joined.meets, &joined.id), (Meets::Duplicate(Finish::Acknowledged), &first.id));
    let run = store.take_due("s", 9).await.unwrap().events.remove(0);
    let second = come(&store).await.arrival;
    assert_eq!(second.meets, Meets::Queued, "the first run has started");
    assert_ne!(second.id, first.id);
    assert_eq!(come(&store).await.arrival.id, second.id);
    // Not while the first is in flight; the queue sleeps until that has ended.
    let none = store.take_due("s", 9).await.unwrap();
    assert_eq!((none.events.len(), none.next_due), (0, None));
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
    store.settle(&run.id, run.lead.token, answered(200)).await.unwrap();
    let run = store.take_due("s", 9).await.unwrap().events.remove(0);
    assert_eq!(run.id, second.id);
    store.settle(&run.id, run.lead.token, answered(200)).await.unwrap();
    assert_eq!(come(&store).await.arrival.meets, Meets::Queued, "done: the next run");
    store.close().await;
}

#[tokio::test]
async fn what_is_saved_of_a_damaged_file_still_knows_its_runs_and_its_key_rules() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = start(&dir, &clock, Mode::Queue);
    come(&store).await;
    store.take_due("s", 9).await.unwrap();
    let next = come(&store).await.arrival;
    store.close().await;
    drop(store);

    let (path, saved) = (settings(&dir).path, dir.path().join("saved"));
    let from = Arc::new(::redb::Database::open(&path).unwrap());
    let to = Arc::new(file::make(&saved, &settings(&dir)).unwrap());
    mend::save_readable(&from, &to).unwrap();
    assert_eq!(key_rules_of(&to), key_rules_of(&from));
    assert!(!key_rules_of(&from).is_empty());
    drop((from, to));
    std::fs::rename(saved, path).unwrap();

    let store = start(&dir, &clock, Mode::Queue);
    let joined = come(&store).await.arrival;
    assert_eq!((joined.meets, joined.id), (Meets::Duplicate(Finish::Acknowledged), next.id));
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
    store.close().await;
}

fn key_rules_of(db: &::redb::Database) -> Vec<(rows::Key, Vec<u8>)> {
    let base = layers::BaseRows::read(&db.begin_read().unwrap()).unwrap();
    let rows = layers::View::of(&base).range(&rows::Span::meta()).unwrap().map(Result::unwrap);
    let rules = |(key, _): &(rows::Key, Vec<u8>)| matches!(key.read(), Some(rows::Row::Meta(name)) if name.starts_with(key_rules::PREFIX));
    rows.filter(rules).collect()
}

#[tokio::test]
async fn a_late_success_does_not_answer_for_who_joined_since() {
    for mode in [Mode::Queue, Mode::Proxy] {
        let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
        let store = start(&dir, &clock, mode);
        let first = come(&store).await.arrival;
        let token = if let Meets::Lead(lead) = &first.meets {
            lead.token
        } else {
            store.take_due("s", 1).await.unwrap().events.remove(0).lead.token
        };
        store.settle(&first.id, token, ended(Verdict::Unknown)).await.unwrap();
        if mode == Mode::Queue {
            assert_eq!(come(&store).await.arrival.id, first.id, "it joins");
        }
        let late = store.settle(&first.id, token, answered(200)).await.unwrap();
        assert_ne!(late, Settled::Now(Label::Done));
        clock.advance(Duration::from_secs(5));
        let again = if let Meets::Lead(lead) = come(&store).await.arrival.meets {
            lead
        } else {
            store.take_due("s", 1).await.unwrap().events.remove(0).lead
        };
        assert!(again.doubt && again.attempt == 2);
        store.close().await;
    }
}

#[tokio::test]
async fn runs_that_must_wait_keep_no_other_event_from_its_turn() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = start(&dir, &clock, Mode::Queue);
    let mut runs = Vec::new();
    for _ in 0..20 {
        come(&store).await;
        let run = store.take_due("s", 1).await.unwrap().events.remove(0);
        store.settle(&run.id, run.lead.token, answered(200)).await.unwrap();
        runs.push(run.id);
    }
    for run in &runs {
        store.operate(run, Act::Redeliver { force: true }, "").await.unwrap().unwrap();
    }
    clock.advance(Duration::from_secs(1));
    arrive(&store, "s:other", "body").await;
    let taken = store.take_due("s", 2).await.unwrap().events;
    assert_eq!((taken.len(), taken[1].id.as_str()), (2, "s:other"));
    store.close().await;
}

#[tokio::test]
async fn in_proxy_mode_a_copy_waits_for_the_run_in_flight() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = start(&dir, &clock, Mode::Proxy);
    let first = come(&store).await;
    let run = lead(&first);
    let waits = come(&store).await.arrival;
    assert_eq!((waits.meets, &waits.id), (Meets::InFlight, &first.arrival.id));
    store.settle(&first.arrival.id, run.token, answered(200)).await.unwrap();
    let next = come(&store).await;
    lead(&next);
    assert_ne!(next.arrival.id, first.arrival.id);
    store.close().await;
}

#[tokio::test]
async fn forgotten_runs_take_the_row_of_their_signal_along() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = start(&dir, &clock, Mode::Queue);
    for _ in 0..3 {
        come(&store).await;
        let run = store.take_due("s", 1).await.unwrap().events.remove(0);
        store.settle(&run.id, run.lead.token, answered(200)).await.unwrap();
        clock.advance(Duration::from_hours(40));
        sweep(&store).await;
        assert_eq!(store.check().unwrap(), Vec::<String>::new());
    }
    clock.advance(Duration::from_hours(101));
    sweep(&store).await;
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
    assert_eq!(come(&store).await.arrival.meets, Meets::Queued);
    store.close().await;
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Copy,
    Take,
    Settle(Verdict),
    /// The attempt before ends well after all.
    Late,
    Redeliver(usize),
    SettleHeld(usize, bool),
    Forget(usize),
    Wait,
    Sweep,
    /// A restart, with other settings.
    Start {
        renamed: bool,
        mode: Mode,
        on_unknown: OnUnknown,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let verdict = prop_oneof![
        3 => Just(Verdict::Success),
        2 => Just(Verdict::Failed),
        3 => Just(Verdict::Unknown),
        1 => Just(Verdict::NotSent),
    ];
    let start = (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(renamed, queue, hold)| {
        let mode = if queue { Mode::Queue } else { Mode::Proxy };
        let on_unknown = if hold { OnUnknown::Hold } else { OnUnknown::Redeliver };
        Step::Start { renamed, mode, on_unknown }
    });
    let step = prop_oneof![
        12 => Just(Step::Copy),
        6 => Just(Step::Take),
        6 => verdict.prop_map(Step::Settle),
        2 => Just(Step::Late),
        2 => (0..9_usize).prop_map(Step::Redeliver),
        1 => (0..9_usize, any::<bool>()).prop_map(|(run, done)| Step::SettleHeld(run, done)),
        1 => (0..9_usize).prop_map(Step::Forget),
        2 => Just(Step::Wait),
        1 => Just(Step::Sweep),
        2 => start,
    ];
    prop::collection::vec(step, 1..50)
}

/// What happened, in the order of `now`, which counts steps.
struct Model {
    dir: tempfile::TempDir,
    clock: Arc<Clock>,
    store: RedbStore,
    name: &'static str,
    now: usize,
    /// The run that is in flight.
    open: Option<(String, Token)>,
    /// The one that was given up last.
    given_up: Option<(String, Token)>,
    acknowledged: Vec<usize>,
    started: Vec<usize>,
    runs: Vec<String>,
}

impl Model {
    fn new() -> Self {
        let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
        let store = start(&dir, &clock, Mode::Queue);
        Self {
            dir,
            clock,
            store,
            name: "s",
            now: 0,
            open: None,
            given_up: None,
            acknowledged: Vec::new(),
            started: Vec::new(),
            runs: Vec::new(),
        }
    }

    fn starts(&mut self, id: &str, lead: &Lead) {
        assert_eq!(self.open, None, "{id} starts while another run is in flight");
        self.open = Some((id.to_owned(), lead.token));
        self.started.push(self.now);
        if !self.runs.iter().any(|run| run == id) {
            self.runs.push(id.to_owned());
        }
    }

    async fn copy(&mut self) {
        let met = arrive(&self.store, &format!("{}:{SIGNAL}", self.name), "body").await.arrival;
        match met.meets {
            Meets::Lead(lead) => self.starts(&met.id, &lead),
            Meets::Queued | Meets::Duplicate(_) | Meets::Held => self.acknowledged.push(self.now),
            Meets::InFlight => assert!(self.open.is_some(), "it waits for nothing"),
            Meets::Mismatch => panic!("the bytes are the same"),
        }
    }

    async fn take(&mut self) {
        let taken = self.store.take_due(self.name, 5).await.unwrap().events;
        for event in taken {
            self.starts(&event.id, &event.lead);
        }
    }

    async fn settle(&mut self, verdict: Verdict) {
        let Some((id, token)) = self.open.take() else { return };
        self.store.settle(&id, token, ended(verdict)).await.unwrap();
        if verdict == Verdict::Unknown {
            self.given_up = Some((id, token));
        }
    }

    async fn operate(&mut self, run: usize, act: Act) {
        let Some(id) = run.checked_rem(self.runs.len()).map(|place| self.runs[place].clone())
        else {
            return;
        };
        if let Err(refused) = self.store.operate(&id, act, "").await.unwrap() {
            assert_ne!(refused, Refused::Orphaned, "its source is configured");
        }
    }

    async fn step(&mut self, step: Step) {
        self.now += 1;
        match step {
            Step::Copy => self.copy().await,
            Step::Take => self.take().await,
            Step::Settle(verdict) => self.settle(verdict).await,
            Step::Late => {
                if let Some((id, token)) = self.given_up.clone() {
                    self.store.settle(&id, token, ended(Verdict::Success)).await.unwrap();
                }
            },
            Step::Redeliver(run) => self.operate(run, Act::Redeliver { force: true }).await,
            Step::SettleHeld(run, done) => {
                let act = if done { Act::SettleDone } else { Act::SettleQueued };
                self.operate(run, act).await;
            },
            Step::Forget(run) => self.operate(run, Act::Forget { force: false }).await,
            Step::Wait => self.clock.advance(Duration::from_secs(3)),
            Step::Sweep => {
                self.clock.advance(Duration::from_hours(11));
                sweep(&self.store).await;
            },
            Step::Start { renamed, mode, on_unknown } => {
                self.store.close().await;
                if renamed {
                    self.name = if self.name == "s" { "t" } else { "s" };
                }
                let (settings, rules) = (settings(&self.dir), sources(self.name, mode, on_unknown));
                let medium = Medium::File(settings.path.clone());
                self.store =
                    RedbStore::open(medium, &settings, rules, Arc::clone(&self.clock)).unwrap();
                self.open = None;
            },
        }
        assert_eq!(self.store.check().unwrap(), Vec::<String>::new());
    }

    /// All that waits is attempted, and then everyone who was acknowledged has been heard.
    async fn end(mut self) {
        for _ in 0..1000 {
            self.now += 1;
            self.settle(Verdict::Success).await;
            self.clock.advance(Duration::from_secs(60));
            let waiting: u64 = self
                .store
                .stats()
                .counts
                .iter()
                .filter(|(_, label, _)| *label == Label::Queued)
                .map(|(_, _, count)| count)
                .sum();
            if waiting == 0 && self.open.is_none() {
                break;
            }
            // One at a time, as they may.
            self.take().await;
        }
        let last = self.started.last().copied().unwrap_or(0);
        if let Some(came) = self.acknowledged.last() {
            assert!(last > *came, "no run started after the copy of step {came}");
        }
        self.store.close().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_acknowledged_copy_of_a_signal_is_followed_by_a_run(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut model = Model::new();
            for step in steps {
                model.step(step).await;
            }
            model.end().await;
        });
    }
}
