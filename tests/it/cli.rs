//! The command line as an operator sees it: what is printed where, and the exit code.
//!
//! Each test runs the real binary with settings and an environment of its own, against a
//! gateway in this process or a stand-in for one. Output is compared with snapshots, less
//! what differs from run to run.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::harness::Gateway;

mod ask;
mod errors;
mod gateway;
mod help;
mod keypair;
mod sign;

/// What a run differs in, and what stands for it in a snapshot.
const DIFFERS: [(&str, &str); 6] = [
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "2026-11-23T20:00:00.000Z"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "2026-11-23T20:00:00Z"),
    (r"127\.0\.0\.1:\d{5}", "127.0.0.1:1"),
    (r"/tmp/\.tmp\w+", "/tmp/folder"),
    (r"t=\d+,v1=[0-9a-f]{64}", "t=1,v1=f0"),
    (r"date: [^\n]*", "date: today"),
];

/// Compares `text` with the snapshot `name`.
fn like(name: &str, text: &str) {
    insta::with_settings!({ filters => DIFFERS.to_vec(), omit_expression => true }, {
        insta::assert_snapshot!(name, text);
    });
}

/// An operator's shell: a folder with settings in it.
struct Shell {
    dir: TempDir,
    env: Vec<(&'static str, String)>,
}

/// What a command did.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self {
            code: output.status.code().expect("no signal"),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// All of it, for a snapshot.
    fn whole(&self) -> String {
        let Self { code, out, err } = self;
        format!("exit code {code}\n--- stdout\n{out}--- stderr\n{err}")
    }

    /// What was printed by a command that is done.
    fn done(self) -> String {
        assert_eq!(self.code, 0, "{}", self.whole());
        self.out
    }

    /// The document that was printed.
    fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.done()).unwrap()
    }
}

impl Shell {
    /// A shell whose settings are these.
    fn new(settings: &str) -> Self {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("config.toml"), settings).unwrap();
        Self { dir, env: Vec::new() }
    }

    /// A shell beside a running gateway with these sources.
    fn of(gateway: &Gateway, sources: &str) -> Self {
        let Gateway { public, admin, .. } = gateway;
        Self::new(&format!("[server]\nlisten = \"{public}\"\nadmin = \"{admin}\"\n{sources}"))
    }

    /// A shell beside what answers at `url` in a gateway's stead.
    fn beside(url: &str, more: &str) -> Self {
        let address = url.strip_prefix("http://").unwrap().split('/').next().unwrap();
        Self::new(&format!("[server]\nadmin = \"{address}\"\n{more}"))
    }

    /// With a variable.
    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.env.push((name, value.to_owned()));
        self
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The command, ready to run where the settings are.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oncegate"));
        command.args(args).current_dir(self.path()).stdin(Stdio::null());
        command.env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs it to its end, which takes a thread.
    async fn run(&self, args: &[&str]) -> Ran {
        let mut command = self.command(args);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
        Ran::of(&output.unwrap())
    }
}
