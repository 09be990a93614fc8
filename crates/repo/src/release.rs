//! A release: one advisory, and for each component, product and base it concerns what repairs it.

use crate::text;
use crate::wave::{self, DeviceId, Wave};
use serde::{Deserialize, Serialize};
use siding_image::{Component, Digest, Identity, Kind, Version};
use siding_patch::Severity;
use std::collections::BTreeSet;
use std::fmt;

/// The version of this document that the crate reads and writes.
pub const FORMAT: u32 = 1;

/// What a maker publishes: one advisory, answered for every component, product and base at once.
///
/// It is a JSON document, a TUF target `releases/ID.json`; that its bytes are the signed ones is checked before it
/// is parsed. What is not known is refused: a release for later devices has a later format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Release {
    /// [`FORMAT`].
    pub format: u32,
    /// Its name, such as `2026-11-webkit`: a letter or digit, then letters, digits, `.`, `_`, `-`, at most 100.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// A few sentences for people; may be empty.
    #[serde(default)]
    pub text: String,
    /// How bad what it repairs is.
    #[serde(with = "text")]
    pub severity: Severity,
    /// The names of what it repairs, such as `CVE-2026-0001`.
    #[serde(default)]
    pub advisories: Vec<String>,
    /// The channel it is in, such as `stable`.
    pub channel: String,
    /// When it was published, in seconds since 1970.
    pub published: u64,
    /// Whether it is on its way.
    #[serde(default)]
    pub standing: Standing,
    /// Whom it reaches when; empty: everybody at once.
    #[serde(default)]
    pub waves: Vec<Wave>,
    /// What repairs what. For one component and base at most one item fits one device.
    pub items: Vec<Item>,
}

/// Whether a release is on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "is")]
pub enum Standing {
    /// It is: devices install it as its waves reach them.
    #[default]
    Active,
    /// No further device begins to install it.
    Paused {
        /// Why, for people.
        reason: String,
    },
    /// It was a mistake: no device installs it, and one that has it leaves it.
    Withdrawn {
        /// Why, for people.
        reason: String,
    },
}

/// What brings one component of some products from one image to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Item {
    /// The component.
    #[serde(with = "text")]
    pub component: Component,
    /// The products it is for; empty for all.
    #[serde(default)]
    pub products: Vec<String>,
    /// What the patch starts from.
    pub source: ImageSpec,
    /// What the device has afterwards.
    pub target: ImageSpec,
    /// The target's security epoch.
    #[serde(default)]
    pub epoch: u64,
    /// What must restart: `reboot`, or names of services.
    #[serde(default)]
    pub restart: Vec<String>,
    /// The patch from source to target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<Blob>,
    /// The whole target as a patch from nothing, for a device that has the source's version but not its bytes, or
    /// another version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full: Option<Full>,
    /// The patch back, for a component with two devices and no base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverse: Option<Blob>,
}

/// A version, and the image that it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ImageSpec {
    /// Its version.
    #[serde(with = "text")]
    pub version: Version,
    /// `file` or `tree`.
    #[serde(with = "kind")]
    pub kind: Kind,
    /// Its length in bytes; of a tree, of its regular files together.
    pub size: u64,
    /// Its digest, as [`Identity`] has it.
    #[serde(with = "text")]
    pub digest: Digest,
}

/// A file of the repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Blob {
    /// The TUF target's name.
    pub name: String,
    /// Its length in bytes.
    pub length: u64,
    /// The SHA-256 of its bytes, as the TUF metadata has it.
    #[serde(with = "text")]
    pub sha256: Digest,
}

/// A whole image, as a patch from nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Full {
    /// The file.
    pub blob: Blob,
    /// The oldest version it may be put upon; absent: only the source's.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "text::optional")]
    pub minimum: Option<Version>,
}

/// Why a document is no release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The release, as far as it is known.
    pub id: String,
    /// What is wrong: where, what was expected, what is there.
    pub what: String,
}

impl Release {
    /// Reads a document, whose bytes were checked, and holds it against the rules above.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let malformed = |error: serde_json::Error| Malformed { id: String::new(), what: error.to_string() };
        let release: Self = serde_json::from_slice(bytes).map_err(malformed)?;
        release.check().map_err(|what| Malformed { id: release.id.clone(), what })?;
        Ok(release)
    }

    /// The document's bytes: the same for the same release.
    pub fn to_json(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// The name of its TUF target.
    pub fn target_name(&self) -> String {
        format!("releases/{}.json", self.id)
    }

    /// Whether it is for this device at the time `now`; if not, when it will be, as far as its waves say.
    pub fn reaches(&self, device: &DeviceId, now: u64) -> Result<(), Option<u64>> {
        let place = device.place(&self.id);
        if place < wave::reach(&self.waves, now) { Ok(()) } else { Err(wave::when(&self.waves, place)) }
    }

    fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("format {} was expected, it has {}: update siding", FORMAT, self.format));
        }
        named("id", &self.id)?;
        named("channel", &self.channel)?;
        if self.waves.iter().any(|wave| wave.percent > 100) {
            return Err("a wave has more than 100 percent".to_owned());
        }
        let mut seen = BTreeSet::new();
        for (i, item) in self.items.iter().enumerate() {
            item.check().map_err(|what| format!("items[{i}]: {what}"))?;
            let products: &[String] = &item.products;
            let each = products.iter().map(String::as_str).chain(products.is_empty().then_some(""));
            for product in each {
                if !seen.insert((item.component.clone(), item.source.digest, product)) {
                    return Err(format!(
                        "items[{i}]: a second one for {} {}",
                        item.component, item.source.version
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Item {
    /// The files it names.
    pub fn blobs(&self) -> impl Iterator<Item = &Blob> {
        self.patch.iter().chain(self.full.iter().map(|full| &full.blob)).chain(&self.reverse)
    }

    fn check(&self) -> Result<(), String> {
        if self.source.digest == self.target.digest {
            return Err("its source is its target".to_owned());
        }
        if self.patch.is_none() && self.full.is_none() {
            return Err("it has neither a patch nor a full image".to_owned());
        }
        self.blobs().try_for_each(Blob::check)
    }
}

impl Blob {
    /// A name that a file can have in any store, and that leads nowhere else.
    fn check(&self) -> Result<(), String> {
        let good = |part: &str| named("name", part).is_ok();
        if self.name.len() <= 200 && self.name.split('/').all(good) {
            return Ok(());
        }
        Err(format!("{:?} is no name of a file in a repository", self.name))
    }
}

impl ImageSpec {
    /// The image.
    pub fn identity(&self) -> Identity {
        Identity { kind: self.kind, size: self.size, digest: self.digest }
    }

    /// A version with its image.
    pub fn new(version: Version, identity: Identity) -> Self {
        Self { version, kind: identity.kind, size: identity.size, digest: identity.digest }
    }
}

fn named(what: &str, name: &str) -> Result<(), String> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if starts_well && name.len() <= 100 && name.chars().all(allowed) {
        return Ok(());
    }
    Err(format!("{what}: letters, digits, '.', '_', '-' were expected, at most 100, got {name:?}"))
}

mod kind {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use siding_image::Kind;

    pub(super) fn serialize<S: Serializer>(kind: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match kind {
            Kind::File => "file",
            Kind::Tree => "tree",
        })
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "file" => Ok(Kind::File),
            "tree" => Ok(Kind::Tree),
            other => Err(D::Error::custom(format!("a kind is file or tree; got {other:?}"))),
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "release {:?}: {}", self.id, self.what)
    }
}

impl std::error::Error for Malformed {}

impl Standing {
    /// Whether devices may begin to install it.
    pub fn is_active(&self) -> bool {
        *self == Self::Active
    }
}
