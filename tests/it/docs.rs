//! The commands in the documents are run, and print what the documents say.
//!
//! A block marked `sh` is part of the document's script; its blocks run in order, in one
//! shell, in an empty folder. `# -> text` at the end of a line says what is printed from
//! there on. A block with another mark is only read by people.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// A document's script takes a few seconds.
const LIMIT: Duration = Duration::from_secs(120);

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect(name)
}

/// The `sh` blocks of `text`, in order.
fn script(text: &str) -> String {
    let mut script = String::new();
    let mut inside = false;
    for line in text.lines() {
        match line.trim() {
            "```sh" => inside = true,
            "```" => inside = false,
            _ if inside => script.extend([line, "\n"]),
            _ => {},
        }
    }
    script
}

/// What `script` says it prints, in order.
fn expected(script: &str) -> Vec<String> {
    let said = script.lines().filter_map(|line| Some(line.split_once("# -> ")?.1));
    said.map(|said| said.trim().to_lowercase()).collect()
}

/// `script` with ports of its own, so that it meets no other test.
fn with_free_ports(script: &str) -> String {
    let used = ["5000", "8080", "8081"];
    let held: Vec<_> = used.iter().map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let settings = "export ONCEGATE_SERVER__LISTEN=127.0.0.1:8080\n\
                    export ONCEGATE_SERVER__ADMIN=127.0.0.1:8081\n";
    let mut script = format!("{settings}{script}");
    for (port, free) in used.iter().zip(&held) {
        script = script.replace(port, &free.local_addr().unwrap().port().to_string());
    }
    script
}

/// Runs `script` and returns what it printed.
fn run(script: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_oncegate"));
    let log = folder.path().join("printed");
    let script = &format!("PATH=\"{}:$PATH\"\n{script}", binary.parent().unwrap().display());
    let output = fs::File::create(&log).unwrap();
    let mut shell = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(folder.path())
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .process_group(0)
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = shell.try_wait().unwrap() {
            break Some(status);
        }
        if begun.elapsed() > LIMIT {
            break None;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    // What the script left running in the background ends with it.
    let group = Pid::from_raw(i32::try_from(shell.id()).unwrap()).unwrap();
    if let Err(error) = kill_process_group(group, Signal::KILL) {
        println!("all had ended by itself: {error}");
    }
    let mut printed = String::new();
    fs::File::open(&log).unwrap().read_to_string(&mut printed).unwrap();
    assert!(status.is_some_and(|status| status.success()), "{status:?}\n{script}\n{printed}");
    printed
}

fn holds(name: &str) {
    let script = with_free_ports(&script(&document(name)));
    let expected = expected(&script);
    assert!(!expected.is_empty(), "{name} promises nothing that can be checked");
    let printed = run(&script).to_lowercase();
    let mut rest = printed.as_str();
    for said in expected {
        let (_, after) = rest.split_once(&said).unwrap_or_else(|| {
            panic!("{name}: {said:?} is not in the rest\n{rest}\nof\n{printed}")
        });
        rest = after;
    }
}

#[test]
fn the_commands_of_the_readme_print_what_it_says() {
    holds("README.md");
}

/// The names of all settings, as the shipped file has them.
fn settings(text: &str) -> Vec<String> {
    let name = |line: &str| {
        let line = line.trim_start_matches("# ").trim();
        let (name, _) = line.split_once(" = ")?;
        let plain =
            !name.is_empty() && name.bytes().all(|it| it.is_ascii_lowercase() || it == b'_');
        plain.then(|| name.to_owned())
    };
    text.lines().filter_map(name).collect()
}

#[test]
fn the_reference_has_every_setting_of_the_shipped_file() {
    let reference = document("docs/settings.md");
    for name in settings(&document("config.toml")) {
        assert!(reference.contains(&format!("`{name}`")), "docs/settings.md has no `{name}`");
    }
}

#[test]
fn the_page_of_the_providers_is_what_the_presets_say() {
    let command = "providers --markdown";
    let made = Command::new(env!("CARGO_BIN_EXE_oncegate")).args(command.split(' ')).output();
    let made = String::from_utf8(made.unwrap().stdout).unwrap();
    let update = format!("cargo run -- {command} > docs/providers.md");
    assert!(document("docs/providers.md") == made, "it is of other presets: {update}");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let tops = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|name| root.join(name));
    for file in docs.chain(tops) {
        let text = fs::read_to_string(&file).unwrap();
        for (at, _) in text.match_indices("](") {
            let link = text[at + 2..].split([')', '#']).next().unwrap();
            if link.is_empty() || link.contains("://") {
                continue;
            }
            let target = file.parent().unwrap().join(link);
            assert!(target.exists(), "{}: {link} leads nowhere", file.display());
        }
    }
}
