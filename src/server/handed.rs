//! Sockets that the service manager opened and hands over (systemd's socket activation):
//! they go on listening while the gateway restarts, so nobody is turned away meanwhile.

use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

use anyhow::{Context as _, bail, ensure};
use listenfd::ListenFd;

use super::listen::Listener;
use crate::config::Server;

/// What to do about an odd set of sockets.
const MEND: &str = "name them in their socket units: FileDescriptorName=public (one TCP address) \
                    and, if you like, FileDescriptorName=admin";

/// The sockets that were handed over.
#[derive(Debug, Default)]
pub struct Handed {
    public: Option<TcpListener>,
    admin: Option<Admin>,
}

#[derive(Debug)]
enum Admin {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Public,
    Admin,
}

impl Handed {
    /// Takes what the environment says was handed to this process; to be called once, before
    /// anything else opens files or starts threads.
    pub fn take() -> anyhow::Result<Self> {
        let names = std::env::var_os("LISTEN_FDNAMES").unwrap_or_default();
        let mut sockets = ListenFd::from_env();
        let mut handed = Self::default();
        for (index, role) in roles(sockets.len(), &names.to_string_lossy())?.iter().enumerate() {
            let tcp = sockets.take_tcp_listener(index);
            match (role, tcp) {
                (Role::Public, Ok(tcp)) => handed.public = tcp,
                (Role::Public, Err(error)) => {
                    return Err(error).context(format!("the public socket is not TCP; {MEND}"));
                },
                (Role::Admin, Ok(tcp)) => handed.admin = tcp.map(Admin::Tcp),
                (Role::Admin, Err(_)) => {
                    let unix = sockets.take_unix_listener(index);
                    let unix = unix.context("the admin socket is neither TCP nor a unix stream")?;
                    handed.admin = unix.map(Admin::Unix);
                },
            }
        }
        if let Some(public) = &handed.public {
            listening(public, "public")?;
        }
        match &handed.admin {
            Some(Admin::Tcp(socket)) => listening(socket, "admin")?,
            Some(Admin::Unix(socket)) => listening(socket, "admin")?,
            None => {},
        }
        Ok(handed)
    }

    /// The public listener, if it was handed over.
    pub(super) fn public(&mut self, server: &Server) -> anyhow::Result<Option<Listener>> {
        let Some(socket) = self.public.take() else { return Ok(None) };
        let listen = socket.local_addr()?;
        tracing::info!(
            %listen,
            "the public socket was handed over; server.listen = \"{}\" is not used",
            server.listen
        );
        Ok(Some(Listener::handed_tcp(socket)?))
    }

    /// The admin listener, if it was handed over.
    pub(super) fn admin(&mut self, server: &Server) -> anyhow::Result<Option<Listener>> {
        let Some(socket) = self.admin.take() else { return Ok(None) };
        tracing::info!(
            "the admin socket was handed over; server.admin = \"{}\" is not used",
            server.admin
        );
        match socket {
            Admin::Unix(socket) => Ok(Some(Listener::handed_unix(socket)?)),
            Admin::Tcp(socket) => {
                let address = socket.local_addr()?;
                ensure!(
                    address.ip().is_loopback() || server.admin_token.is_some(),
                    "the admin socket that was handed over, {address}, is open to other machines \
                     and has no token; set server.admin_token, or listen on 127.0.0.1 or a unix \
                     socket"
                );
                Ok(Some(Listener::handed_tcp(socket)?))
            },
        }
    }
}

/// A socket per connection (`Accept=yes`) cannot accept any.
fn listening(socket: impl AsFd, role: &str) -> anyhow::Result<()> {
    let listens = rustix::net::sockopt::socket_acceptconn(socket).map_err(io::Error::from)?;
    ensure!(listens, "the {role} socket does not listen; set Accept=no in its socket unit");
    Ok(())
}

/// What each of `count` sockets is for, by the colon-separated `names`. One alone is the
/// public one, unless it is named otherwise.
fn roles(count: usize, names: &str) -> anyhow::Result<Vec<Role>> {
    let names: Vec<&str> = if names.is_empty() { Vec::new() } else { names.split(':').collect() };
    let mut roles = Vec::new();
    for index in 0..count {
        let role = match names.get(index).copied() {
            Some("public") => Role::Public,
            Some("admin") => Role::Admin,
            _ if count == 1 => Role::Public,
            name => bail!(
                "{count} sockets were handed over, and number {} is named \"{}\"; {MEND}",
                index + 1,
                name.unwrap_or_default(),
            ),
        };
        ensure!(!roles.contains(&role), "two sockets are named alike, \"{names:?}\"; {MEND}");
        roles.push(role);
    }
    Ok(roles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_for_what_it_is_named_and_one_alone_is_public() {
        use Role::{Admin, Public};
        let table: [(usize, &str, Option<&[Role]>); 11] = [
            (0, "", Some(&[])),
            (1, "", Some(&[Public])),
            (1, "unknown", Some(&[Public])),
            (1, "oncegate.socket", Some(&[Public])),
            (1, "admin", Some(&[Admin])),
            (2, "public:admin", Some(&[Public, Admin])),
            (2, "admin:public", Some(&[Admin, Public])),
            (2, "", None),
            (2, "public:oncegate.socket", None),
            (2, "public:public", None),
            (3, "public:admin:admin", None),
        ];
        for (count, names, expected) in table {
            let found = roles(count, names);
            match expected {
                Some(expected) => assert_eq!(found.unwrap(), expected, "{names}"),
                None => assert!(found.unwrap_err().to_string().contains("FileDescriptorName=")),
            }
        }
    }
    #[tokio::test]
    async fn an_admin_socket_that_is_open_to_other_machines_needs_a_token() {
        let with = |env: &[(&str, &str)]| {
            let env = env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            let server = crate::config::Config::load(None, &env).unwrap().server;
            let socket = TcpListener::bind("0.0.0.0:0").unwrap();
            let mut handed = Handed { public: None, admin: Some(Admin::Tcp(socket)) };
            handed.admin(&server).map(|listener| listener.unwrap().is_handed())
        };
        let told = with(&[]).unwrap_err().to_string();
        assert!(told.contains("set server.admin_token"), "{told}");
        assert!(with(&[("ONCEGATE_SERVER__ADMIN_TOKEN", "0123456789abcdef")]).unwrap());
    }

    #[test]
    fn a_socket_that_cannot_accept_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let accepted = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(listening(&listener, "public").is_ok());
        let told = listening(&accepted, "public").unwrap_err().to_string();
        assert!(told.contains("does not listen; set Accept=no"), "{told}");
    }
}
