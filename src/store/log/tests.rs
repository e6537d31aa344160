//! What a log tells of itself after a crash, torn, rotten or of another time.

use std::sync::Arc;

use redb::StorageBackend as _;
use redb::backends::InMemoryBackend;

use super::*;

const MARK: Mark = Mark { id: 7, applied: 3, open: true };

/// A file that outlives the log.
#[derive(Clone, Debug, Default)]
struct Shared(Arc<InMemoryBackend>);

impl StorageBackend for Shared {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

fn files(of: &[Shared; 2]) -> Files {
    of.clone().map(|file| Box::new(file) as Box<dyn StorageBackend>)
}

fn row(seq: u64, value: Option<&[u8]>) -> Layer {
    let mut rows = Layer::default();
    rows.put(Key::event(seq), value.map(<[u8]>::to_vec));
    rows
}

/// A log with batches 4, 5 and 6 in one file and 7 in the other.
fn written() -> [Shared; 2] {
    let disk = <[Shared; 2]>::default();
    let mut log = Log::begin(files(&disk), MARK, 0).unwrap();
    log.append(&row(1, Some(b"one"))).unwrap();
    log.append(&row(2, Some(&[9; 10_000]))).unwrap();
    log.append(&row(1, None)).unwrap();
    log.turn();
    log.append(&row(3, Some(b"three"))).unwrap();
    disk
}

fn rows(of: &Layer) -> Vec<(Key, Option<usize>)> {
    of.rows().map(|(key, value)| (key.clone(), value.map(<[u8]>::len))).collect()
}

#[test]
fn what_was_written_is_read_in_order() {
    let (tail, last) = tail(&files(&written()), MARK).unwrap();
    assert_eq!(last, 7);
    let expected = [(1, None), (2, Some(10_000)), (3, Some(5))];
    assert_eq!(rows(&tail), expected.map(|(seq, value)| (Key::event(seq), value)));
}

#[test]
fn what_the_file_has_and_what_is_of_another_start_is_passed_over() {
    let disk = written();
    let (rest, last) = tail(&files(&disk), Mark { applied: 6, ..MARK }).unwrap();
    assert_eq!((rows(&rest).len(), last), (1, 7));
    let (none, last) = tail(&files(&disk), Mark { id: 8, ..MARK }).unwrap();
    assert_eq!((none.is_empty(), last), (true, 3));
}

#[test]
fn a_last_batch_that_was_never_finished_is_none() {
    let disk = written();
    let mut log = Log::begin(files(&disk), Mark { applied: 7, ..MARK }, 0).unwrap();
    // Its second block never reached the disk.
    log.at = 5 * 4096;
    log.append(&row(4, Some(&[5; 8000]))).unwrap();
    disk[0].write(6 * 4096, &[0; 4096]).unwrap();
    assert_eq!(tail(&files(&disk), MARK).unwrap().1, 7);
}

#[test]
fn a_batch_in_the_middle_that_is_damaged_is_told_and_not_passed_over() {
    // In batch 4; in the header, then the rows, of batch 5; in batch 6.
    for at in [20, 4096 + 3, 2 * 4096 + 50, 5 * 4096 - 4096] {
        let disk = written();
        let mut byte = [0];
        disk[0].read(at, &mut byte).unwrap();
        disk[0].write(at, &[byte[0] ^ 4]).unwrap();
        let error = tail(&files(&disk), MARK).unwrap_err().to_string();
        assert!(error.contains("of the log beside it is missing or damaged"), "{at}: {error}");
    }
}

#[test]
fn a_batch_that_failed_gives_its_place_to_the_next() {
    let disk = <[Shared; 2]>::default();
    let mut log = Log::begin(files(&disk), MARK, 0).unwrap();
    log.append(&row(1, Some(&[1; 12_000]))).unwrap();
    (log.at, log.last) = (0, MARK.applied);
    log.append(&row(2, Some(b"two"))).unwrap();
    let (tail, last) = tail(&files(&disk), MARK).unwrap();
    assert_eq!((rows(&tail), last), (vec![(Key::event(2), Some(3))], 4));
}

#[test]
fn a_body_cannot_pass_for_a_batch() {
    // Whoever sends a webhook may know the format, not the id: it is drawn at each start.
    let mut forged = Vec::new();
    encode(&mut forged, 1, 5, &row(66, Some(b"forged"))).unwrap();
    let mut body = vec![0; 2 * BLOCK];
    body.extend(forged);
    let disk = <[Shared; 2]>::default();
    let mut log = Log::begin(files(&disk), MARK, 0).unwrap();
    log.append(&row(1, Some(&body))).unwrap();
    let (found, last) = tail(&files(&disk), MARK).unwrap();
    assert_eq!((rows(&found).len(), last), (1, 4));
    // Nor where the batch around it was torn.
    disk[0].write(0, &[0; HEADER]).unwrap();
    assert!(tail(&files(&disk), MARK).unwrap().0.is_empty());
}

#[test]
fn nothing_at_all_is_an_empty_log() {
    let (tail, last) = tail(&files(&<[Shared; 2]>::default()), MARK).unwrap();
    assert_eq!((tail.is_empty(), last), (true, 3));
}
