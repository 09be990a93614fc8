//! What the agent works with: policy, repository, keys, what follows the record.

use crate::args::StartedArgs;
use crate::args::agent::PolicyArgs;
use crate::boot::not_started;
use crate::failure::Failure;
use crate::keys;
use crate::output::plain;
use crate::project::Following;
use crate::time::{now, offset};
use siding_agent::background::{Agent, Passed};
use siding_agent::policy::{self, Policy};
use siding_agent::restart::Host;
use siding_agent::source::{Catalog, Folder, Source, SourceError};
use siding_agent::{Running, Shared, boot};
use siding_repo::{Blob, Client, NetLimits, Options};
use siding_slot::Snapshot;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Everything, as it is now.
pub(super) struct Setup {
    pub(super) policy: Policy,
    pub(super) source: Arc<Repository>,
    pub(super) shared: Arc<Shared>,
    store: PathBuf,
    config: PathBuf,
}

impl Setup {
    pub(super) fn of(args: &PolicyArgs) -> Result<Self, Failure> {
        let (store, config) = (args.store.store.clone(), args.config.clone());
        // A store that is not there is told before anything else.
        drop(siding_slot::Store::view(&store)?);
        let policy = Policy::load(&config, &store)?;
        let source = Arc::new(Repository(Mutex::new(source(&policy, &store)?)));
        Ok(Self { policy, source, shared: Arc::default(), store, config })
    }

    /// The same with the settings of now.
    pub(super) fn again(&self) -> Result<Self, Failure> {
        let policy = Policy::load(&self.config, &self.store)?;
        if policy.mark() != self.policy.mark() {
            self.source.replace(source(&policy, &self.store)?);
        }
        let (shared, store, config) = (Arc::clone(&self.shared), self.store.clone(), self.config.clone());
        Ok(Self { policy, source: Arc::clone(&self.source), shared, store, config })
    }

    pub(super) fn store(&self) -> &Path {
        &self.store
    }

    /// Has an agent do something.
    pub(super) fn agent<T>(
        &self,
        act: impl FnOnce(&Agent<'_>) -> Result<T, siding_agent::Error>,
    ) -> Result<T, Failure> {
        let values = &self.policy.values;
        let dir = values.trust.clone().unwrap_or_else(|| self.store.join("trust"));
        let trust = keys::trust_in(&dir, values.threshold)?;
        let follow = |store: &Snapshot| follow(store);
        let agent = Agent {
            store: &self.store,
            policy: &self.policy,
            source: &*self.source,
            trust: trust.as_ref(),
            host: &Host::here(),
            clock: &now,
            offset: offset(now()),
            boot: boot(),
            not_started: not_started(&self.store, &StartedArgs { cmdline: None })?,
            follow: &follow,
            shared: &self.shared,
        };
        Ok(act(&agent)?)
    }

    /// Has an agent only look.
    #[allow(clippy::redundant_closure_for_method_calls, reason = "the method's path is of one lifetime only")]
    pub(super) fn look(&self) -> Result<Passed, Failure> {
        self.agent(|agent| agent.check())?.ok_or_else(super::busy)
    }

    /// The same for a page.
    pub(super) fn running(&self) -> Running {
        Running {
            store: self.store.clone(),
            policy: self.config.clone(),
            source: Arc::<Repository>::clone(&self.source),
            shared: Arc::clone(&self.shared),
            clock: now,
            offset,
            follow: Arc::new(follow),
        }
    }
}

/// The settings for a verb that has no argument for where they are.
pub(crate) fn policy_of(store: &Path) -> Result<Policy, Failure> {
    let named = std::env::var_os("SIDING_CONFIG").filter(|named| !named.is_empty());
    let Some(dir) = named.map(PathBuf::from) else { return Ok(Policy::load(Path::new(policy::DIR), store)?) };
    if !dir.is_dir() {
        let source = std::io::ErrorKind::NotFound.into();
        return Err(Failure::io("read the settings that SIDING_CONFIG names", &dir, &source));
    }
    Ok(Policy::load(&dir, store)?)
}

/// Mounts and boot loaders follow the record; what does not is told where the agent's messages go.
fn follow(store: &Snapshot) {
    let followed = Following::of(store.root()).follow(store);
    if !followed.is_complete() {
        eprintln!("siding: {}", plain(followed.text().trim_end()));
    }
}

/// The repository: a folder that somebody carries here, or one on the network.
fn source(policy: &Policy, store: &Path) -> Result<Arc<dyn Source>, Failure> {
    let values = &policy.values;
    if let [mirror] = values.mirrors.as_slice()
        && let Some(path) = mirror.strip_prefix("folder:")
    {
        return Ok(Arc::new(Folder::new(Path::new(path))));
    }
    if values.mirrors.is_empty() {
        return Ok(Arc::new(Nowhere));
    }
    let mirrors = values.mirrors.iter().map(|mirror| {
        mirror.parse().map_err(|error| Failure::usage(format!("mirrors: {mirror:?} is no address: {error}")))
    });
    let mirrors = mirrors.collect::<Result<Vec<_>, _>>()?;
    let root = std::fs::read(&values.root)
        .map_err(|error| Failure::io("read the repository's root of trust", &values.root, &error))?;
    let options = Options {
        mirrors,
        root,
        datastore: store.join("agent").join("repository"),
        net: NetLimits::default(),
        user_agent: concat!("siding/", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    Ok(Arc::new(Client::new(options).map_err(Failure::failed)?))
}

/// The repository that the settings name: another one once they name another one, for whoever has this.
pub(super) struct Repository(Mutex<Arc<dyn Source>>);

impl Repository {
    fn now(&self) -> Arc<dyn Source> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, source: Arc<dyn Source>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = source;
    }
}

impl Source for Repository {
    fn refresh(&self, now: u64) -> Result<Catalog, SourceError> {
        self.now().refresh(now)
    }

    fn known(&self) -> Result<Option<Catalog>, SourceError> {
        self.now().known()
    }

    fn fetch(
        &self,
        blob: &Blob,
        part: &Path,
        rate: Option<u64>,
    ) -> Result<Box<dyn Read + Send>, SourceError> {
        self.now().fetch(blob, part, rate)
    }

    fn refuse(&self, blob: &Blob, part: &Path) -> Result<bool, SourceError> {
        self.now().refuse(blob, part)
    }
}

/// No repository is named.
struct Nowhere;

impl Nowhere {
    fn error() -> SourceError {
        let what = "no repository is named; write `mirrors = [\"https://…\"]` into agent.toml";
        SourceError::new("no-mirrors", what)
    }
}

impl Source for Nowhere {
    fn refresh(&self, _now: u64) -> Result<Catalog, SourceError> {
        Err(Self::error())
    }

    fn known(&self) -> Result<Option<Catalog>, SourceError> {
        Ok(None)
    }

    fn fetch(
        &self,
        _blob: &Blob,
        _part: &Path,
        _rate: Option<u64>,
    ) -> Result<Box<dyn Read + Send>, SourceError> {
        Err(Self::error())
    }

    fn refuse(&self, _blob: &Blob, _part: &Path) -> Result<bool, SourceError> {
        Ok(false)
    }
}
