//! `siding publish serve` over real sockets: what is published is given out, whole or in part, and nothing else is.
#![cfg(feature = "make")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A folder as a repository is, with things beside it that are nobody's business, and the server in front of it.
struct Served {
    dir: tempfile::TempDir,
    child: Child,
    address: String,
    _out: BufReader<ChildStdout>,
}

struct Answer {
    status: u16,
    headers: String,
    body: Vec<u8>,
}

#[test]
fn what_is_published_is_given_out_whole() {
    let served = Served::new();
    let answer = served.ask("GET /metadata/timestamp.json", "");
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"{\"signed\":1}"[..]));
    assert_eq!(answer.header("content-length"), Some("12"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("accept-ranges"), Some("bytes"));
    let answer = served.ask("GET /targets/ab.blobs/cd.siding", "");
    assert_eq!((answer.status, answer.body), (200, blob()));
}

#[test]
fn a_head_says_the_length_and_nothing_more() {
    let answer = Served::new().ask("HEAD /targets/ab.blobs/cd.siding", "");
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(answer.header("content-length"), Some("300000"));
}

#[test]
fn a_range_is_given_out_as_asked() {
    let served = Served::new();
    let part = |range: &str| served.ask("GET /targets/ab.blobs/cd.siding", &format!("Range: {range}\r\n"));
    for (range, from, end) in [
        ("bytes=100-", 100, 300_000),
        ("bytes=100-199", 100, 200),
        ("bytes=-7", 299_993, 300_000),
        ("bytes=299999-400000", 299_999, 300_000),
    ] {
        let answer = part(range);
        assert_eq!(answer.status, 206, "{range}");
        assert_eq!(answer.body, blob()[from..end], "{range}");
        assert_eq!(answer.header("content-range"), Some(&*format!("bytes {from}-{}/300000", end - 1)));
        assert_eq!(answer.header("content-length"), Some(&*(end - from).to_string()));
    }
    let beyond = part("bytes=300000-");
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */300000")));
    assert_eq!(part("bytes=1-2,4-5").status, 200, "several ranges are as none");
}

#[test]
fn nothing_else_is_given_out() {
    let served = Served::new();
    for path in [
        "/",
        "/metadata",
        "/metadata/",
        "/targets/ab.blobs",
        "/work/secret.siding",
        "/keys/root-1.pem",
        "/root-1.pem",
        "/targets/../work/secret.siding",
        "/targets/..%2fwork/secret.siding",
        "/targets/%2e%2e/work/secret.siding",
        "/targets/../../outside",
        "//outside",
        "/targets/link.siding",
        "/targets/linked/secret.siding",
        "/targets/pipe",
        "/targets/.hidden",
        "/metadata/timestamp.json/",
        "/metadata/nothing.json",
    ] {
        let answer = served.ask(&format!("GET {path}"), "");
        assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.status);
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!body.contains("secret"), "{path}: {body}");
    }
    let posted = served.ask("POST /metadata/timestamp.json", "Content-Length: 0\r\n");
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn a_folder_that_is_no_repository_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = serve(dir.path()).output().unwrap();
    assert_eq!(run.status.code(), Some(2));
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(said.contains("it has no metadata/"), "{said}");
    let run = serve(Path::new("s3://bucket/repo")).output().unwrap();
    assert_eq!(run.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&run.stderr).contains("is no folder"));
}

fn serve(repo: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_siding"));
    command.args(["publish", "serve", "--listen", "127.0.0.1:0", "--repo"]).arg(repo);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Bytes that are not the same everywhere.
fn blob() -> Vec<u8> {
    (0..300_000_u32).map(|n| u8::try_from((n / 7) % 251).unwrap()).collect()
}

impl Served {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path().join("repo");
        for folder in ["metadata", "targets/ab.blobs", "work", "keys"] {
            fs::create_dir_all(repo.join(folder)).unwrap();
        }
        for (name, bytes) in [
            ("metadata/timestamp.json", b"{\"signed\":1}".to_vec()),
            ("targets/ab.blobs/cd.siding", blob()),
            ("targets/.hidden", b"secret".to_vec()),
            ("work/secret.siding", b"secret".to_vec()),
            ("keys/root-1.pem", b"secret".to_vec()),
            ("root-1.pem", b"secret".to_vec()),
            ("../outside", b"secret".to_vec()),
        ] {
            fs::write(repo.join(name), bytes).unwrap();
        }
        symlink("../work/secret.siding", repo.join("targets/link.siding")).unwrap();
        symlink("../work", repo.join("targets/linked")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            repo.join("targets/pipe"),
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
        .unwrap();
        let mut child = serve(&repo).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").and_then(|rest| rest.strip_suffix('/')).unwrap();
        Self { address: address.to_owned(), dir, child, _out: out }
    }

    /// Asks exactly this, as no well-behaved client would tidy it up.
    fn ask(&self, line: &str, headers: &str) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let (first, headers) = head.split_once("\r\n").unwrap();
        let status = first.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, headers: headers.to_owned(), body: bytes[end + 4..].to_vec() }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        assert!(self.dir.path().exists());
    }
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let found = |line: &&str| line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
        self.headers.lines().find(found)?.split_once(':').map(|(_, value)| value.trim())
    }
}
