//! Where files are, and which server is asked first.

use crate::Error;
use siding_image::Digest;
use std::sync::atomic::{AtomicU32, Ordering};
use url::Url;

/// The mirrors, and how often each failed.
#[derive(Debug)]
pub(super) struct Mirrors(Vec<(Url, AtomicU32)>);

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
        checked.collect::<Result<_, _>>().map(Self)
    }

    /// All of them, those that failed least first.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (usize, &Url)> {
        let mut order: Vec<_> = self.0.iter().enumerate().collect();
        order.sort_by_key(|(_, (_, failures))| failures.load(Ordering::Relaxed));
        order.into_iter().map(|(i, (url, _))| (i, url))
    }

    /// Sets a mirror back for as long as the client lives.
    pub(super) fn failed(&self, i: usize) {
        if let Some((_, failures)) = self.0.get(i) {
            failures.fetch_add(1, Ordering::Relaxed);
        }
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
