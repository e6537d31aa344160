//! Step 1, read: the body, and the room that bodies take.
//!
//! Anybody may begin to send a body, and nothing is known of it before its end: whoever opens
//! enough of them and ends none would keep everybody else out. So when room is short the body
//! that has been coming longest gives way. A provider's own comes within milliseconds and is
//! seldom that one; what has come whole never gives way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Request;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::Turned;
use crate::reply::Reply;
use crate::telemetry::Outcome;
use crate::verify::Delivery;

/// Bytes of room made for a body because its request says that they come.
const TRUSTED_LENGTH: usize = 64 << 10;

/// The room for all bodies in memory.
#[derive(Debug)]
pub(super) struct Room(Mutex<Taken>);

#[derive(Debug)]
struct Taken {
    free: usize,
    /// Bodies that are coming, in the order in which they began.
    coming: BTreeMap<u64, Coming>,
    next: u64,
}

#[derive(Debug)]
struct Coming {
    bytes: usize,
    gives_way: Arc<Notify>,
}

/// Why a body gets no more room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Short {
    /// The room is full of bodies that are whole.
    Full,
    /// It gave way to a younger one.
    GaveWay,
}

/// One body's part of the room, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    room: Arc<Room>,
    nth: u64,
    gives_way: Arc<Notify>,
    /// Once the body is whole.
    kept: usize,
}

impl Room {
    /// Room for so many bytes.
    pub(super) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Taken { free: bytes, coming: BTreeMap::new(), next: 0 })))
    }

    /// A body begins to come.
    fn enter(self: &Arc<Self>) -> Held {
        let gives_way = Arc::new(Notify::new());
        let mut taken = self.0.lock();
        let nth = taken.next;
        taken.next += 1;
        taken.coming.insert(nth, Coming { bytes: 0, gives_way: Arc::clone(&gives_way) });
        Held { room: Arc::clone(self), nth, gives_way, kept: 0 }
    }
}

impl Taken {
    /// Makes room for `bytes` of the body `nth`. Those that give way are gone from the books
    /// at once and from memory when their tasks have run, which are awake by then.
    fn make(&mut self, nth: u64, bytes: usize) -> Result<(), Short> {
        if self.free < bytes {
            let others = self.coming.iter().filter(|(other, _)| **other != nth);
            let others: usize = others.map(|(_, coming)| coming.bytes).sum();
            if self.free.saturating_add(others) < bytes {
                return Err(Short::Full);
            }
        }
        while self.free < bytes {
            let Some((_, oldest)) = self.coming.pop_first() else { return Err(Short::Full) };
            self.free += oldest.bytes;
            oldest.gives_way.notify_one();
        }
        let own = self.coming.get_mut(&nth).ok_or(Short::GaveWay)?;
        own.bytes += bytes;
        self.free -= bytes;
        Ok(())
    }
}

impl Held {
    /// Takes room for `bytes` more.
    fn take(&self, bytes: usize) -> Result<(), Short> {
        self.room.0.lock().make(self.nth, bytes)
    }

    /// The body is whole, and no longer gives way.
    fn keep(mut self) -> Result<Self, Short> {
        let coming = self.room.0.lock().coming.remove(&self.nth);
        self.kept = coming.ok_or(Short::GaveWay)?.bytes;
        Ok(self)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut taken = self.room.0.lock();
        let coming = taken.coming.remove(&self.nth).map_or(0, |coming| coming.bytes);
        taken.free += self.kept + coming;
    }
}

impl From<Short> for Turned {
    fn from(short: Short) -> Self {
        match short {
            Short::Full => Self::away(Outcome::Unavailable, "too many bodies are in memory"),
            Short::GaveWay => {
                let why = "the body came too slowly, and others needed its room";
                Self { reply: Reply::too_slow(why), why }
            },
        }
    }
}

/// The body, up to `limit` bytes, within `time`, as raw bytes.
pub(super) async fn read(
    room: &Arc<Room>,
    limit: usize,
    time: Duration,
    request: Request<Incoming>,
) -> Result<(Delivery, Held), Turned> {
    let too_large = || {
        let detail = format!("the body is over {limit} bytes");
        Turned { reply: Reply::refuse(Outcome::TooLarge, &detail), why: "over max_body" }
    };
    let (head, mut incoming) = request.into_parts();
    let length = head.headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| length > limit) {
        return Err(too_large());
    }
    let held = room.enter();
    let mut body = BytesMut::with_capacity(length.unwrap_or(0).min(TRUSTED_LENGTH));
    let whole = async {
        while let Some(frame) = incoming.frame().await {
            let Ok(frame) = frame else {
                return Err(Turned::away(Outcome::Invalid, "the body was cut"));
            };
            // Trailers are no headers: what is behind the body is not looked at.
            let Ok(chunk) = frame.into_data() else { continue };
            if body.len().saturating_add(chunk.len()) > limit {
                return Err(too_large());
            }
            held.take(chunk.len())?;
            body.extend_from_slice(&chunk);
        }
        Ok(())
    };
    tokio::select! {
        biased;
        () = held.gives_way.notified() => Err(Short::GaveWay.into()),
        read = timeout(time, whole) => read.unwrap_or_else(|_| {
            let why = "the body did not arrive in time";
            Err(Turned { reply: Reply::too_slow(why), why })
        }),
    }?;
    let delivery = Delivery {
        method: head.method,
        query: head.uri.query().map(str::to_owned),
        headers: head.headers,
        body: Bytes::from(body),
    };
    Ok((delivery, held.keep()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(room: &Room) -> usize {
        room.0.lock().free
    }

    #[test]
    fn room_comes_back_however_a_body_ends() {
        let room = Room::new(100);
        let (cut, whole) = (room.enter(), room.enter());
        cut.take(30).unwrap();
        whole.take(50).unwrap();
        assert_eq!(free(&room), 20);
        drop(cut);
        let whole = whole.keep().unwrap();
        assert_eq!(free(&room), 50);
        drop(whole);
        assert_eq!(free(&room), 100);
        assert!(room.0.lock().coming.is_empty());
    }

    #[test]
    fn the_bodies_that_came_longest_give_way_and_no_more_of_them_than_must() {
        let room = Room::new(100);
        let old: Vec<_> = (0..4).map(|_| room.enter()).collect();
        for held in &old {
            held.take(25).unwrap();
        }
        let new = room.enter();
        new.take(30).unwrap();
        assert_eq!(free(&room), 20);
        let gone: Vec<_> = old.into_iter().map(|held| held.take(0)).collect();
        assert_eq!(gone, [Err(Short::GaveWay), Err(Short::GaveWay), Ok(()), Ok(())]);
        drop(new);
        assert_eq!(free(&room), 100);
    }

    #[test]
    fn the_oldest_that_asks_for_more_gives_way_itself() {
        let room = Room::new(100);
        let (old, new) = (room.enter(), room.enter());
        old.take(60).unwrap();
        new.take(30).unwrap();
        assert_eq!(old.take(20), Err(Short::GaveWay));
        assert_eq!(old.keep().unwrap_err(), Short::GaveWay);
        assert_eq!(free(&room), 70);
        drop(new);
        assert_eq!(free(&room), 100);
    }

    #[test]
    fn a_whole_body_never_gives_way() {
        let room = Room::new(100);
        let whole = room.enter();
        whole.take(80).unwrap();
        let whole = whole.keep().unwrap();
        let (first, second) = (room.enter(), room.enter());
        first.take(10).unwrap();
        // Nobody gives way where that would not help.
        assert_eq!(second.take(40), Err(Short::Full));
        let refused = Turned::from(Short::Full).reply;
        assert_eq!((refused.outcome, refused.status), (Outcome::Unavailable, 503));
        assert_eq!(first.take(10), Ok(()));
        drop(whole);
        assert_eq!(second.take(40), Ok(()));
    }
}
