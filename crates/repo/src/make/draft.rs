//! A release as people write it: a TOML file. `docs/publish.md` has one with every field.

use super::span::moment;
use super::{Error, WaveText};
use serde::{Deserialize, Deserializer, de::Error as _};
use siding_image::{Component, Version};
use siding_patch::{Advisory, Severity};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What a maker writes down of a release.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The release's name.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// A few sentences for people.
    pub text: String,
    /// How bad what it repairs is.
    pub severity: Severity,
    /// What it repairs, as each patch says it.
    pub advisories: Vec<Advisory>,
    /// The channel it is in.
    pub channel: String,
    /// Whom it reaches when.
    pub waves: Vec<WaveText>,
    /// How hard to try to make patches small, in the words of `siding diff --level`.
    pub level: String,
    /// When the patches expire, in seconds since 1970.
    pub expires: Option<u64>,
    /// The oldest siding that may install it.
    pub minimum_siding: Option<[u64; 3]>,
    /// What it repairs, for each component and base. Paths are those of the machine, not of the file.
    pub bases: Vec<Base>,
}

/// One base of one component.
#[derive(Clone, Debug)]
pub struct Base {
    /// The component.
    pub component: Component,
    /// The products it is for; empty for all.
    pub products: Vec<String>,
    /// The base's version.
    pub version: Version,
    /// Where the base's image lies.
    pub image: PathBuf,
    /// The version a device has afterwards.
    pub target_version: Version,
    /// Where that image lies.
    pub target: PathBuf,
    /// Its security epoch.
    pub epoch: u64,
    /// What must restart.
    pub restart: Vec<String>,
    /// Whether the way back is wanted as a patch.
    pub reverse: bool,
    /// Whether the whole image is wanted, as a patch from nothing.
    pub full: bool,
    /// The oldest version the whole image may be put upon; none: only the base's.
    pub minimum: Option<Version>,
}

impl Draft {
    /// Reads a file. Paths in it are taken from the folder it lies in.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::local("read", path, e))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, folder).map_err(|what| Error::Draft { path: path.to_owned(), what })
    }

    /// As [`Draft::read`], of a text.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, String> {
        let toml: Toml = toml::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())?;
        let severity = toml.severity;
        let bases = toml.component.iter().map(|component| component.bases(folder));
        let draft = Self {
            id: toml.id,
            title: toml.title,
            text: toml.text,
            severity,
            advisories: toml.advisories.into_iter().map(|advisory| advisory.with(severity)).collect(),
            channel: toml.channel,
            waves: toml.waves.into_iter().map(|wave| wave.0).collect(),
            level: toml.level,
            expires: toml.expires.map(|moment| moment.0),
            minimum_siding: toml.minimum_siding.map(|numbers| numbers.0),
            bases: bases.collect::<Result<Vec<_>, _>>()?.concat(),
        };
        if draft.bases.is_empty() {
            return Err("it names no [[component]] with a base, so it repairs nothing".to_owned());
        }
        Ok(draft)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Toml {
    id: String,
    title: String,
    #[serde(default)]
    text: String,
    #[serde(with = "crate::text")]
    severity: Severity,
    #[serde(default)]
    advisories: Vec<AdvisoryToml>,
    #[serde(default = "stable")]
    channel: String,
    #[serde(default)]
    waves: Vec<Word<WaveText>>,
    #[serde(default = "default_level")]
    level: String,
    expires: Option<Moment>,
    minimum_siding: Option<ThreeNumbers>,
    #[serde(default)]
    component: Vec<ComponentToml>,
}

/// A name alone has the release's severity and no text.
#[derive(Deserialize)]
#[serde(untagged)]
enum AdvisoryToml {
    Name(String),
    Whole(AdvisoryTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdvisoryTable {
    id: String,
    severity: Option<Word<Severity>>,
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ComponentToml {
    #[serde(with = "crate::text")]
    name: Component,
    #[serde(default)]
    products: Vec<String>,
    target: Option<ImageToml>,
    #[serde(default)]
    epoch: u64,
    #[serde(default)]
    restart: Vec<String>,
    #[serde(default)]
    reverse: bool,
    #[serde(default)]
    full: bool,
    minimum: Option<Word<Version>>,
    base: Vec<BaseToml>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageToml {
    version: Word<Version>,
    image: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BaseToml {
    version: Word<Version>,
    image: PathBuf,
    /// In place of the component's.
    target: Option<ImageToml>,
}

impl AdvisoryToml {
    fn with(self, severity: Severity) -> Advisory {
        match self {
            Self::Name(id) => Advisory { id, severity, text: String::new() },
            Self::Whole(table) => Advisory {
                id: table.id,
                severity: table.severity.map_or(severity, |word| word.0),
                text: table.text,
            },
        }
    }
}

impl ComponentToml {
    fn bases(&self, folder: &Path) -> Result<Vec<Base>, String> {
        let one = |base: &BaseToml| {
            let target = base.target.as_ref().or(self.target.as_ref()).ok_or_else(|| {
                format!("component {}, base {}: no target is named", self.name, base.version.0)
            })?;
            Ok(Base {
                component: self.name.clone(),
                products: self.products.clone(),
                version: base.version.0.clone(),
                image: folder.join(&base.image),
                target_version: target.version.0.clone(),
                target: folder.join(&target.image),
                epoch: self.epoch,
                restart: self.restart.clone(),
                reverse: self.reverse,
                full: self.full,
                minimum: self.minimum.as_ref().map(|word| word.0.clone()),
            })
        };
        if self.minimum.is_some() && !self.full {
            return Err(format!(
                "component {}: minimum is about the whole image, which full = true asks for",
                self.name
            ));
        }
        self.base.iter().map(one).collect()
    }
}

fn stable() -> String {
    "stable".to_owned()
}

fn default_level() -> String {
    "default".to_owned()
}

/// A value that is written as text.
#[derive(Clone)]
struct Word<T>(T);

struct Moment(u64);

struct ThreeNumbers([u64; 3]);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        moment(&String::deserialize(deserializer)?).map(Self).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for ThreeNumbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let numbers: Option<Vec<u64>> = text.split('.').map(|number| number.parse().ok()).collect();
        let numbers = numbers.and_then(|numbers| numbers.try_into().ok());
        let bad = || D::Error::custom(format!("expected three numbers such as 0.1.0, got {text:?}"));
        numbers.map(Self).ok_or_else(bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
        id = "r1"
        title = "A fix"
        severity = "high"
        advisories = ["CVE-1", { id = "CVE-2", severity = "low", text = "rare" }]
        waves = ["1% at once", "100% after 3d"]
        [[component]]
        name = "lib"
        target = { version = "1.0 (a)", image = "new" }
        base = [
          { version = "1.0", image = "old" },
          { version = "1.1", image = "old-1.1", target = { version = "1.1 (a)", image = "new-1.1" } },
        ]
    "#;

    #[test]
    fn a_base_may_have_a_target_of_its_own() {
        let draft = Draft::parse(SMALL, Path::new("dir")).unwrap();
        let targets: Vec<&Path> = draft.bases.iter().map(|base| base.target.as_path()).collect();
        assert_eq!(targets, [Path::new("dir/new"), Path::new("dir/new-1.1")]);
        let severities: Vec<Severity> = draft.advisories.iter().map(|advisory| advisory.severity).collect();
        assert_eq!(severities, [Severity::High, Severity::Low]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let said = |from: &str, to: &str| {
            let text = SMALL.replace(from, to);
            assert_ne!(text, SMALL);
            Draft::parse(&text, Path::new("")).unwrap_err()
        };
        assert!(said("severity = \"high\"", "severity = \"bad\"").contains("none, low, medium"));
        assert!(said("title", "titel").contains("titel"));
        assert!(said("after 3d", "after 3").contains("3"));
        assert!(
            said("target = { version = \"1.0 (a)\", image = \"new\" }", "").contains("base 1.0: no target")
        );
        assert!(said("name = \"lib\"", "name = \"lib\"\nminimum = \"1\"").contains("full = true"));
    }
}
