//! The provider's side: hand-written HTTP/1.1, so that it costs as little as can be, and each
//! answer held against what it must be.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

mod answer;
mod event;
mod load;
mod run;

pub(crate) use event::{Id, Request, body};
pub(crate) use load::{Draw, Load, Pace, Stop, run_until};
pub(crate) use run::{Run, ms};

/// What every request is signed with.
pub(crate) const SECRET: &str = "whsec_made_up_for_the_benchmark";

/// The longest that a page of the admin listener may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Status and body of what a GET is answered.
pub(crate) async fn get(at: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let asked = async {
        let mut stream = TcpStream::connect(at).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        anyhow::Ok(text)
    };
    let text = timeout(PATIENCE, asked).await.context("no answer in time")??;
    let (head, body) = text.split_once("\r\n\r\n").context("an answer without an end")?;
    let status = head.split(' ').nth(1).and_then(|it| it.parse().ok()).context("a status")?;
    Ok((status, body.to_owned()))
}
