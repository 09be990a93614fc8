//! A repository of releases: static files that any web server, content network or object store can serve.
//!
//! A [`Release`] answers one advisory for every component, product and base it concerns. It and the files it names
//! are *targets* of The Update Framework (TUF specification 1.0.34), which says who may publish, what is newest and
//! until when that holds. Who may change a device's images is said again, and independently, by the signatures in
//! each patch (`siding-patch`).
//!
//! ```text
//! metadata/     root, timestamp, snapshot, targets: what TUF signs
//! targets/      DIGEST.releases/ID.json     one release each
//!               DIGEST.blobs/KEY.siding     patches and full images; a full image is a patch from nothing
//! ```
//!
//! A device asks what is published, and reads a patch as it arrives:
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use siding_repo::{Client, NetLimits, Options};
//! use std::io::Read;
//! let client = Client::new(Options {
//!     mirrors: vec!["https://updates.example/repo/".parse()?],
//!     root: std::fs::read("/etc/siding/root.json")?,
//!     datastore: "/var/lib/siding/repository".into(),
//!     net: NetLimits::default(),
//!     user_agent: "siding/0.1".to_owned(),
//! })?;
//! let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
//! for release in client.refresh(now)?.releases {
//!     println!("{}: {}", release.id, release.title);
//!     for blob in release.items.iter().flat_map(|item| &item.patch) {
//!         let mut download = client.fetch(blob, "/var/lib/siding/part".as_ref(), Some(1 << 20))?;
//!         let mut first = [0; 64];
//!         download.read_exact(&mut first)?;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Which attacks are tried, and by which test, stands in `docs/security.md`.
#![warn(clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::indexing_slicing))]

mod client;
mod clock;
mod error;
mod http;
mod limits;
#[cfg(feature = "make")]
pub mod make;
mod names;
mod release;
#[cfg(test)]
mod testing;
mod text;
mod wave;

pub use client::{Catalog, Client, Download, Options};
pub use error::{Error, Fault, Place};
pub use http::Proxies;
pub use limits::NetLimits;
pub use release::{Blob, FORMAT, Full, ImageSpec, Item, Malformed, Release, Standing};
pub use url::Url;
pub use wave::{DeviceId, Wave};
