//! A maker's folder, real images, and a storage that fails or is changed at the wrong moment.

use siding_image::Image;
use siding_patch::{Encoded, Limits, Manifest, PrivateKey, Trust};
use siding_repo::Release;
use siding_repo::make::{self, Committed, Draft, Error, Files, Keys, MakePatch, Objects, Plan};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tough::schema::Target;
use tough::{ExpirationEnforcement, FilesystemTransport, Repository, RepositoryLoader, TargetName};

/// When all of it happens.
pub(crate) const NOW: u64 = 1_800_000_000;

/// Makes patches as `siding diff --level fast` does.
pub(crate) struct Diff;

impl MakePatch for Diff {
    fn options(&self, level: &str) -> Result<String, String> {
        if level == "fast" { Ok("test fast".into()) } else { Err(format!("no level {level:?}")) }
    }

    fn make(
        &self,
        source: &Image,
        target: &Image,
        _: &str,
    ) -> Result<Vec<Encoded>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(siding_diff::make(source, target, siding_diff::Level::Fast, &|_, _, _| {})?.chunks)
    }
}

pub(crate) struct Lab {
    dir: TempDir,
    pub(crate) path: PathBuf,
    pub(crate) files: Objects,
    draft: Draft,
    seeds: Cell<u8>,
}

/// Another folder, and nothing in it yet.
pub(crate) struct Other {
    _dir: TempDir,
    pub(crate) path: PathBuf,
    pub(crate) files: Objects,
}

impl Lab {
    /// An empty repository, its keys, and a release to be published.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("repo");
        let files = Objects::found(path.to_str().unwrap()).unwrap();
        let draft = Draft::parse(RELEASE, &images(dir.path())).unwrap();
        let lab = Self { path, files, draft, seeds: Cell::new(100), dir };
        make::init(&lab.files, &lab.keys_folder(), &BTreeMap::new(), &mut lab.seeds(), NOW).unwrap();
        lab
    }

    pub(crate) fn draft(&self) -> Draft {
        self.draft.clone()
    }

    pub(crate) fn plan(&self) -> Plan<'_> {
        Plan::new(&self.draft, &Diff).unwrap()
    }

    pub(crate) fn make(&self, plan: &Plan<'_>, count: usize) {
        for index in 0..count {
            for job in plan.share(index, count).unwrap() {
                make::make(plan, &self.files, job).unwrap();
            }
        }
    }

    pub(crate) fn commit(&self, plan: &Plan<'_>) -> Result<Committed, Error> {
        make::commit(plan, &self.files, &self.keys(), &[self.patch_key()], NOW)
    }

    /// Puts the repository back to what [`files_below`] said of it.
    pub(crate) fn reset(&self, files: &BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs::read_dir(&self.path).unwrap() {
            fs::remove_dir_all(entry.unwrap().path()).unwrap();
        }
        for (name, bytes) in files {
            let path = self.path.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }

    pub(crate) fn patch_key(&self) -> PrivateKey {
        PrivateKey::from_seed(&[7; 32])
    }

    pub(crate) fn keys(&self) -> Keys {
        Keys::open(&[self.keys_folder()]).unwrap()
    }

    /// A folder with only some of the keys.
    pub(crate) fn keys_named(&self, names: &[&str]) -> PathBuf {
        let folder = self.dir.path().join(names.join("+"));
        fs::create_dir(&folder).unwrap();
        fs::copy(self.keys_folder().join("root.json"), folder.join("root.json")).unwrap();
        for name in names {
            let name = format!("{name}.pem");
            fs::copy(self.keys_folder().join(&name), folder.join(&name)).unwrap();
        }
        folder
    }

    /// Secrets that are none, each another.
    pub(crate) fn seeds(&self) -> impl FnMut() -> Result<[u8; 32], String> {
        || {
            self.seeds.set(self.seeds.get() + 1);
            Ok([self.seeds.get(); 32])
        }
    }

    pub(crate) fn other_repository(&self) -> Other {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("repo");
        let files = Objects::found(path.to_str().unwrap()).unwrap();
        Other { _dir: dir, path, files }
    }

    /// The repository as a client sees it that was given the first root, and one of its releases.
    pub(crate) fn load(&self, id: &str) -> (Repository, Release) {
        let repository = self.client(&fs::read(self.path.join("metadata/1.root.json")).unwrap());
        let release = Release::parse(&read(&repository, &format!("releases/{id}.json"))).unwrap();
        (repository, release)
    }

    pub(crate) fn load_all(&self) -> Vec<Release> {
        self.load_with(&fs::read(self.path.join("metadata/1.root.json")).unwrap())
    }

    /// All releases that a client with this root sees. Each file that they name must be there, and whole.
    pub(crate) fn load_with(&self, root: &[u8]) -> Vec<Release> {
        let repository = self.client(root);
        let targets: Vec<(TargetName, Target)> =
            repository.all_targets().map(|(name, target)| (name.clone(), target.clone())).collect();
        let mut releases = Vec::new();
        for (name, _) in &targets {
            let bytes = read(&repository, name.raw());
            if name.raw().starts_with("releases/") {
                releases.push(Release::parse(&bytes).unwrap());
            }
        }
        let named =
            releases.iter().flat_map(|release| release.items.iter().flat_map(siding_repo::Item::blobs));
        for blob in named {
            assert!(
                targets.iter().any(|(name, target)| name.raw() == blob.name && target.length == blob.length)
            );
        }
        releases
    }

    fn client(&self, root: &[u8]) -> Repository {
        let url = |name: &str| url::Url::from_directory_path(self.path.join(name)).unwrap();
        let loader = RepositoryLoader::new(&root, url("metadata"), url("targets"))
            .transport(FilesystemTransport)
            // The tests' clock stands still.
            .expiration_enforcement(ExpirationEnforcement::Unsafe);
        wait(loader.load()).unwrap()
    }

    fn keys_folder(&self) -> PathBuf {
        self.dir.path().join("keys")
    }
}

/// A target's bytes, checked by the client.
pub(crate) fn read(repository: &Repository, name: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let target = TargetName::new(name).unwrap();
    wait(repository.save_target(&target, dir.path(), tough::Prefix::None)).unwrap();
    fs::read(dir.path().join(name)).unwrap()
}

pub(crate) fn manifest(patch: &[u8]) -> Manifest {
    siding_patch::open(patch, &Trust::anyone(), &Limits::default()).unwrap().manifest().clone()
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Every file below a folder, with its bytes.
pub(crate) fn files_below(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// A storage whose power goes after some writes.
pub(crate) struct Failing<'a> {
    files: &'a dyn Files,
    left: Cell<usize>,
}

impl<'a> Failing<'a> {
    pub(crate) fn after(files: &'a dyn Files, writes: usize) -> Self {
        Self { files, left: Cell::new(writes) }
    }

    fn write(&self, name: &str) -> Result<(), Error> {
        let failed = || Error::Storage { doing: "write", name: name.into(), source: "the power went".into() };
        self.left.set(self.left.get().checked_sub(1).ok_or_else(failed)?);
        Ok(())
    }
}

impl Files for Failing<'_> {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        self.files.get(name)
    }

    fn length(&self, name: &str) -> Result<Option<u64>, Error> {
        self.files.length(name)
    }

    fn create(&self, name: &str, bytes: Vec<u8>) -> Result<bool, Error> {
        if self.files.length(name)?.is_some() {
            return Ok(false);
        }
        self.write(name)?;
        self.files.create(name, bytes)
    }

    fn replace(&self, name: &str, old: &[u8], new: Vec<u8>) -> Result<(), Error> {
        self.write(name)?;
        self.files.replace(name, old, new)
    }
}

/// A storage into which somebody else publishes before the last write.
pub(crate) struct Meanwhile<'a, F> {
    files: &'a dyn Files,
    other: F,
}

impl<'a, F: Fn()> Meanwhile<'a, F> {
    pub(crate) fn new(files: &'a dyn Files, other: F) -> Self {
        Self { files, other }
    }
}

impl<F: Fn()> Files for Meanwhile<'_, F> {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        self.files.get(name)
    }

    fn length(&self, name: &str) -> Result<Option<u64>, Error> {
        self.files.length(name)
    }

    fn create(&self, name: &str, bytes: Vec<u8>) -> Result<bool, Error> {
        self.files.create(name, bytes)
    }

    fn replace(&self, name: &str, old: &[u8], new: Vec<u8>) -> Result<(), Error> {
        (self.other)();
        self.files.replace(name, old, new)
    }
}

/// Two bases of libssl and of a tree: the real ones, and each with something else in it.
fn images(folder: &Path) -> PathBuf {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
    for version in ["3.0.20", "3.0.22"] {
        fs::copy(
            testdata.join(format!("libssl/{version}/libssl.so.3")),
            folder.join(format!("libssl-{version}")),
        )
        .unwrap();
        copy_tree(&testdata.join(format!("ossl-tree/{version}")), &folder.join(format!("tree-{version}")));
    }
    let mut other = fs::read(folder.join("libssl-3.0.20")).unwrap();
    other[300_000..300_100].fill(7);
    fs::write(folder.join("libssl-3.0.21"), other).unwrap();
    copy_tree(&folder.join("tree-3.0.20"), &folder.join("tree-3.0.21"));
    fs::write(folder.join("tree-3.0.21/more"), "one more file\n").unwrap();
    folder.to_owned()
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

const RELEASE: &str = r#"
id = "2026-11-openssl"
title = "OpenSSL: two weaknesses"
text = "A peer could crash a program that uses TLS."
severity = "high"
advisories = ["CVE-2026-0001", { id = "CVE-2026-0002", severity = "low", text = "A rare crash." }]
waves = ["1% at once", "10% after 1d", "100% after 3d"]
level = "fast"

[[component]]
name = "libssl"
products = ["router"]
target = { version = "3.0.22", image = "libssl-3.0.22" }
epoch = 2
restart = ["nginx.service"]
full = true
reverse = true
base = [{ version = "3.0.20", image = "libssl-3.0.20" }, { version = "3.0.21", image = "libssl-3.0.21" }]

[[component]]
name = "ossl-tree"
target = { version = "3.0.22", image = "tree-3.0.22" }
base = [{ version = "3.0.20", image = "tree-3.0.20" }, { version = "3.0.21", image = "tree-3.0.21" }]
"#;
