//! Where a repository lies: a folder, or a bucket of an object store.

use super::Error;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::runtime::Runtime;

/// The files of a repository, by names such as `metadata/timestamp.json`. Each verb is one promise.
pub trait Files {
    /// The whole file; `None` if there is none.
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Error>;

    /// Its length in bytes; `None` if there is none.
    fn length(&self, name: &str) -> Result<Option<u64>, Error>;

    /// Makes a file where there is none; false if there is one, which stays as it is.
    ///
    /// It appears whole or not at all. Once this returned, it survives a power cut.
    fn create(&self, name: &str, bytes: Vec<u8>) -> Result<bool, Error>;

    /// Puts `new` in the place of `old`, and refuses if something else than `old` is there.
    ///
    /// A reader sees the one or the other, whole. Once this returned, the new one survives a power cut. Of two at the
    /// same moment one is refused: by the object store, or by a lock of the folder on this machine.
    fn replace(&self, name: &str, old: &[u8], new: Vec<u8>) -> Result<(), Error>;
}

/// A repository in anything that the crate `object_store` can reach.
#[derive(Debug)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    /// The folder; without one the store itself compares before it replaces.
    folder: Option<PathBuf>,
    runtime: Runtime,
}

impl Objects {
    /// A folder that is there, or `s3://`, `gs://`, `az://` with keys in the environment variables that their own
    /// tools read (only with the cargo feature `cloud`).
    pub fn open(location: &str) -> Result<Self, Error> {
        if let Some(folder) = location.strip_prefix("file://") {
            return Self::folder(Path::new(folder));
        }
        if !location.contains("://") {
            return Self::folder(Path::new(location));
        }
        let url = url::Url::parse(location)
            .map_err(|e| Error::Asked(format!("{location:?} is no place for a repository: {e}")))?;
        let refused = |e: object_store::Error| storage("open", location, refusal(e));
        let (store, prefix) = object_store::parse_url_opts(&url, std::env::vars()).map_err(refused)?;
        Self::new(Arc::from(store), prefix.to_string(), None)
    }

    /// As [`Objects::open`]; a folder is made if there is none.
    pub fn found(location: &str) -> Result<Self, Error> {
        let folder = location.strip_prefix("file://").unwrap_or(location);
        if !folder.contains("://") {
            let failed = |e| Error::local("make the folder", Path::new(folder), e);
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        Self::open(location)
    }

    fn folder(folder: &Path) -> Result<Self, Error> {
        if !folder.is_dir() {
            let source = std::io::ErrorKind::NotFound.into();
            return Err(Error::local("open the repository", folder, source));
        }
        let store = LocalFileSystem::new_with_prefix(folder);
        let store = store.map_err(|e| storage("open", &folder.display().to_string(), e))?;
        Self::new(Arc::new(store.with_fsync(true)), String::new(), Some(folder.to_owned()))
    }

    fn new(store: Arc<dyn ObjectStore>, prefix: String, folder: Option<PathBuf>) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|e| Error::Asked(format!("cannot start what talks to storage: {e}")))?;
        Ok(Self { store, prefix, folder, runtime })
    }

    fn key(&self, name: &str) -> Result<Key, Error> {
        let whole = if self.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) };
        Key::parse(whole).map_err(|e| storage("name", name, e))
    }

    /// The file, and by what the store knows this state of it.
    fn fetch(&self, name: &str) -> Result<Option<(Vec<u8>, UpdateVersion)>, Error> {
        let key = self.key(name)?;
        let fetched = self.runtime.block_on(async {
            let result = self.store.get(&key).await?;
            let version =
                UpdateVersion { e_tag: result.meta.e_tag.clone(), version: result.meta.version.clone() };
            Ok((result.bytes().await?.to_vec(), version))
        });
        match fetched {
            Ok(fetched) => Ok(Some(fetched)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(storage("read", name, error)),
        }
    }

    fn put(&self, key: &Key, bytes: Vec<u8>, mode: PutMode) -> Result<(), object_store::Error> {
        let options = PutOptions::from(mode);
        self.runtime.block_on(self.store.put_opts(key, PutPayload::from(bytes), options)).map(drop)
    }
}

/// Taken by who compares and replaces in a folder; let go of when dropped.
fn turn(folder: &Path) -> Result<File, Error> {
    let failed = |e| Error::local("lock the folder", folder, e);
    let file = File::open(folder).map_err(failed)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).map_err(|e| failed(e.into()))?;
    Ok(file)
}

impl Files for Objects {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.fetch(name)?.map(|(bytes, _)| bytes))
    }

    fn length(&self, name: &str) -> Result<Option<u64>, Error> {
        let key = self.key(name)?;
        match self.runtime.block_on(self.store.head(&key)) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(storage("look at", name, error)),
        }
    }

    fn create(&self, name: &str, bytes: Vec<u8>) -> Result<bool, Error> {
        match self.put(&self.key(name)?, bytes, PutMode::Create) {
            Ok(()) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(false)
            }
            Err(error) => Err(storage("write", name, error)),
        }
    }

    fn replace(&self, name: &str, old: &[u8], new: Vec<u8>) -> Result<(), Error> {
        let changed = || Error::Changed { name: name.to_owned() };
        let _turn = self.folder.as_deref().map(turn).transpose()?;
        let (there, version) = self.fetch(name)?.ok_or_else(changed)?;
        if there != old {
            return Err(changed());
        }
        let mode = if self.folder.is_none() { PutMode::Update(version) } else { PutMode::Overwrite };
        match self.put(&self.key(name)?, new, mode) {
            Ok(()) => Ok(()),
            Err(object_store::Error::Precondition { .. }) => Err(changed()),
            Err(error) => Err(storage("replace", name, error)),
        }
    }
}

fn storage(
    doing: &'static str,
    name: &str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::Storage { doing, name: name.to_owned(), source: source.into() }
}

/// Says what a build lacks in place of what the library says.
fn refusal(error: object_store::Error) -> Box<dyn std::error::Error + Send + Sync> {
    match error {
        object_store::Error::Generic { .. } | object_store::Error::NotSupported { .. }
            if !cfg!(feature = "cloud") =>
        {
            "this siding was built without the cargo feature `cloud`, and knows only folders".into()
        }
        error => error.into(),
    }
}
