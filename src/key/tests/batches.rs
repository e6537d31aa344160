//! Keys of the elements of a batch, and of a batch that is one event.

use proptest::prelude::*;

use super::*;

const BATCH: &[u8] = br#"{"id":"outer","events":[{"id":"a","n":1},{"id":2},{"no":"id"}]}"#;

fn sent() -> Verified {
    verified(Delivery {
        query: Some("q=of-all".to_owned()),
        ..with(delivery(BATCH), &[("x-id", b"of-all")])
    })
}

fn split(body: &[u8]) -> Vec<&[u8]> {
    elements(body, &steps("/events").unwrap()).unwrap()
}

fn derive(rule: &Rule, scope: Scope<'_>) -> Result<String, Unkeyed> {
    rule.derive_of(&sent(), scope, Uuid::nil).map(|key| key.text)
}

#[test]
fn json_parts_and_the_fallback_are_of_the_element_and_all_else_of_the_delivery() {
    let rule = rule(&["header:x-id", "json:/id", "query:q"], Fallback::Body);
    let keys: Vec<_> =
        split(BATCH).into_iter().map(|it| derive(&rule, Scope::Element(it)).unwrap()).collect();
    let of_bytes = format!("=body.{}", sha256(br#"{"no":"id"}"#));
    assert_eq!(keys, ["of-all,a,of-all", "of-all,=2,of-all", &of_bytes]);
}

#[test]
fn an_element_falls_back_as_the_rule_says() {
    let keys = |fallback| {
        let rule = rule(&["json:/id"], fallback);
        [br#"{"no":1,"b":2}"#, br#"{"b":2,"no":1}"#]
            .map(|element| derive(&rule, Scope::Element(element)))
    };
    let [one, other] = keys(Fallback::Body);
    assert_ne!(one, other);
    let [one, other] = keys(Fallback::Canonical);
    assert!(one.as_ref().unwrap().starts_with("=canonical.") && one == other);
    assert_eq!(keys(Fallback::Reject), keys(Fallback::Body), "one of them refuses no others");
    assert!(keys(Fallback::None)[0].as_ref().unwrap().starts_with("=once."));
    let signal = format!("=signal.{}", sha256(br#"{"no":1,"b":2}"#));
    assert_eq!(keys(Fallback::Coalesce)[0], Ok(signal));
}

#[test]
fn what_is_no_batch_has_no_part_and_falls_back_on_all_of_it() {
    let found = derive(&rule(&["json:/id"], Fallback::Body), Scope::NoBatch(Unkeyed::NotArray));
    assert_eq!(found, Ok(format!("=body.{}", sha256(BATCH))), "its id is no element's");
    let found = derive(&rule(&["json:/id"], Fallback::Reject), Scope::NoBatch(Unkeyed::NotArray));
    assert_eq!(found, Err(Unkeyed::NotArray));
}

#[test]
fn a_batch_that_is_one_event_is_keyed_by_its_elements_in_order() {
    let split = split(BATCH);
    let of = |fallback| derive(&rule(&["json:/id"], fallback), Scope::Elements(&split));
    let third = sha256(br#"{"no":"id"}"#);
    assert_eq!(of(Fallback::Body), Ok(format!("a,=2,=body.{third}")));
    assert_eq!(of(Fallback::Reject), Err(Unkeyed::Missing));
    // One element without an identity leaves none to the batch.
    assert_eq!(of(Fallback::None), Ok(format!("=once.{}", Uuid::nil())));
    assert_eq!(of(Fallback::Coalesce), Ok(format!("=signal.{}", sha256(BATCH))));
    let two = derive(&rule(&["json:/id"], Fallback::None), Scope::Elements(&split[..2]));
    assert_eq!(two, Ok("a,=2".to_owned()));
    let many = vec![split[0]; 101];
    let key = rule(&["json:/id"], Fallback::Body)
        .derive_of(&sent(), Scope::Elements(&many), Uuid::nil)
        .unwrap();
    assert_eq!(key.long.unwrap(), vec!["a"; 101].join(","));
    assert!(key.text.starts_with("=long."));
}

proptest! {
    #[test]
    fn no_two_batches_of_other_elements_share_a_key(
        one in prop::collection::vec("(\"[,a=%\\.]{0,3}\"|0|1|null|true|\\[0\\])", 1..5),
        other in prop::collection::vec("(\"[,a=%\\.]{0,3}\"|0|1|null|true|\\[0\\])", 1..5),
    ) {
        let key = |ids: &[String]| {
            let body = format!("{{\"events\":[{}]}}", ids.iter()
                .map(|id| format!("{{\"id\":{id}}}")).collect::<Vec<_>>().join(","));
            let split = split(body.as_bytes());
            derive(&rule(&["json:/id"], Fallback::Body), Scope::Elements(&split)).unwrap()
        };
        prop_assert_eq!(key(&one) == key(&other), one == other);
    }
}
