//! One patch that a release takes, and the key over all that goes into it.

use siding_image::{Component, Digest, Identity, Image, Version};
use siding_patch::{Advisory, Encoded, FORMAT_VERSION, ImageRef, Manifest};
use std::fmt;
use std::path::PathBuf;

/// Makes the chunks of a patch. The crate that can (`siding-diff`) stands beside this one, not below it.
pub trait MakePatch {
    /// All that changes what [`MakePatch::make`] makes, beside the images: it is part of a job's key.
    ///
    /// Fails if there is no such level.
    fn options(&self, level: &str) -> Result<String, String>;

    /// The chunks that turn `source` into `target`: the same for the same images and options, on any machine.
    fn make(
        &self,
        source: &Image,
        target: &Image,
        level: &str,
    ) -> Result<Vec<Encoded>, Box<dyn std::error::Error + Send + Sync>>;
}

/// What a job makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobKind {
    /// The patch from the base to its target.
    Patch,
    /// The whole target, as a patch from nothing.
    Full,
    /// The patch from the target back to the base.
    Reverse,
}

/// One patch to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What it makes.
    pub kind: JobKind,
    /// The component.
    pub component: Component,
    /// The products it is for; empty for all.
    pub products: Vec<String>,
    /// The version it starts from; 0 for nothing.
    pub from: Version,
    /// The version it makes.
    pub to: Version,
    /// Where the image lies that it starts from; none for nothing.
    pub source: Option<PathBuf>,
    /// Where the image lies that it makes.
    pub target: PathBuf,
    pub(crate) epoch: u64,
    pub(crate) advisories: Vec<Advisory>,
    pub(crate) restart: Vec<String>,
    pub(crate) expires: Option<u64>,
    pub(crate) minimum: Option<[u64; 3]>,
}

impl Job {
    /// What the patch says of itself, but for its chunks.
    pub fn manifest(&self, source: Identity, target: Identity) -> Manifest {
        let source = ImageRef { version: self.from.clone(), identity: source };
        let target = ImageRef { version: self.to.clone(), identity: target };
        Manifest {
            epoch: self.epoch,
            advisories: self.advisories.clone(),
            restart: self.restart.clone(),
            products: self.products.clone(),
            expires: self.expires,
            minimum: self.minimum,
            ..Manifest::new(self.component.clone(), source, target)
        }
    }

    /// The job's name: a SHA-256 over its kind, the options, the patch format and the manifest, which names both
    /// images. Equal keys are equal jobs, which make equal bytes; so no job is done twice.
    pub fn key(&self, options: &str, manifest: &Manifest) -> Digest {
        let (format, manifest) = (FORMAT_VERSION.to_le_bytes(), manifest.encode());
        let parts: [&[u8]; 5] =
            [b"siding job 1", self.kind.name().as_bytes(), options.as_bytes(), &format, &manifest];
        let lengths = parts.map(|part| (part.len() as u64).to_le_bytes());
        let framed: Vec<&[u8]> =
            lengths.iter().zip(parts).flat_map(|(length, part)| [length.as_slice(), part]).collect();
        Digest::of_parts(&framed)
    }
}

impl JobKind {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Patch => "patch",
            Self::Full => "full",
            Self::Reverse => "reverse",
        }
    }
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = if self.source.is_some() { self.from.to_string() } else { "nothing".to_owned() };
        write!(f, "{} {from} → {} ({})", self.component, self.to, self.kind)?;
        if !self.products.is_empty() {
            write!(f, " for {}", self.products.join(", "))?;
        }
        Ok(())
    }
}
