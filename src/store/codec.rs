//! The bytes of a stored value: `[version][bincode's standard format][tag]`.
//!
//! The tag is an XXH3-64 of everything before the tag, seeded with one of the row's key, which
//! is seeded with one of the table's name. redb checks its page checksums only when it opens a
//! file, so the tag is what notices, at every read, a value that rotted or that belongs to
//! another row. It guards against accidents, not against someone who can write the file.
//!
//! One frozen struct per version: a change of a stored struct means a new version here
//! and an upgrade on read. The golden bytes in the tests hold version 1 still.

use wincode::config::Configuration;
use wincode::int_encoding::{LittleEndian, VarInt};
use wincode::len::BincodeLen;
use wincode::{SchemaRead, SchemaWrite};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

const VERSION: u8 = 1;
const TAG_BYTES: usize = 8;
/// The longest sequence a value may hold: above the largest body a source accepts.
const LENGTH_LIMIT: usize = 64 << 20;

/// Byte-identical to bincode 2's `config::standard()`.
pub(super) type Format = Configuration<true, LENGTH_LIMIT, BincodeLen, LittleEndian, VarInt>;
const FORMAT: Format =
    Configuration::default().with_varint_encoding().with_preallocation_size_limit::<LENGTH_LIMIT>();

/// A value that could not be read back as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored value is damaged")]
pub(super) struct Damaged;

/// A value's version and bytes, not yet sealed: what can be made before its row is known.
#[derive(Clone, Debug)]
pub(super) struct Encoded(Vec<u8>);

impl Encoded {
    /// The length in bytes, without the tag.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Takes bytes for an encoded value.
pub(super) fn raw(bytes: &[u8]) -> Encoded {
    Encoded(bytes.to_vec())
}

/// Encodes `value`.
pub(super) fn encode<T>(value: &T) -> Result<Encoded, wincode::WriteError>
where
    T: SchemaWrite<Format, Src = T>,
{
    let size = wincode::config::serialized_size(value, FORMAT)?;
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1 + TAG_BYTES);
    bytes.push(VERSION);
    wincode::config::serialize_into(&mut bytes, value, FORMAT)?;
    Ok(Encoded(bytes))
}

/// Binds an encoded value to its row.
pub(super) fn seal(table: &str, key: &[u8], mut value: Encoded) -> Vec<u8> {
    let tag = tag(table, key, &value.0);
    value.0.extend_from_slice(&tag);
    value.0
}

/// Checks that a stored value is what was written to this row, and takes off the seal.
pub(super) fn unseal(table: &str, key: &[u8], stored: &[u8]) -> Result<Encoded, Damaged> {
    let (value, found) = stored.split_last_chunk::<TAG_BYTES>().ok_or(Damaged)?;
    if tag(table, key, value) != *found || value.first() != Some(&VERSION) {
        return Err(Damaged);
    }
    Ok(Encoded(value.to_vec()))
}

/// Checks and decodes a stored value.
pub(super) fn open<'de, T>(table: &str, key: &[u8], stored: &'de [u8]) -> Result<T, Damaged>
where
    T: SchemaRead<'de, Format, Dst = T>,
{
    let (value, found) = stored.split_last_chunk::<TAG_BYTES>().ok_or(Damaged)?;
    if tag(table, key, value) != *found {
        return Err(Damaged);
    }
    match value.split_first() {
        Some((&VERSION, bytes)) => {
            wincode::config::deserialize_exact(bytes, FORMAT).map_err(|_| Damaged)
        },
        _ => Err(Damaged),
    }
}

fn tag(table: &str, key: &[u8], value: &[u8]) -> [u8; TAG_BYTES] {
    // One hash seeds the next, so that ("ab", "c") and ("a", "bc") are apart; each over bytes
    // that lie together, which is several times as fast as a hash that is fed.
    let row = xxh3_64_with_seed(key, xxh3_64(table.as_bytes()));
    xxh3_64_with_seed(value, row).to_le_bytes()
}

#[cfg(test)]
mod tests;
