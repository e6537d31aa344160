//! The sockets that connections come from: TCP, or a unix socket for the admin listener.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use crate::config::Listen;

/// Who may connect to the unix socket: its owner and its group.
const SOCKET_MODE: u32 = 0o660;

/// A socket that accepts connections. One that was handed over is kept open by another
/// process when this one ends: who is not accepted here waits for the next.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    /// What secures each connection.
    tls: Option<Arc<ServerConfig>>,
}

#[derive(Debug)]
enum Socket {
    Tcp {
        listener: TcpListener,
        handed: bool,
    },
    /// With the file to be removed at the end; the file of one handed over is not ours.
    Unix {
        listener: UnixListener,
        file: Option<SocketFile>,
    },
}

/// A connection as it was accepted.
pub(super) type Plain = Either<TcpStream, UnixStream>;

/// A connection that carries HTTP. Boxed, so that one without TLS stays small.
pub(super) type Stream = Either<Plain, Box<TlsStream<Plain>>>;

impl From<Socket> for Listener {
    fn from(socket: Socket) -> Self {
        Self { socket, tls: None }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Socket::Tcp { listener, handed: false }.into()
    }
}

impl Listener {
    /// Listens at `place`, which the settings have under `setting`.
    pub(super) async fn bind(place: &Listen, setting: &str) -> anyhow::Result<Self> {
        let told = || format!("{setting} = \"{place}\": cannot listen there");
        match place {
            Listen::Tcp(address) => {
                TcpListener::bind(address).await.map(Self::from).with_context(told)
            },
            Listen::Unix(path) => {
                let (listener, file) = bind_unix(path).with_context(told)?;
                Ok(Socket::Unix { listener, file: Some(file) }.into())
            },
        }
    }

    /// Takes over a TCP socket that another process listens on.
    pub(super) fn handed_tcp(socket: std::net::TcpListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let listener = TcpListener::from_std(socket)?;
        Ok(Socket::Tcp { listener, handed: true }.into())
    }

    /// Takes over a unix socket that another process listens on.
    pub(super) fn handed_unix(socket: std::os::unix::net::UnixListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let listener = UnixListener::from_std(socket)?;
        Ok(Socket::Unix { listener, file: None }.into())
    }

    /// The same, each connection secured.
    pub(super) fn secured(self, tls: Arc<ServerConfig>) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Whether connections are secured.
    pub(super) fn is_secured(&self) -> bool {
        self.tls.is_some()
    }

    /// What secures each connection.
    pub(super) fn tls(&self) -> Option<TlsAcceptor> {
        self.tls.clone().map(TlsAcceptor::from)
    }

    /// Whether the socket outlives this process.
    pub(super) fn is_handed(&self) -> bool {
        match &self.socket {
            Socket::Tcp { handed, .. } => *handed,
            Socket::Unix { file, .. } => file.is_none(),
        }
    }

    /// Its address; a unix socket has none.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        match &self.socket {
            Socket::Tcp { listener, .. } => listener.local_addr(),
            Socket::Unix { .. } => {
                let why = "a unix socket has no address";
                Err(io::Error::new(io::ErrorKind::AddrNotAvailable, why))
            },
        }
    }

    /// The next connection, and the address it came from; a unix socket has none.
    pub(super) async fn accept(&self) -> io::Result<(Plain, Option<SocketAddr>)> {
        match &self.socket {
            Socket::Tcp { listener, .. } => {
                let (stream, address) = listener.accept().await?;
                // Answers are written whole: waiting for more to send would only delay them.
                stream.set_nodelay(true)?;
                Ok((Either::Left(stream), Some(address)))
            },
            Socket::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok((Either::Right(stream), None))
            },
        }
    }
}

/// The file of a unix socket, removed when dropped.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Device and inode: what another process put there since is not ours to remove.
    id: (u64, u64),
}

impl fmt::Display for SocketFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| identity(&found) == self.id)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self, %error, "the unix socket was not removed");
        }
    }
}

fn identity(found: &fs::Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// Listens at `path`. The socket gets its mode under another name, before anyone can find it.
fn bind_unix(path: &Path) -> anyhow::Result<(UnixListener, SocketFile)> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            bail!("there is a file that is no socket; move it away or choose another path")
        },
        Ok(_) if StdUnixStream::connect(path).is_ok() => {
            bail!("another process listens there; stop it or choose another path")
        },
        // Of a process that has gone: replaced below.
        Ok(_) => {},
        Err(error) if error.kind() == io::ErrorKind::NotFound => {},
        Err(error) => return Err(error.into()),
    }
    let mut unseen = path.as_os_str().to_owned();
    unseen.push("~");
    let unseen = Path::new(&unseen);
    if let Err(error) = fs::remove_file(unseen)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error).context(format!("{} is in the way", unseen.display()));
    }
    let listener = match UnixListener::bind(unseen) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mend =
                "its folder is missing: create it, or have systemd do so (RuntimeDirectory=)";
            return Err(error).context(mend);
        },
        bound => bound?,
    };
    fs::set_permissions(unseen, fs::Permissions::from_mode(SOCKET_MODE))?;
    let id = identity(&fs::symlink_metadata(unseen)?);
    fs::rename(unseen, path)?;
    Ok((listener, SocketFile { path: path.to_owned(), id }))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refused(path: &Path) -> String {
        let error = Listener::bind(&Listen::Unix(path.to_owned()), "server.admin").await;
        format!("{:#}", error.unwrap_err()).replace(&path.display().to_string(), "PATH")
    }

    #[tokio::test]
    async fn a_unix_socket_is_for_its_owner_and_group_and_is_removed_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let listener = Listener::bind(&Listen::Unix(path.clone()), "server.admin").await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        let accepted = tokio::join!(listener.accept(), UnixStream::connect(&path));
        assert_eq!(accepted.0.unwrap().1, None);
        accepted.1.unwrap();
        drop(listener);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn the_socket_of_a_dead_process_is_replaced_and_that_of_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        // Dropped without the removal of its file, as in a process that was killed.
        drop(UnixListener::bind(&path).unwrap());
        let live = Listener::bind(&Listen::Unix(path.clone()), "server.admin").await.unwrap();
        assert_eq!(
            refused(&path).await,
            "server.admin = \"unix:PATH\": cannot listen there: another process listens there; \
             stop it or choose another path"
        );
        drop(live);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_socket_that_another_process_put_in_place_since_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let old = Listener::bind(&Listen::Unix(path.clone()), "server.admin").await.unwrap();
        fs::remove_file(&path).unwrap();
        let new = Listener::bind(&Listen::Unix(path.clone()), "server.admin").await.unwrap();
        drop(old);
        assert!(UnixStream::connect(&path).await.is_ok());
        drop(new);
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone_and_a_missing_folder_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("precious");
        fs::write(&file, "data").unwrap();
        assert!(refused(&file).await.contains("there is a file that is no socket"));
        assert_eq!(fs::read(&file).unwrap(), b"data");
        let nowhere = folder.path().join("missing/admin.sock");
        assert!(refused(&nowhere).await.contains("its folder is missing: create it"));
    }
}
