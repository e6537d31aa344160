//! The application or a baseline, as a process.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;

use super::Child;
use crate::net;

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Server {
    /// Starts this program once more; with `to` it passes requests through to there.
    pub(crate) fn start(folder: &Path, to: Option<SocketAddr>) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program")?;
        let mut arguments: Vec<OsString> = vec!["serve".into(), "--folder".into(), folder.into()];
        if let Some(to) = to {
            arguments.extend(["--to".into(), to.to_string().into()]);
        }
        let mut child = Child::start(&program, &arguments, None)?;
        let output = child.output().context("its output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).context("its output")?;
        let address = line.trim().parse().context("the application did not start")?;
        Ok(Self { address, child })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How many events the application was sent.
    pub(crate) async fn count(&self) -> anyhow::Result<u64> {
        Ok(net::get(self.address, "/count").await?.1.trim().parse()?)
    }
}
