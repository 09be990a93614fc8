//! `siding publish serve`: a repository in a folder, over HTTP, for trying things out.
//!
//! It gives out what lies under `metadata/` and `targets/` and nothing else: no lists, no `work/`, no keys, nothing
//! that a symbolic link leads to. Any web server can do the same; this one saves the search for it.

use crate::args::publish::Serve;
use crate::failure::Failure;
use crate::output::Reply;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use serde_json::json;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::net::TcpListener;
use tokio_util::io::ReaderStream;

/// Prints the address, then answers until the process is ended.
pub(crate) fn serve(args: &Serve, as_json: bool) -> Result<Reply, Failure> {
    let folder = open_folder(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::failed(format!("cannot start serving: {e}")))?;
    runtime.block_on(async {
        let refused = |e| Failure::failed(format!("cannot listen on {}: {e}", args.listen));
        let socket = TcpListener::bind(args.listen).await.map_err(refused)?;
        let url = format!("http://{}/", socket.local_addr().map_err(refused)?);
        announce(&url, as_json);
        let router = Router::new().fallback(answer).with_state(Arc::new(folder));
        axum::serve(socket, router).await.map_err(|e| Failure::failed(format!("cannot serve: {e}")))
    })?;
    Ok(Reply::new("", json!({})))
}

/// The first line of the output is the address: what waits for it reads that line.
fn announce(url: &str, as_json: bool) {
    let mut out = std::io::stdout().lock();
    let line = if as_json { json!({ "url": url }).to_string() } else { url.to_owned() };
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn open_folder(args: &Serve) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let repo = &args.repo.repo;
    let path = Path::new(repo.strip_prefix("file://").unwrap_or(repo));
    if path == Path::new(repo) && repo.contains("://") {
        return Err(Failure::usage(format!("{repo} is no folder: what stores it can serve it itself")));
    }
    let folder = rustix::fs::open(path, flags, Mode::empty());
    let folder = folder.map_err(|e| Failure::io("open", path, &e.into()))?;
    if rustix::fs::accessat(&folder, "metadata", rustix::fs::Access::EXISTS, rustix::fs::AtFlags::empty())
        .is_err()
    {
        return Err(Failure::usage(format!(
            "{} is no repository in a folder: it has no metadata/; `siding publish init` makes one",
            path.display()
        )));
    }
    Ok(folder)
}

async fn answer(
    State(folder): State<Arc<OwnedFd>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response<Body> {
    if method != Method::GET && method != Method::HEAD {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED);
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let Some((file, length)) = published(&folder, uri.path()) else { return plain(StatusCode::NOT_FOUND) };
    let (from, end, status) = match wanted(&headers, length) {
        Wanted::All => (0, length, StatusCode::OK),
        Wanted::Part { from, end } => (from, end, StatusCode::PARTIAL_CONTENT),
        Wanted::Nothing => {
            let mut refused = plain(StatusCode::RANGE_NOT_SATISFIABLE);
            put(&mut refused, header::CONTENT_RANGE, format!("bytes */{length}"));
            return refused;
        }
    };
    let mut file = tokio::fs::File::from_std(file);
    if file.seek(std::io::SeekFrom::Start(from)).await.is_err() {
        return plain(StatusCode::INTERNAL_SERVER_ERROR);
    }
    let count = end.saturating_sub(from);
    let body = match method {
        Method::HEAD => Body::empty(),
        _ => Body::from_stream(ReaderStream::with_capacity(file.take(count), PIECE)),
    };
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    put(&mut reply, header::CONTENT_LENGTH, count.to_string());
    put(&mut reply, header::ACCEPT_RANGES, "bytes".to_owned());
    let kind = if uri.path().ends_with(".json") { "application/json" } else { "application/octet-stream" };
    put(&mut reply, header::CONTENT_TYPE, kind.to_owned());
    if status == StatusCode::PARTIAL_CONTENT {
        put(&mut reply, header::CONTENT_RANGE, format!("bytes {from}-{}/{length}", end.saturating_sub(1)));
    }
    reply
}

/// How many bytes are read at a time.
const PIECE: usize = 64 << 10;

/// A published file and its length. The kernel sees to it that no name leads out of the folder or through a link.
fn published(folder: &OwnedFd, path: &str) -> Option<(File, u64)> {
    let name = path.strip_prefix('/')?;
    if !may_be_asked_for(name) {
        return None;
    }
    // Without waiting: a pipe has no place here, and nobody at its other end.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let file = File::from(openat2(folder, name, flags, Mode::empty(), resolve).ok()?);
    let meta = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    Some((file, meta.len()))
}

/// Names that a repository has: `metadata/…` or `targets/…`, of letters, digits, `.`, `_` and `-`, no part of which
/// begins with a dot.
fn may_be_asked_for(name: &str) -> bool {
    let good = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    let below = name.strip_prefix("metadata/").or_else(|| name.strip_prefix("targets/"));
    below.is_some_and(|below| below.split('/').all(good))
}

/// What of a file is wanted.
#[derive(Debug, PartialEq)]
enum Wanted {
    All,
    Part { from: u64, end: u64 },
    Nothing,
}

/// One range of bytes is understood; several, or what makes no sense, are as none (RFC 9110, 14.2). Nor is one that
/// depends on a date or a tag, since no such thing is given out.
fn wanted(headers: &HeaderMap, length: u64) -> Wanted {
    let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let range = range.and_then(|value| value.strip_prefix("bytes="));
    let ends = range.and_then(|range| range.split_once('-'));
    let Some((from, to)) = ends.filter(|_| !headers.contains_key(header::IF_RANGE)) else {
        return Wanted::All;
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(from) || !digits(to) {
        return Wanted::All;
    }
    // A number beyond all files is beyond this one.
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    match (from.is_empty(), to.is_empty()) {
        (true, true) => Wanted::All,
        (true, false) if number(to) == 0 || length == 0 => Wanted::Nothing,
        (true, false) => Wanted::Part { from: length.saturating_sub(number(to)), end: length },
        (false, _) if number(from) >= length => Wanted::Nothing,
        (false, true) => Wanted::Part { from: number(from), end: length },
        (false, false) if number(to) < number(from) => Wanted::All,
        (false, false) => Wanted::Part { from: number(from), end: number(to).saturating_add(1).min(length) },
    }
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut reply = Response::new(Body::from(format!("{status}\n")));
    *reply.status_mut() = status;
    reply
}

fn put(reply: &mut Response<Body>, name: header::HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        reply.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_published_may_be_asked_for() {
        for good in ["metadata/timestamp.json", "metadata/1.root.json", "targets/ab.blobs/cd.siding"] {
            assert!(may_be_asked_for(good), "{good}");
        }
        let bad = [
            "",
            "metadata",
            "metadata/",
            "work/a.siding",
            "targets/../work/a",
            "targets//a",
            "targets/.hidden",
            "targets/%2e%2e/work/a",
            "../keys/root.json",
            "keys/root-1.pem",
            "Metadata/1.root.json",
            "targets/a\\b",
        ];
        for bad in bad {
            assert!(!may_be_asked_for(bad), "{bad}");
        }
    }

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        let of = |range: &str, length| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::try_from(range).unwrap());
            wanted(&headers, length)
        };
        assert_eq!(wanted(&HeaderMap::new(), 9), Wanted::All);
        assert_eq!(of("bytes=0-", 9), Wanted::Part { from: 0, end: 9 });
        assert_eq!(of("bytes=3-4", 9), Wanted::Part { from: 3, end: 5 });
        assert_eq!(of("bytes=3-99999999999999999999", 9), Wanted::Part { from: 3, end: 9 });
        assert_eq!(of("bytes=-2", 9), Wanted::Part { from: 7, end: 9 });
        assert_eq!(of("bytes=-20", 9), Wanted::Part { from: 0, end: 9 });
        for beyond in ["bytes=9-", "bytes=99999999999999999999-", "bytes=-0"] {
            assert_eq!(of(beyond, 9), Wanted::Nothing, "{beyond}");
        }
        for odd in ["bytes=-", "bytes=4-3", "bytes=0-1,3-4", "bytes=a-b", "lines=1-2", "bytes=+1-2"] {
            assert_eq!(of(odd, 9), Wanted::All, "{odd}");
        }
    }
}
