//! A change of settings between two starts loses nothing and repeats nothing.

use super::*;
use crate::key;
use crate::record::{Act, Refused};

type Sources = BTreeMap<String, SourceRules>;

fn source(mode: Mode, was: &[&str]) -> SourceRules {
    let was = was.iter().map(|name| (*name).to_owned()).collect();
    SourceRules { was, ..policy(mode).into() }
}

fn sources(all: &[(&str, SourceRules)]) -> Sources {
    all.iter().map(|(name, rules)| ((*name).to_owned(), rules.clone())).collect()
}

fn open_with(dir: &tempfile::TempDir, clock: &Arc<Clock>, sources: Sources) -> RedbStore {
    let settings = settings(dir);
    RedbStore::open(Medium::File(settings.path.clone()), &settings, sources, Arc::clone(clock))
        .unwrap()
}

fn count(store: &RedbStore, source: &str, label: Label) -> u64 {
    let counts = store.stats().counts;
    counts.iter().filter(|(s, l, _)| s == source && *l == label).map(|(_, _, n)| n).sum()
}

#[tokio::test]
async fn a_renamed_source_goes_on_with_its_events() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = open(&dir, &clock);
    let done = lead(&arrive(&store, "p:done", "body").await);
    store.settle("p:done", done.token, answered(201)).await.unwrap();
    lead(&arrive(&store, "p:cut", "body").await);
    assert_eq!(arrive(&store, "q:wait", "body").await.arrival.meets, Meets::Queued);
    store.close().await;

    let hold = Policy { on_unknown: OnUnknown::Hold, ..policy(Mode::Proxy) };
    let shop = SourceRules { was: vec!["p".to_owned()], ..hold.into() };
    let new = sources(&[("shop", shop), ("line", source(Mode::Queue, &["q"]))]);
    let store = open_with(&dir, &clock, new);
    // By the new policy.
    assert_eq!(store.recovered(), 1);
    let story = store.story("shop:cut").await.unwrap().unwrap();
    assert_eq!((story.event.id.as_str(), story.event.state), ("p:cut", State::Held));
    assert_eq!(story.source.as_deref(), Some("shop"));
    // A copy, by a read and by the writer alike.
    let (copy, _) = copy("shop:done", "body");
    let looked = store.look(&copy).unwrap().unwrap();
    assert_eq!(looked.arrival.id, "p:done");
    let again = arrive(&store, "shop:done", "body").await;
    assert_eq!(again.arrival.meets, Meets::Duplicate(Finish::Answered));
    assert_eq!(again.answer.unwrap().status, 201);
    // An operator, by either name.
    store.operate("shop:cut", Act::SettleQueued, "").await.unwrap().unwrap();
    assert!(store.story("p:cut").await.unwrap().is_some());
    // Counted, and delivered under the id it was born with.
    assert_eq!(
        (count(&store, "shop", Label::Queued), count(&store, "line", Label::Queued)),
        (1, 1)
    );
    assert!(store.stats().orphaned.is_empty());
    assert_eq!(store.stats().oldest.len(), 2);
    let taken = store.take_due("line", 10).await.unwrap().events;
    assert_eq!(taken[0].id, "q:wait");
    let settled = store.settle("q:wait", taken[0].lead.token, answered(200)).await;
    assert_eq!(settled, Ok(Settled::Now(Label::Done)));
    let note = Seen { at: clock.now(), outcome: "busy".into(), status: 503, mismatch: false };
    store.note("line:wait", note);
    let story = store.story("line:wait").await.unwrap().unwrap();
    assert_eq!(story.deliveries.counts, [("queued".to_owned(), 1), ("busy".to_owned(), 1)]);
    // New events are born under the new name.
    assert_eq!(arrive(&store, "line:new", "body").await.arrival.id, "line:new");
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
    clock.advance(Duration::from_hours(101));
    let mut swept = store.sweep().await.unwrap().forgotten;
    swept.sort();
    assert_eq!(swept, [("line".to_owned(), 1), ("shop".to_owned(), 1)]);
    store.close().await;
}

#[tokio::test]
async fn the_queue_takes_what_is_due_first_under_whatever_name() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = open(&dir, &clock);
    for key in ["q:1", "q:2"] {
        arrive(&store, key, "body").await;
        clock.advance(Duration::from_secs(2));
    }
    store.close().await;
    let store = open_with(&dir, &clock, sources(&[("line", source(Mode::Queue, &["q"]))]));
    arrive(&store, "line:3", "body").await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let taken = store.take_due("line", 1).await.unwrap();
        assert!(taken.next_due.is_some_and(|due| due <= clock.now()));
        ids.extend(taken.events.into_iter().map(|event| event.id));
    }
    ids.extend(store.take_due("line", 9).await.unwrap().events.into_iter().map(|event| event.id));
    assert_eq!(ids, ["q:1", "q:2", "line:3"]);
    store.close().await;
}

#[tokio::test]
async fn events_of_a_removed_source_are_kept_and_named_and_wait_for_it() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = open(&dir, &clock);
    lead(&arrive(&store, "p:cut", "body").await);
    arrive(&store, "q:1", "body").await;
    arrive(&store, "q:2", "body").await;
    store.close().await;
    let path = settings(&dir).path;
    let names = std::collections::BTreeSet::from(["p".to_owned()]);
    assert_eq!(orphans(&path, &names), Orphans::Known(vec![("q".to_owned(), 2)]));

    let store = open_with(&dir, &clock, Sources::new());
    assert!(matches!(orphans(&path, &names), Orphans::Unknown(why) if why.contains("in use")));
    let mut orphaned = BTreeMap::new();
    for (source, _, count) in store.stats().orphaned {
        *orphaned.entry(source).or_insert(0) += count;
    }
    assert_eq!(orphaned, [("p".to_owned(), 1), ("q".to_owned(), 2)].into());
    assert!(store.stats().counts.is_empty());
    clock.advance(Duration::from_hours(10_000));
    assert_eq!(store.sweep().await.unwrap(), Swept::default());
    assert_eq!(store.story("q:1").await.unwrap().unwrap().source, None);
    let refused = [
        ("q:1", Act::Redeliver { force: true }),
        ("q:1", Act::Admit),
        ("p:cut", Act::Forget { force: true }),
        ("p:cut", Act::SettleDone),
    ];
    for (id, act) in refused {
        assert_eq!(store.operate(id, act, "").await.unwrap(), Err(Refused::Orphaned), "{id}");
    }
    store.operate("q:2", Act::Forget { force: true }, "").await.unwrap().unwrap();
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
    store.close().await;

    // Back, with another rule for what is unknown: that one decides.
    let hold = Policy { on_unknown: OnUnknown::Hold, ..policy(Mode::Proxy) };
    let back = sources(&[("p", hold.into()), ("q", source(Mode::Queue, &[]))]);
    let store = open_with(&dir, &clock, back);
    assert_eq!(store.recovered(), 1);
    assert_eq!(store.story("p:cut").await.unwrap().unwrap().event.state, State::Held);
    assert_eq!(store.take_due("q", 9).await.unwrap().events.len(), 1);
    store.close().await;

    // Held without a source: it can be settled as done, and not attempted.
    let store = open_with(&dir, &clock, Sources::new());
    let queue = store.operate("p:cut", Act::SettleQueued, "").await.unwrap();
    assert_eq!(queue, Err(Refused::Orphaned));
    store.operate("p:cut", Act::SettleDone, "").await.unwrap().unwrap();
    store.close().await;
}

#[test]
fn a_look_for_orphans_makes_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none.redb");
    assert_eq!(orphans(&path, &std::collections::BTreeSet::new()), Orphans::Known(Vec::new()));
    assert!(!path.exists());
}

#[tokio::test]
async fn the_stored_event_not_the_mode_of_today_decides() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = open(&dir, &clock);
    let done = lead(&arrive(&store, "p:done", "body").await);
    store.settle("p:done", done.token, answered(201)).await.unwrap();
    let open_event = lead(&arrive(&store, "p:open", "body").await);
    let failed = Settlement { verdict: Verdict::Failed, answer: None, detail: String::new() };
    store.settle("p:open", open_event.token, failed).await.unwrap();
    arrive(&store, "q:wait", "body").await;
    arrive(&store, "q:done", "body").await;
    let taken = store.take_due("q", 9).await.unwrap().events;
    let last = taken.iter().find(|event| event.id == "q:done").unwrap();
    store.settle("q:done", last.lead.token, answered(200)).await.unwrap();
    store.close().await;

    let turned = sources(&[("p", source(Mode::Queue, &[])), ("q", source(Mode::Proxy, &[]))]);
    let store = open_with(&dir, &clock, turned);
    let again = arrive(&store, "p:done", "body").await;
    assert_eq!(again.arrival.meets, Meets::Duplicate(Finish::Answered));
    assert_eq!(again.answer.unwrap().status, 201, "the recorded answer, also in queue mode");
    assert_eq!(arrive(&store, "p:open", "body").await.arrival.meets, Meets::Queued);
    // In flight when the process ended, owed: the queue column for good, and delivered.
    for id in ["q:wait", "q:done"] {
        let again = arrive(&store, id, "body").await;
        assert_eq!(again.arrival.meets, Meets::Duplicate(Finish::Acknowledged), "{id}");
    }
    clock.advance(Duration::from_secs(60));
    let taken = store.take_due("q", 9).await.unwrap().events;
    assert_eq!((taken.len(), taken[0].id.as_str(), taken[0].lead.doubt), (1, "q:wait", true));
    store.close().await;
}

fn keyed(part: &str, was: &[&str]) -> SourceRules {
    let parts = vec![part.to_owned()];
    let key = Some(key::Spec { parts, ..key::Spec::default() });
    SourceRules { key, ..source(Mode::Proxy, was) }
}

fn parts(store: &RedbStore, source: &str) -> Vec<String> {
    store.old_keys(source).iter().map(|spec| spec.parts.join(",")).collect()
}

#[tokio::test]
async fn an_old_key_rule_is_remembered_until_its_ttl_is_over() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let at = async |rules: SourceRules, name: &str| {
        let store = open_with(&dir, &clock, sources(&[(name, rules)]));
        let old = parts(&store, name);
        assert_eq!(store.check().unwrap(), Vec::<String>::new());
        store.close().await;
        old
    };
    assert!(at(keyed("json:/a", &[]), "s").await.is_empty());
    assert!(at(keyed("json:/a", &[]), "s").await.is_empty());
    assert_eq!(at(keyed("json:/b", &[]), "s").await, ["json:/a"]);
    clock.advance(Duration::from_hours(60));
    // It goes along with a new name, and ends when it would have.
    assert_eq!(at(keyed("json:/c", &["s"]), "t").await, ["json:/a", "json:/b"]);
    assert_eq!(at(keyed("json:/c", &["s"]), "t").await, ["json:/a", "json:/b"]);
    clock.advance(Duration::from_hours(23));
    clock.advance(Duration::from_hours(18));
    let store = open_with(&dir, &clock, sources(&[("t", keyed("json:/c", &["s"]))]));
    assert!(store.clock_in_doubt());
    assert_eq!(parts(&store, "t"), ["json:/a", "json:/b"], "a clock in doubt forgets nothing");
    store.trust_clock();
    lead(&arrive(&store, "t:1", "body").await);
    store.close().await;
    assert_eq!(at(keyed("json:/c", &["s"]), "t").await, ["json:/b"]);
    // In force again: not an old one any more.
    assert_eq!(at(keyed("json:/b", &[]), "t").await, ["json:/c"]);
    for n in 0..12 {
        at(keyed(&format!("json:/{n}"), &[]), "t").await;
    }
    let last = at(keyed("json:/b", &[]), "t").await;
    assert_eq!((last.len(), last.last().unwrap().as_str()), (8, "json:/11"));
    store_has_the_event(&dir, &clock).await;
}

/// A copy found by an old rule is to the event it finds, and only if its own key is not there.
async fn store_has_the_event(dir: &tempfile::TempDir, clock: &Arc<Clock>) {
    let store = open_with(dir, clock, sources(&[("t", keyed("json:/b", &[]))]));
    let (new, payload) = copy("t:by-new-rule", "body");
    let new = Copy { earlier: Some("t:1".to_owned()), ..new };
    let met = store.arrive(new.clone(), &payload).await.unwrap();
    assert_eq!((met.arrival.id.as_str(), met.arrival.attempt), ("t:1", 2));
    let lead = lead(&met);
    store.settle("t:1", lead.token, answered(202)).await.unwrap();
    let again = store.look(&new).unwrap().unwrap();
    assert_eq!(again.arrival.meets, Meets::Duplicate(Finish::Answered));
    assert_eq!(again.answer.unwrap().status, 202);
    assert!(store.event("t:by-new-rule").unwrap().is_none());
    store.close().await;
}
