//! What a device knows of its repository without the network.

use super::load::{self, Origin};
use super::store::Held;
use super::trust::Seen;
use super::{Catalog, Client, verified};
use crate::Error;

impl Client {
    /// What was verified last, verified again from disk, without the network. None if nothing was, or if a new root
    /// has since taken the trust from it.
    ///
    /// It is there to be shown though it has expired, whatever time it is: who acts on it compares
    /// [`Catalog::expires`] with the clock first. It takes no lock: another process may refresh meanwhile.
    pub fn known(&self) -> Result<Option<Catalog>, Error> {
        self.known_from(self.store.load(&self.root)?)
    }

    /// A refresh lets go of release documents that newer metadata does not name: who misses one looks again, as long as
    /// there is newer metadata.
    pub(super) fn known_from(&self, mut held: Held) -> Result<Option<Catalog>, Error> {
        loop {
            let docs = held.docs.clone();
            let known = self.verified_again(held);
            if !matches!(known, Err(Error::Incomplete { .. })) {
                return known;
            }
            held = self.store.load(&self.root)?;
            if held.docs == docs {
                return known;
            }
        }
    }

    fn verified_again(&self, held: Held) -> Result<Option<Catalog>, Error> {
        let (Some(docs), Some((_, base))) = (held.docs, self.mirrors.in_order().next()) else {
            return Ok(None);
        };
        let (repository, _) = load::load(held.roots.latest(), base, Origin::Held(docs), &self.limits, None);
        let repository = repository?;
        let verified = verified(&repository);
        if let Some(seen) = &held.seen {
            seen.allows(&Seen::of(&verified))?;
        }
        let (_, expires) = verified.expires();
        let releases = self.releases(&repository, |name, target| {
            let lost = || Error::Incomplete { path: self.store.release_path(target), name: name.to_owned() };
            self.store.release(target).ok_or_else(lost)
        })?;
        Ok(Some(Catalog { releases, version: repository.snapshot().signed.version.get(), expires }))
    }
}
