//! A web server for tests: files from memory, and whatever a bad server may do.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use url::Url;

/// What the server does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Serves the file, as a good server does.
    Serve,
    /// The same, without ranges.
    ServeWhole,
    /// The same, but hangs up after so many bytes of the body.
    CutAfter(usize),
    /// This head and body, then hangs up.
    Raw(String, Vec<u8>),
    /// The head, then these bytes over and over until the client goes.
    Endless(String),
    /// The head and these bytes, then nothing until the client goes.
    Stall(String, Vec<u8>),
    /// Connects with this port and passes everything on, as a proxy does.
    Tunnel(u16),
    /// Hangs up at once.
    HangUp,
}

type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;
type Acts = Arc<Mutex<Box<dyn FnMut(&Request) -> Act + Send>>>;

/// A request: the path, and from which byte on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) from: Option<u64>,
    pub(crate) head: String,
}

/// A server on a port of its own. It ends with the process.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) port: u16,
    files: Files,
    acts: Acts,
    log: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(crate) fn new(files: &BTreeMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            files: Arc::new(Mutex::new(files.clone())),
            acts: Arc::new(Mutex::new(Box::new(|_| Act::Serve))),
            log: Arc::default(),
        };
        let accepting = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = accepting.clone();
                thread::spawn(move || server.answer(&stream));
            }
        });
        server
    }

    pub(crate) fn url(&self) -> Url {
        Url::parse(&format!("http://127.0.0.1:{}/repo/", self.port)).unwrap()
    }

    pub(crate) fn serve(&self, files: &BTreeMap<String, Vec<u8>>) {
        *self.files.lock().unwrap() = files.clone();
    }

    pub(crate) fn on(&self, act: impl FnMut(&Request) -> Act + Send + 'static) {
        *self.acts.lock().unwrap() = Box::new(act);
    }

    /// What was asked for since the last look.
    pub(crate) fn log(&self) -> Vec<Request> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }

    fn answer(&self, stream: &TcpStream) {
        let Some(request) = read_request(stream) else { return };
        self.log.lock().unwrap().push(request.clone());
        let act = (self.acts.lock().unwrap())(&request);
        let file = self.files.lock().unwrap().get(&request.path).cloned();
        // The client may hang up at any time; that is no matter here.
        let _ = act_on(stream, &request, act, file);
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let target = head.split(' ').nth(1)?.to_owned();
    let path = Url::parse(&target).map_or(target, |url| url.path().to_owned());
    let path = path.strip_prefix("/repo/").unwrap_or(&path).to_owned();
    let range = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    let from = range.and_then(|range| range.strip_suffix('-').and_then(|from| from.parse().ok()));
    Some(Request { path, from, head })
}

fn act_on(mut stream: &TcpStream, request: &Request, act: Act, file: Option<Vec<u8>>) -> std::io::Result<()> {
    let (act, cut) = match act {
        Act::CutAfter(bytes) => (Act::Serve, bytes),
        other => (other, usize::MAX),
    };
    match act {
        Act::HangUp | Act::CutAfter(_) => Ok(()),
        Act::Tunnel(port) => {
            let other = TcpStream::connect(("127.0.0.1", port))?;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            let (mut from, mut to) = (stream.try_clone()?, other.try_clone()?);
            thread::spawn(move || std::io::copy(&mut from, &mut to));
            std::io::copy(&mut &other, &mut stream)?;
            stream.shutdown(std::net::Shutdown::Both)
        }
        Act::Raw(head, body) => {
            stream.write_all(head.as_bytes())?;
            stream.write_all(&body)
        }
        Act::Endless(head) => {
            stream.write_all(head.as_bytes())?;
            loop {
                stream.write_all(&[b' '; 4096])?;
            }
        }
        Act::Stall(head, body) => {
            stream.write_all(head.as_bytes())?;
            stream.write_all(&body)?;
            stream.read(&mut [0]).map(|_| ())
        }
        Act::Serve | Act::ServeWhole => {
            let Some(file) = file else {
                return stream
                    .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            };
            let from = match (request.from, &act) {
                (Some(from), Act::Serve) => usize::try_from(from).unwrap(),
                _ => 0,
            };
            let end = file.len();
            let part = &file[from.min(end)..];
            let head = match from {
                0 => "HTTP/1.1 200 OK\r\n".to_owned(),
                from if from >= end => "HTTP/1.1 416 Range Not Satisfiable\r\n".to_owned(),
                from => {
                    format!(
                        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{}/{end}\r\n",
                        end - 1
                    )
                }
            };
            let head = format!("{head}Content-Length: {}\r\nConnection: close\r\n\r\n", part.len());
            stream.write_all(head.as_bytes())?;
            stream.write_all(&part[..part.len().min(cut)])
        }
    }
}
