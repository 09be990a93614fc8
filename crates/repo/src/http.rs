//! Files from mirrors, by HTTP, HTTPS or from a local folder: with limits on everything a server can choose.

mod pace;
mod proxy;
mod reply;
#[cfg(test)]
mod tests;

pub(crate) use pace::{Pace, Throttle};
pub use proxy::Proxies;

use crate::clock::Clock;
use crate::error::{Error, Place};
use crate::limits::NetLimits;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::time::Duration;
use ureq::http::{HeaderMap, Response, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Body as UreqBody, Proxy};
use url::Url;

/// A client for all mirrors.
#[derive(Debug)]
pub(crate) struct Http {
    direct: Agent,
    by_http: Option<Agent>,
    by_https: Option<Agent>,
    proxies: Proxies,
    limits: NetLimits,
    clock: Arc<dyn Clock>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Get {
    /// From which byte on.
    pub from: u64,
    /// The file's whole length, if it was signed.
    pub total: Option<u64>,
    /// The most bytes that the file may have.
    pub cap: u64,
    /// How long all of it may take.
    pub whole: Duration,
}

/// The bytes asked for, exactly: more or fewer are an error.
#[derive(Debug)]
pub(crate) struct Body {
    at: Place,
    source: Source,
    pace: Pace,
    /// Bytes to pass over first: the server began at the beginning.
    skip: u64,
    /// Bytes that have come and that may come, counted from the first asked for.
    got: u64,
    cap: u64,
    /// Bytes that must come, if that is known.
    exact: Option<u64>,
}

#[derive(Debug)]
enum Source {
    Net(Box<dyn Debugged>),
    File(File),
}

trait Debugged: Read + Send + Sync + std::fmt::Debug {}

#[derive(Debug)]
struct NetBody(Reader);

struct Reader(ureq::BodyReader<'static>);

impl Http {
    /// A client that follows the limits.
    pub(crate) fn new(limits: &NetLimits, user_agent: &str, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let proxies = limits.proxies.clone().unwrap_or_else(Proxies::from_environment);
        let tls = tls(limits)?;
        let agent = |proxy: Option<&String>| -> Result<Agent, Error> {
            let wrong =
                |error| Error::Setup { what: format!("the proxy {:?}: {error}", proxy.map_or("", |p| p)) };
            let proxy = proxy.map(|proxy| Proxy::new(proxy)).transpose().map_err(wrong)?;
            let config = Agent::config_builder()
                .tls_config(tls.clone())
                .proxy(proxy)
                .user_agent(user_agent)
                .accept_encoding("identity")
                .http_status_as_error(false)
                .max_redirects(0)
                .max_redirects_will_error(false)
                .timeout_resolve(Some(limits.connect))
                .timeout_connect(Some(limits.connect))
                .timeout_send_request(Some(limits.connect))
                .timeout_recv_response(Some(limits.first_byte))
                .timeout_per_read(Some(limits.window))
                .build();
            Ok(config.new_agent())
        };
        let through = |proxy: &Option<String>| proxy.as_ref().map(|proxy| agent(Some(proxy))).transpose();
        Ok(Self {
            direct: agent(None)?,
            by_http: through(&proxies.http)?,
            by_https: through(&proxies.https)?,
            proxies,
            limits: limits.clone(),
            clock,
        })
    }

    /// Begins to read a file. Redirects are followed within the same origin only, unless the limits allow more.
    pub(crate) fn open(&self, url: &Url, get: Get) -> Result<Body, Error> {
        if url.scheme() == "file" {
            return self.open_file(url, get);
        }
        let mut url = url.clone();
        for _ in 0..=self.limits.redirects {
            let at = place(&url);
            let mut request = self.agent(&url).get(url.as_str());
            if get.from > 0 {
                request = request.header(header::RANGE, format!("bytes={}-", get.from));
            }
            let answer = request.call().map_err(|error| self.failed(&at, error))?;
            match reply::read(&at, answer.status().as_u16(), answer.headers(), get)? {
                reply::Reply::Elsewhere(to) => url = self.follow(&at, &url, &to)?,
                reply::Reply::Bytes { skip } => return Ok(self.body(at, answer, get, skip)),
            }
        }
        let why = format!("{} redirects are followed at most", self.limits.redirects);
        Err(Error::Redirect { at: place(&url), to: "yet another place".to_owned(), why })
    }

    /// A whole document of bounded length.
    pub(crate) fn document(&self, url: &Url, cap: u64, total: Option<u64>) -> Result<Vec<u8>, Error> {
        let mut body = self.open(url, Get { from: 0, total, cap, whole: self.limits.document })?;
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 16 << 10];
        loop {
            let got = body.read(&mut buffer)?;
            if got == 0 {
                return Ok(bytes);
            }
            bytes.extend_from_slice(buffer.get(..got).unwrap_or_default());
        }
    }

    fn agent(&self, url: &Url) -> &Agent {
        let by = if url.scheme() == "https" { &self.by_https } else { &self.by_http };
        match (self.proxies.of(url), by) {
            (Some(_), Some(agent)) => agent,
            _ => &self.direct,
        }
    }

    fn follow(&self, at: &Place, from: &Url, to: &str) -> Result<Url, Error> {
        let refuse = |why: &str| Error::Redirect { at: at.clone(), to: to.to_owned(), why: why.to_owned() };
        let to = from.join(to).map_err(|error| refuse(&error.to_string()))?;
        if !matches!(to.scheme(), "http" | "https") {
            return Err(refuse("only http and https are"));
        }
        if from.scheme() == "https" && to.scheme() != "https" {
            return Err(refuse("it would leave https"));
        }
        if to.origin() != from.origin() && !self.limits.elsewhere {
            return Err(refuse("it is another server; if it is meant, name it as a mirror or allow it"));
        }
        Ok(to)
    }

    fn body(&self, at: Place, answer: Response<UreqBody>, get: Get, skip: u64) -> Body {
        let reader = answer.into_body().into_reader();
        self.watched(at, Source::Net(Box::new(NetBody(Reader(reader)))), get, skip)
    }

    fn open_file(&self, url: &Url, get: Get) -> Result<Body, Error> {
        let at = place(url);
        let path =
            url.to_file_path().map_err(|()| Error::Setup { what: format!("{url} names no local file") })?;
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Error::NotFound { at: at.clone() },
            _ => Error::Network { at: at.clone(), why: error.to_string() },
        };
        let mut file = File::open(&path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        match get.total {
            Some(expected) if expected != length => Err(Error::WrongLength { at, expected, got: length }),
            _ => {
                file.seek(SeekFrom::Start(get.from)).map_err(failed)?;
                Ok(self.watched(at, Source::File(file), get, 0))
            }
        }
    }

    fn watched(&self, at: Place, source: Source, get: Get, skip: u64) -> Body {
        let limits = &self.limits;
        let pace = Pace::new(self.clock.clone(), at.clone(), limits.least_rate, limits.window)
            .whole(get.whole, "reading the whole file");
        let rest = |length: u64| length.saturating_sub(get.from);
        let exact = get.total.map(rest);
        Body { at, source, pace, skip, got: 0, cap: rest(get.cap), exact }
    }

    fn failed(&self, at: &Place, error: ureq::Error) -> Error {
        let deadline = |phase, limit| Error::Deadline { at: at.clone(), phase, limit };
        match error {
            ureq::Error::Timeout(ureq::Timeout::Resolve) => deadline("finding its name", self.limits.connect),
            ureq::Error::Timeout(ureq::Timeout::Connect) => deadline("connecting", self.limits.connect),
            ureq::Error::Timeout(_) => deadline("waiting for the first byte", self.limits.first_byte),
            other => Error::Network { at: at.clone(), why: other.to_string() },
        }
    }
}

impl Body {
    /// Some of the bytes; 0 only when exactly what was asked for has come.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        while self.skip > 0 {
            let most = usize::try_from(self.skip).unwrap_or(usize::MAX).min(buffer.len());
            let got = self.raw(buffer.get_mut(..most).unwrap_or_default())?;
            if got == 0 {
                return Err(self.short());
            }
            self.skip = self.skip.saturating_sub(got as u64);
        }
        let got = self.raw(buffer)?;
        self.got = self.got.saturating_add(got as u64);
        match self.exact {
            Some(exact) if got == 0 && self.got < exact => Err(self.short()),
            Some(expected) if self.got > expected => {
                Err(Error::WrongLength { at: self.at.clone(), expected, got: self.got })
            }
            _ if self.got > self.cap => Err(Error::TooLong { what: self.at.to_string(), limit: self.cap }),
            _ => Ok(got),
        }
    }

    fn raw(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let began = self.pace.now();
        let result = match &mut self.source {
            Source::Net(reader) => reader.read(buffer),
            Source::File(file) => file.read(buffer),
        };
        match result {
            Ok(got) => self.pace.came(began, got).map(|()| got),
            Err(error) => Err(self.broken(error)),
        }
    }

    fn broken(&self, error: io::Error) -> Error {
        match ureq::Error::from(error) {
            ureq::Error::Timeout(_) => self.pace.slow(),
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.short(),
            other => Error::Network {
                at: self.at.clone(),
                why: format!("the connection broke after {} bytes: {other}", self.got),
            },
        }
    }

    fn short(&self) -> Error {
        let of = self.exact.map(|exact| format!(" of {exact}")).unwrap_or_default();
        Error::Network { at: self.at.clone(), why: format!("the answer ended after {}{of} bytes", self.got) }
    }
}

fn tls(limits: &NetLimits) -> Result<TlsConfig, Error> {
    let roots = match &limits.ca_file {
        None => RootCerts::WebPki,
        Some(path) => {
            let pem = std::fs::read(path).map_err(Error::store("read", path))?;
            let certificates =
                ureq::tls::parse_pem(&pem).filter_map(Result::ok).filter_map(|item| match item {
                    PemItem::Certificate(certificate) => Some(certificate),
                    _ => None,
                });
            let certificates: Vec<Certificate<'static>> = certificates.collect();
            if certificates.is_empty() {
                return Err(Error::Setup { what: format!("{} has no certificate in PEM", path.display()) });
            }
            RootCerts::new_with_certs(&certificates)
        }
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = TlsConfig::builder().provider(TlsProvider::Rustls).root_certs(roots);
    Ok(builder.unversioned_rustls_crypto_provider(provider).build())
}

/// A place to name in errors: without names, passwords and query.
pub(crate) fn place(url: &Url) -> Place {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let mirror = format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default());
    Place { mirror, path: url.path().to_owned() }
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("(no text)"))
}

impl Debugged for NetBody {}

impl Read for NetBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.0.read(buffer)
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reader")
    }
}
