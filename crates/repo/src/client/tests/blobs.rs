//! Downloads: resumed anywhere, from mirror to mirror, wrong, cut, slow and endless.

use super::*;
use crate::testing::{Act, Request};
use std::fs;
use std::io::{self, Read};

fn bytes() -> Vec<u8> {
    (0..200u32).map(|n| (n * 7 % 251) as u8).collect()
}

fn blob() -> Blob {
    let bytes = bytes();
    Blob { name: "blobs/x.siding".to_owned(), length: bytes.len() as u64, sha256: Digest::of(&bytes) }
}

fn path() -> String {
    format!("targets/{}.{}", blob().sha256, blob().name)
}

/// A device, and a server that has the blob.
fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.maker.files.insert(path(), bytes());
    bench.server.serve(&bench.maker.files);
    bench.server.log();
    bench
}

fn part(bench: &Bench) -> PathBuf {
    bench.folder.path().join("part")
}

fn fetch(bench: &Bench, client: &Client) -> (Vec<u8>, io::Result<usize>, u64) {
    let mut download = client.fetch(&blob(), &part(bench), None).unwrap();
    let mut got = Vec::new();
    let result = download.read_to_end(&mut got);
    (got, result, download.received())
}

fn code(result: io::Result<usize>) -> &'static str {
    Error::inside(&result.unwrap_err()).unwrap().code()
}

#[test]
fn a_download_goes_on_at_every_byte() {
    let bench = bench();
    let client = bench.client();
    for had in 0..=bytes().len() {
        fs::write(part(&bench), &bytes()[..had]).unwrap();
        let (got, result, received) = fetch(&bench, &client);
        assert_eq!((got, result.unwrap()), (bytes(), bytes().len()), "{had}");
        assert_eq!(received, (bytes().len() - had) as u64);
        let asked = bench.server.log();
        let from = asked.first().and_then(|request| request.from);
        assert_eq!(asked.len(), usize::from(had < bytes().len()));
        assert_eq!(from, (had > 0 && had < bytes().len()).then_some(had as u64));
    }
}

#[test]
fn a_server_without_ranges_is_used_all_the_same() {
    let bench = bench();
    bench.server.on(|_| Act::ServeWhole);
    for had in [1, 100, 199] {
        fs::write(part(&bench), &bytes()[..had]).unwrap();
        let (got, result, received) = fetch(&bench, &bench.client());
        result.unwrap();
        assert_eq!((got, received), (bytes(), (bytes().len() - had) as u64));
    }
}

#[test]
fn a_download_that_is_cut_at_any_byte_goes_on_at_the_next_mirror() {
    let bench = bench();
    let second = Server::new(&bench.maker.files);
    for cut in 0..bytes().len() {
        fs::remove_file(part(&bench)).ok();
        bench.server.on(move |_| Act::CutAfter(cut));
        let mirrors = vec![bench.server.url(), second.url()];
        let client = Client::new(Options { mirrors, ..bench.options() }).unwrap();
        let (got, result, _) = fetch(&bench, &client);
        result.unwrap();
        assert_eq!(got, bytes(), "{cut}");
        let from = second.log().first().and_then(|request| request.from);
        assert_eq!(from, (cut > 0).then_some(cut as u64));
    }
}

#[test]
fn a_download_that_is_cut_everywhere_keeps_what_came() {
    let bench = bench();
    bench.server.on(|_| Act::CutAfter(70));
    let (got, result, received) = fetch(&bench, &bench.client());
    assert_eq!((code(result), got.len(), received), ("network", 70, 70));
    assert_eq!(fs::read(part(&bench)).unwrap(), bytes()[..70]);
    bench.server.on(|_| Act::Serve);
    let (got, result, received) = fetch(&bench, &bench.client());
    result.unwrap();
    assert_eq!((got, received), (bytes(), 130));
}

#[test]
fn other_bytes_of_the_right_length_are_refused_at_the_end() {
    let mut bench = bench();
    bench.maker.files.get_mut(&path()).unwrap()[150] ^= 1;
    bench.server.serve(&bench.maker.files);
    let (_, result, _) = fetch(&bench, &bench.client());
    assert_eq!(code(result), "wrong-digest");
    assert_eq!(fs::metadata(part(&bench)).unwrap().len(), 0, "nothing of it is kept");
}

#[test]
fn a_part_that_was_damaged_is_found_and_emptied() {
    let bench = bench();
    for left in [vec![0; 90], vec![0; 200]] {
        fs::write(part(&bench), left).unwrap();
        let (_, result, _) = fetch(&bench, &bench.client());
        assert_eq!(code(result), "wrong-digest");
        let (got, result, _) = fetch(&bench, &bench.client());
        result.unwrap();
        assert_eq!(got, bytes());
    }
    fs::write(part(&bench), vec![0; 201]).unwrap();
    let (got, result, _) = fetch(&bench, &bench.client());
    result.unwrap();
    assert_eq!(got, bytes(), "a part that is too long is no part");
}

#[test]
fn what_a_reader_found_wrong_is_discarded() {
    let bench = bench();
    fs::write(part(&bench), [0; 90]).unwrap();
    // The whole never comes, so that nobody else finds out.
    bench.server.on(|_| Act::CutAfter(50));
    let mut download = bench.client().fetch(&blob(), &part(&bench), None).unwrap();
    download.read_exact(&mut [0; 10]).unwrap();
    drop(download);
    assert!(bench.client().refuse(&blob(), &part(&bench)).unwrap(), "another try brings other bytes");
    assert!(!part(&bench).exists());
    bench.server.on(|_| Act::Serve);
    let (got, result, _) = fetch(&bench, &bench.client());
    result.unwrap();
    assert_eq!(got, bytes());
}

#[test]
fn a_target_of_another_length_is_refused() {
    for length in [0, 199, 201] {
        let mut bench = bench();
        bench.maker.files.insert(path(), vec![1; length]);
        bench.server.serve(&bench.maker.files);
        let (got, result, _) = fetch(&bench, &bench.client());
        assert_eq!((got.len(), code(result)), (0, "wrong-length"), "before a byte of it is read");
    }
}

#[test]
fn an_endless_target_is_given_up() {
    let bench = bench();
    bench.server.on(|_: &Request| Act::Endless("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned()));
    let (got, result, _) = fetch(&bench, &bench.client());
    assert_eq!(code(result), "wrong-length");
    assert!(got.len() <= bytes().len());
}

#[test]
fn a_target_that_trickles_is_given_up_and_what_came_is_kept() {
    let bench = bench();
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 200\r\nConnection: close\r\n\r\n";
    bench.server.on(move |_| Act::Stall(head.to_owned(), bytes()[..40].to_vec()));
    let clock = Arc::new(Hand::ticking(std::time::Duration::from_secs(40)));
    let client = Client::with_clock(bench.options(), clock).unwrap();
    let (_, result, _) = fetch(&bench, &client);
    assert_eq!(code(result), "slow");
}

#[test]
fn a_rate_limit_takes_its_time() {
    let bench = bench();
    let clock = Arc::new(Hand::default());
    let client = Client::with_clock(bench.options(), clock.clone()).unwrap();
    let mut download = client.fetch(&blob(), &part(&bench), Some(10)).unwrap();
    let mut got = Vec::new();
    download.read_to_end(&mut got).unwrap();
    assert_eq!(got, bytes());
    let seconds = crate::clock::Clock::now(&*clock).as_secs();
    assert!((19..=40).contains(&seconds), "200 bytes at 10 a second took {seconds} s on the test's clock");
}

#[test]
fn a_blob_larger_than_may_be_is_not_begun() {
    let mut bench = bench();
    bench.limits.blob_size = 199;
    assert_eq!(bench.client().fetch(&blob(), &part(&bench), None).unwrap_err().code(), "too-long");
}

#[test]
fn a_blob_from_a_folder_goes_on_too() {
    let bench = bench();
    let folder = bench.folder.path().join("media");
    let file = folder.join(path());
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, bytes()).unwrap();
    let mirrors = vec![Url::from_file_path(&folder).unwrap()];
    let client = Client::new(Options { mirrors, ..bench.options() }).unwrap();
    fs::write(part(&bench), &bytes()[..77]).unwrap();
    let (got, result, received) = fetch(&bench, &client);
    result.unwrap();
    assert_eq!((got, received), (bytes(), 123));
}

#[test]
fn no_mirror_names_all_of_them() {
    let mut bench = bench();
    bench.maker.files.remove(&path());
    bench.server.serve(&bench.maker.files);
    let second = Server::new(&bench.maker.files);
    let mirrors = vec![bench.server.url(), second.url()];
    let client = Client::new(Options { mirrors, ..bench.options() }).unwrap();
    let (_, result, _) = fetch(&bench, &client);
    let error = result.unwrap_err();
    let error = Error::inside(&error).unwrap();
    assert_eq!(error.code(), "no-mirror");
    let ports = [bench.server.port, second.port];
    assert!(ports.iter().all(|port| error.to_string().contains(&port.to_string())), "{error}");
}

#[test]
fn a_mirror_with_wrong_bytes_is_asked_last_for_them() {
    for found_by_reader in [false, true] {
        let bench = bench();
        let mut wrong = bench.maker.files.clone();
        wrong.get_mut(&path()).unwrap()[50] ^= 1;
        let bad = Server::new(&wrong);
        let mirrors = vec![bad.url(), bench.server.url()];
        let client = Client::new(Options { mirrors, ..bench.options() }).unwrap();
        if found_by_reader {
            let mut download = client.fetch(&blob(), &part(&bench), None).unwrap();
            // The whole may have been compared by now.
            let _ = download.read_exact(&mut [0; 60]);
        } else {
            assert_eq!(code(fetch(&bench, &client).1), "wrong-digest");
        }
        assert!(client.refuse(&blob(), &part(&bench)).unwrap(), "there is another mirror");
        let (got, result, _) = fetch(&bench, &client);
        result.unwrap();
        assert_eq!(got, bytes());
        assert_eq!(bad.log().len(), 1, "it is asked once");
    }
}

#[test]
fn when_all_mirrors_have_wrong_bytes_that_is_the_end_of_it() {
    let mut bench = bench();
    bench.maker.files.get_mut(&path()).unwrap()[50] ^= 1;
    bench.server.serve(&bench.maker.files);
    let client = bench.client();
    assert!(!client.refuse(&blob(), &part(&bench)).unwrap(), "nothing was read");
    assert_eq!(code(fetch(&bench, &client).1), "wrong-digest");
    assert!(!client.refuse(&blob(), &part(&bench)).unwrap());
}
