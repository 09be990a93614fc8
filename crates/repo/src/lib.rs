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
#![warn(clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::indexing_slicing))]

mod client;
mod clock;
mod error;
mod http;
mod limits;
#[cfg(feature = "make")]
pub mod make;
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
pub use wave::{DeviceId, Wave};
