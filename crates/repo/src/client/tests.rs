//! A client against repositories that are right, wrong, old, mixed and broken.

mod attacks;
mod blobs;
mod memory;
mod rotation;

use super::*;
use crate::testing::{Hand, Maker, NOW, Server};
use crate::{NetLimits, Proxies};
use tempfile::TempDir;

/// A repository, a server, a device.
struct Bench {
    maker: Maker,
    server: Server,
    folder: TempDir,
    limits: NetLimits,
}

impl Bench {
    fn new() -> Self {
        let maker = Maker::new();
        let server = Server::new(&maker.files);
        let limits = NetLimits { proxies: Some(Proxies::default()), ..NetLimits::default() };
        Self { maker, server, folder: TempDir::new().unwrap(), limits }
    }

    /// A device that has seen the repository as it is.
    fn seen() -> Self {
        let bench = Self::new();
        bench.refresh().unwrap();
        bench
    }

    fn options(&self) -> Options {
        Options {
            mirrors: vec![self.server.url()],
            root: self.maker.shipped.clone(),
            datastore: self.store(),
            net: self.limits.clone(),
            user_agent: "siding-test".to_owned(),
        }
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("datastore")
    }

    /// A new client each time, as after a restart.
    fn client(&self) -> Client {
        Client::with_clock(self.options(), Arc::new(Hand::default())).unwrap()
    }

    fn refresh(&self) -> Result<Catalog, Error> {
        self.client().refresh(NOW)
    }

    fn known(&self) -> Option<Catalog> {
        self.client().known().unwrap()
    }

    /// Serves what the maker has now, which must be refused with this code and change nothing.
    fn refused(&self, code: &str) -> Error {
        let before = self.client().known();
        self.server.serve(&self.maker.files);
        let error = self.refresh().unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        let after = self.client().known();
        assert_eq!(before.ok(), after.ok(), "a refused refresh changes nothing");
        error
    }

    /// Serves what the maker has now, which must be taken.
    fn taken(&self) -> Catalog {
        self.server.serve(&self.maker.files);
        self.refresh().unwrap_or_else(|error| panic!("{error}"))
    }
}

#[test]
fn a_client_may_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    fn sent<T: Send>() {}
    shared::<Client>();
    sent::<Download>();
}

#[test]
fn what_is_published_is_found_and_remembered() {
    let mut bench = Bench::new();
    assert_eq!(bench.known(), None);
    let catalog = bench.refresh().unwrap();
    assert_eq!(catalog.releases, [crate::testing::release("2026-11-first")]);
    assert_eq!((catalog.version, catalog.expires), (1, 1_900_000_000));
    assert_eq!(bench.known(), Some(catalog));

    bench.maker.add(&crate::testing::release("2026-12-second"));
    bench.maker.publish();
    bench.server.log();
    let catalog = bench.taken();
    assert_eq!((catalog.releases.len(), catalog.version), (2, 2));
    let asked = |part: &str| bench.server.log().iter().filter(|request| request.path.contains(part)).count();
    assert_eq!(asked("targets/"), 1, "a release that is held is not fetched again");
    bench.refresh().unwrap();
    assert_eq!(bench.server.log().len(), 2, "nothing new: the next root and the timestamp were asked for");
    assert_eq!(bench.known(), Some(catalog));
}

#[test]
fn a_folder_is_a_mirror() {
    let bench = Bench::new();
    let folder = bench.folder.path().join("usb stick");
    for (path, bytes) in &bench.maker.files {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let mirrors = vec![Url::from_file_path(&folder).unwrap()];
    let client = Client::new(Options { mirrors, ..bench.options() }).unwrap();
    assert_eq!(client.refresh(NOW).unwrap().releases.len(), 1);
}

#[test]
fn a_release_for_later_devices_is_left_out_and_told() {
    let mut bench = Bench::new();
    let mut later = crate::testing::release("2027-01-later");
    later.format = 2;
    bench.maker.add(&later);
    bench.maker.targets.insert("releases/other.json".to_owned(), crate::testing::release("x").to_json());
    bench.maker.publish();
    bench.server.serve(&bench.maker.files);
    let client = bench.client();
    assert_eq!(client.refresh(NOW).unwrap().releases.len(), 1);
    let skipped: Vec<String> = client.skipped().iter().map(ToString::to_string).collect();
    assert!(skipped.len() == 2 && skipped[0].contains("update siding"), "{skipped:?}");
}

#[test]
fn one_refreshes_at_a_time() {
    let bench = Bench::seen();
    let client = bench.client();
    let lock = client.store.lock().unwrap();
    assert_eq!(bench.refresh().unwrap_err().code(), "busy");
    assert!(bench.known().is_some(), "looking needs no lock");
    drop(lock);
    bench.refresh().unwrap();
}
