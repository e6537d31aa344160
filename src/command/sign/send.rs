//! Sending copies as a provider would, and what each is answered.

use std::collections::BTreeMap;
use std::time::Duration;

use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::super::call::{Answer, Call, Peer};
use super::super::failure::Failure;
use super::super::out;
use super::super::table::{Side, Table};
use super::{Sample, Sending, Signed};

/// Longer than any provider waits, and than `timeout` and `wait` usually are.
const TIME: Duration = Duration::from_mins(2);
/// How much of an answer's body a line of the table shows, in letters.
const SHOWN: usize = 60;

type Answered = anyhow::Result<Answer>;

/// Sends `times` copies, and tells what they were answered.
pub(super) async fn run(
    sample: &Sample<'_>,
    event: Option<&str>,
    sending: Sending,
    json: bool,
) -> Result<(), Failure> {
    let Sending { times, concurrent, .. } = sending;
    let answers =
        if concurrent { at_once(sample, times).await? } else { in_turn(sample, times).await? };
    if json {
        let answers: Vec<Value> = answers.iter().map(tell).collect();
        out::json(&json!({ "event": event, "answers": answers }))?;
    } else {
        match answers.as_slice() {
            [Ok(answer)] => print_one(answer)?,
            [Err(_)] => {},
            several => print_all(several)?,
        }
        if let Some(event) = event.filter(|_| !sample.tamper) {
            out::note(&format!("\n`oncegate events show {event}` tells its story"));
        }
    }
    judge(sample.tamper, &answers)
}

/// One after another. The first that cannot be sent ends it: so would the others.
async fn in_turn(sample: &Sample<'_>, times: u64) -> Result<Vec<Answered>, Failure> {
    let peer = peer(sample)?;
    let mut answers = Vec::new();
    for _ in 0..times {
        let request = request(sample, sample.sign()?)?;
        let answer = async { Call::connect(&peer).await?.send(request, TIME).await }.await;
        let ended = answer.is_err();
        answers.push(answer);
        if ended {
            break;
        }
    }
    Ok(answers)
}

/// All at once: every connection is there before the first request goes out.
async fn at_once(sample: &Sample<'_>, times: u64) -> Result<Vec<Answered>, Failure> {
    let peer = peer(sample)?;
    let mut calls = Vec::new();
    for _ in 0..times {
        calls.push((Call::connect(&peer).await, request(sample, sample.sign()?)?));
    }
    let mut sending = JoinSet::new();
    for (call, request) in calls {
        sending.spawn(async move { call?.send(request, TIME).await });
    }
    let mut answers = Vec::new();
    while let Some(answer) = sending.join_next().await {
        answers.push(answer.unwrap_or_else(|panic| Err(panic.into())));
    }
    Ok(answers)
}

fn peer(sample: &Sample<'_>) -> Result<Peer, Failure> {
    let url = &sample.url;
    if url.scheme_str() != Some("http") {
        return Err(Failure::usage("--send speaks plain HTTP only")
            .mend("run the command that is printed without --send; curl -k if the certificate names another host"));
    }
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    Ok(Peer::Tcp(host.to_owned(), url.port_u16().unwrap_or(80)))
}

fn request(sample: &Sample<'_>, signed: Signed) -> Result<Request<Full<bytes::Bytes>>, Failure> {
    let target = signed.url.path_and_query().map_or("/", |target| target.as_str());
    let host = sample.url.authority().map_or("", |authority| authority.as_str());
    let request = Request::post(target).body(Full::new(signed.body.clone()));
    let mut request = request.map_err(Failure::new)?;
    *request.headers_mut() = signed.headers;
    if !request.headers().contains_key(HOST) {
        request.headers_mut().insert(HOST, host.parse().map_err(Failure::new)?);
    }
    Ok(request)
}

/// One answer as it came: its status, its headers, its body.
fn print_one(answer: &Answer) -> Result<(), Failure> {
    let status = answer.status;
    out::line(format_args!(
        "{} {}",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default()
    ))?;
    for (name, value) in &answer.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        out::line(format_args!("{name}: {}", out::plain(&value)))?;
    }
    if answer.body.is_empty() {
        return Ok(());
    }
    out::line("")?;
    let body = String::from_utf8_lossy(&answer.body);
    body.lines().try_for_each(|line| out::line(out::plain(line)))
}

/// A line an answer, and how many there are of each kind.
fn print_all(answers: &[Answered]) -> Result<(), Failure> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let columns = [
        ("COPY", Side::Right),
        ("STATUS", Side::Left),
        ("OUTCOME", Side::Left),
        ("BODY", Side::Left),
    ];
    let mut table = Table::new(&columns);
    for (answer, number) in answers.iter().zip(1_u32..) {
        let (status, outcome, body) = match answer {
            Ok(answer) => {
                let body = String::from_utf8_lossy(&answer.body);
                let body = body.chars().take(SHOWN).collect::<String>();
                (answer.status.as_u16().to_string(), outcome(answer), body)
            },
            Err(why) => ("-".to_owned(), "no answer".to_owned(), format!("{why:#}")),
        };
        *counts.entry(outcome.clone()).or_default() += 1;
        table.row([number.to_string().into(), status.into(), outcome.into(), body.into()]);
    }
    table.print()?;
    let counts: Vec<String> = counts.iter().map(|(outcome, n)| format!("{n} {outcome}")).collect();
    let copies = out::count(answers.len() as u64, "copy", "copies");
    out::line(format_args!("\n{copies}: {}", out::plain(&counts.join(", "))))
}

/// The gateway's word for what became of it; what answers may be no gateway.
fn outcome(answer: &Answer) -> String {
    match answer.header("oncegate-outcome") {
        "" => "-".to_owned(),
        outcome => outcome.to_owned(),
    }
}

fn tell(answer: &Answered) -> Value {
    match answer {
        Err(why) => json!({ "error": format!("{why:#}") }),
        Ok(answer) => json!({
            "status": answer.status.as_u16(),
            "outcome": answer.header("oncegate-outcome"),
            "replayed": answer.header("idempotency-replayed") == "true",
            "body": String::from_utf8_lossy(&answer.body),
        }),
    }
}

/// A provider takes 2xx for success; a request that was tampered with must be answered 401.
fn judge(tamper: bool, answers: &[Answered]) -> Result<(), Failure> {
    if let Some(Err(why)) = answers.iter().find(|answer| answer.is_err()) {
        return Err(Failure::new(format!("a copy got no answer: {why:#}"))
            .mend("start the gateway with `oncegate serve`, or name another place with --url"));
    }
    let right = |answer: &Answer| {
        if tamper { answer.status == StatusCode::UNAUTHORIZED } else { answer.status.is_success() }
    };
    let wrong = answers.iter().flatten().filter(|answer| !right(answer)).count();
    match (wrong, tamper) {
        (0, _) => Ok(()),
        (_, true) => {
            Err(Failure::new("a body that was changed after signing was not answered 401")
                .mend("the gateway must check signatures: is the source's scheme \"none\"?"))
        },
        (_, false) => Err(Failure::new(format!(
            "{wrong} of {} not answered 2xx: a provider would send again",
            out::count(answers.len() as u64, "copy was", "copies were")
        ))),
    }
}
