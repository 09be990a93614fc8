//! The page on a socket: few connections, each for one request and for a minute at most.

use crate::listen::{Error, Listen};
use crate::{PageOptions, router};
use axum::serve::Listener;
use siding_agent::view::Device;
use std::fs;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Sleep;

/// Ends serving, from any thread; a clone ends the same.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Stop {
    /// No new request is answered from now on; those that came have some seconds to end.
    pub fn now(&self) {
        self.0.send_replace(true);
    }

    async fn asked(self) {
        // The sender is held by `self`, so waiting cannot fail.
        drop(self.0.subscribe().wait_for(|stop| *stop).await);
    }
}

/// A socket that is there and not answered yet. A unix socket goes when this is dropped.
#[derive(Debug)]
pub struct Bound {
    socket: Socket,
    listen: Listen,
}

/// Takes the address or the socket, so that what is wrong with it is known before anything else is begun.
///
/// A unix socket that nobody answers is replaced; it is never there with another mode than it was given.
pub fn bind(listen: &Listen) -> Result<Bound, Error> {
    let failed = |error| Error::Bind(listen.clone(), error);
    match listen {
        Listen::Tcp(address) if !address.ip().is_loopback() => Err(Error::NotLoopback(*address)),
        Listen::Tcp(address) => {
            let socket = std::net::TcpListener::bind(address).map_err(failed)?;
            let listen = Listen::Tcp(socket.local_addr().map_err(failed)?);
            socket.set_nonblocking(true).map_err(failed)?;
            Ok(Bound { socket: Socket::Tcp(socket), listen })
        }
        Listen::Unix(path, mode) => {
            may_replace(path)?;
            let (socket, inode) = unix(path, *mode).map_err(failed)?;
            Ok(Bound {
                socket: Socket::Unix(socket, Remover { path: path.clone(), inode }),
                listen: listen.clone(),
            })
        }
    }
}

/// Serves the page in the calling thread until [`Stop::now`]: [`bind`], then [`Bound::serve`].
pub fn serve(
    device: Arc<dyn Device>,
    listen: &Listen,
    options: PageOptions,
    stop: &Stop,
) -> Result<(), Error> {
    bind(listen)?.serve(device, options, stop)
}

impl Bound {
    /// Where it is; with the port that port 0 became.
    #[must_use]
    pub fn listen(&self) -> &Listen {
        &self.listen
    }

    /// The loopback address, if it is one.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self.listen {
            Listen::Tcp(address) => Some(address),
            Listen::Unix(..) => None,
        }
    }

    /// Answers requests in the calling thread until [`Stop::now`]. What the device still does then has some seconds
    /// to end, and goes on by itself after that.
    pub fn serve(self, device: Arc<dyn Device>, options: PageOptions, stop: &Stop) -> Result<(), Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(crate::shared::AT_ONCE)
            .thread_name("siding-page")
            .build()
            .map_err(Error::Serve)?;
        let router = router(device, options);
        let served = match self.socket {
            Socket::Tcp(socket) => runtime.block_on(async {
                let socket = tokio::net::TcpListener::from_std(socket)?;
                answer(socket, router, stop.clone()).await
            }),
            Socket::Unix(socket, _remover) => runtime.block_on(async {
                let socket = tokio::net::UnixListener::from_std(socket)?;
                answer(socket, router, stop.clone()).await
            }),
        };
        runtime.shutdown_timeout(GRACE);
        served.map_err(Error::Serve)
    }
}

async fn answer<L: Listener>(inner: L, router: axum::Router, stop: Stop) -> io::Result<()>
where
    L::Addr: std::fmt::Debug,
{
    let gate = Gate { inner, room: Arc::new(Semaphore::new(CONNECTIONS)) };
    let served = axum::serve(gate, router).with_graceful_shutdown(stop.clone().asked());
    let too_long = async {
        stop.asked().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = async { served.await } => served,
        () = too_long => Ok(()),
    }
}

/// Lets in so many connections at a time; the others wait in the kernel's queue.
struct Gate<L> {
    inner: L,
    room: Arc<Semaphore>,
}

impl<L: Listener> Listener for Gate<L> {
    type Io = Brief<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let place = Arc::clone(&self.room).acquire_owned().await.ok();
        let (io, address) = self.inner.accept().await;
        (Brief { io, end: Box::pin(tokio::time::sleep(ASK)), answers: false, _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.inner.local_addr()
    }
}

/// A connection that ends if it has not asked something after [`ASK`], and after [`LIFE`] however slowly the other
/// side reads or writes.
struct Brief<Io> {
    io: Io,
    end: Pin<Box<Sleep>>,
    /// Whether it was answered.
    answers: bool,
    _place: Option<OwnedSemaphorePermit>,
}

impl<Io: Unpin> Brief<Io> {
    fn in_time<T>(
        &mut self,
        context: &mut Context<'_>,
        go: impl FnOnce(Pin<&mut Io>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match self.end.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => go(Pin::new(&mut self.io), context),
        }
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Brief<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.in_time(cx, |io, cx| io.poll_read(cx, buf))
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Brief<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if !self.answers {
            self.answers = true;
            self.end = Box::pin(tokio::time::sleep(LIFE));
        }
        self.in_time(cx, |io, cx| io.poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(cx, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(cx, AsyncWrite::poll_shutdown)
    }
}

#[derive(Debug)]
enum Socket {
    Tcp(std::net::TcpListener),
    Unix(UnixListener, Remover),
}

/// Takes the socket's name away again, if it is still ours.
#[derive(Debug)]
struct Remover {
    path: PathBuf,
    inode: u64,
}

impl Drop for Remover {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            drop(fs::remove_file(&self.path));
        }
    }
}

/// Whether nothing lies there, or a socket that nobody answers.
fn may_replace(path: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => Err(Error::NotASocket(path.to_owned())),
        Ok(_) if UnixStream::connect(path).is_ok() => Err(Error::InUse(path.to_owned())),
        _ => Ok(()),
    }
}

/// Makes the socket beside its place, gives it its mode, and only then its name.
fn unix(path: &Path, mode: u32) -> io::Result<(UnixListener, u64)> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let socket = UnixListener::bind(&beside)?;
    let named = (|| {
        socket.set_nonblocking(true)?;
        fs::set_permissions(&beside, fs::Permissions::from_mode(mode))?;
        let inode = fs::symlink_metadata(&beside)?.ino();
        fs::rename(&beside, path)?;
        Ok(inode)
    })();
    if named.is_err() {
        drop(fs::remove_file(&beside));
    }
    named.map(|inode| (socket, inode))
}

/// How many connections are answered at a time.
const CONNECTIONS: usize = 32;

/// How long a connection may take to ask something.
const ASK: Duration = Duration::from_secs(5);

/// How long a connection lives once it is answered.
const LIFE: Duration = Duration::from_secs(60);

/// How long requests have to end once serving stops.
const GRACE: Duration = Duration::from_secs(3);
