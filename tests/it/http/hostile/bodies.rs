//! Bodies and signatures made to hurt whoever looks into them. What is signed passes byte for
//! byte, whatever it is; what is not signed is refused, however much of it there is.

use super::with_line;
use crate::harness::{App, Connection, Gateway, Step, run, stripe};

/// gzip of a million zeros begins like this; nobody here unpacks it.
const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\xed\xc1\x01\x0d\x00\x00\x00\xc2";

fn nested(depth: usize) -> Vec<u8> {
    [vec![b'['; depth], vec![b']'; depth]].concat()
}

#[test]
fn what_is_signed_passes_byte_for_byte_whatever_it_is() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&stripe("any-bytes", &app.url, "")).await;
        let bodies: [(&str, Vec<u8>); 14] = [
            ("packed", GZIP.to_vec()),
            ("no UTF-8", b"{\"id\":\"\xff\xfe\"}".to_vec()),
            ("a lone surrogate", br#"{"id":"\ud800"}"#.to_vec()),
            ("a byte order mark", b"\xef\xbb\xbf{\"id\":\"a\"}".to_vec()),
            ("a NUL", b"{\"id\":\"a\0b\"}".to_vec()),
            ("nested at the limit", nested(127)),
            ("nested beyond it", nested(128)),
            ("nested without end", nested(200_000)),
            ("never closed", vec![b'['; 200_000]),
            ("a key twice", br#"{"id":"one","id":"two"}"#.to_vec()),
            ("a key twice, once escaped", br#"{"id":"one","\u0069d":"two"}"#.to_vec()),
            ("a number of 100,000 digits", format!("{{\"id\":{}}}", "9".repeat(100_000)).into()),
            ("an enormous exponent", br#"{"id":1e400}"#.to_vec()),
            ("no JSON", b"\r\n\r\nPOST /hooks/any-bytes HTTP/1.1\r\n\r\n".to_vec()),
        ];
        for (nth, (name, body)) in bodies.iter().enumerate() {
            let request = gateway.signed("any-bytes", "id", body.clone());
            let request = request.header("content-encoding", "gzip");
            assert_eq!(request.send().await.told(), (200, "processed"), "{name}");
            assert_eq!(request.send().await.told(), (200, "duplicate"), "{name}");
            let got = app.got();
            assert_eq!((got.len(), &got[nth].body), (nth + 1, body), "{name}");
        }
        gateway.finish().await;
    });
}

#[test]
fn what_is_not_signed_is_refused_however_much_of_it_there_is() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&stripe("unsigned", &app.url, "")).await;
        let event = gateway.stripe("unsigned", "evt_1");
        let right = event.headers[0].1.clone();
        // Longer ones would not fit in a head.
        let wrong = "0".repeat(40);
        let stamp = right.split(',').next().unwrap();
        let twice = event.clone().header("stripe-signature", &right);
        let cases = [
            ("none", None),
            ("empty", Some(String::new())),
            ("only a version", Some("v1,".to_owned())),
            (
                "a thousand wrong ones",
                Some(format!("{stamp},v1={wrong}{}", format!(",v1={wrong}").repeat(999))),
            ),
            (
                "a thousand and the right one",
                Some(format!("{}{right}", format!("v1={wrong},").repeat(999))),
            ),
            ("the time twice", Some(format!("{stamp},{right}"))),
            ("no time", Some(right.split_once(',').unwrap().1.to_owned())),
            ("no version that is known", Some(right.replace("v1=", "v0="))),
            ("in capitals", Some(right.to_uppercase())),
            ("cut", Some(right[..right.len() - 1].to_owned())),
            ("of another time", Some(right.replacen("t=1", "t=2", 1))),
            ("the time with a plus", Some(right.replacen("t=", "t=+", 1))),
        ];
        for (name, value) in cases {
            let mut request = event.clone();
            request.headers.clear();
            if let Some(value) = value {
                request = request.header("stripe-signature", &value);
            }
            assert_eq!(request.send().await.told(), (401, "rejected"), "{name}");
        }
        assert_eq!(twice.send().await.told(), (401, "rejected"), "two headers");
        // An underscore does not make it another header that counts.
        let mut underscored = event.clone();
        underscored.headers[0].0 = "stripe_signature".to_owned();
        assert_eq!(underscored.send().await.told(), (401, "rejected"), "an underscore");
        let beside = event.clone().header("stripe_signature", "t=1,v1=00");
        assert!(app.got().is_empty());
        assert!(gateway.story("unsigned", "evt_1").await.is_none());
        assert_eq!(beside.send().await.told(), (200, "processed"));
        assert_eq!(app.got()[0].header("stripe_signature"), None);
        gateway.finish().await;
    });
}

#[test]
fn a_body_that_is_cut_is_told_so_and_claims_nothing() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&stripe("cut-body", &app.url, "")).await;
        let bytes = with_line(&gateway.stripe("cut-body", "evt_1"), "x: y");
        let mut connection = Connection::open(gateway.public).await;
        assert!(connection.write(&bytes[..bytes.len() - 1]).await);
        connection.half_close().await;
        assert_eq!(connection.read().await.unwrap().told(), (400, "invalid"));
        assert!(connection.has_ended().await);
        assert!(app.got().is_empty());
        gateway.finish().await;
    });
}
