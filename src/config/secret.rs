//! Where secrets come from. A value read here goes into a [`SecretSlice`] and nowhere else:
//! causes name the place a secret was looked for, never what was found.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use figment::value::{Dict, Value};
use secrecy::{ExposeSecret as _, SecretSlice};

use super::layers::Environment;
use super::problem::{Wrong, wrong};
use super::table::{Table, kind, unknown};
use super::values::text;
use crate::verify::Secret;

/// The shortest secret of our own: `admin_token`, `sign_with`.
pub(super) const MIN: usize = 16;

/// A file this long is no secret but a mistake, such as a device that never ends.
const MAX: u64 = 64 * 1024;

/// The ways to say where a secret is.
const PLACES: [&str; 3] = ["env", "file", "credential"];

/// Where secrets are looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places<'a> {
    pub(super) env: &'a Environment,
    /// The folder of the settings file: relative paths of secrets start there.
    pub(super) folder: &'a Path,
}

/// Every secret of `key`: a list, or one alone. Each has at least `min` bytes, and may have an
/// `id` beside its place.
pub(super) fn list(
    table: &mut Table<'_>,
    key: &'static str,
    min: usize,
    places: Places<'_>,
) -> Vec<Secret> {
    let items = match table.take(key) {
        None => Vec::new(),
        Some(Value::Array(_, items)) => items,
        Some(one) => {
            return one_of(table, key, &one, min, places).into_iter().collect();
        },
    };
    let found = items.iter().enumerate();
    found
        .filter_map(|(index, item)| one_of(table, &format!("{key}[{index}]"), item, min, places))
        .collect()
}

/// The one secret of `key`.
pub(super) fn single(
    table: &mut Table<'_>,
    key: &'static str,
    places: Places<'_>,
) -> Option<SecretSlice<u8>> {
    let value = table.take(key)?;
    one_of(table, key, &value, MIN, places).map(|secret| secret.value)
}

fn one_of(
    table: &Table<'_>,
    key: &str,
    value: &Value,
    min: usize,
    places: Places<'_>,
) -> Option<Secret> {
    let id = |place: &mut Dict| place.remove("id").map(|id| text(&id).map(str::to_owned));
    let secret = if let Value::Dict(_, place) = value {
        let mut place = place.clone();
        id(&mut place).transpose().and_then(|id| Ok((look_up(&place, places)?, id)))
    } else {
        literal(value).map(|secret| (secret, None))
    };
    let whole = |(secret, id)| Ok(Secret { value: long_enough(secret, min)?, id });
    let secret = secret.and_then(whole);
    secret.map_err(|wrong| table.add(key, wrong)).ok()
}

fn long_enough(secret: SecretSlice<u8>, min: usize) -> Result<SecretSlice<u8>, Wrong> {
    match secret.expose_secret().len() {
        0 => Err(wrong("the secret is empty", "")),
        length if length < min => {
            Err(wrong(format!("the secret is too short: at least {min} bytes are needed"), ""))
        },
        _ if secret.expose_secret().trim_ascii().len() < secret.expose_secret().len() => {
            Err(wrong("the secret begins or ends with white space", "remove it"))
        },
        _ => Ok(secret),
    }
}

fn literal(value: &Value) -> Result<SecretSlice<u8>, Wrong> {
    match value {
        Value::String(_, literal) => Ok(literal.clone().into_bytes().into()),
        Value::Dict(..)
        | Value::Char(..)
        | Value::Bool(..)
        | Value::Num(..)
        | Value::Empty(..)
        | Value::Array(..) => {
            let mend = "put it in quotes, or write { env = \"NAME\" }, { file = \"PATH\" } or { credential = \"NAME\" }";
            Err(wrong(format!("a secret must be text, not {}", kind(value)), mend))
        },
    }
}

fn look_up(place: &Dict, places: Places<'_>) -> Result<SecretSlice<u8>, Wrong> {
    if let Some(key) = place.keys().find(|key| !PLACES.contains(&key.as_str())) {
        let Wrong { mend, .. } = unknown(key, &PLACES);
        return Err(wrong(format!("`{key}` is not a place of a secret"), mend));
    }
    let mut entries = place.iter();
    let (Some((kind, name)), None) = (entries.next(), entries.next()) else {
        return Err(wrong("a secret has one place", "write one of env, file and credential"));
    };
    let name = text(name)?;
    match kind.as_str() {
        "env" => match places.env.get(name) {
            Some(value) => Ok(value.clone().into_bytes().into()),
            None => Err(wrong(format!("the environment variable {name} is not set"), "")),
        },
        "file" => from_file(&places.folder.join(name)),
        _ => from_credential(name, places.env),
    }
}

/// A file's content, less one newline at its end: the one an editor adds.
fn from_file(path: &Path) -> Result<SecretSlice<u8>, Wrong> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX + 1).read_to_end(&mut bytes)).map_err(
        |error| wrong(format!("the secret file {} cannot be read: {error}", path.display()), ""),
    )?;
    if bytes.len() as u64 > MAX {
        return Err(wrong(format!("the secret file {} is too long", path.display()), ""));
    }
    if bytes.pop_if(|last| *last == b'\n').is_some() {
        bytes.pop_if(|last| *last == b'\r');
    }
    Ok(bytes.into())
}

/// A file of the folder that systemd names.
fn from_credential(name: &str, env: &Environment) -> Result<SecretSlice<u8>, Wrong> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(wrong(format!("\"{name}\" is not the name of a credential"), ""));
    }
    let Some(folder) = env.get("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty()) else {
        let mend = format!(
            "have systemd pass it: LoadCredential={name}:/path/of/the/secret; \
             in a shell, set CREDENTIALS_DIRECTORY to the folder that it is in"
        );
        return Err(wrong(format!("no credential {name}: CREDENTIALS_DIRECTORY is not set"), mend));
    };
    from_file(&Path::new(folder).join(name))
}
