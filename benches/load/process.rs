//! Child processes: none may be left over, and what each costs is read from the kernel.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

mod gateway;
mod server;

pub(crate) use gateway::{Gateway, Plan, Site, source};
pub(crate) use server::Server;

/// Ticks in a second of CPU time, as Linux shows it to every program.
const TICKS: u64 = 100;

/// A process that used less CPU than this in [`IDLE_FOR`] does nothing.
const IDLE_CPU: Duration = Duration::from_millis(10);
const IDLE_FOR: Duration = Duration::from_millis(400);
/// The longest that a process is waited for to do nothing.
const IDLE_LIMIT: Duration = Duration::from_mins(2);

/// A child process, killed and waited for when dropped.
#[derive(Debug)]
pub(crate) struct Child(std::process::Child);

/// The memory of a process in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// The most that was resident.
    pub(crate) high: u64,
    /// What is resident now.
    pub(crate) now: u64,
}

impl Child {
    /// Starts a program with an empty environment; it dies with this process, however that
    /// ends. Its output goes to `log`, or its standard output to a pipe.
    pub(crate) fn start(
        program: &Path,
        arguments: &[OsString],
        log: Option<File>,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe().context("this program")?);
        command.arg("guard").arg("--").arg(program).args(arguments);
        command.env_clear().stdin(Stdio::null());
        if let Some(log) = log {
            command.stdout(log.try_clone().context("the log")?).stderr(log);
        } else {
            command.stdout(Stdio::piped());
        }
        let started = command.spawn();
        Ok(Self(started.with_context(|| format!("{} does not start", program.display()))?))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn output(&mut self) -> Option<std::process::ChildStdout> {
        self.0.stdout.take()
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.0.try_wait()?)
    }

    /// SIGKILL, and gone when this returns.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// SIGTERM, and waits for the end.
    pub(crate) async fn terminate(mut self, limit: Duration) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.0), Signal::TERM)?;
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended()? {
                anyhow::ensure!(status.success(), "it ended with {status}");
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < end, "it has not ended after {limit:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn memory(&self) -> Memory {
        let text = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Memory {
            high: field("VmHWM:").unwrap_or_default(),
            now: field("VmRSS:").unwrap_or_default(),
        }
    }

    /// Bytes that it caused to be written to a device.
    pub(crate) fn written(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/io", self.id())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
        line.and_then(|it| it.parse().ok()).unwrap_or_default()
    }

    fn end(&mut self) {
        // Already gone is as good.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
    }
}

/// The CPU time that a process has used, its ended threads included.
pub(crate) fn cpu(id: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // The name before it is in parentheses and may hold anything.
    let fields = text.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let ticks: u64 =
        fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / TICKS)
}

/// Waits until a process does nothing, for as long as is sensible.
pub(crate) async fn idle(id: u32) {
    let end = Instant::now() + IDLE_LIMIT;
    let mut before = cpu(id);
    while Instant::now() < end {
        tokio::time::sleep(IDLE_FOR).await;
        let now = cpu(id);
        if now - before <= IDLE_CPU {
            return;
        }
        before = now;
    }
}

/// Becomes `program`, which the kernel kills once the parent is gone. Returns what went wrong.
pub(crate) fn become_guarded(program: &[OsString]) -> anyhow::Error {
    let Some((name, arguments)) = program.split_first() else {
        return anyhow::anyhow!("no program is named");
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    anyhow::Error::new(Command::new(name).args(arguments).exec())
}
