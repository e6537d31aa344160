//! What the fuzz target `stored` needs of the codec, which is nobody else's: a damaged page
//! may hand it any bytes, and it must neither panic nor take them for a record.

use wincode::{SchemaRead, SchemaWrite};

use super::codec::{self, Format};
use super::totals::Totals;
use super::{Deliveries, Payload};
use crate::record::{Answer, Entry, Event};

/// The kinds of records.
pub const KINDS: [&str; 7] =
    ["events", "payloads", "answers", "story", "deliveries", "meta", "keys"];

/// Seals bytes that need not be a record's. The first is the version.
pub fn seal(kind: &str, row: &[u8], bytes: &[u8]) -> Vec<u8> {
    codec::seal(kind, row, codec::raw(bytes))
}

/// Opens what is stored in `row` as a record of this kind, and stores it again.
pub fn again(kind: &str, row: &[u8], stored: &[u8]) -> Option<Vec<u8>> {
    match kind {
        "events" => reopen::<Event>(kind, row, stored),
        "payloads" => reopen::<Payload>(kind, row, stored),
        "answers" => reopen::<Answer>(kind, row, stored),
        "story" => reopen::<Entry>(kind, row, stored),
        "deliveries" => reopen::<Deliveries>(kind, row, stored),
        "meta" => reopen::<Totals>(kind, row, stored),
        _ => reopen::<u64>(kind, row, stored),
    }
}

/// Whether the bytes are what was sealed for this row.
pub fn is_sealed(kind: &str, row: &[u8], stored: &[u8]) -> bool {
    codec::unseal(kind, row, stored).is_ok()
}

fn reopen<T>(kind: &str, row: &[u8], stored: &[u8]) -> Option<Vec<u8>>
where
    T: for<'de> SchemaRead<'de, Format, Dst = T> + SchemaWrite<Format, Src = T>,
{
    let value: T = codec::open(kind, row, stored).ok()?;
    Some(codec::seal(kind, row, codec::encode(&value).ok()?))
}
