//! Every file can be read, and says nothing that contradicts itself.

use secrecy::SecretSlice;

use super::*;
use crate::key::Rule;
use crate::time::Millis;
use crate::verify::Verifier;

#[test]
fn every_file_is_a_preset() {
    for file in FILES {
        if let Err(error) = toml::from_str::<Preset>(file) {
            panic!("{error}");
        }
    }
    assert_eq!(all().len(), FILES.len());
    assert!(all().is_sorted_by(|a, b| a.name < b.name));
    assert!(find("custom").is_none());
    assert_eq!(find("stripe").unwrap().title, "Stripe");
}

#[test]
fn every_preset_verifies_what_it_signs_and_keys_it() {
    let body = bytes::Bytes::from_static(b"{\"id\":\"evt_1\"}");
    for preset in all() {
        let secret = SecretSlice::from(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_vec());
        let verifier = Verifier::new(&preset.verify, vec![secret]).unwrap();
        let mut delivery = verify::Delivery {
            method: http::Method::POST,
            query: None,
            headers: http::HeaderMap::new(),
            body: body.clone(),
        };
        verifier.sign(&mut delivery, "evt_1", Millis(0)).unwrap();
        let verified = verifier.check(delivery, Millis(0)).unwrap();
        let key = Rule::new(&preset.key).unwrap().derive(&verified, uuid::Uuid::nil).unwrap();
        assert_eq!(key.text, "evt_1", "{}", preset.name);
    }
}

#[test]
fn every_preset_is_sound() {
    for preset in all() {
        let name = &preset.name;
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
        assert!(preset.ttl > preset.horizon, "{name}: a copy could come after its key is gone");
        assert!(
            preset.wait >= Duration::from_secs(1) && preset.wait <= Duration::from_secs(30),
            "{name}"
        );
        assert!((200..300).contains(&preset.acknowledgement.status), "{name}");
        assert!(preset.retries || preset.mode == Mode::Queue, "{name}: what fails would be lost");
        assert!(preset.max_body >= 64 * 1024, "{name}");
        assert!(preset.secret_min() >= 16, "{name}");
        assert!(!preset.facts.sources.is_empty(), "{name}");
        assert!(preset.facts.sources.iter().all(|url| url.starts_with("https://")), "{name}");
        assert!(preset.facts.date.len() == 7 && !preset.facts.notes.is_empty(), "{name}");
    }
}

#[test]
fn custom_passes_nothing_until_the_settings_name_a_header() {
    let custom = Preset::custom();
    assert!(!custom.verify.is_open());
    let secret = SecretSlice::from(vec![b'x'; 32]);
    assert_eq!(Verifier::new(&custom.verify, vec![secret]).unwrap_err().field, "header");
    assert!(Rule::new(&custom.key).is_ok());
    assert!(custom.ttl > custom.horizon);
}
