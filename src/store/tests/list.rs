//! Pages against a naive list, alone and while events come, change and go.

use ::redb::{Database, ReadableTable as _};

use super::*;
use crate::record::Event;
use crate::record::Refused;

const SOURCES: [&str; 3] = ["p", "q", "gone"];
const STATES: [Option<Label>; 5] =
    [None, Some(Label::Open), Some(Label::Queued), Some(Label::Done), Some(Label::InFlight)];

/// A store, and the ids in it in the order of their arrival.
struct World {
    store: RedbStore,
    clock: Arc<Clock>,
    random: fastrand::Rng,
    ids: Vec<String>,
    leads: BTreeMap<String, Token>,
    serial: usize,
}

impl World {
    fn new(dir: &tempfile::TempDir, seed: u64) -> Self {
        let clock = clock();
        let store = open(dir, &clock);
        let random = fastrand::Rng::with_seed(seed);
        Self { store, clock, random, ids: Vec::new(), leads: BTreeMap::new(), serial: 0 }
    }

    /// One thing happens: an event comes, changes, or is forgotten.
    async fn step(&mut self) {
        if self.random.bool() {
            self.clock.advance(Duration::from_millis(self.random.u64(0..3)));
        }
        let known = self.random.usize(..self.ids.len().max(1));
        match (self.random.u8(0..10), self.ids.get(known).cloned()) {
            (0..6, _) | (_, None) => {
                self.serial += 1;
                let source = SOURCES[self.random.usize(..SOURCES.len())];
                let id = format!("{source}:k{}-{}", self.serial % 3, self.serial);
                if let Meets::Lead(lead) = arrive(&self.store, &id, "b").await.arrival.meets {
                    self.leads.insert(id.clone(), lead.token);
                }
                self.ids.push(id);
            },
            (6, Some(id)) => {
                let forgotten = self.store.operate(&id, Act::Forget { force: true }, "").await;
                if forgotten.unwrap().is_ok() {
                    self.ids.retain(|known| *known != id);
                    self.leads.remove(&id);
                }
            },
            (7, Some(id)) => {
                // Refused while it is in flight.
                let act = Act::Redeliver { force: true };
                assert_ne!(self.store.operate(&id, act, "").await.unwrap(), Err(Refused::NotFound));
            },
            (_, Some(id)) => {
                if let Some(token) = self.leads.get(&id) {
                    let failed = Settlement {
                        verdict: Verdict::Failed,
                        answer: None,
                        detail: String::new(),
                    };
                    let settlement = if self.random.bool() { answered(200) } else { failed };
                    self.store.settle(&id, *token, settlement).await.unwrap();
                }
            },
        }
    }

    async fn event(&self, id: &str) -> Event {
        self.store.story(id).await.unwrap().unwrap().event
    }

    /// What the list of `filter` is, made the slow way.
    async fn naive(&self, filter: &Filter) -> Vec<Event> {
        let mut found = Vec::new();
        for (arrived, id) in self.ids.iter().enumerate() {
            let event = self.event(id).await;
            let key = id.split_once(':').unwrap().1;
            let takes = filter.source.as_ref().is_none_or(|source| event.source() == source)
                && filter.state.is_none_or(|state| event.label() == state)
                && filter.since.is_none_or(|since| event.received >= since)
                && filter.until.is_none_or(|until| event.received <= until)
                && match &filter.key {
                    None => true,
                    Some(KeyFilter::Is(is)) => key == is,
                    Some(KeyFilter::StartsWith(start)) => key.starts_with(start),
                };
            let moved = match event.state {
                State::Queued { due } => due,
                State::Open | State::InFlight { .. } | State::Done | State::Dead | State::Held => {
                    event.changed
                },
            };
            if takes {
                found.push((moved, arrived, event));
            }
        }
        match (&filter.key, &filter.source, filter.state) {
            (Some(KeyFilter::StartsWith(_)), Some(_), _) => {
                found.sort_by(|(.., one), (.., other)| one.id.cmp(&other.id));
            },
            (Some(KeyFilter::Is(_)), ..) | (_, _, None) => found.sort_by_key(|it| it.1),
            (_, _, Some(_)) => found.sort_by_key(|it| (it.0, it.1)),
        }
        if !matches!((&filter.key, &filter.source), (Some(KeyFilter::StartsWith(_)), Some(_))) {
            found.reverse();
        }
        found.into_iter().map(|(_, _, event)| event).collect()
    }

    fn filter(&mut self) -> Filter {
        let maybe = |random: &mut fastrand::Rng| random.u8(0..3) == 0;
        let random = &mut self.random;
        let id = self.ids.get(random.usize(..self.ids.len().max(1))).cloned().unwrap_or_default();
        let (source, key) = id.split_once(':').unwrap_or_default();
        let key = match random.u8(0..6) {
            0 => Some(KeyFilter::Is(key.to_owned())),
            1 => Some(KeyFilter::StartsWith(format!("k{}", random.u8(0..4)))),
            _ => None,
        };
        let moment = |random: &mut fastrand::Rng| {
            Some(self.clock.now().minus(Duration::from_millis(random.u64(0..200))))
        };
        Filter {
            source: if maybe(random) { Some(source.to_owned()) } else { None },
            state: STATES[random.usize(..STATES.len())],
            key,
            since: if maybe(random) { moment(random) } else { None },
            until: if maybe(random) { moment(random) } else { None },
        }
    }
}

/// Every page, one after the other.
fn all(store: &RedbStore, filter: &Filter, random: &mut fastrand::Rng) -> Vec<Event> {
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let limit = random.usize(1..9);
        let page = store.list(filter, cursor.as_deref(), limit).unwrap();
        assert!(page.events.len() <= limit);
        found.extend(page.events);
        cursor = page.next;
        if cursor.is_none() {
            return found;
        }
    }
}

#[tokio::test]
async fn the_pages_together_are_the_list() {
    for seed in 0..6 {
        let dir = tempfile::tempdir().unwrap();
        let mut world = World::new(&dir, seed);
        for _ in 0..60 {
            world.step().await;
        }
        for _ in 0..40 {
            let filter = world.filter();
            let naive = world.naive(&filter).await;
            let paged = all(&world.store, &filter, &mut world.random);
            assert_eq!(ids(&paged), ids(&naive), "seed {seed}, {filter:?}");
            assert_eq!(paged, naive, "seed {seed}, {filter:?}");
        }
        world.store.close().await;
    }
}

fn ids(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.id.as_str()).collect()
}

#[tokio::test]
async fn an_event_that_does_not_change_is_met_once_whatever_happens_meanwhile() {
    for seed in 100..112 {
        let dir = tempfile::tempdir().unwrap();
        let mut world = World::new(&dir, seed);
        for _ in 0..60 {
            world.step().await;
        }
        let mut filter = world.filter();
        (filter.since, filter.until) = (None, None);
        let before = world.naive(&filter).await;
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page = world.store.list(&filter, cursor.as_deref(), 3).unwrap();
            found.extend(page.events);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
            for _ in 0..2 {
                world.step().await;
            }
        }
        let after = world.naive(&filter).await;
        for event in before.iter().filter(|event| after.contains(event)) {
            let met = found.iter().filter(|found| found == &event).count();
            assert_eq!(met, 1, "seed {seed}, {filter:?}: {}", event.id);
        }
        world.store.close().await;
    }
}

#[tokio::test]
async fn a_cursor_of_another_list_or_none_of_ours_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(&dir, 7);
    for _ in 0..40 {
        world.step().await;
    }
    let everything = Filter::default();
    let cursor = world.store.list(&everything, None, 1).unwrap().next.unwrap();
    assert!(world.store.list(&everything, Some(&cursor), 1).is_ok());
    let later = Filter { since: Some(Millis(1)), ..Filter::default() };
    assert!(world.store.list(&later, Some(&cursor), 1).is_ok(), "`2h` ago moves on");
    let of_p = Filter { source: Some("p".to_owned()), ..Filter::default() };
    let open = Filter { state: Some(Label::Open), ..Filter::default() };
    for (filter, cursor) in [
        (&of_p, cursor.as_str()),
        (&open, cursor.as_str()),
        (&everything, "AAAA"),
        (&everything, "not base64!"),
        (&everything, cursor.get(1..).unwrap()),
        (&everything, ""),
    ] {
        let refused = world.store.list(filter, Some(cursor), 1);
        assert_eq!(refused.unwrap_err(), ListError::BadCursor, "{cursor}");
    }
    world.store.close().await;
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_listed_as_held() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = open(&dir, &clock);
    for id in ["p:1", "q:2", "p:3"] {
        arrive(&store, id, "body").await;
    }
    store.close().await;
    // The first of them rots.
    let db = Database::open(settings(&dir).path).unwrap();
    let txn = db.begin_write().unwrap();
    {
        let mut rows = txn.open_table(layers::ROWS).unwrap();
        let first = rows::Span::events().first;
        let first =
            rows.range(first.bytes()..).unwrap().next().unwrap().unwrap().0.value().to_vec();
        rows.insert(first.as_slice(), b"rot".as_slice()).unwrap();
    }
    txn.commit().unwrap();
    drop(db);

    let settings = settings(&dir);
    let medium = Medium::File(settings.path.clone());
    // Without policies: what was in flight stays as it is.
    let store = RedbStore::open(medium, &settings, BTreeMap::new(), clock).unwrap();
    let held = |filter: &Filter| {
        let page = store.list(filter, None, 50).unwrap();
        let events = page.events.iter().map(|event| (event.id.clone(), event.label()));
        events.filter(|(_, label)| *label == Label::Held).map(|(id, _)| id).collect::<Vec<_>>()
    };
    let of_p = Some("p".to_owned());
    for filter in [
        Filter::default(),
        Filter { source: of_p.clone(), ..Filter::default() },
        Filter { state: Some(Label::InFlight), ..Filter::default() },
        Filter { key: Some(KeyFilter::Is("1".to_owned())), ..Filter::default() },
        Filter {
            source: of_p,
            key: Some(KeyFilter::StartsWith(String::new())),
            ..Filter::default()
        },
    ] {
        assert_eq!(held(&filter), ["p:1"], "{filter:?}");
    }
    let other = Filter { source: Some("q".to_owned()), ..Filter::default() };
    assert_eq!(held(&other), Vec::<String>::new());
    store.close().await;
}
