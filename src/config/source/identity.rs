//! Who may send, and which event it is: the verifier, the key rule and the signer.

use figment::error::Kind;
use figment::value::{Dict, Tag, Value};
use serde::de::DeserializeOwned;

use super::{Provider, certified};
use crate::config::problem::{Wrong, wrong};
use crate::config::secret::{self, Places};
use crate::config::table::{Table, unknown};
use crate::key::{self, Rule};
use crate::preset;
use crate::verify::{self, Secret, SpecError, Verifier};

/// What tells a source's deliveries from forgeries, and its events from each other.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) verify_spec: verify::Spec,
    pub(super) verifier: Verifier,
    pub(super) secrets: usize,
    pub(super) key_spec: key::Spec,
    pub(super) key: Rule,
    pub(super) batch: Option<key::Batch>,
}

pub(super) fn read(
    table: &mut Table<'_>,
    provider: Provider,
    places: Places<'_>,
    url: Option<&str>,
) -> Option<Identity> {
    let given = table.has("secrets");
    // The verifier counts decoded bytes; here is only what no spec may go below.
    let shortest = provider.defaults().secret_min();
    let secrets = secret::list(table, "secrets", shortest, places);
    let names = certified::names(table, provider);
    let key_spec = key_spec(table, provider);
    if let Some(Readable { spec, whole }) = &key_spec {
        // What does not go together may do so once the rest can be read; a part is wrong alone.
        let alone = |field| field == "parts" && !spec.parts.is_empty();
        let found = Rule::mistakes(spec).into_iter().filter(|it| *whole || alone(it.field));
        found.for_each(|mistake| at_fault(table, "key", mistake));
    }
    let batch = batch(table, provider);
    let verify_spec = verify_spec(table, provider)?;
    let count = secrets.len();
    let verifier = verifier(table, &verify_spec, secrets, given);
    if verify_spec.signs_url() && url.is_none() {
        let cause = "signs the URL that it calls, which is not known here";
        let mend = "set server.public_url, such as \"https://shop.example\"";
        table.add("provider", wrong(cause, mend));
    }
    let key_spec = key_spec?.if_whole()?;
    if key_spec.parts.iter().any(|part| part.starts_with("header:") && part.contains('*'))
        && verify_spec.families.is_empty()
    {
        let cause = "has a `*`, which stands for one of `verify.families`: there are none";
        table.add("key.parts", wrong(cause, "write the header's name"));
    }
    let key = Rule::new(&key_spec).ok()?;
    let verifier = verifier?.at(url.unwrap_or_default()).named(names?);
    let elements = batch.as_ref().map(|batch| batch.elements.to_string());
    if verify_spec.each.is_some() && verify_spec.each != elements {
        let cause = "is not where [batch] has its elements: what is signed and what is an event would differ";
        table.add("verify.each", wrong(cause, "write the same pointer as batch.elements"));
    }
    if let Some(cause) = key.mistake_in_a_batch().filter(|_| batch.is_some()) {
        table.add("key.parts", wrong(cause, "write json:/pointer, which is of the element"));
    }
    Some(Identity { verify_spec, verifier, secrets: count, key_spec, key, batch })
}

/// The signer of attempts: Standard Webhooks, whatever the provider's own scheme is.
pub(super) fn signer(table: &mut Table<'_>, places: Places<'_>) -> Option<Verifier> {
    let secrets = secret::list(table, "sign_with", secret::MIN, places);
    let preset = preset::find("standard-webhooks").filter(|_| !secrets.is_empty())?;
    Verifier::new(&preset.verify, secrets)
        .map_err(|error| table.add("sign_with", wrong(error.problem, "")))
        .ok()
}

fn verifier(
    table: &Table<'_>,
    spec: &verify::Spec,
    secrets: Vec<Secret>,
    given: bool,
) -> Option<Verifier> {
    let mistakes = Verifier::mistakes(spec);
    let sound = mistakes.is_empty();
    for mistake in mistakes {
        at_fault(table, "verify", mistake);
    }
    let open = spec.is_open();
    if spec.scheme.is_certified() && given {
        let cause = "the provider's key is in a certificate that is fetched: there is no secret";
        table.add("secrets", wrong(cause, "remove them"));
        return None;
    }
    if secrets.is_empty() && !open && !spec.scheme.is_certified() {
        // Secrets that were given and found wrong are noted already.
        if !table.findings().any_below(&table.path("secrets")) {
            let mend = "write secrets = [{ env = \"NAME\" }], or { file = \"PATH\" } or { credential = \"NAME\" }";
            table.add("secrets", wrong("a source needs a secret", mend));
        }
        return None;
    }
    if open && given {
        table.add(
            "secrets",
            wrong("scheme \"none\" checks no secret", "remove them, or name the scheme"),
        );
        return None;
    }
    // What is wrong with the spec was noted; this is about the secrets.
    if !sound {
        return None;
    }
    Verifier::new(spec, secrets).map_err(|error| at_fault(table, "verify", error)).ok()
}

/// Notes what a spec says is wrong with one of its fields, or with the secrets beside it.
fn at_fault(table: &Table<'_>, section: &str, error: SpecError) {
    let key = match error.field {
        "secrets" => error.field.to_owned(),
        field => format!("{section}.{field}"),
    };
    table.add(&key, wrong(error.problem, ""));
}

fn verify_spec(table: &mut Table<'_>, provider: Provider) -> Option<verify::Spec> {
    match provider {
        Provider::Known(preset) => {
            if table.take("verify").is_some() {
                let mend = "remove it, or write provider = \"custom\"";
                table.add("verify", wrong("the preset knows how to verify", mend));
            }
            Some(preset.verify.clone())
        },
        Provider::Custom => {
            let spec: verify::Spec =
                specification(table, "verify", "scheme and header")?.if_whole()?;
            let word = spec.scheme.word();
            if spec.scheme.is_certified() {
                let mend = format!("write provider = \"{word}\"");
                table.add("verify.scheme", wrong(format!("\"{word}\" is a preset's alone"), mend));
                return None;
            }
            Some(spec)
        },
        Provider::Unclear => {
            table.take("verify");
            None
        },
    }
}

fn key_spec(table: &mut Table<'_>, provider: Provider) -> Option<Readable<key::Spec>> {
    match provider {
        Provider::Known(preset) if !table.has("key") => {
            table.take("key");
            Some(Readable { spec: preset.key.clone(), whole: true })
        },
        Provider::Known(_) | Provider::Custom => specification(table, "key", "parts"),
        Provider::Unclear => {
            table.take("key");
            None
        },
    }
}

fn batch(table: &mut Table<'_>, provider: Provider) -> Option<key::Batch> {
    match provider {
        Provider::Known(preset) => {
            if table.take("batch").is_some() {
                let mend = "remove it, or write provider = \"custom\"";
                table.add("batch", wrong("the preset knows whether there are batches", mend));
            }
            preset.batch.clone()
        },
        Provider::Custom if table.has("batch") => {
            specification(table, "batch", "elements")?.if_whole()
        },
        Provider::Custom | Provider::Unclear => {
            table.take("batch");
            None
        },
    }
}

/// What could be read of a specification.
struct Readable<T> {
    spec: T,
    /// Whether nothing was taken out.
    whole: bool,
}

impl<T> Readable<T> {
    fn if_whole(self) -> Option<T> {
        self.whole.then_some(self.spec)
    }
}

/// The table at `key`, read by serde. It stops at the first mistake, so each one is noted and
/// taken out, and the rest is read again.
fn specification<T: DeserializeOwned>(
    table: &mut Table<'_>,
    key: &'static str,
    least: &str,
) -> Option<Readable<T>> {
    let mut values = match table.take(key) {
        Some(Value::Dict(_, values)) => values,
        Some(_) => {
            table.add(key, wrong("must be a table", ""));
            return None;
        },
        None => {
            let cause = format!("is missing: provider \"custom\" needs it, with {least}");
            table.add(key, wrong(cause, format!("add [{}]", table.path(key))));
            return None;
        },
    };
    let mut whole = true;
    loop {
        let error = match Value::Dict(Tag::Default, values.clone()).deserialize() {
            Ok(spec) => return Some(Readable { spec, whole }),
            Err(error) => error,
        };
        let (place, wrong) = explain(&error);
        let path = if place.is_empty() { key.to_owned() } else { format!("{key}.{place}") };
        if whole || !matches!(error.kind, Kind::MissingField(_)) {
            table.add(&path, wrong);
        }
        whole = false;
        if !take_out(&mut values, &place) {
            return None;
        }
    }
}

/// Takes the key that begins `place` out of `values`; `false` if it is not there.
fn take_out(values: &mut Dict, place: &str) -> bool {
    values.remove(place.split('.').next().unwrap_or(place)).is_some()
}

/// Where below the table the mistake is, and what it is.
fn explain(error: &figment::Error) -> (String, Wrong) {
    let place = error.path.join(".");
    match &error.kind {
        Kind::UnknownField(name, known) => (name.clone(), unknown(name, known)),
        Kind::MissingField(name) => (name.to_string(), wrong("is missing", "")),
        Kind::UnknownVariant(name, known) => {
            (place, wrong(format!("\"{name}\" is not one of {}", known.join(", ")), ""))
        },
        kind @ (Kind::Message(_)
        | Kind::InvalidType(..)
        | Kind::InvalidValue(..)
        | Kind::InvalidLength(..)
        | Kind::DuplicateField(_)
        | Kind::ISizeOutOfRange(_)
        | Kind::USizeOutOfRange(_)
        | Kind::Unsupported(_)
        | Kind::UnsupportedKey(..)) => (place, wrong(kind.to_string(), "")),
    }
}
