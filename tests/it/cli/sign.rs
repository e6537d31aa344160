//! `oncegate sign`: what it prints can be pasted, what it sends is taken, and its secret is
//! never seen.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use serde_json::Value;

use super::{Ran, Shell, like};
use crate::harness::{App, Gateway, Request, SECRET, Step, nowhere, run, stripe};

fn github(name: &str, target: &str) -> String {
    format!(
        "[sources.{name}]\nprovider = \"github\"\nsecrets = [\"{SECRET}\"]\ntarget = \"{target}\"\n"
    )
}

/// The arguments that a shell makes of a printed command.
async fn words(shell: &Shell, command: &str) -> Vec<String> {
    let curl = shell.path().join("curl");
    fs::write(&curl, "#!/bin/sh\nfor word; do printf '%s\\0' \"$word\"; done\n").unwrap();
    fs::set_permissions(&curl, fs::Permissions::from_mode(0o755)).unwrap();
    let mut sh = std::process::Command::new("/bin/sh");
    sh.arg("-c").arg(command).env("PATH", shell.path());
    let output = tokio::task::spawn_blocking(move || sh.output()).await.unwrap().unwrap();
    let text = Ran::of(&output).done();
    text.split_terminator('\0').map(str::to_owned).collect()
}

/// The values of an option.
fn values<'a>(words: &'a [String], option: &str) -> Vec<&'a str> {
    let pairs = words.windows(2).filter(|pair| pair[0] == option);
    pairs.map(|pair| pair[1].as_str()).collect()
}

#[test]
fn a_printed_command_can_be_pasted_and_is_taken() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let sources = stripe("paste", &app.url, "");
        let gateway = Gateway::start(&sources).await;
        let shell = Shell::of(&gateway, &sources);
        let body = "{\"id\":\"evt_1\",\n \"it's\": \"$HOME `x` \\\\ \"}";
        fs::write(shell.path().join("an event.json"), body).unwrap();
        let ran = shell.run(&["sign", "paste", "an event.json"]).await;
        like("sign", &ran.whole());
        let words = words(&shell, &ran.done()).await;
        assert_eq!(values(&words, "--data-binary"), ["@an event.json"]);
        let mut request = Request::new(gateway.public, "/hooks/paste", body.into());
        for header in values(&words, "-H") {
            let (name, value) = header.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        assert_eq!(request.send().await.told(), (200, "processed"));
        gateway.finish().await;
    });
}

#[test]
fn a_body_of_no_file_is_in_the_command_itself() {
    run(async {
        let shell = Shell::new(&stripe("inline", &nowhere().await, ""));
        let body = "{\"id\":\"evt_1\",\n \"it's\": \"$HOME `x` \\\\ \"}";
        let mut command = shell.command(&["sign", "inline", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
        let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await.unwrap();
        let words = words(&shell, &Ran::of(&output.unwrap()).done()).await;
        assert_eq!(values(&words, "--data-raw"), [body]);

        fs::write(shell.path().join("event"), body).unwrap();
        let told = shell.run(&["sign", "inline", "event", "--tamper"]).await.done();
        let words = self::words(&shell, &told).await;
        let tampered = values(&words, "--data-raw")[0];
        assert_eq!(tampered.len(), body.len());
        assert_ne!(tampered, body);

        fs::write(shell.path().join("event"), [0xff, 0x00]).unwrap();
        assert_eq!(shell.run(&["sign", "inline", "event"]).await.code, 0, "it stays in its file");
        let ran = shell.run(&["sign", "inline", "event", "--tamper"]).await;
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains("the body is not text"), "{}", ran.err);
    });
}

#[test]
fn a_sample_is_sent_and_its_story_is_named() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let sources = stripe("sample", &app.url, "");
        let gateway = Gateway::start(&sources).await;
        let shell = Shell::of(&gateway, &sources);
        let ran = shell.run(&["sign", "sample", "--send", "--id", "7"]).await;
        like("send", &ran.whole());
        let told = shell.run(&["sign", "sample", "--id", "7", "--send", "--json"]).await.json();
        assert_eq!(told["event"], "sample:evt_7");
        let answer = &told["answers"][0];
        assert_eq!((&answer["outcome"], &answer["body"]), (&"duplicate".into(), &"fine".into()));
        assert_eq!(answer["replayed"], true);
        let story = shell.run(&["events", "show", told["event"].as_str().unwrap()]).await.done();
        assert!(story.contains("delivery answered 200, processed"), "{story}");
        gateway.finish().await;
    });
}

#[test]
fn many_copies_at_once_are_one_event_and_one_attempt() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let sources = stripe("copies", &app.url, "");
        let gateway = Gateway::start(&sources).await;
        let shell = Shell::of(&gateway, &sources);
        let args = ["sign", "copies", "--send", "--times", "40", "--concurrent"];
        let out = shell.run(&args).await.done();
        assert!(out.contains("40 copies: 39 duplicate, 1 processed"), "{out}");
        assert_eq!(app.got().len(), 1);
        like("send_times", &shell.run(&["sign", "copies", "--send", "--times", "3"]).await.done());
        assert_eq!(app.got().len(), 2, "another run, another event");
        gateway.finish().await;
    });
}

#[test]
fn a_tampered_copy_is_done_when_it_is_refused() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let sources = format!("{}{}", stripe("tamper", &app.url, ""), github("hub", &app.url));
        let gateway = Gateway::start(&sources).await;
        let shell = Shell::of(&gateway, &sources);
        for source in ["tamper", "hub"] {
            let out = shell.run(&["sign", source, "--send", "--tamper"]).await.done();
            assert!(out.starts_with("401 Unauthorized\n"), "{out}");
        }
        assert_eq!(app.got().len(), 0);
        // What checks no signature is found out.
        let url = app.url.as_str();
        let ran = shell.run(&["sign", "tamper", "--send", "--tamper", "--url", url]).await;
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains("was not answered 401"), "{}", ran.err);
        gateway.finish().await;
    });
}

#[test]
fn copies_that_a_provider_would_send_again_are_a_failure() {
    run(async {
        let app = App::always(Step::says(500, "broken")).await;
        let sources = stripe("fails", &app.url, "");
        let gateway = Gateway::start(&sources).await;
        let shell = Shell::of(&gateway, &sources);
        let ran = shell.run(&["sign", "fails", "--send", "--times", "2"]).await;
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains("2 of 2 copies were not answered 2xx"), "{}", ran.err);
        gateway.finish().await;
        let ran = shell.run(&["sign", "fails", "--send", "--times", "3"]).await;
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains("a copy got no answer: "), "{}", ran.err);
    });
}

#[test]
fn an_id_and_headers_are_what_the_provider_would_write() {
    run(async {
        let target = nowhere().await;
        let acme = format!(
            "[sources.acme]\nprovider = \"custom\"\nsecrets = [\"{SECRET}\"]\ntarget = \"{target}\"\n\
             [sources.acme.verify]\nscheme = \"hmac-sha256\"\nheader = \"X-Sig\"\n\
             signed = \"{{header:x-at}}.{{body}}\"\n\
             [sources.acme.key]\nparts = [\"header:X-Acme-Id\"]\n"
        );
        let shell = Shell::new(&format!("{}{acme}", github("hub", &target)));
        let told = shell.run(&["sign", "hub", "--id", "abc-1", "--json"]).await.json();
        assert_eq!(told["headers"]["x-github-delivery"], "abc-1");
        assert_eq!(told["event"], "hub:abc-1");
        assert_eq!(told["url"], "http://127.0.0.1:8080/hooks/hub");
        let elsewhere = ["sign", "hub", "--url", "http://shop.example?a=1", "--json"];
        let told = shell.run(&elsewhere).await.json();
        assert_eq!(told["url"], "http://shop.example/hooks/hub?a=1");

        let lacking = shell.run(&["sign", "acme"]).await;
        assert_eq!(lacking.code, 1);
        assert!(lacking.err.contains("add it with --header"), "{}", lacking.err);
        let args = ["sign", "acme", "-H", "X-At: noon", "-H", "X-Acme-Id: 7", "--json"];
        let told = shell.run(&args).await.json();
        assert_eq!((&told["headers"]["x-at"], &told["event"]), (&"noon".into(), &"acme:7".into()));
    });
}

#[test]
fn the_secret_is_in_nothing_that_sign_prints() {
    run(async {
        let sources = format!(
            "{}{}",
            stripe("canary", "http://127.0.0.1:1/", ""),
            github("hub", "http://127.0.0.1:1/")
        );
        let shell = Shell::new(&sources);
        let secret = SECRET.strip_prefix("whsec_").unwrap();
        for args in [
            &["sign", "canary"][..],
            &["sign", "hub", "--json"],
            &["sign", "canary", "--tamper"],
            &["sign", "hub", "--send", "--url", "http://127.0.0.1:1"],
            &["sign", "canary", "no-such-file"],
            &["check"],
            &["check", "--json"],
        ] {
            let whole = shell.run(args).await.whole();
            assert!(!whole.contains(secret), "{args:?}: {whole}");
        }
        let one: Value = shell.run(&["sign", "hub", "--json"]).await.json();
        assert!(one["headers"]["x-hub-signature-256"].as_str().unwrap().starts_with("sha256="));
    });
}

#[test]
fn a_token_is_sent_and_never_printed() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let sources = github("lab", &app.url).replace("\"github\"", "\"gitlab\"");
        let gateway = Gateway::start(&sources).await;
        let shell = Shell::of(&gateway, &sources);
        for args in [
            &["sign", "lab"][..],
            &["sign", "lab", "--json"],
            &["sign", "lab", "--send", "--tamper"],
        ] {
            let ran = shell.run(args).await;
            assert_eq!(ran.code, 2, "{args:?}");
            assert!(ran.err.contains("token") && !ran.whole().contains(SECRET), "{}", ran.whole());
        }
        let sent = shell.run(&["sign", "lab", "--send"]).await;
        assert!(!sent.whole().contains(SECRET));
        assert!(sent.done().contains("queued"));
        gateway.finish().await;
    });
}
