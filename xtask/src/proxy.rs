//! An HTTP proxy of ours between devices and a repository: counts what is served, and spoils it or slows it down.
//!
//! One request a connection, a thread each. What is spoilt is decided by a seed; below `/bad/` all of it is.

use crate::Result;
use crate::random::Random;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A proxy that answers until its process ends.
#[derive(Clone)]
pub(crate) struct Proxy {
    address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    upstream: String,
    random: Mutex<Random>,
    /// Of a thousand requests, so many are spoilt.
    spoilt: AtomicU64,
    /// Bytes a second of a file below `targets/`; 0: no limit.
    rate: AtomicU64,
    metadata: AtomicU64,
    targets: AtomicU64,
    requests: AtomicU64,
    faults: [AtomicU64; Fault::ALL.len()],
    /// When the last patch or image began to come.
    first: Mutex<Option<Instant>>,
}

/// What was served so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Served {
    pub(crate) requests: u64,
    /// Bytes of bodies below `metadata/`.
    pub(crate) metadata: u64,
    /// Bytes of bodies below `targets/`: releases, patches and images.
    pub(crate) targets: u64,
}

/// What is done to an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It ends in the middle.
    Cut,
    /// One byte of it is another one.
    Flipped,
    /// Its body is noise, of any length.
    Garbage,
    /// It says 500, with a page.
    Error,
    /// The connection ends without one.
    Refused,
    /// It comes a little at a time.
    Slow,
}

impl Fault {
    pub(crate) const ALL: [Self; 6] =
        [Self::Cut, Self::Flipped, Self::Garbage, Self::Error, Self::Refused, Self::Slow];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cut => "cut in the middle",
            Self::Flipped => "one byte changed",
            Self::Garbage => "noise instead of the file",
            Self::Error => "answered with 500",
            Self::Refused => "closed without an answer",
            Self::Slow => "slow",
        }
    }
}

impl Proxy {
    /// In front of the server at `upstream`, such as `127.0.0.1:8080`.
    pub(crate) fn start(upstream: &str, seed: u64) -> Result<Self> {
        let failed = |e: io::Error| format!("the proxy: {e}");
        let socket = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let inner = Arc::new(Inner {
            upstream: upstream.to_owned(),
            random: Mutex::new(Random::new(seed)),
            spoilt: AtomicU64::new(0),
            rate: AtomicU64::new(0),
            metadata: AtomicU64::new(0),
            targets: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            faults: Default::default(),
            first: Mutex::default(),
        });
        let served = Arc::clone(&inner);
        thread::spawn(move || {
            for stream in socket.incoming().flatten() {
                let inner = Arc::clone(&served);
                // A device that goes away in the middle is no news.
                thread::spawn(move || drop(inner.serve(stream)));
            }
        });
        Ok(Self { address, inner })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Another mirror of the same, all of whose answers are spoilt.
    pub(crate) fn bad_url(&self) -> String {
        format!("http://{}/bad/", self.address)
    }

    /// From now on, so many of a thousand answers are spoilt.
    pub(crate) fn spoil(&self, of_a_thousand: u64) {
        self.inner.spoilt.store(of_a_thousand, Relaxed);
    }

    /// From now on, files below `targets/` come at so many bytes a second; 0: as fast as they come.
    pub(crate) fn limit(&self, rate: u64) {
        self.inner.rate.store(rate, Relaxed);
    }

    /// When a patch or an image began to come, since that was forgotten last.
    pub(crate) fn first(&self) -> Option<Instant> {
        *self.inner.first.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn forget_first(&self) {
        self.inner.first.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    pub(crate) fn served(&self) -> Served {
        Served {
            requests: self.inner.requests.load(Relaxed),
            metadata: self.inner.metadata.load(Relaxed),
            targets: self.inner.targets.load(Relaxed),
        }
    }

    pub(crate) fn faults(&self) -> Vec<(Fault, u64)> {
        Fault::ALL.into_iter().zip(self.inner.faults.iter().map(|count| count.load(Relaxed))).collect()
    }
}

impl Inner {
    fn serve(&self, mut down: TcpStream) -> io::Result<()> {
        let head = read_head(&mut down)?;
        let text = String::from_utf8_lossy(&head).into_owned();
        let path = text.split(' ').nth(1).unwrap_or("/").to_owned();
        self.requests.fetch_add(1, Relaxed);
        let fault = self.choose(path.starts_with("/bad/"));
        match fault {
            Some((Fault::Refused, _)) => return Ok(()),
            Some((Fault::Error, _)) => {
                return down.write_all(
                    b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 5\r\nConnection: close\r\n\r\noops\n",
                );
            }
            Some((Fault::Garbage, mut random)) => return self.garbage(down, &mut random, &path),
            _ => {}
        }
        let mut up = TcpStream::connect(&self.upstream)?;
        up.write_all(forwarded(&text).as_bytes())?;
        let reply = read_head(&mut up)?;
        down.write_all(&reply)?;
        if path.contains(".blobs/") {
            self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
        }
        self.relay(&mut up, &mut down, &path, fault)?;
        down.shutdown(Shutdown::Both)
    }

    fn choose(&self, always: bool) -> Option<(Fault, Random)> {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let struck = random.below(1000) < self.spoilt.load(Relaxed);
        // A mirror that is only slow is no bad one.
        let kinds = if always { Fault::ALL.len() - 1 } else { Fault::ALL.len() };
        let fault = Fault::ALL[random.below(kinds as u64) as usize];
        let own = Random::new(random.below(u64::MAX));
        (always || struck).then(|| {
            let at = Fault::ALL.iter().position(|one| *one == fault).unwrap_or(0);
            self.faults[at].fetch_add(1, Relaxed);
            (fault, own)
        })
    }

    fn garbage(&self, mut down: TcpStream, random: &mut Random, path: &str) -> io::Result<()> {
        let length = random.below(50_000);
        let bytes: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
        write!(down, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
        down.write_all(&bytes)?;
        self.count(path, length);
        Ok(())
    }

    fn relay(
        &self,
        up: &mut TcpStream,
        down: &mut TcpStream,
        path: &str,
        fault: Option<(Fault, Random)>,
    ) -> io::Result<()> {
        let mut strike = fault.map(|(fault, mut random)| (fault, random.below(4_000)));
        let rate = self.rate.load(Relaxed);
        let limited = rate > 0 && path.contains("/targets/");
        let (mut buffer, mut done, started) = ([0; 16 << 10], 0_u64, Instant::now());
        loop {
            let got = up.read(&mut buffer)?;
            let Some(piece) = buffer.get_mut(..got).filter(|piece| !piece.is_empty()) else { return Ok(()) };
            match strike {
                Some((Fault::Cut, at)) if done + got as u64 > at => {
                    let keep = (at - done.min(at)) as usize;
                    self.count(path, keep as u64);
                    down.write_all(&piece[..keep])?;
                    // What was written arrives; then nothing.
                    return Ok(());
                }
                Some((Fault::Flipped, at)) if done + got as u64 > at => {
                    piece[(at - done.min(at)) as usize] ^= 0x20;
                    strike = None;
                }
                Some((Fault::Slow, _)) => thread::sleep(Duration::from_millis(20)),
                _ => {}
            }
            if limited {
                let due = Duration::from_secs_f64((done + got as u64) as f64 / rate as f64);
                thread::sleep(due.saturating_sub(started.elapsed()));
            }
            down.write_all(piece)?;
            done += got as u64;
            self.count(path, got as u64);
        }
    }

    fn count(&self, path: &str, bytes: u64) {
        let kind = if path.contains("/targets/") { &self.targets } else { &self.metadata };
        kind.fetch_add(bytes, Relaxed);
    }
}

/// A head, up to its empty line: a byte at a time, so that nothing of what follows is taken.
fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    const MOST: usize = 16 << 10;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MOST || stream.read(&mut byte)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.push(byte[0]);
    }
    Ok(head)
}

/// The request as the server gets it: for this one answer only, and without the way to the bad mirror.
fn forwarded(head: &str) -> String {
    let head = head.replacen(" /bad/", " /", 1);
    let drop = |line: &&str| !line.to_ascii_lowercase().starts_with("connection:") && !line.is_empty();
    let mut lines: Vec<&str> = head.split("\r\n").filter(drop).collect();
    lines.extend(["Connection: close", "", ""]);
    lines.join("\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers every request with the same 10,000 bytes.
    fn upstream() -> String {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for mut stream in socket.incoming().flatten() {
                let head = String::from_utf8(read_head(&mut stream).unwrap()).unwrap();
                assert!(head.starts_with("GET /targets/x HTTP/1.1\r\n"), "{head}");
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n").unwrap();
                let _ = stream.write_all(&[7; 10_000]);
            }
        });
        address
    }

    fn ask(url: &str) -> Vec<u8> {
        let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET /{path}targets/x HTTP/1.1\r\nConnection: keep-alive\r\n\r\n").unwrap();
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        bytes
    }

    #[test]
    fn answers_pass_and_are_counted_until_they_are_spoilt() {
        let proxy = Proxy::start(&upstream(), 1).unwrap();
        let whole = ask(&proxy.url());
        assert!(whole.ends_with(&[7; 10_000]) && whole.starts_with(b"HTTP/1.1 200"));
        assert_eq!((proxy.served().targets, proxy.served().requests), (10_000, 1));
        // Of these, none comes as it was.
        for _ in 0..40 {
            assert_ne!(ask(&proxy.bad_url()), whole);
        }
        let struck: u64 = proxy.faults().iter().map(|(_, count)| count).sum();
        assert_eq!(struck, 40);
        proxy.spoil(1000);
        (0..60).for_each(|_| drop(ask(&proxy.url())));
        assert!(proxy.faults().iter().all(|(_, count)| *count > 0), "{:?}", proxy.faults());
    }
}
