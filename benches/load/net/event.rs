//! Events and the requests that bring them. An id is random, or made of a number by mixing it:
//! that looks as random to the store, and can be drawn again.

use std::net::SocketAddr;

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;
use oncegate::clock;

use super::SECRET;

const PREFIX: &[u8; 4] = b"evt_";
/// Characters of an id.
const ID: usize = 28;
/// Digits of a moment in Unix seconds, until 2286.
const SECONDS: usize = 10;
/// Hexadecimal digits of a signature.
const SIGNATURE: usize = 64;
const BEFORE_ID: &str = "{\"id\":\"";

/// The id of an event, as long as Stripe's: a random one would be kinder to nobody, and one that
/// grew would be kinder to the store than providers are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Id([u8; ID]);

impl Id {
    pub(crate) fn random() -> Self {
        Self::new(fastrand::u64(..), fastrand::u64(..))
    }

    /// The id of the stored event of this number.
    pub(crate) fn of(number: u64) -> Self {
        Self::new(mixed(number), mixed(!number))
    }

    fn new(high: u64, low: u64) -> Self {
        let mut id = [0; ID];
        let (prefix, hex) = id.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX);
        // Twelve bytes of the sixteen.
        let number = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
        let (number, _) = number.split_at(hex.len() / 2);
        HEXLOWER.encode_mut(number, hex);
        Self(id)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.0).expect("letters and digits")
    }
}

/// `SplitMix64`: no two numbers get the same.
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The body of the event `id`, `size` bytes long, the same for every copy.
pub(crate) fn body(id: &Id, size: usize) -> Vec<u8> {
    let mut text = format!(
        "{BEFORE_ID}{}\",\"object\":\"event\",\"type\":\"invoice.paid\",\"created\":1795000000,\
         \"data\":{{\"object\":{{\"id\":\"in_1\",\"amount\":4900,\"note\":\"",
        id.text()
    );
    let end = "\"}}}";
    let filler = size.saturating_sub(text.len() + end.len());
    text.extend(std::iter::repeat_n('x', filler));
    text += end;
    text.into_bytes()
}

/// A signed request, made once: only id, time and signature are written anew for each event.
#[derive(Debug)]
pub(crate) struct Request {
    bytes: Vec<u8>,
    key: hmac::Key,
    time_at: usize,
    signature_at: usize,
    body_at: usize,
}

impl Request {
    pub(crate) fn new(to: SocketAddr, path: &str, size: usize) -> Self {
        let body = body(&Id::of(0), size);
        let mut head = format!(
            "POST {path} HTTP/1.1\r\nhost: {to}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nstripe-signature: t=",
            body.len()
        );
        let time_at = head.len();
        head += &"0".repeat(SECONDS);
        head += ",v1=";
        let signature_at = head.len();
        head += &"0".repeat(SIGNATURE);
        head += "\r\n\r\n";
        let body_at = head.len();
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&body);
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        Self { bytes, key, time_at, signature_at, body_at }
    }

    /// The request that brings the event `id`, signed as of now.
    pub(crate) fn of(&mut self, id: &Id) -> &[u8] {
        let seconds = (clock::wall().0 / 1000).to_string();
        self.put(self.time_at, seconds.as_bytes());
        self.put(self.body_at + BEFORE_ID.len(), &id.0);
        let mut context = hmac::Context::with_key(&self.key);
        context.update(seconds.as_bytes());
        context.update(b".");
        context.update(self.bytes.get(self.body_at..).expect("a body"));
        let signature = HEXLOWER.encode(context.sign().as_ref());
        self.put(self.signature_at, signature.as_bytes());
        &self.bytes
    }

    /// The headers as the gateway gets them.
    pub(crate) fn headers(&self) -> Vec<(String, Vec<u8>)> {
        let head = self.bytes.get(..self.body_at).expect("a head");
        let lines = std::str::from_utf8(head).expect("text").split("\r\n").skip(1);
        let pairs = lines.filter_map(|line| line.split_once(": "));
        pairs.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).collect()
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        let place = self.bytes.get_mut(at..at + bytes.len()).expect("room for it");
        place.copy_from_slice(bytes);
    }
}
