//! Where things lie in a store directory.

use siding_image::Component;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The directory of a component that a slot's image lies in: for the base another one each time it is superseded.
///
/// [`ComponentState::home`](crate::ComponentState) is what says which; there is no other way from a slot to its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// Of the base that so many came before.
    Base(u64),
    A,
    B,
}

/// The paths of one store.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Held exclusively by whoever writes.
    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(crate) fn record(&self) -> PathBuf {
        self.root.join("record")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    pub(crate) fn components(&self) -> PathBuf {
        self.root.join("components")
    }

    pub(crate) fn component(&self, component: &Component) -> PathBuf {
        self.components().join(component.as_str())
    }

    pub(crate) fn slot(&self, component: &Component, home: Home) -> PathBuf {
        self.component(component).join(home.to_string())
    }

    /// The image itself: a file or a directory.
    pub(crate) fn image(&self, component: &Component, home: Home) -> PathBuf {
        self.slot(component, home).join("image")
    }

    /// The description of an image that is a tree.
    pub(crate) fn tree(&self, component: &Component, home: Home) -> PathBuf {
        self.slot(component, home).join("tree")
    }

    /// How far a stage into the slot has come.
    pub(crate) fn checkpoint(&self, component: &Component, home: Home) -> PathBuf {
        self.slot(component, home).join("checkpoint")
    }

    /// The links that name the active slots' images, by component.
    pub(crate) fn links(&self) -> PathBuf {
        self.root.join("current")
    }

    /// The link that names the active slot's image.
    pub(crate) fn current(&self, component: &Component) -> PathBuf {
        self.links().join(component.as_str())
    }

    /// What that link says: relative, so that a store can be mounted anywhere.
    pub(crate) fn current_target(component: &Component, home: Home) -> PathBuf {
        let slots = Path::new("..").join("components").join(component.as_str());
        slots.join(home.to_string()).join("image")
    }
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base(0) => f.write_str("base"),
            Self::Base(generation) => write!(f, "base.{generation}"),
            Self::A => f.write_str("a"),
            Self::B => f.write_str("b"),
        }
    }
}

/// Reads what [`Display`](fmt::Display) gives and nothing else.
impl FromStr for Home {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let home = match name {
            "base" => Self::Base(0),
            "a" => Self::A,
            "b" => Self::B,
            _ => Self::Base(name.strip_prefix("base.").and_then(|number| number.parse().ok()).ok_or(())?),
        };
        if home.to_string() == name { Ok(home) } else { Err(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_are_read_as_they_are_written_and_in_no_other_way() {
        for home in [Home::Base(0), Home::Base(1), Home::Base(u64::MAX), Home::A, Home::B] {
            assert_eq!(home.to_string().parse(), Ok(home));
        }
        for other in
            ["", "c", "base.", "base.0", "base.01", "base.+1", "base.-1", "base.18446744073709551616"]
        {
            assert_eq!(other.parse::<Home>(), Err(()), "{other}");
        }
    }
}
