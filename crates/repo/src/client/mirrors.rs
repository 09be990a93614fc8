//! Where files are, and which server is asked first.

use crate::Error;
use siding_image::Digest;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use url::Url;

/// The mirrors, how often each failed, and which served wrong bytes of what.
#[derive(Debug)]
pub(super) struct Mirrors {
    urls: Vec<(Url, AtomicU32)>,
    servings: Mutex<Servings>,
}

/// Who served something of a blob.
#[derive(Debug, Default)]
struct Servings {
    /// As far as it is not known to be wrong.
    served: BTreeSet<(Digest, usize)>,
    /// And it was wrong.
    blamed: BTreeSet<(Digest, usize)>,
}

impl Mirrors {
    pub(super) fn new(urls: Vec<Url>) -> Result<Self, Error> {
        if urls.is_empty() {
            return Err(Error::Setup { what: "it has no mirror".to_owned() });
        }
        let checked = urls.into_iter().map(|mut url| {
            let known = matches!(url.scheme(), "http" | "https" | "file");
            if !known || url.cannot_be_a_base() || url.query().is_some() || url.fragment().is_some() {
                let what = format!("a mirror is http:, https: or file: without a query; got {url}");
                return Err(Error::Setup { what });
            }
            if !url.path().ends_with('/') {
                url.set_path(&format!("{}/", url.path()));
            }
            Ok((url, AtomicU32::new(0)))
        });
        let urls = checked.collect::<Result<_, _>>()?;
        Ok(Self { urls, servings: Mutex::default() })
    }

    /// All of them, those that failed least first.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (usize, &Url)> {
        let mut order: Vec<_> = self.urls.iter().enumerate().collect();
        order.sort_by_key(|(_, (_, failures))| failures.load(Ordering::Relaxed));
        order.into_iter().map(|(i, (url, _))| (i, url))
    }

    /// All of them for a blob, those that served wrong bytes of it last.
    pub(super) fn in_order_for(&self, blob: &Digest) -> Vec<(usize, &Url)> {
        let mut order: Vec<_> = self.in_order().collect();
        let servings = self.servings();
        order.sort_by_key(|(i, _)| servings.blamed.contains(&(*blob, *i)));
        order
    }

    /// Sets a mirror back for as long as the client lives.
    pub(super) fn failed(&self, i: usize) {
        if let Some((_, failures)) = self.urls.get(i) {
            failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A mirror served bytes of a blob.
    pub(super) fn served(&self, i: usize, blob: &Digest) {
        self.servings().served.insert((*blob, i));
    }

    /// What was served of a blob was right.
    pub(super) fn right(&self, blob: &Digest) {
        self.servings().served.retain(|(digest, _)| digest != blob);
    }

    /// What was served of a blob was wrong; nobody knows by which of those who served it.
    pub(super) fn blame(&self, blob: &Digest) {
        let Servings { served, blamed } = &mut *self.servings();
        let (wrong, rest): (BTreeSet<_>, _) =
            std::mem::take(served).into_iter().partition(|(digest, _)| digest == blob);
        *served = rest;
        wrong.iter().for_each(|(_, i)| self.failed(*i));
        blamed.extend(wrong);
    }

    /// How many were blamed for a blob, of how many.
    pub(super) fn blamed(&self, blob: &Digest) -> (usize, usize) {
        let blamed = self.servings().blamed.iter().filter(|(digest, _)| digest == blob).count();
        (blamed, self.urls.len())
    }

    fn servings(&self) -> MutexGuard<'_, Servings> {
        self.servings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address of a target: its digest stands before its name, as consistent snapshots want it.
pub(super) fn target_url(mirror: &Url, name: &str, digest: &Digest) -> Result<Url, Error> {
    let wrong = |why: String| Error::Malformed { what: format!("the target {name:?}"), why };
    let base = mirror.join("targets/").map_err(|error| wrong(error.to_string()))?;
    let url = base.join(&format!("{digest}.{name}")).map_err(|error| wrong(error.to_string()))?;
    if url.as_str().starts_with(base.as_str()) {
        Ok(url)
    } else {
        Err(wrong("it leads elsewhere".to_owned()))
    }
}
