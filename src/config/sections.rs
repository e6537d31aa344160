//! `[server]`, `[storage]` and `[log]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use figment::value::Value;
use secrecy::{ExposeSecret as _, SecretSlice};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::problem::{Wrong, wrong};
use super::secret::{self, Places};
use super::table::Table;
use super::tls;
use super::values::{
    address, boolean, duration, listen, networks, public_url, size, text, whole, word,
};
use super::{Listen, Log, LogFormat, Server, Storage};

/// The shortest duration where zero makes no sense.
pub(super) const TICK: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_hours(1);
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

pub(super) fn server(mut table: Table<'_>, places: Places<'_>) -> Server {
    let default = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let has_token = table.has("admin_token");
    let server = Server {
        listen: table.read("listen", default(8080), address),
        admin: table.read("admin", Listen::Tcp(default(8081)), listen(places.folder)),
        admin_token: secret::single(&mut table, "admin_token", places).map(Arc::new),
        admin_hosts: table.read("admin_hosts", Vec::new(), host_names),
        public_url: table.find("public_url", public_url),
        tls: tls::section(&mut table, places),
        trusted_proxies: table.read("trusted_proxies", Vec::new(), networks),
        header_timeout: table.read(
            "header_timeout",
            Duration::from_secs(10),
            duration(TICK..=HOUR),
        ),
        body_timeout: table.read("body_timeout", Duration::from_mins(1), duration(TICK..=HOUR)),
        idle_timeout: table.read("idle_timeout", Duration::from_secs(30), duration(TICK..=HOUR)),
        max_connections: table.read("max_connections", 10_000, whole(1..=1_000_000)),
        drain: table.read("drain", Duration::from_secs(35), duration(Duration::ZERO..=HOUR)),
    };
    let sendable =
        |token: &Arc<SecretSlice<u8>>| !token.expose_secret().iter().any(u8::is_ascii_control);
    if !server.admin_token.iter().all(sendable) {
        let mend = "make a new one of letters and digits";
        table.add("admin_token", wrong("has control characters, which no header carries", mend));
    }
    if !server.admin.is_local() && !has_token {
        let mend = "set server.admin_token, or listen on 127.0.0.1 or a unix socket";
        table.add("admin", wrong("is open to other machines and has no token", mend));
    }
    if let Listen::Tcp(admin) = server.admin
        && collide(server.listen, admin)
    {
        let mend = "the admin listener is yours alone: give it its own port";
        table.add("admin", wrong("is the address of server.listen", mend));
    }
    table.finish();
    server
}

/// The names in `server.admin_hosts`: of hosts, without scheme or port.
fn host_names(value: &Value) -> Result<Vec<String>, Wrong> {
    let mend = "write a list of names without scheme or port, such as [\"gate.example\"]";
    let names = value.as_array().ok_or_else(|| wrong("must be a list of names", mend))?;
    let names: Vec<&str> = names.iter().map(text).collect::<Result<_, _>>()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    for name in &names {
        if name.is_empty() || name.len() > 253 || !name.bytes().all(plain) {
            return Err(wrong(format!("\"{name}\" is not the name of a host"), mend));
        }
    }
    Ok(names.into_iter().map(str::to_ascii_lowercase).collect())
}

/// Whether one socket would take what is meant for the other. Port 0 is a new one each time.
pub(super) fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (any || one.ip() == other.ip())
}

pub(super) fn storage(mut table: Table<'_>) -> Storage {
    let path = |value: &_| match text(value)? {
        "" => Err(wrong("is empty", "write the path of a file")),
        path => Ok(PathBuf::from(path)),
    };
    // 64 GiB of page cache is more than any file of ours; it fits a usize where that matters.
    let cache = table.read("cache", 128 * MIB, size(MIB..=64 * 1024 * MIB));
    let storage = Storage {
        path: table.read("path", PathBuf::from("data/oncegate.redb"), path),
        cache: usize::try_from(cache).unwrap_or(usize::MAX),
        reserve: table.read("reserve", 512 * MIB, size(0..=TIB)),
        two_phase: table.read("two_phase", false, boolean),
    };
    table.finish();
    storage
}

pub(super) fn log(mut table: Table<'_>) -> Log {
    let formats = [("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];
    let level = |value: &_| {
        let level = text(value)?;
        // A word alone that is no level would be taken for a part of the program, and nothing
        // else be logged.
        let known = |part: &str| part.contains('=') || part.trim().parse::<LevelFilter>().is_ok();
        match EnvFilter::try_new(level) {
            Ok(_) if level.contains('[') || level.split(',').all(known) => Ok(level.to_owned()),
            Ok(_) | Err(_) => Err(wrong(
                format!("\"{level}\" is not a level"),
                "write error, warn, info, debug or trace, or a filter such as \"oncegate=debug,info\"",
            )),
        }
    };
    let log = Log {
        level: table.read("level", "info".to_owned(), level),
        format: table.read("format", LogFormat::Auto, word(&formats)),
    };
    table.finish();
    log
}
