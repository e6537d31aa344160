//! Stored bytes: none crash the reader, a record comes back as it went, and what was not
//! sealed for its row is not a record.

use oncegate::store::fuzz::{KINDS, again, is_sealed, seal};

/// The first byte is the kind, the second changes the seal, the rest is the record.
pub fn run(data: &[u8]) {
    let [kind, change, bytes @ ..] = data else { return };
    let kind = KINDS[usize::from(*kind) % KINDS.len()];
    let row = b"row";

    // As it is: without a seal, or with one the fuzzer would have had to guess.
    let _no_panic = again(kind, row, bytes);
    let sealed = seal(kind, row, bytes);
    // Many bytes may stand for one record (a number written too long); it is stored as one.
    if let Some(stored) = again(kind, row, &sealed) {
        assert_eq!(again(kind, row, &stored).as_ref(), Some(&stored), "{kind}: another record");
    }
    let refused = |kind: &str, row: &[u8], stored: &[u8]| {
        assert!(!is_sealed(kind, row, stored), "{kind}: a broken seal passed");
        assert_eq!(again(kind, row, stored), None, "{kind}: a broken seal was read");
    };
    refused(kind, b"row2", &sealed);
    refused(if kind == "keys" { "events" } else { "keys" }, row, &sealed);
    let mut flipped = sealed.clone();
    let at = usize::from(*change) % flipped.len();
    flipped[at] ^= 1 << (change % 8);
    refused(kind, row, &flipped);
    // Cut within the tag. Cut within the record, what is left may be one that the fuzzer
    // sealed: it reads tags off the comparisons, which guard against accidents alone.
    refused(kind, row, &sealed[..sealed.len() - 1 - usize::from(*change) % 7]);
}
