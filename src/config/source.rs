//! `[sources.NAME]`: what is set, over what the preset knows.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use figment::value::Value;
use http::Uri;

use super::problem::{Wrong, wrong};
use super::secret::{self, Places};
use super::sections::{TICK, collide};
use super::table::{Table, nearest};
use super::values::{boolean, decimal, duration, hook_path, size, target, text, whole, word};
use super::{Server, Source};
use crate::preset::{self, Preset, ReplayGuard};
use crate::record::{Mode, OnMismatch, OnUnknown, Policy, Retry};

mod certified;
mod identity;
mod names;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);
/// Longer than any TTL that anyone means.
const DECADE: Duration = Duration::from_hours(24 * 3653);
/// An event is one value of the store and is held in memory whole.
const MAX_BODY: u64 = 256 << 20;

const GUARDS: [(&str, ReplayGuard); 3] =
    [("off", ReplayGuard::Off), ("flag", ReplayGuard::Flag), ("refuse", ReplayGuard::Refuse)];

/// Where a source's defaults come from.
#[derive(Clone, Copy, Debug)]
enum Provider {
    /// A preset.
    Known(&'static Preset),
    /// The operator's own description.
    Custom,
    /// Not named, or wrongly; noted.
    Unclear,
}

impl Provider {
    /// What holds where nothing is set.
    fn defaults(self) -> &'static Preset {
        match self {
            Self::Known(preset) => preset,
            Self::Custom | Self::Unclear => Preset::custom(),
        }
    }
}

/// Every source, in order of their names.
pub(super) fn all(mut table: Table<'_>, places: Places<'_>, server: &Server) -> Vec<Arc<Source>> {
    let mut sources = Vec::new();
    let mut paths = BTreeMap::new();
    let mut named = Vec::new();
    for (name, value) in table.rest() {
        let Value::Dict(_, values) = value else {
            table.add(&name, wrong("must be a table", format!("write [sources.{name}]")));
            continue;
        };
        if !names::well_named(&name) {
            let mend = "use 1 to 40 of a-z, 0-9 and -";
            table.add(&name, wrong(format!("\"{name}\" is not a source's name"), mend));
        }
        let inner = Table::new(table.path(&name), values, table.findings());
        let path = hook(&inner, &name);
        if let Some(other) = paths.insert(path.clone(), name.clone()) {
            let cause = format!("sources {other} and {name} are both on {path}");
            inner.add("path", wrong(cause, "give each its own path"));
        }
        let was = inner.peek("was").and_then(|was| names::was(was).ok()).unwrap_or_default();
        named.push((name.clone(), table.path(&name), was));
        sources.extend(one(&name, inner, places, server).map(Arc::new));
    }
    names::settle(&named, table.findings());
    sources
}

/// The path of the source, right or wrong: two sources on one are refused in any case.
fn hook(table: &Table<'_>, name: &str) -> String {
    let set = table.peek("path").and_then(Value::as_str);
    set.map_or_else(|| format!("/hooks/{name}"), str::to_owned)
}

fn one(name: &str, mut table: Table<'_>, places: Places<'_>, server: &Server) -> Option<Source> {
    let (provider, provider_name) = provider(&mut table);
    let defaults = provider.defaults();
    let retries = table.find("retries", boolean);
    let provider_retries = retries.unwrap_or(defaults.retries);
    // In proxy mode nobody would attempt again what fails.
    let queued = retries == Some(false) || defaults.mode == Mode::Queue;
    let usual = if queued { Mode::Queue } else { Mode::Proxy };
    let mode = table.read("mode", usual, word(&[("proxy", Mode::Proxy), ("queue", Mode::Queue)]));
    let path = table.read("path", format!("/hooks/{name}"), hook_path);
    let target = table.need("target", "write the application's URL", |value| {
        target(value).and_then(|target| not_ourselves(target, server.listen))
    });
    let max_body = table.read("max_body", defaults.max_body as u64, size(1..=MAX_BODY));
    let final_statuses = statuses(&mut table, mode);
    let timeout = table.read("timeout", 30 * SECOND, duration(TICK..=DAY));
    let wait = table.read("wait", defaults.wait, duration(Duration::ZERO..=DAY));
    let concurrency = table.read("concurrency", 16, whole(1..=10_000));
    let policy = policy(&mut table, mode, defaults.acknowledgement.status, defaults.ttl);
    let guard = table.find("replay_guard", word(&GUARDS));
    let url = server.public_url.as_ref().map(|url| format!("{url}{path}"));
    let identity = identity::read(&mut table, provider, places, url.as_deref());
    let verify_token = secret::single(&mut table, "verify_token", places);
    let signer = identity::signer(&mut table, places);
    let splits = mode == Mode::Queue && identity.as_ref().is_some_and(|it| it.batch.is_some());
    if splits && guard.is_some_and(|guard| guard != ReplayGuard::Off) {
        let cause = "guards single events, and this source splits batches";
        table.add("replay_guard", wrong(cause, "remove it"));
    }
    let was = table.read("was", Vec::new(), names::was);
    table.finish();
    let identity = identity?;
    // The preset's guard is for the preset's key.
    let guarded = ReplayGuard::is_of_use(&identity.verify_spec, &identity.key_spec);
    let replay_guard =
        guard.unwrap_or(if guarded { defaults.replay_guard } else { ReplayGuard::Off });
    Some(Source {
        name: name.to_owned(),
        was,
        provider: provider_name,
        secrets: identity.secrets,
        path,
        target: target?,
        timeout,
        wait,
        concurrency,
        max_body: usize::try_from(max_body).unwrap_or(usize::MAX),
        final_statuses,
        provider_retries,
        replay_guard,
        acknowledgement: defaults.acknowledgement.clone(),
        handshakes: &defaults.handshakes,
        verify_token,
        sample: &defaults.sample,
        verify_spec: identity.verify_spec,
        verifier: identity.verifier,
        key_spec: identity.key_spec,
        key: identity.key,
        batch: identity.batch,
        signer,
        policy,
    })
}

fn provider(table: &mut Table<'_>) -> (Provider, String) {
    let mend = "name a preset (`oncegate providers` lists them), or \"custom\"";
    let Some(name) = table.need("provider", mend, |value| Ok(text(value)?.to_owned())) else {
        return (Provider::Unclear, String::new());
    };
    let provider = match preset::find(&name) {
        _ if name == "custom" => Provider::Custom,
        Some(preset) => Provider::Known(preset),
        None => {
            let near = nearest(&name, preset::all().iter().map(|preset| preset.name.as_str()));
            let mend =
                near.map_or_else(|| mend.to_owned(), |near| format!("did you mean \"{near}\"?"));
            table.add("provider", wrong(format!("\"{name}\" is not a provider"), mend));
            Provider::Unclear
        },
    };
    (provider, name)
}

fn policy(table: &mut Table<'_>, mode: Mode, acknowledgement: u16, ttl: Duration) -> Policy {
    let mismatch = [
        ("flag", OnMismatch::Flag),
        ("refuse", OnMismatch::Refuse),
        ("ignore", OnMismatch::Ignore),
    ];
    Policy {
        mode,
        acknowledgement,
        on_unknown: table.read("on_unknown", OnUnknown::Redeliver, on_unknown),
        on_mismatch: table.read("on_mismatch", OnMismatch::Flag, word(&mismatch)),
        retry: retry(table.table("retry")),
        ttl: table.read("ttl", ttl, duration(TICK..=DECADE)),
        keep: table.read("keep", 3 * DAY, duration(Duration::ZERO..=DECADE)),
        dead_ttl: table.find("dead_ttl", duration(TICK..=DECADE)),
    }
}

fn on_unknown(value: &Value) -> Result<OnUnknown, Wrong> {
    if matches!(value, Value::Dict(..)) {
        let mend = "write \"redeliver\" or \"hold\"";
        return Err(wrong("asking the application is not in this version", mend));
    }
    word(&[("redeliver", OnUnknown::Redeliver), ("hold", OnUnknown::Hold)])(value)
}

fn retry(mut table: Table<'_>) -> Retry {
    let retry = Retry {
        attempts: table.read("attempts", 24, whole(1..=1_000)),
        first: table.read("first", 5 * SECOND, duration(TICK..=30 * DAY)),
        factor: table.read("factor", 2.0, decimal(1.0, 100.0)),
        max: table.read("max", Duration::from_hours(6), duration(TICK..=30 * DAY)),
        jitter: table.read("jitter", true, boolean),
    };
    if retry.max < retry.first {
        table.add("max", wrong("is shorter than `first`", ""));
    }
    table.finish();
    retry
}

/// Statuses that end an event for good. None of them may be one that is a success, and in
/// proxy mode none that a provider would take for more than it means.
fn statuses(table: &mut Table<'_>, mode: Mode) -> Vec<u16> {
    let list = table.find("final", |value| {
        let list = value.as_array().map(<[Value]>::to_vec);
        list.ok_or_else(|| wrong("must be a list of statuses", "write one such as [400, 422]"))
    });
    let mut statuses = Vec::new();
    for (at, item) in list.unwrap_or_default().iter().enumerate() {
        match status(item, mode) {
            Ok(status) => statuses.push(status),
            Err(wrong) => table.add(&format!("final[{at}]"), wrong),
        }
    }
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}

fn status(value: &Value, mode: Mode) -> Result<u16, Wrong> {
    let status = whole(100..=599)(value)?;
    let why = match (status, mode) {
        (200..=299, _) => "is a success and ends the event in any case",
        (300..=399, Mode::Proxy) => "is a redirect: set `target` to where it leads",
        (409 | 410, Mode::Proxy) => {
            "is never passed to a provider, as some switch the webhook off for it"
        },
        _ => return Ok(status),
    };
    Err(wrong(format!("{status} {why}"), "remove it"))
}

/// A target that is our own listener would send every event around in a circle.
fn not_ourselves(target: Uri, listen: SocketAddr) -> Result<Uri, Wrong> {
    let host = target.host().unwrap_or_default().trim_matches(['[', ']']);
    let ours = listen.ip();
    let ip: Option<IpAddr> = match host {
        "localhost" if ours.is_loopback() => Some(ours),
        "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
        _ => host.parse().ok(),
    };
    let port =
        target.port_u16().unwrap_or(if target.scheme_str() == Some("https") { 443 } else { 80 });
    match ip {
        // A listener on every address does not make another machine's address ours.
        Some(ip) if ours.is_unspecified() && !ip.is_loopback() && !ip.is_unspecified() => {
            Ok(target)
        },
        Some(ip) if collide(listen, SocketAddr::from((ip, port))) => Err(wrong(
            "is server.listen: oncegate would call itself",
            "write the application's URL",
        )),
        Some(_) | None => Ok(target),
    }
}
