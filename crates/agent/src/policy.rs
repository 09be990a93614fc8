//! What the administrator, the device's maker and the user want the agent to do.
//!
//! ```text
//! admin.toml  >  what `siding set` stored  >  agent.d/*.toml, the last by name first  >  agent.toml  >  defaults
//! ```
//!
//! Every value knows where it comes from. What `admin.toml` names is locked: nobody below can say otherwise. A
//! setting that is not known is an error that names the file and the line, so that a slip of the pen never means
//! "as if it were not there". Reading writes nothing; [`Policy::set`] is the only one that does.

use crate::view::Setting;
use crate::{durable, memory};
use siding_image::{Component, Digest};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

mod file;
mod settings;
mod words;
pub use settings::{RestartWhen, Values};
pub use words::Window;

use settings::{SETTINGS, Spec, find};

/// Where a device says what it wants.
pub const DIR: &str = "/etc/siding";

/// The settings in force, and where each comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The values.
    pub values: Values,
    origins: BTreeMap<&'static str, Origin>,
    stored: PathBuf,
    admin: PathBuf,
}

/// Who said so.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    from: String,
    locked: bool,
}

/// A policy that cannot be read or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyError {
    /// A file says something that makes no sense.
    File {
        /// Which file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong there.
        what: String,
    },
    /// A file or folder cannot be read or written.
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which one.
        path: PathBuf,
        /// The system's answer.
        why: String,
    },
    /// There is no such setting, or it has no such value, or not this way.
    Value(String),
    /// It may not be, and whoever says so can change his mind.
    Forbidden(String),
    /// The administrator has locked it.
    Locked {
        /// The setting.
        name: String,
        /// Its value.
        value: String,
        /// Which file says so.
        by: PathBuf,
    },
}

impl Policy {
    /// Reads the files in `dir` (absent ones say nothing) and what was set in the store at `store`.
    pub fn load(dir: &Path, store: &Path) -> Result<Self, PolicyError> {
        let mut policy = Self {
            values: Values::default(),
            origins: BTreeMap::new(),
            stored: stored_path(store),
            admin: dir.join("admin.toml"),
        };
        policy.layer(&dir.join("agent.toml"), Layer::File)?;
        for path in drop_ins(&dir.join("agent.d"))? {
            policy.layer(&path, Layer::File)?;
        }
        policy.layer(&policy.stored.clone(), Layer::Set)?;
        policy.layer(&policy.admin.clone(), Layer::Admin)?;
        Ok(policy)
    }

    /// Stores a setting, as `siding set` does. An empty value forgets what was stored.
    ///
    /// Once this returned Ok, it survives a power cut; a cut before that leaves the old settings or the new.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), PolicyError> {
        let spec = find(name).ok_or_else(|| PolicyError::Value(unknown(name)))?;
        if !spec.settable {
            let dir = self.admin.with_file_name("agent.toml");
            let what = format!(
                "{name} is said by files only, since it decides whom this device trusts or what it runs; write it into {}",
                dir.display()
            );
            return Err(PolicyError::Value(what));
        }
        if self.is_locked(name) {
            let value = (spec.show)(&self.values);
            return Err(PolicyError::Locked { name: name.to_owned(), value, by: self.admin.clone() });
        }
        let io = |e: std::io::Error| PolicyError::Io {
            doing: "write",
            path: self.stored.clone(),
            why: e.to_string(),
        };
        // Somebody else may be at it.
        let _lock = memory::lock(self.store()).map_err(io)?;
        let mut lines = file::read(&self.stored)?.unwrap_or_default();
        lines.retain(|line| line.name != name);
        let mut text = String::from("# Written by `siding set`.\n");
        for line in &lines {
            text += &file::line(&line.name, &line.value);
        }
        if !value.is_empty() {
            (spec.put)(&mut self.values.clone(), value)
                .map_err(|what| PolicyError::Value(format!("{name}: {what}")))?;
            text += &file::line(name, value);
        }
        durable::replace(&self.stored, text.as_bytes()).map_err(io)?;
        *self = Self::load(self.admin.parent().unwrap_or(Path::new("/")), self.store())?;
        Ok(())
    }

    /// Whether the administrator's file fixes this setting.
    pub fn is_locked(&self, name: &str) -> bool {
        self.origins.get(name).is_some_and(|origin| origin.locked)
    }

    /// Every setting as a person sees it, in the order of the documentation.
    pub fn settings(&self) -> Vec<Setting> {
        let setting = |spec: &Spec| {
            let origin = self.origins.get(spec.name);
            Setting {
                name: spec.name.to_owned(),
                value: (spec.show)(&self.values),
                choices: spec.choices.iter().map(|&choice| choice.to_owned()).collect(),
                from: origin.map_or_else(|| "default".to_owned(), |origin| origin.from.clone()),
                locked: !spec.settable || origin.is_some_and(|origin| origin.locked),
                help: spec.help.to_owned(),
            }
        };
        SETTINGS.iter().map(setting).collect()
    }

    /// Refuses if removing is locked.
    pub fn may_remove(&self, component: &Component) -> Result<(), PolicyError> {
        if self.values.removal {
            return Ok(());
        }
        let (name, value) = ("removal", format!("forbidden, so {component} stays as it is"));
        let by =
            self.origins.get(name).map_or_else(|| self.admin.clone(), |origin| origin.from.clone().into());
        if !self.is_locked(name) {
            return Err(PolicyError::Forbidden(format!(
                "{name} is {value}; {} says so, and `siding set {name} allowed` overrides it",
                by.display()
            )));
        }
        let name = name.to_owned();
        Err(PolicyError::Locked { name, value, by })
    }

    /// A digest that changes whenever a value does.
    pub fn mark(&self) -> Digest {
        let text: Vec<String> = SETTINGS.iter().map(|spec| (spec.show)(&self.values)).collect();
        Digest::of(text.join("\n").as_bytes())
    }

    fn store(&self) -> &Path {
        self.stored.parent().and_then(Path::parent).unwrap_or(Path::new("/"))
    }

    fn layer(&mut self, path: &Path, layer: Layer) -> Result<(), PolicyError> {
        for file::Line { name, value, line } in file::read(path)?.unwrap_or_default() {
            let wrong = |what: String| PolicyError::File { path: path.to_owned(), line, what };
            let spec = find(&name).ok_or_else(|| wrong(unknown(&name)))?;
            if layer == Layer::Set && !spec.settable {
                return Err(wrong(format!("{name} cannot be set here; write it into agent.toml")));
            }
            (spec.put)(&mut self.values, &value).map_err(|what| wrong(format!("{name}: {what}")))?;
            let from = path.display().to_string();
            self.origins.insert(spec.name, Origin { from, locked: layer == Layer::Admin });
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    File,
    Set,
    Admin,
}

/// Where `siding set` stores.
fn stored_path(store: &Path) -> PathBuf {
    store.join("agent").join("settings.toml")
}

fn drop_ins(dir: &Path) -> Result<Vec<PathBuf>, PolicyError> {
    let io = |error: std::io::Error| PolicyError::Io {
        doing: "list",
        path: dir.to_owned(),
        why: error.to_string(),
    };
    let list = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(io)?,
    };
    let mut paths = Vec::new();
    for entry in list {
        let path = entry.map_err(io)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|end| end == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn unknown(name: &str) -> String {
    let names: Vec<&str> = SETTINGS.iter().map(|spec| spec.name).collect();
    format!("there is no setting {name:?}; there are {}", names.join(", "))
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, what } => write!(f, "{}, line {line}: {what}", path.display()),
            Self::Io { doing, path, why } => write!(f, "cannot {doing} {}: {why}", path.display()),
            Self::Value(what) | Self::Forbidden(what) => f.write_str(what),
            Self::Locked { name, value, by } => {
                write!(f, "{name} is {value}; the administrator says so in {}", by.display())
            }
        }
    }
}

impl std::error::Error for PolicyError {}

#[cfg(test)]
mod tests;
