//! The page on real sockets.

mod fake;

use fake::{Fake, states};
use siding_page::{Bound, Error, Listen, PageOptions, Stop, bind};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;

/// Serves while `visit` runs, then stops.
fn during(bound: Bound, visit: impl FnOnce()) {
    let stop = Stop::default();
    let (device, stopping) = (Arc::new(Fake::new(states::quiet())), stop.clone());
    let serving = std::thread::spawn(move || bound.serve(device, PageOptions::default(), &stopping));
    visit();
    stop.now();
    serving.join().expect("no panic").expect("served");
}

fn ask(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer, and its end");
    answer
}

#[test]
fn it_answers_on_a_loopback_address_one_request_a_connection() {
    let bound = bind(&"127.0.0.1:0".parse().expect("an address")).expect("bound");
    let address = bound.address().expect("an address");
    assert_ne!(address.port(), 0);
    during(bound, || {
        let connect = || TcpStream::connect(address).expect("connected");
        let answer = ask(connect(), &format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("Everything is up to date") && answer.contains("connection: close"));
        let refused = ask(connect(), "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n");
        assert!(refused.starts_with("HTTP/1.1 421 "), "{refused}");
        assert!(ask(connect(), "GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 4"));
        assert!(ask(connect(), "no HTTP at all\r\n\r\n").starts_with("HTTP/1.1 400 "));
        let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
        let mut stream = connect();
        drop(stream.write_all(long.as_bytes())); // it may be cut off before all is sent
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
    });
    assert!(TcpStream::connect(address).is_err(), "it answers although it was stopped");
}

#[test]
fn idle_connections_keep_nobody_out_and_hold_up_no_end() {
    let bound = bind(&"127.0.0.1:0".parse().expect("an address")).expect("bound");
    let address = bound.address().expect("an address");
    let mut idle = vec![];
    during(bound, || {
        for _ in 0..20 {
            idle.push(TcpStream::connect(address).expect("connected"));
        }
        let stream = TcpStream::connect(address).expect("connected");
        assert!(ask(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").contains("siding_pending 0"));
    });
}

#[test]
fn a_unix_socket_has_its_mode_and_goes_at_the_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("page.sock");
    drop(UnixListener::bind(&path).expect("a socket left by one that died"));
    let listen = Listen::Unix(path.clone(), 0o600);
    during(bind(&listen).expect("bound"), || {
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        let stream = UnixStream::connect(&path).expect("connected");
        let answer = ask(stream, "GET /view.json HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(answer.contains("\"component\":\"webkit\""), "{answer}");
        assert!(matches!(bind(&listen), Err(Error::InUse(_))), "two on one socket");
    });
    assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 0, "something is left");
}

#[test]
fn places_that_cannot_be_are_refused_and_left() {
    let open = Listen::Tcp(SocketAddr::from(([0, 0, 0, 0], 0)));
    let error = bind(&open).expect_err("the network").to_string();
    assert!(error.contains("other machines") && error.contains("0.0.0.0"), "{error}");
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    std::fs::write(&file, "precious").expect("written");
    let error = bind(&Listen::Unix(file.clone(), 0o600)).expect_err("a file").to_string();
    assert!(error.contains("no socket") || error.contains("expected a socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).expect("left"), "precious");
    let nowhere = dir.path().join("no/page.sock");
    let error = bind(&Listen::Unix(nowhere, 0o600)).expect_err("no directory").to_string();
    assert!(error.contains("no/page.sock"), "{error}");
}
