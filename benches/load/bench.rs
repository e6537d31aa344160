//! What all figures share: the processes, the folder, one measured case, and what was found.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;
use tempfile::TempDir;

use crate::disk::{self, Syncs};
use crate::figures::FIGURES;
use crate::net::{self, Draw, Load, Pace, Run, Stop};
use crate::options::Options;
use crate::process::{Gateway, Plan, Server, Site, cpu, idle, source};
use crate::store::{self, Maker};

/// Before what is measured.
const WARM_UP: Duration = Duration::from_secs(1);
/// The figures' values, and what they were made from.
pub(crate) struct Bench {
    pub(crate) options: Options,
    pub(crate) application: Server,
    /// Passes through to the application.
    pub(crate) pass: Server,
    pub(crate) syncs: Syncs,
    pub(crate) rows: Vec<Row>,
    pub(crate) cases: Vec<Case>,
    folder: TempDir,
    sites: usize,
    filled: Option<Filled>,
}

/// One figure: its value in each round.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) values: Vec<f64>,
    /// What is worth knowing beside it; why, if there are no values.
    pub(crate) note: String,
}

/// One load, in all rounds.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) rates: Vec<f64>,
    pub(crate) latency: Histogram<u64>,
    pub(crate) answered: u64,
    /// CPU time of provider, server under load, application.
    pub(crate) cpu: [Duration; 3],
}

/// A store full of finished events.
#[derive(Clone, Debug)]
pub(crate) struct Filled {
    pub(crate) count: u64,
    pub(crate) data: PathBuf,
}

impl Bench {
    pub(crate) fn start(options: Options) -> anyhow::Result<Self> {
        // Not the system's folder for temporary files, which may be in memory.
        let folder = tempfile::Builder::new().prefix("load-").tempdir_in(tmp())?;
        let application = Server::start(folder.path(), None)?;
        let pass = Server::start(folder.path(), Some(application.address))?;
        let syncs = disk::syncs(folder.path())?;
        Ok(Self {
            options,
            application,
            pass,
            syncs,
            rows: Vec::new(),
            cases: Vec::new(),
            folder,
            sites: 0,
            filled: None,
        })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn rounds(&self) -> usize {
        self.options.rounds
    }

    pub(crate) fn seconds(&self) -> Duration {
        Duration::from_secs_f64(self.options.seconds)
    }

    pub(crate) fn add(&mut self, name: &'static str, values: Vec<f64>, note: String) {
        let row = Row { name, values, note };
        eprintln!("  {}", row.text());
        self.rows.push(row);
    }

    /// The figures that could not be measured.
    pub(crate) fn failed(&self) -> Vec<&'static str> {
        self.rows.iter().filter(|row| row.values.is_empty()).map(|row| row.name).collect()
    }

    /// A target of the application.
    pub(crate) fn target(&self, path: &str) -> String {
        format!("http://{}/hooks/{path}", self.application.address)
    }

    /// A queue that takes everything and delivers nothing: the application hangs over the first.
    pub(crate) fn accepting(&self) -> String {
        let more = "concurrency = 1\ntimeout = \"1h\"\n";
        source("accept", "queue", &self.target("hang"), more)
    }

    /// A source in `mode` whose events the application takes at once.
    pub(crate) fn delivering(&self, name: &str, mode: &str) -> String {
        let more = self.options.concurrency.map(|it| format!("concurrency = {it}\n"));
        source(name, mode, &self.target("bare"), &more.unwrap_or_default())
    }

    /// New settings; `data` is where a store is already.
    pub(crate) fn site(&mut self, sources: String, data: Option<&Path>) -> anyhow::Result<Site> {
        let log = format!("level = \"{}\"\nformat = \"json\"", self.options.level);
        self.site_of(&Plan { log, sources }, data)
    }

    pub(crate) fn site_of(&mut self, plan: &Plan, data: Option<&Path>) -> anyhow::Result<Site> {
        self.sites += 1;
        let folder = self.folder().join(format!("site-{}", self.sites));
        let own = folder.join("data");
        Site::new(&folder, data.unwrap_or(&own), plan)
    }

    /// A store with `count` finished events of the source `stored`: the last one made, if it
    /// has so many, or else a new one, and the last one is gone.
    pub(crate) async fn filled(&mut self, count: u64) -> anyhow::Result<Filled> {
        if let Some(filled) = self.filled.as_ref().filter(|filled| filled.count == count) {
            return Ok(filled.clone());
        }
        self.forget_filled()?;
        eprintln!("  filling a store with {count} events");
        let data = self.folder().join(format!("filled-{count}"));
        let sources = self.stored();
        let site = self.site(sources, Some(&data))?;
        let maker = Maker::new(&site, "stored", self.options.body);
        store::fill(&site, maker, count).await?;
        disk::forget_cached(&data)?;
        let filled = Filled { count, data };
        self.filled = Some(filled.clone());
        Ok(filled)
    }

    /// Makes room on the disk.
    pub(crate) fn forget_filled(&mut self) -> anyhow::Result<()> {
        let old = self.filled.take();
        old.map_or(Ok(()), |old| fs::remove_dir_all(old.data).context("an old store"))
    }

    /// The sources of a filled store: `stored`, and one that accepts.
    pub(crate) fn stored(&self) -> String {
        format!("{}{}", self.delivering("stored", "proxy"), self.accepting())
    }

    /// A closed loop to a baseline.
    pub(crate) fn to_baseline(&self, path: &str, connections: usize) -> Load {
        let to = if path == "pass" { self.pass.address } else { self.application.address };
        let outcome = None;
        Load { to, path: format!("/hooks/{path}"), outcome, ..self.load(connections) }
    }

    /// A closed loop to a source of a gateway.
    pub(crate) fn to_source(
        &self,
        gateway: &Gateway,
        name: &str,
        outcome: &'static str,
        connections: usize,
    ) -> Load {
        let path = format!("/hooks/{name}");
        Load { to: gateway.public, path, outcome: Some(outcome), ..self.load(connections) }
    }

    fn load(&self, connections: usize) -> Load {
        Load {
            to: self.application.address,
            path: String::new(),
            outcome: None,
            draw: Draw::New { copies: self.options.copies },
            size: self.options.body,
            connections,
            pace: Pace::Closed,
            warm_up: WARM_UP.min(self.seconds()),
            measured: self.seconds(),
        }
    }

    /// Sends one load to a baseline, and adds it to its case.
    pub(crate) async fn baseline(&mut self, case: &str, load: Load) -> anyhow::Result<Run> {
        let server =
            if load.to == self.pass.address { self.pass.id() } else { self.application.id() };
        self.measure(case, load, server, Stop::default()).await
    }

    /// Sends one load to a gateway, waits until that rests, and adds it to its case.
    pub(crate) async fn gateway(
        &mut self,
        case: &str,
        load: Load,
        gateway: &Gateway,
    ) -> anyhow::Result<Run> {
        self.gateway_until(case, load, gateway, Stop::default()).await
    }

    /// The same, until `over` is set or its time is.
    pub(crate) async fn gateway_until(
        &mut self,
        case: &str,
        load: Load,
        gateway: &Gateway,
        over: Stop,
    ) -> anyhow::Result<Run> {
        let run = self.measure(case, load, gateway.id(), over).await?;
        // What it does later must not be in the way of what is measured next.
        idle(gateway.id()).await;
        Ok(run)
    }

    async fn measure(
        &mut self,
        case: &str,
        load: Load,
        server: u32,
        over: Stop,
    ) -> anyhow::Result<Run> {
        let application = Some(self.application.id()).filter(|id| *id != server);
        let used = || {
            [cpu(std::process::id()), cpu(server), application.map_or_else(Duration::default, cpu)]
        };
        let (closed, before) = (matches!(load.pace, Pace::Closed), used());
        let run = net::run_until(load, over).await?.sound().with_context(|| case.to_owned())?;
        anyhow::ensure!(!closed || run.refused == 0, "{case}: {} answers are 503", run.refused);
        let after = used();
        let mut spent = after.into_iter().zip(before).map(|(after, before)| after - before);
        let spent = [(); 3].map(|()| spent.next().unwrap_or_default());
        self.case(case).add(&run, spent);
        Ok(run)
    }

    fn case(&mut self, name: &str) -> &mut Case {
        let at = self.cases.iter().position(|case| case.name == name).unwrap_or_else(|| {
            self.cases.push(Case::new(name));
            self.cases.len() - 1
        });
        self.cases.get_mut(at).expect("it is there")
    }
}

impl Row {
    /// The median with its spread.
    pub(crate) fn text(&self) -> String {
        let figure = FIGURES.iter().find(|figure| figure.name == self.name);
        let said = figure.map_or_else(String::new, |figure| figure.said(&self.values));
        format!("{}: {said} {}", self.name, self.note)
    }
}

impl Case {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            rates: Vec::new(),
            latency: Histogram::new(3).expect("a right precision"),
            answered: 0,
            cpu: [Duration::ZERO; 3],
        }
    }

    fn add(&mut self, run: &Run, cpu: [Duration; 3]) {
        self.rates.push(run.rate());
        self.latency.add(&run.latency).expect("a histogram that grows");
        self.answered += run.answered;
        for (sum, more) in self.cpu.iter_mut().zip(cpu) {
            *sum += more;
        }
    }
}

/// Where the suite may write.
pub(crate) fn tmp() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// The middle one of some values that are numbers, or the lower one of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values: Vec<_> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}
