//! Where things lie in a store directory.

use crate::Slot;
use siding_image::Component;
use std::path::{Path, PathBuf};

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

    pub(crate) fn slot(&self, component: &Component, slot: Slot) -> PathBuf {
        self.component(component).join(slot.name())
    }

    /// The image itself: a file or a directory.
    pub(crate) fn image(&self, component: &Component, slot: Slot) -> PathBuf {
        self.slot(component, slot).join("image")
    }

    /// The description of an image that is a tree.
    pub(crate) fn tree(&self, component: &Component, slot: Slot) -> PathBuf {
        self.slot(component, slot).join("tree")
    }

    /// How far a stage into the slot has come.
    pub(crate) fn checkpoint(&self, component: &Component, slot: Slot) -> PathBuf {
        self.slot(component, slot).join("checkpoint")
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
    pub(crate) fn current_target(component: &Component, slot: Slot) -> PathBuf {
        let slots = Path::new("..").join("components").join(component.as_str());
        slots.join(slot.name()).join("image")
    }
}
