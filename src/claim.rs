//! One attempt a key: the sharded in-process mutex map in front of the store.
//!
//! The first copy of an event to come leads; copies that come while it does follow, and
//! get its answer without a write of their own. The map saves work, it is not what keeps
//! attempts apart: the store's writer checks each claim again.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use xxhash_rust::xxh3::xxh3_64;

/// Enough that two copies of different events seldom meet at one lock.
const SHARDS: usize = 64;

type Shard<T> = Mutex<HashMap<String, watch::Receiver<Option<T>>>>;

/// Who leads, for every event with a copy in hand.
#[derive(Debug)]
pub struct Claims<T> {
    shards: Arc<[Shard<T>]>,
}

/// A copy's part.
#[derive(Debug)]
pub enum Seat<T> {
    /// It attempts, and answers the others.
    Lead(Leader<T>),
    /// It waits.
    Follow(Follower<T>),
}

/// The right to answer the followers. Dropped without an answer, it lets them go unanswered.
#[derive(Debug)]
pub struct Leader<T> {
    shards: Arc<[Shard<T>]>,
    id: String,
    departed: bool,
    answer: watch::Sender<Option<T>>,
}

/// A place to wait for the leader's answer.
#[derive(Debug)]
pub struct Follower<T>(watch::Receiver<Option<T>>);

impl<T: Clone> Claims<T> {
    /// An empty map.
    pub fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    /// Takes a seat for a copy of `id`.
    pub fn join(&self, id: &str) -> Seat<T> {
        let Some(shard) = shard(&self.shards, id) else { return Seat::Follow(Follower::alone()) };
        let mut seats = shard.lock();
        if let Some(leader) = seats.get(id) {
            return Seat::Follow(Follower(leader.clone()));
        }
        let (answer, followers) = watch::channel(None);
        seats.insert(id.to_owned(), followers);
        Seat::Lead(Leader {
            shards: Arc::clone(&self.shards),
            id: id.to_owned(),
            departed: false,
            answer,
        })
    }
}

impl<T: Clone> Default for Claims<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Leader<T> {
    /// Gives up the lead before the attempt begins: who comes from now on does not get this
    /// leader's answer, but the next one's.
    pub fn depart(&mut self) {
        if !std::mem::replace(&mut self.departed, true)
            && let Some(shard) = shard(&self.shards, &self.id)
        {
            shard.lock().remove(&self.id);
        }
    }

    /// Answers the followers and gives up the lead. What was answered is in the store by
    /// now: a copy that comes after this finds it there.
    pub fn answer(self, answer: T) {
        self.answer.send_replace(Some(answer));
    }
}

impl<T> Drop for Leader<T> {
    fn drop(&mut self) {
        self.depart();
    }
}

impl<T: Clone> Follower<T> {
    fn alone() -> Self {
        Self(watch::channel(None).1)
    }

    /// Waits for the leader's answer; `None` if it left without one.
    pub async fn wait(mut self) -> Option<T> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone())
    }
}

fn shard<'a, T>(shards: &'a [Shard<T>], id: &str) -> Option<&'a Shard<T>> {
    let count = u64::try_from(shards.len()).ok()?;
    let place = xxh3_64(id.as_bytes()).checked_rem(count)?;
    shards.get(usize::try_from(place).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn copies_wait_for_the_leaders_answer() {
        let claims = Claims::new();
        let Seat::Lead(leader) = claims.join("a:1") else { panic!("the first leads") };
        let Seat::Follow(follower) = claims.join("a:1") else { panic!("the second follows") };
        assert!(matches!(claims.join("a:2"), Seat::Lead(_)));
        leader.answer(7);
        assert_eq!(follower.wait().await, Some(7));
        assert!(matches!(claims.join("a:1"), Seat::Lead(_)));
    }

    #[tokio::test]
    async fn who_comes_after_a_departed_leader_does_not_get_its_answer() {
        let claims = Claims::new();
        let Seat::Lead(mut first) = claims.join("a:1") else { panic!("the first leads") };
        let Seat::Follow(early) = claims.join("a:1") else { panic!("the second follows") };
        first.depart();
        let Seat::Lead(second) = claims.join("a:1") else { panic!("the third leads") };
        let Seat::Follow(late) = claims.join("a:1") else { panic!("the fourth follows") };
        first.answer(1);
        assert!(matches!(claims.join("a:1"), Seat::Follow(_)), "the second leader keeps its seat");
        second.answer(2);
        assert_eq!((early.wait().await, late.wait().await), (Some(1), Some(2)));
    }

    #[tokio::test]
    async fn a_leader_that_dies_lets_its_followers_go() {
        let claims = Claims::<u8>::new();
        let Seat::Lead(leader) = claims.join("a:1") else { panic!("the first leads") };
        let Seat::Follow(follower) = claims.join("a:1") else { panic!("the second follows") };
        drop(leader);
        assert_eq!(follower.wait().await, None);
        assert!(claims.shards.iter().all(|shard| shard.lock().is_empty()));
    }
}
