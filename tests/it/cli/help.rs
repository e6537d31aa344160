//! Help, completions and manual pages: short, complete, and safe to pipe.

use std::fs;
use std::io::pipe;
use std::process::Stdio;

use super::{Ran, Shell, like};
use crate::harness::run;

const COMMANDS: [&[&str]; 21] = [
    &[],
    &["serve"],
    &["check"],
    &["demo"],
    &["events"],
    &["events", "list"],
    &["events", "show"],
    &["events", "redeliver"],
    &["events", "settle"],
    &["events", "admit"],
    &["events", "forget"],
    &["sources"],
    &["sources", "show"],
    &["sign"],
    &["keypair"],
    &["providers"],
    &["providers", "show"],
    &["health"],
    &["compact"],
    &["completions"],
    &["man"],
];

#[test]
fn the_help_of_every_command_fits_a_terminal() {
    run(async {
        let shell = Shell::new("");
        for command in COMMANDS {
            let args = [command, &["--help"]].concat();
            let help = shell.run(&args).await.done();
            assert!(help.lines().all(|line| line.len() <= 100), "{help}");
            assert!(help.lines().count() <= 45, "{help}");
            like(&format!("help_{}", [&["oncegate"], command].concat().join("_")), &help);
        }
    });
}

#[test]
fn the_providers_are_a_table_and_each_has_its_facts() {
    run(async {
        let shell = Shell::new("");
        like("providers", &shell.run(&["providers"]).await.done());
        like("providers_show_github", &shell.run(&["providers", "show", "github"]).await.done());
        let all = shell.run(&["providers", "--json"]).await.json();
        assert!(all["providers"].as_array().unwrap().len() >= 62);
        let one = shell.run(&["providers", "show", "stripe", "--json"]).await.json();
        assert_eq!(one["key"]["parts"][0], "json:/id");
        assert!(all["providers"].as_array().unwrap().contains(&one));
    });
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    run(async {
        let shell = Shell::new("");
        for kind in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let script = shell.run(&["completions", kind]).await.done();
            assert!(script.contains("redeliver"), "{kind}");
        }
        let page = shell.run(&["man"]).await.done();
        assert!(page.contains(".TH oncegate 1"), "{page}");
        assert_eq!(shell.run(&["man", "--out", "share/man1"]).await.done(), "");
        for command in COMMANDS {
            let name = [&["oncegate"], command].concat().join("-");
            let page = fs::read_to_string(shell.path().join(format!("share/man1/{name}.1")));
            assert!(page.is_ok_and(|page| page.contains("NAME")), "{name}");
        }
    });
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    run(async {
        let shell = Shell::new("");
        for args in [&["providers"][..], &["man"], &["completions", "bash"], &["check", "--json"]] {
            let (reader, writer) = pipe().unwrap();
            drop(reader);
            let mut command = shell.command(args);
            command.stdout(Stdio::from(writer));
            let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
            let ran = Ran::of(&output.unwrap());
            assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}");
        }
    });
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    run(async {
        let shell = Shell::new("");
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = shell.command(&["providers"]);
        command.stdout(full);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
        let ran = Ran::of(&output.unwrap());
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains("cannot write the output"), "{}", ran.err);
    });
}

#[test]
fn colours_are_for_terminals() {
    run(async {
        let plain = Shell::new("");
        for args in [&["providers"][..], &["providers", "show", "x"], &["--help"], &["--x"]] {
            assert!(!plain.run(args).await.whole().contains('\x1b'), "{args:?}");
        }
        let forced = Shell::new("").with("CLICOLOR_FORCE", "1");
        assert!(forced.run(&["providers"]).await.out.contains("\x1b[1mPROVIDER\x1b[0m"));
        assert!(forced.run(&["providers", "show", "x"]).await.err.contains("\x1b["));
    });
}
