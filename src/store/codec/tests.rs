//! The stored bytes are bincode's, and those of version 1 do not change.

use bincode::Encode;

use super::encode;
use crate::record::{
    Act, Answer, Body, Boot, Entry, Event, Finish, Label, State, Token, Verdict, What,
};
use crate::store::key_rules::{KeyRules, OldRule};
use crate::store::signals::Runs;
use crate::store::totals::Totals;
use crate::store::{Deliveries, Payload, Seen};
use crate::time::Millis;

/// Encodes with wincode, holds it against bincode's bytes of `mirror` and the golden ones.
fn same<T, M>(value: &T, mirror: M, golden: &str)
where
    T: wincode::SchemaWrite<super::Format, Src = T>,
    M: Encode,
{
    let mut expected = vec![super::VERSION];
    expected.extend(bincode::encode_to_vec(mirror, bincode::config::standard()).unwrap());
    let actual = encode(value).unwrap().0;
    assert_eq!(actual, expected);
    assert_eq!(data_encoding::HEXLOWER.encode(&actual), golden);
}

#[derive(Encode)]
struct EventMirror {
    id: String,
    long: Option<String>,
    received: u64,
    changed: u64,
    state: StateMirror,
    owed: bool,
    doubt: bool,
    finish: Option<FinishMirror>,
    token: u64,
    attempt: u32,
    budget: u32,
    body: ([u8; 32], u64, Option<u64>),
    kept: Vec<[u8; 32]>,
    entries: u32,
}

#[derive(Encode)]
#[expect(dead_code, reason = "the variants' numbers are what matters")]
enum StateMirror {
    Open,
    InFlight { boot: u64 },
    Queued { due: u64 },
    Done,
}

#[derive(Encode)]
enum FinishMirror {
    Answered,
}

#[derive(Encode)]
#[expect(dead_code, reason = "the variants' numbers are what matters")]
enum WhatMirror {
    Stored { status: u16 },
    Claimed { token: u64, attempt: u32 },
    Settled { attempt: u32, result: VerdictMirror, status: Option<u16>, detail: String, late: bool },
    Operated { act: ActMirror, note: String },
}

#[derive(Encode)]
#[expect(dead_code, reason = "the variants' numbers are what matters")]
enum VerdictMirror {
    Success,
    Final,
    Failed,
    Unknown,
}

#[derive(Encode)]
#[expect(dead_code, reason = "the variants' numbers are what matters")]
enum ActMirror {
    Redeliver { force: bool },
    SettleDone,
    SettleQueued,
    Forget { force: bool },
    Admit,
}

fn event(state: State, finish: Option<Finish>) -> Event {
    Event {
        id: "p:1".to_owned(),
        long: Some("long".to_owned()),
        received: Millis(1_800_000_000_000),
        changed: Millis(250),
        state,
        owed: true,
        doubt: false,
        finish,
        token: Token(251),
        attempt: 70_000,
        budget: 3,
        body: Body { sha256: [7; 32], bytes: 65_536, held: Some(Millis(1)) },
        kept: vec![[9; 32]],
        entries: 4,
    }
}

fn mirror(state: StateMirror, finish: Option<FinishMirror>) -> EventMirror {
    EventMirror {
        id: "p:1".to_owned(),
        long: Some("long".to_owned()),
        received: 1_800_000_000_000,
        changed: 250,
        state,
        owed: true,
        doubt: false,
        finish,
        token: 251,
        attempt: 70_000,
        budget: 3,
        body: ([7; 32], 65_536, Some(1)),
        kept: vec![[9; 32]],
        entries: 4,
    }
}

#[test]
fn an_event_is_stored_as_bincode_would() {
    let boot = u64::MAX;
    same(
        &event(State::InFlight { boot: Boot(boot) }, Some(Finish::Answered)),
        mirror(StateMirror::InFlight { boot }, Some(FinishMirror::Answered)),
        "0103703a3101046c6f6e67fd00505c18a3010000fa01fdffffffffffffffff01000100fbfb00fc70110100030707070707070707070707070707070707070707070707070707070707070707fc00000100010101090909090909090909090909090909090909090909090909090909090909090904",
    );
    same(
        &event(State::Queued { due: Millis(5) }, None),
        mirror(StateMirror::Queued { due: 5 }, None),
        "0103703a3101046c6f6e67fd00505c18a3010000fa0205010000fbfb00fc70110100030707070707070707070707070707070707070707070707070707070707070707fc00000100010101090909090909090909090909090909090909090909090909090909090909090904",
    );
}

#[test]
fn a_line_of_the_story_is_stored_as_bincode_would() {
    let what = What::Settled {
        attempt: 2,
        result: Verdict::Unknown,
        status: Some(504),
        detail: "late".to_owned(),
        late: true,
    };
    let mirror = WhatMirror::Settled {
        attempt: 2,
        result: VerdictMirror::Unknown,
        status: Some(504),
        detail: "late".to_owned(),
        late: true,
    };
    same(
        &Entry { at: Millis(9), state: Label::Held, what },
        (9_u64, 5_u8, mirror),
        "01090502020301fbf801046c61746501",
    );
    let what = What::Operated { act: Act::Forget { force: true }, note: "n".to_owned() };
    let mirror =
        WhatMirror::Operated { act: ActMirror::Forget { force: true }, note: "n".to_owned() };
    same(
        &Entry { at: Millis(9), state: Label::Done, what },
        (9_u64, 3_u8, mirror),
        "010903030301016e",
    );
    let what = What::Operated { act: Act::Admit, note: "n".to_owned() };
    let mirror = WhatMirror::Operated { act: ActMirror::Admit, note: "n".to_owned() };
    same(
        &Entry { at: Millis(9), state: Label::Open, what },
        (9_u64, 0_u8, mirror),
        "0109000304016e",
    );
}

#[test]
fn bytes_of_deliveries_and_answers_are_stored_as_bincode_would() {
    let headers = vec![("a".to_owned(), b"b".to_vec())];
    let answer =
        Answer { status: 201, headers: headers.clone(), body: vec![0; 3], truncated: true };
    same(&answer, (201_u16, headers.clone(), vec![0_u8; 3], true), "01c901016101620300000001");
    let payload = Payload {
        method: "POST".to_owned(),
        query: None,
        headers: headers.clone(),
        body: vec![255; 2],
        from: Some("::1".to_owned()),
        https: true,
    };
    same(
        &payload,
        ("POST", None::<String>, headers, vec![255_u8; 2], Some("::1"), true),
        "0104504f535400010161016202ffff01033a3a3101",
    );
}

#[test]
fn counts_are_stored_as_bincode_would() {
    let mut deliveries = Deliveries::default();
    deliveries.add(Seen { at: Millis(3), outcome: "busy".to_owned(), status: 503, mismatch: true });
    let seen = (3_u64, "busy", 503_u16, true);
    same(
        &deliveries,
        (vec![("busy", 1_u64)], vec![seen], Vec::<(u64, &str, u16, bool)>::new()),
        "010104627573790101030462757379fbf7010100",
    );
    let mut totals = Totals::default();
    (totals.next, totals.seen) = (300, Millis(4));
    totals.moved(None, Some(&event(State::Done, None)));
    same(
        &totals,
        (300_u64, 4_u64, vec![("p", [0_u64, 0, 0, 1, 0, 0])]),
        "01fb2c0104010170000000010000",
    );
}

#[test]
fn key_rules_and_signals_are_stored_as_bincode_would() {
    let old = vec![OldRule { spec: "{}".to_owned(), until: Millis(300) }];
    same(
        &KeyRules { spec: "{\"a\":1}".to_owned(), since: Millis(2), ttl: 251, old },
        ("{\"a\":1}", 2_u64, 251_u64, vec![("{}", 300_u64)]),
        "01077b2261223a317d02fbfb0001027b7dfb2c01",
    );
    same(&Runs { newest: Some(7), open: None }, (Some(7_u64), None::<u64>), "01010700");
}
