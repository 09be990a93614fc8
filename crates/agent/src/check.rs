//! Whether a sealed slot still holds what its seal says. Reads every byte; writes nothing.
//!
//! Cached pages are given up first, so that what is read comes from the medium, unless a page is mapped or was not
//! flushed yet. A tree is compared entry by entry, with types, modes, times and links; owners only in a store of
//! root's.

use crate::Error;
use siding_image::{Component, Entry, Identity, Kind, Node, Tree};
use siding_slot::{Refusal, Slot, Snapshot};
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What is wrong with a sealed image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Which file, or which entry of a tree.
    pub path: PathBuf,
    /// What is wrong with it, to be read after its name.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path.display(), self.what)
    }
}

/// Reads the image in a slot and compares it with the record: `None` if it is what it should be.
///
/// Fails if the slot holds no sealed image, or if it cannot be told what it holds, as without the right to read it.
pub fn check(store: &Snapshot, component: &Component, slot: Slot) -> Result<Option<Damage>, Error> {
    let held = store.state().require(component).map_err(siding_slot::Error::from)?;
    let Some(sealed) = held.image(slot) else {
        let (component, slot) = (component.clone(), slot);
        return Err(siding_slot::Error::from(Refusal::NotSealed { component, slot }).into());
    };
    let found = match store.image(component, slot) {
        Ok(image) => compare(&image, &sealed.identity),
        Err(siding_slot::Error::Image(error)) => Err(error),
        Err(siding_slot::Error::Io { doing, path, source }) => {
            Err(siding_image::Error::Io { doing, path, source })
        }
        Err(error) => return Err(error.into()),
    };
    found.or_else(|error| damage(&store.image_path(component, slot), error).map(Some))
}

/// Makes sure of an image that is to be switched to.
pub fn check_for_switch(store: &Snapshot, component: &Component, slot: Slot) -> Result<(), Error> {
    let Some(damage) = check(store, component, slot)? else { return Ok(()) };
    let version = store.state().get(component).and_then(|held| held.image(slot));
    let version = version.map_or_else(String::new, |image| image.version.to_string());
    Err(Error::Damaged { component: component.clone(), version, slot, damage })
}

fn compare(image: &siding_image::Image, expected: &Identity) -> Result<Option<Damage>, siding_image::Error> {
    let root = image.root();
    match (expected.kind, image.tree()) {
        (Kind::Tree, Some(tree)) => {
            tree.files().for_each(|(path, _)| uncache(&root.join(OsStr::from_bytes(path))));
            let got = siding_image::scan(root)?;
            // A store that is not root's cannot give files to others, so owners were not compared when it was sealed.
            let of_root = root.parent().and_then(|slot| slot.metadata().ok()).is_some_and(|m| m.uid() == 0);
            Ok(difference(root, tree, &got, of_root))
        }
        _ => {
            uncache(root);
            image.check().map(|()| None)
        }
    }
}

/// Gives up the cached pages of a file, where there are any and that can be done.
fn uncache(path: &Path) {
    use rustix::fs::{Advice, fadvise};
    // Not a pipe, which would have to be waited for.
    let is_bytes = |meta: fs::Metadata| meta.is_file() || meta.file_type().is_block_device();
    if path.metadata().is_ok_and(is_bytes)
        && let Ok(file) = File::open(path)
    {
        let _ = fadvise(&file, 0, None, Advice::DontNeed);
    }
}

/// The first entry that is not as it should be.
fn difference(root: &Path, expected: &Tree, got: &Tree, of_root: bool) -> Option<Damage> {
    let damage = |path: &[u8], what: &str| {
        // The root itself is named without a slash at its end.
        let path = if path.is_empty() { root.to_owned() } else { root.join(OsStr::from_bytes(path)) };
        Some(Damage { path, what: what.to_owned() })
    };
    for entry in expected.entries() {
        let Some(there) = got.get(&entry.path) else { return damage(&entry.path, "is missing") };
        if let Some(what) = differs(entry, there, of_root) {
            return damage(&entry.path, what);
        }
    }
    let extra = got.entries().iter().find(|entry| expected.get(&entry.path).is_none())?;
    damage(&extra.path, "does not belong there")
}

fn differs(expected: &Entry, got: &Entry, of_root: bool) -> Option<&'static str> {
    let (wanted, found) = match (&expected.node, &got.node) {
        (Node::File(wanted, content), Node::File(found, other)) => {
            if content != other {
                return Some("has changed: its content is not the sealed one");
            }
            (wanted, found)
        }
        (Node::Directory(wanted), Node::Directory(found)) => (wanted, found),
        // A symbolic link's mode means nothing, and its owner and time hardly more.
        (Node::Symlink(_, to), Node::Symlink(_, other)) | (Node::HardLink(to), Node::HardLink(other)) => {
            return (to != other).then_some("leads elsewhere than it was sealed");
        }
        _ => return Some("is of another type than it was sealed"),
    };
    let time = |meta: &siding_image::Meta| (meta.seconds, meta.nanoseconds);
    let owner = |meta: &siding_image::Meta| (meta.uid, meta.gid);
    if wanted.mode != found.mode {
        return Some("has another mode than it was sealed with");
    }
    if of_root && owner(wanted) != owner(found) {
        return Some("has another owner than it was sealed with");
    }
    if time(wanted) != time(found) {
        return Some("has another modification time than it was sealed with");
    }
    // Labels that the system itself gives are let pass, as when it was sealed.
    let kept = |name: &[u8]| !name.starts_with(b"security.") && !name.starts_with(b"trusted.");
    let attributes = |meta: &siding_image::Meta| {
        let kept = meta.xattrs.iter().filter(|(name, _)| kept(name));
        kept.map(|(name, value)| (name.clone(), value.clone())).collect::<Vec<_>>()
    };
    (attributes(wanted) != attributes(found))
        .then_some("has other extended attributes than it was sealed with")
}

/// What cannot be read of a sealed image is damage, unless it is the reader that is not let.
fn damage(image: &Path, error: siding_image::Error) -> Result<Damage, Error> {
    use siding_image::Error as Image;
    Ok(match error {
        Image::Differs { path, expected, got } => {
            Damage { path, what: format!("has changed: expected digest {expected}, got {got}") }
        }
        Image::Unsupported { path, what } => {
            Damage { path, what: format!("is a {what}, which no image holds") }
        }
        Image::Io { path, source, .. } if is_damage(&source) => {
            Damage { path, what: format!("cannot be read: {source}") }
        }
        Image::Tree(error) => Damage { path: image.to_owned(), what: format!("is not well formed: {error}") },
        error => return Err(siding_slot::Error::from(error).into()),
    })
}

fn is_damage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let of_medium =
        [Errno::IO, Errno::UCLEAN, Errno::BADMSG, Errno::NODATA, Errno::LOOP].map(Errno::raw_os_error);
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::Other)
        || error.raw_os_error().is_some_and(|number| of_medium.contains(&number))
}
