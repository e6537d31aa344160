//! What it was measured on: without that no figure means anything.

use std::fs;
use std::process::Command;

use jiff::Timestamp;
use oncegate::clock;

use crate::bench::Bench;

pub(super) fn line(bench: &Bench) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let ms = |time: std::time::Duration| time.as_secs_f64() * 1000.0;
    let options = &bench.options;
    let millis = i64::try_from(clock::wall().0).unwrap_or_default();
    let date = Timestamp::from_millisecond(millis).unwrap_or_default();
    let date = date.to_string().chars().take(10).collect::<String>();
    format!(
        "{date}, commit {}. {cores} cores ({}) for provider, gateway and application, {:.0} GiB of \
         memory, Linux {}, fdatasync of 4 KiB {:.3} ms over old and {:.3} ms over new blocks. {} \
         rounds of {} s, bodies of {} bytes.{}",
        commit(),
        field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned()),
        memory(),
        kernel.trim(),
        ms(bench.syncs.overwrite),
        ms(bench.syncs.append),
        options.rounds,
        options.seconds,
        options.body,
        if options.quick {
            " A quick run: it shows that the suite works, and nothing else."
        } else {
            ""
        }
    )
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// GiB.
fn memory() -> f64 {
    let field = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    field.trim_end_matches(" kB").parse::<f64>().unwrap_or_default() / f64::from(1 << 20)
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let folder = env!("CARGO_MANIFEST_DIR");
        let output = Command::new("git").arg("-C").arg(folder).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return "unknown".to_owned() };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    if changed.is_some_and(|it| !it.is_empty()) { format!("{commit} and changes") } else { commit }
}
