//! The real binary as a child process, with an environment of its own.

use std::fs::{self, OpenOptions};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{sleep, timeout};

use crate::harness::{Answer, Request};
use crate::kill::child::free_port;

/// The longest anything that is waited for may take.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// The pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A gateway's settings in a folder, and where it is reached.
#[derive(Debug)]
pub(crate) struct Site<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl<'a> Site<'a> {
    /// Writes settings on free ports: the listeners and the store, these lines of `[server]`,
    /// and `rest`.
    pub(crate) fn new(dir: &'a Path, server: &str, rest: &str) -> Self {
        let (public, admin) = (free_port(), free_port());
        let text = format!(
            "[server]\nlisten = \"{public}\"\nadmin = \"{admin}\"\n{server}\n\
             [storage]\npath = '{}'\ncache = \"4MiB\"\nreserve = 0\n{rest}",
            dir.join("oncegate.redb").display()
        );
        fs::write(dir.join("config.toml"), text).unwrap();
        Self { dir, public, admin }
    }

    /// The binary with this environment alone; its output is added to `said.txt`.
    pub(crate) fn run(&self, args: &[&str], env: &[(&str, &str)]) -> Process {
        let said = self.dir.join("said.txt");
        let out = OpenOptions::new().create(true).append(true).open(said).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_oncegate"));
        command.arg("--config").arg(self.dir.join("config.toml")).args(args);
        command.env_clear().envs(env.iter().copied()).current_dir(self.dir);
        command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        Process(command.spawn().unwrap())
    }

    /// The binary, ready.
    pub(crate) async fn start(&self, env: &[(&str, &str)]) -> Process {
        let mut process = self.run(&["serve"], env);
        let ready = async {
            while !self.is_ready().await {
                let ended = process.0.try_wait().unwrap();
                assert_eq!(ended, None, "the gateway ended:\n{}", self.said());
                sleep(LOOK_AGAIN).await;
            }
        };
        timeout(SOON, ready).await.expect("ready");
        process
    }

    async fn is_ready(&self) -> bool {
        if tokio::net::TcpStream::connect(self.admin).await.is_err() {
            return false;
        }
        self.get("/readyz", &[]).await.status == 200
    }

    /// What a GET on the admin listener answers.
    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::new(self.admin, path, Vec::new());
        request.method = "GET";
        request = request.header("host", &self.admin.to_string());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.send().await
    }

    /// Everything the binary wrote here.
    pub(crate) fn said(&self) -> String {
        let said = fs::read(self.dir.join("said.txt")).unwrap_or_default();
        String::from_utf8_lossy(&said).into_owned()
    }
}

/// A running binary, killed when dropped.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
    }

    /// How it ended, of its own accord.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        let ended = async {
            loop {
                if let Some(status) = self.0.try_wait().unwrap() {
                    return status;
                }
                sleep(LOOK_AGAIN).await;
            }
        };
        timeout(SOON, ended).await.expect("it ends")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone is as good.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
