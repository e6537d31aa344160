//! The certificates that a source's provider signs with, fetched when a request names one, and
//! kept.
//!
//! Anybody can send a request that names a certificate, so what that can make us do is bounded:
//! one fetch at a time of an address, whoever waits for it; [`A_MINUTE`] addresses a minute that
//! have not proved themselves; what failed is not tried again for [`PAUSE`]; [`KEPT`]
//! certificates are kept, and those that no signature was ever checked with give way first.
//! Whoever hangs up cancels no fetch.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::fetch::{Fetcher, Reach};
use crate::deliver::{BadTarget, Trust};
use crate::verify::{Address, Certificate};

/// Certificates that are kept: a provider has one or two at a time, AWS in each region.
const KEPT: usize = 16;
/// Fetches a minute for addresses that no right signature named yet.
const A_MINUTE: usize = 10;
/// How long a certificate is kept.
const DAY: Duration = Duration::from_hours(24);
/// How long nothing is fetched again after it failed: less than SNS waits for its next retry.
const PAUSE: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_mins(1);

/// Why there is no certificate now: the provider is asked to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed;

/// The certificates of one source.
#[derive(Debug)]
pub struct Certificates {
    source: String,
    fetcher: Fetcher,
    kept: Mutex<Kept>,
}

type Got = Option<Result<Arc<Certificate>, Missed>>;

#[derive(Debug, Default)]
struct Kept {
    /// The one used last comes last.
    entries: Vec<Entry>,
    /// When something was fetched for an address without proof, within the last minute.
    fetched: VecDeque<Instant>,
}

#[derive(Debug)]
struct Entry {
    address: Address,
    begun: Instant,
    /// Whether a right signature named it.
    proved: bool,
    got: watch::Receiver<Got>,
}

impl Entry {
    /// Whether it is still good for an answer.
    fn holds(&self, now: Instant) -> bool {
        let age = now.duration_since(self.begun);
        match *self.got.borrow() {
            None => self.got.has_changed().is_ok(),
            Some(Ok(_)) => age < DAY,
            Some(Err(Missed)) => age < PAUSE,
        }
    }
}

impl Certificates {
    /// None yet, for `source`; TLS trusts what `trust` does.
    pub(super) fn new(source: &str, trust: &Trust) -> Result<Self, BadTarget> {
        let fetcher = Fetcher { client: trust.client()?, reach: Reach::Public };
        Ok(Self::with(source, fetcher))
    }

    /// The same, with a reach of its own.
    #[cfg(test)]
    pub(crate) fn reaching(trust: &Trust, reach: Reach) -> Self {
        Self::with("test", Fetcher { client: trust.client().unwrap(), reach })
    }

    fn with(source: &str, fetcher: Fetcher) -> Self {
        Self { source: source.to_owned(), fetcher, kept: Mutex::default() }
    }

    /// The certificate at `address`.
    pub async fn get(&self, address: &Address) -> Result<Arc<Certificate>, Missed> {
        let mut got = self.find(address)?;
        // A task that died leaves nothing.
        let told = got.wait_for(Option::is_some).await.map_err(|_died| Missed)?;
        told.clone().unwrap_or(Err(Missed))
    }

    /// A right signature named `address`: that is where the provider has its certificate.
    pub fn proved(&self, address: &Address) {
        let mut kept = self.kept.lock();
        if let Some(entry) = kept.entries.iter_mut().find(|entry| entry.address == *address) {
            entry.proved = true;
        }
    }

    /// Calls `address` for what it does, not for what it says: that it was answered 200 is all.
    pub async fn call(&self, address: &Address) -> Result<(), Missed> {
        if !self.kept.lock().may_fetch(Instant::now()) {
            return Err(Missed);
        }
        match self.fetcher.get(address).await {
            Ok(_answer) => Ok(()),
            Err(why) => {
                tracing::warn!(source = self.source, host = address.host(), why, "not confirmed");
                Err(Missed)
            },
        }
    }

    /// What is known of `address`, or will be: a fetch that begins here goes on by itself.
    fn find(&self, address: &Address) -> Result<watch::Receiver<Got>, Missed> {
        let now = Instant::now();
        let mut kept = self.kept.lock();
        let place = kept.entries.iter().position(|entry| entry.address == *address);
        let old = place.map(|place| kept.entries.remove(place));
        if let Some(entry) = old.as_ref().filter(|entry| entry.holds(now)) {
            let got = entry.got.clone();
            kept.entries.extend(old);
            return Ok(got);
        }
        let proved = old.is_some_and(|entry| entry.proved);
        if !proved && !kept.may_fetch(now) {
            return Err(Missed);
        }
        let (tell, got) = watch::channel(None);
        let (fetcher, source, address) =
            (self.fetcher.clone(), self.source.clone(), address.clone());
        kept.add(Entry { address: address.clone(), begun: now, proved, got: got.clone() });
        drop(kept);
        tokio::spawn(async move {
            let fetched = fetch(&fetcher, &address).await.map_err(|why| {
                let (host, path) = (address.host(), address.target());
                tracing::warn!(source, host, path, why, "no certificate");
                Missed
            });
            // Nobody may be waiting any more.
            tell.send_replace(Some(fetched));
        });
        Ok(got)
    }
}

async fn fetch(fetcher: &Fetcher, address: &Address) -> Result<Arc<Certificate>, String> {
    let pem = fetcher.get(address).await?;
    let read = Certificate::from_pem(&pem).map(Arc::new);
    read.ok_or_else(|| "the answer is not a certificate in PEM".to_owned())
}

impl Kept {
    /// Whether one more may be fetched this minute; counts it.
    fn may_fetch(&mut self, now: Instant) -> bool {
        while self.fetched.front().is_some_and(|then| now.duration_since(*then) >= MINUTE) {
            self.fetched.pop_front();
        }
        let may = self.fetched.len() < A_MINUTE;
        if may {
            self.fetched.push_back(now);
        }
        may
    }

    /// Adds `entry`. If that is too many, the one that was used longest ago goes, of those without
    /// proof if there are any.
    fn add(&mut self, entry: Entry) {
        if self.entries.len() >= KEPT {
            let place = self.entries.iter().position(|entry| !entry.proved).unwrap_or(0);
            self.entries.remove(place);
        }
        self.entries.push(entry);
    }
}
