//! What was signed, in one number. Two deliveries with the same number carry the same signed
//! content, whatever else they say; nothing that the signature leaves out, nor how its header
//! is written, is part of it.

use aws_lc_rs::digest;

use super::place::Request;
use super::{Kind, Verified, Verifier};

impl Verifier {
    /// SHA-256 of what the signature of `verified` covers; `None` where nothing is signed.
    pub fn signed_content(&self, verified: &Verified) -> Option<[u8; 32]> {
        if let Kind::Jwt(jwt) = &self.kind {
            let message = jwt.message(&verified.delivery)?;
            return digest::digest(&digest::SHA256, message.as_bytes()).as_ref().try_into().ok();
        }
        let signature = self.signature()?;
        let mut hash = digest::Context::new(&digest::SHA256);
        for body in self.parts(&verified.delivery).ok()? {
            let request = Request { delivery: &verified.delivery, body };
            for piece in signature.message(request)? {
                hash.update(&piece);
            }
        }
        hash.finish().as_ref().try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;

    use super::super::{Delivery, Scheme, Secret, Spec};
    use super::*;
    use crate::time::Millis;

    const NOW: Millis = Millis(1_800_000_000_000);

    fn verifier(spec: &Spec) -> Verifier {
        let secret = Secret { value: b"sixteen-or-more!".to_vec().into(), id: None };
        Verifier::new(spec, if spec.is_open() { vec![] } else { vec![secret] }).unwrap()
    }

    fn signed(verifier: &Verifier, body: &'static str, id: &str, now: Millis) -> Delivery {
        let (method, headers) = (http::Method::POST, HeaderMap::new());
        let mut delivery =
            Delivery { method, query: None, headers, body: Bytes::from_static(body.as_bytes()) };
        verifier.sign(&mut delivery, id, now).unwrap();
        delivery
    }

    fn content(verifier: &Verifier, delivery: Delivery) -> Option<[u8; 32]> {
        let verified = verifier.check(delivery, NOW).expect("it is signed");
        verifier.signed_content(&verified)
    }

    #[test]
    fn it_is_the_sha256_of_the_whole_message() {
        let plain = verifier(&Spec::new(Scheme::HmacSha256, "X-Sig"));
        let one = content(&plain, signed(&plain, "one", "", NOW)).unwrap();
        assert_eq!(one, digest::digest(&digest::SHA256, b"one").as_ref());
        assert_ne!(content(&plain, signed(&plain, "two", "", NOW)), Some(one));
        let stamped = crate::preset::find("stripe").unwrap();
        let stamped = verifier(&stamped.verify);
        let one = content(&stamped, signed(&stamped, "one", "", NOW)).unwrap();
        assert_eq!(one, digest::digest(&digest::SHA256, b"1800000000.one").as_ref());
        let later = signed(&stamped, "one", "", Millis(NOW.0 + 1000));
        assert_ne!(content(&stamped, later), Some(one), "signed anew, it is new");
    }

    #[test]
    fn what_is_not_signed_is_no_part_of_it() {
        let stripe = verifier(&crate::preset::find("stripe").unwrap().verify);
        let sent = signed(&stripe, "one", "", NOW);
        let one = content(&stripe, sent.clone());
        let mut again = sent;
        again.query = Some("x=1".to_owned());
        again.headers.insert("x-id", "other".parse().unwrap());
        // The header may be written in several ways that all hold.
        let written = again.headers["stripe-signature"].to_str().unwrap();
        let (stamp, signature) = written.split_once(',').unwrap();
        let other = format!("v0=ff,{signature},{stamp},v1={}", "0".repeat(64));
        again.headers.insert("stripe-signature", other.parse().unwrap());
        assert_eq!(content(&stripe, again), one);
    }

    #[test]
    fn where_nothing_is_signed_there_is_none() {
        for scheme in [Scheme::Token, Scheme::None] {
            let verifier = verifier(&Spec::new(scheme, "X-Token"));
            assert_eq!(content(&verifier, signed(&verifier, "one", "", NOW)), None);
        }
    }
}
