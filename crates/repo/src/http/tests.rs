//! Servers that answer right, wrong, late, elsewhere, and never.

use super::*;
use crate::testing::{Act, Hand, Request, Server};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;

fn limits() -> NetLimits {
    NetLimits { proxies: Some(Proxies::default()), ..NetLimits::default() }
}

fn server() -> Server {
    Server::new(&BTreeMap::from([
        ("file".to_owned(), b"0123456789".to_vec()),
        ("there".to_owned(), b"x".to_vec()),
    ]))
}

fn http(limits: &NetLimits) -> Http {
    Http::new(limits, "siding-test/1", Arc::new(Hand::default())).unwrap()
}

fn get(from: u64, total: Option<u64>) -> Get {
    Get { from, total, cap: 100, whole: Duration::from_secs(600) }
}

fn read(http: &Http, url: &Url, get: Get) -> Result<Vec<u8>, Error> {
    let mut body = http.open(url, get)?;
    let (mut bytes, mut buffer) = (Vec::new(), [0; 7]);
    loop {
        match body.read(&mut buffer)? {
            0 => return Ok(bytes),
            got => bytes.extend_from_slice(&buffer[..got]),
        }
    }
}

/// What a client makes of this answer to a request for the ten bytes of `file` from `from` on.
fn answered(from: u64, head: &str, body: &[u8]) -> Result<Vec<u8>, &'static str> {
    let server = server();
    let (head, body) = (format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n"), body.to_vec());
    server.on(move |_| Act::Raw(head.clone(), body.clone()));
    let url = server.url().join("file").unwrap();
    read(&http(&limits()), &url, get(from, Some(10))).map_err(|error| error.code())
}

#[test]
fn the_whole_and_a_part_are_read() {
    let server = server();
    let url = server.url().join("file").unwrap();
    let http = http(&limits());
    assert_eq!(read(&http, &url, get(0, None)).unwrap(), b"0123456789");
    assert_eq!(read(&http, &url, get(4, Some(10))).unwrap(), b"456789");
    let head = server.log().remove(0).head.to_ascii_lowercase();
    assert!(
        head.contains("user-agent: siding-test/1") && head.contains("accept-encoding: identity"),
        "{head}"
    );
    assert!(!head.contains("gzip"), "nothing compressed is asked for: {head}");
    assert_eq!(
        read(&http, &server.url().join("none").unwrap(), get(0, None)).unwrap_err().code(),
        "not-found"
    );
}

#[test]
fn answers_that_are_right_in_another_way_are_used() {
    assert_eq!(answered(4, "206 Partial\r\nContent-Range: bytes 4-9/10", b"456789").unwrap(), b"456789");
    assert_eq!(answered(4, "206 Partial\r\nContent-Range: bytes 4-9/*", b"456789").unwrap(), b"456789");
    assert_eq!(answered(4, "200 OK\r\nContent-Length: 10", b"0123456789").unwrap(), b"456789");
    assert_eq!(answered(0, "200 OK", b"0123456789").unwrap(), b"0123456789");
    let chunked = b"4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n";
    assert_eq!(answered(0, "200 OK\r\nTransfer-Encoding: chunked", chunked).unwrap(), b"0123456789");
}

#[test]
fn wrong_ranges_are_refused() {
    for range in
        ["bytes 3-9/10", "bytes 4-8/10", "bytes 4-9/11", "bytes 4-10/10", "bytes */10", "4-9/10", "bytes x"]
    {
        let head = format!("206 Partial\r\nContent-Range: {range}\r\nContent-Length: 6");
        assert_eq!(answered(4, &head, b"456789").unwrap_err(), "wrong-range", "{range}");
    }
    assert_eq!(answered(4, "206 Partial\r\nContent-Length: 6", b"456789").unwrap_err(), "wrong-range");
    assert_eq!(
        answered(0, "206 Partial\r\nContent-Range: bytes 0-9/10", b"0123456789").unwrap_err(),
        "wrong-range"
    );
    assert_eq!(answered(4, "416 No\r\nContent-Range: bytes */3", b"").unwrap_err(), "wrong-range");
}

#[test]
fn wrong_lengths_are_refused() {
    assert_eq!(answered(0, "200 OK\r\nContent-Length: 11", b"01234567890").unwrap_err(), "wrong-length");
    assert_eq!(answered(0, "200 OK\r\nContent-Length: 9", b"012345678").unwrap_err(), "wrong-length");
    let partial = "206 Partial\r\nContent-Range: bytes 4-9/10\r\nContent-Length: 5";
    assert_eq!(answered(4, partial, b"45678").unwrap_err(), "wrong-length");
    assert_eq!(answered(0, "200 OK", b"0123456789abc").unwrap_err(), "wrong-length");
    assert_eq!(answered(0, "200 OK", b"012345678").unwrap_err(), "network");
    assert_eq!(answered(0, "200 OK\r\nContent-Length: 10", b"012345678").unwrap_err(), "network");
    assert!(answered(0, "200 OK\r\nContent-Length: x", b"0123456789").is_err());
}

#[test]
fn answers_of_no_use_are_refused() {
    for head in
        ["500 Oh", "204 Nothing", "301 Moved", "200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 10"]
    {
        assert_eq!(answered(0, head, b"0123456789").unwrap_err(), "http-status", "{head}");
    }
    for head in ["404 No", "403 No", "410 Gone"] {
        assert_eq!(answered(0, head, b"").unwrap_err(), "not-found", "{head}");
    }
    let huge = format!("200 OK\r\nX-Long: {}\r\nContent-Length: 10", "x".repeat(200_000));
    assert_eq!(answered(0, &huge, b"0123456789").unwrap_err(), "network");
}

#[test]
fn what_is_longer_than_its_cap_is_given_up() {
    let server = server();
    let url = server.url().join("file").unwrap();
    let http = http(&limits());
    assert_eq!(http.document(&url, 9, None).unwrap_err().code(), "too-long", "announced");
    assert_eq!(http.document(&url, 10, None).unwrap(), b"0123456789");
    server.on(|_| Act::Endless("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned()));
    assert_eq!(http.document(&url, 9, None).unwrap_err().code(), "too-long", "found out");
}

fn redirected(to: &str, limits: &NetLimits) -> Result<Vec<u8>, Error> {
    let server = server();
    let to = to.replace("PORT", &server.port.to_string());
    server.on(move |request: &Request| match request.path == "file" {
        true => {
            Act::Raw(format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nConnection: close\r\n\r\n"), Vec::new())
        }
        false => Act::Serve,
    });
    read(&http(limits), &server.url().join("file").unwrap(), get(0, None))
}

#[test]
fn redirects_within_a_server_are_followed() {
    for to in ["there", "/repo/there", "http://127.0.0.1:PORT/repo/there"] {
        assert_eq!(redirected(to, &limits()).unwrap(), b"x");
    }
}

#[test]
fn redirects_to_elsewhere_are_not_followed_unless_allowed() {
    let other = server();
    let to = format!("http://127.0.0.1:{}/repo/there", other.port);
    let error = redirected(&to, &limits()).unwrap_err();
    assert!(error.code() == "redirect" && error.to_string().contains(&to), "{error}");
    assert!(other.log().is_empty());
    let limits = NetLimits { elsewhere: true, ..limits() };
    assert_eq!(redirected(&to, &limits).unwrap(), b"x");
    for to in ["file:///etc/passwd", "ftp://127.0.0.1/x", "//"] {
        assert_eq!(redirected(to, &limits).unwrap_err().code(), "redirect", "{to}");
    }
}

#[test]
fn redirects_in_a_circle_end() {
    let error = redirected("file", &limits()).unwrap_err();
    assert_eq!(error.code(), "redirect");
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let server = server();
    server.on(|_| Act::Stall(String::new(), Vec::new()));
    let limits = NetLimits { first_byte: Duration::from_millis(50), ..limits() };
    let error = read(&http(&limits), &server.url(), get(0, None)).unwrap_err();
    assert_eq!(error.code(), "deadline", "{error}");
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    let server = server();
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
    server.on(move |_| Act::Stall(head.to_owned(), b"012".to_vec()));
    let limits = NetLimits { window: Duration::from_millis(50), ..limits() };
    let error = read(&http(&limits), &server.url().join("file").unwrap(), get(0, Some(10))).unwrap_err();
    assert_eq!(error.code(), "slow", "{error}");
}

#[test]
fn nobody_there_is_told() {
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let url = Url::parse(&format!("http://user:secret@127.0.0.1:{port}/x")).unwrap();
    let error = read(&http(&limits()), &url, get(0, None)).unwrap_err();
    assert_eq!(error.code(), "network");
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[test]
fn a_proxy_is_used_but_for_those_it_is_not_for() {
    let (proxy, server) = (server(), server());
    proxy.on(|request| {
        Act::Tunnel(request.path.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0))
    });
    let address = Some(format!("http://127.0.0.1:{}", proxy.port));
    let url = server.url().join("file").unwrap();
    let proxies = Proxies { http: address.clone(), https: None, none: String::new() };
    let through = http(&NetLimits { proxies: Some(proxies.clone()), ..limits() });
    assert_eq!(read(&through, &url, get(0, None)).unwrap(), b"0123456789");
    assert_eq!(proxy.log().len(), 1);
    let spared = Proxies { none: "127.0.0.1".to_owned(), ..proxies };
    let past = http(&NetLimits { proxies: Some(spared), ..limits() });
    assert_eq!(read(&past, &url, get(0, None)).unwrap(), b"0123456789");
    assert!(proxy.log().is_empty());
    let wrong = Proxies { http: Some("no proxy at all".to_owned()), ..Proxies::default() };
    let limits = NetLimits { proxies: Some(wrong), ..limits() };
    assert_eq!(Http::new(&limits, "x", Arc::new(Hand::default())).unwrap_err().code(), "setup");
}

/// A server with the certificate of `testdata`, for one connection.
fn secure() -> Url {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let certificate = CertificateDer::from_pem_slice(include_bytes!("testdata/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("testdata/server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.unwrap().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, stream);
        // A client that does not trust the certificate hangs up.
        if stream.read(&mut [0; 4096]).is_ok() {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi").unwrap();
            stream.conn.send_close_notify();
            stream.flush().ok();
        }
    });
    Url::parse(&format!("https://localhost:{port}/")).unwrap()
}

#[test]
fn https_is_for_servers_that_somebody_vouches_for() {
    let ca_file = Some(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/testdata/ca.pem")));
    let trusting = http(&NetLimits { ca_file, ..limits() });
    assert_eq!(read(&trusting, &secure(), get(0, None)).unwrap(), b"hi");
    let error = read(&http(&limits()), &secure(), get(0, None)).unwrap_err();
    assert!(error.code() == "network" && error.to_string().contains("ertificate"), "{error}");
    let ca_file = Some(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")));
    let limits = NetLimits { ca_file, ..limits() };
    assert_eq!(Http::new(&limits, "x", Arc::new(Hand::default())).unwrap_err().code(), "setup");
}
