//! `projections.toml`: what is to follow the record.

use crate::Error;
use crate::uboot::Scheme;
use crate::variables::plain;
use siding_image::Component;
use siding_slot::Slot;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One thing that follows one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Projection {
    pub(crate) component: Component,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bind { at: PathBuf },
    Loop { at: PathBuf, filesystem: Option<String> },
    Grub { file: PathBuf },
    UBoot(UBoot),
    SystemdBoot { entries: PathBuf },
    EfiBootNext { variables: PathBuf, entries: BTreeMap<Slot, u16> },
    Command { run: Vec<String>, limit: Duration },
}

/// Where a U-Boot environment lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UBoot {
    /// File and offset of each copy.
    pub(crate) copies: Vec<(PathBuf, u64)>,
    /// How long each copy is.
    pub(crate) size: usize,
    pub(crate) scheme: Scheme,
}

impl Kind {
    /// For a person: the kind and its place.
    pub(crate) fn describe(&self) -> String {
        let at = |kind: &str, path: &Path| format!("{kind} {}", path.display());
        match self {
            Self::Bind { at: path } => at("bind", path),
            Self::Loop { at: path, .. } => at("loop", path),
            Self::Grub { file } => at("grub", file),
            Self::UBoot(places) => at("uboot", places.copies.first().map_or(Path::new(""), |(file, _)| file)),
            Self::SystemdBoot { entries } => at("systemd-boot", entries),
            Self::EfiBootNext { variables, .. } => at("efi-boot-next", variables),
            Self::Command { run, .. } => at("command", run.first().map_or(Path::new(""), Path::new)),
        }
    }
}

/// A path without links, as far as it leads anywhere.
fn real(path: &Path) -> PathBuf {
    let known = path.ancestors().find_map(|above| Some((above, std::fs::canonicalize(above).ok()?)));
    match known.and_then(|(above, real)| Some(real.join(path.strip_prefix(above).ok()?))) {
        Some(real) => real,
        None => path.to_owned(),
    }
}

/// Reads the text of the file at `path`.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Vec<Projection>, Error> {
    let reader = Reader { path, text };
    let document = DeTable::parse(text)
        .map_err(|error| reader.error(error.span().unwrap_or(0..0), error.message().trim_end().to_owned()))?;
    let mut projections = Vec::new();
    for (key, value) in document.get_ref() {
        if key.get_ref() != "projection" {
            let what = format!("unknown key {:?}; allowed is only [[projection]]", key.get_ref());
            return Err(reader.error(key.span(), what));
        }
        let tables =
            value.get_ref().as_array().and_then(|list| list.iter().map(table).collect::<Option<Vec<_>>>());
        let Some(tables) = tables else {
            return Err(reader.error(value.span(), "projections are written as [[projection]]".to_owned()));
        };
        for (span, table) in tables {
            let projection = Keys::of(&reader, &span, table)?.projection()?;
            reader.compatible(&span, &projections, &projection)?;
            projections.push(projection);
        }
    }
    Ok(projections)
}

fn table<'a, 'i>(value: &'a Spanned<DeValue<'i>>) -> Option<(Range<usize>, &'a DeTable<'i>)> {
    Some((value.span(), value.get_ref().as_table()?))
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    fn error(&self, span: Range<usize>, what: String) -> Error {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1);
        Error::Config { path: self.path.to_owned(), line, what }
    }

    /// Two components whose names a boot loader cannot tell apart are refused.
    fn compatible(&self, span: &Range<usize>, earlier: &[Projection], new: &Projection) -> Result<(), Error> {
        let others = earlier.iter().filter(|other| other.component != new.component);
        for other in others {
            let (a, b) = (&other.component, &new.component);
            let same_variables = plain(a) == plain(b);
            let extends = |long: &Component, short: &Component| {
                long.as_str().strip_prefix(short.as_str()).is_some_and(|rest| rest.starts_with('-'))
            };
            let entries = |p: &Projection| matches!(p.kind, Kind::SystemdBoot { .. });
            let same_entries = entries(other) && entries(new) && (extends(a, b) || extends(b, a));
            if same_variables || same_entries {
                let what = format!(
                    "a boot loader cannot tell the components {a} and {b} apart; give one another name"
                );
                return Err(self.error(span.clone(), what));
            }
        }
        Ok(())
    }
}

/// The keys of one table, of which each is taken once.
struct Keys<'a, 'i> {
    reader: &'a Reader<'a>,
    span: &'a Range<usize>,
    keys: BTreeMap<&'a str, (Range<usize>, &'a Spanned<DeValue<'i>>)>,
    known: BTreeSet<&'static str>,
}

impl<'a, 'i> Keys<'a, 'i> {
    fn of(reader: &'a Reader<'a>, span: &'a Range<usize>, table: &'a DeTable<'i>) -> Result<Self, Error> {
        let keys = table.iter().map(|(key, value)| (key.get_ref().as_ref(), (key.span(), value))).collect();
        Ok(Self { reader, span, keys, known: BTreeSet::new() })
    }

    fn projection(mut self) -> Result<Projection, Error> {
        let component = self.parsed("component", |text: &str| text.parse::<Component>())?;
        let (span, kind) = self.needed("kind", "a text", |value| value.as_str().map(str::to_owned))?;
        let kind = match kind.as_str() {
            "bind" => Kind::Bind { at: self.mount_place()? },
            "loop" => Kind::Loop { at: self.mount_place()?, filesystem: self.filesystem()? },
            "grub" => Kind::Grub { file: self.path("file")? },
            "uboot" => Kind::UBoot(self.uboot()?),
            "systemd-boot" => {
                if component.as_str().contains('+') {
                    let what =
                        format!("a systemd-boot entry's name has no '+' beside its counter; got {component}");
                    return Err(self.reader.error(span, what));
                }
                Kind::SystemdBoot { entries: self.path("entries")? }
            }
            "efi-boot-next" => self.efi()?,
            "command" => self.command()?,
            other => {
                let what = format!(
                    "unknown kind {other:?}; allowed are bind, loop, grub, uboot, systemd-boot, efi-boot-next, command"
                );
                return Err(self.reader.error(span, what));
            }
        };
        self.nothing_else()?;
        Ok(Projection { component, kind })
    }

    /// Where something is mounted: neither in the store, whose verbs would take what is mounted for its own, nor above
    /// it, where it would hide the store.
    fn mount_place(&mut self) -> Result<PathBuf, Error> {
        let at = self.path("at")?;
        let Some(store) = self.reader.path.parent().map(real) else { return Ok(at) };
        if real(&at).starts_with(&store) || store.starts_with(real(&at)) {
            let what = format!(
                "nothing may be mounted in the store {} or above it; got at = {:?}",
                store.display(),
                at.display().to_string()
            );
            return Err(self.reader.error(self.span.clone(), what));
        }
        Ok(at)
    }

    fn filesystem(&mut self) -> Result<Option<String>, Error> {
        const KNOWN: [&str; 3] = ["erofs", "squashfs", "ext4"];
        let found = self.optional("filesystem", "a text", |value| value.as_str().map(str::to_owned))?;
        match found {
            Some((span, name)) if !KNOWN.contains(&name.as_str()) => {
                Err(self.reader.error(span, format!("filesystem is erofs, squashfs or ext4; got {name:?}")))
            }
            found => Ok(found.map(|(_, name)| name)),
        }
    }

    fn uboot(&mut self) -> Result<UBoot, Error> {
        const MOST: u64 = 16 << 20; // an environment is 8 to 256 KiB; this is for a mistyped size
        let first = (self.path("file")?, self.number("offset")?.map_or(0, |(_, offset)| offset));
        let Some((span, size)) = self.number("size")? else { return Err(self.missing("size")) };
        let (file, offset) = (self.optional_path("second_file")?, self.number("second_offset")?);
        let second = (file.is_some() || offset.is_some()).then(|| {
            (file.unwrap_or_else(|| first.0.clone()), offset.as_ref().map_or(0, |(_, offset)| *offset))
        });
        let scheme = self.optional("flags", "a text", |value| value.as_str().map(str::to_owned))?;
        let scheme = match scheme.as_ref().map(|(span, name)| (span, name.as_str())) {
            None | Some((_, "incremental")) => Scheme::Incremental,
            Some((_, "boolean")) => Scheme::Boolean,
            Some((span, other)) => {
                let what = format!("flags is incremental or boolean; got {other:?}");
                return Err(self.reader.error(span.clone(), what));
            }
        };
        let overlap =
            second.as_ref().is_some_and(|(file, at)| *file == first.0 && at.abs_diff(first.1) < size);
        if !(8..=MOST).contains(&size) || overlap {
            let what =
                format!("size is 8 to {MOST} bytes, and two copies in one file do not overlap; got {size}");
            return Err(self.reader.error(span, what));
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        Ok(UBoot { copies: [first].into_iter().chain(second).collect(), size, scheme })
    }

    fn efi(&mut self) -> Result<Kind, Error> {
        let variables = self.optional_path("variables")?;
        let variables = variables.unwrap_or_else(|| PathBuf::from("/sys/firmware/efi/efivars"));
        let mut entries = BTreeMap::new();
        for slot in Slot::ALL {
            let Some((span, number)) = self.number(slot.name())? else { continue };
            let what =
                |_| self.reader.error(span, format!("a boot entry is 0x0000 to 0xffff; got {number:#x}"));
            entries.insert(slot, u16::try_from(number).map_err(what)?);
        }
        if let Some(slot) = Slot::PATCHED.into_iter().find(|slot| !entries.contains_key(slot)) {
            return Err(self.missing(slot.name()));
        }
        if entries.values().collect::<BTreeSet<_>>().len() < entries.len() {
            let what = "two slots have the same boot entry; each needs its own".to_owned();
            return Err(self.reader.error(self.span.clone(), what));
        }
        Ok(Kind::EfiBootNext { variables, entries })
    }

    fn command(&mut self) -> Result<Kind, Error> {
        const DEFAULT_LIMIT: u64 = 60;
        let words = |value: &DeValue<'_>| {
            let words = value.as_array()?.iter().map(|word| word.get_ref().as_str().map(str::to_owned));
            words.collect::<Option<Vec<_>>>().filter(|words| !words.is_empty())
        };
        let (_, run) = self.needed("run", "a list of texts, the program first", words)?;
        let limit = self.number("seconds")?.map_or(DEFAULT_LIMIT, |(_, seconds)| seconds.clamp(1, 86_400));
        Ok(Kind::Command { run, limit: Duration::from_secs(limit) })
    }

    fn path(&mut self, key: &'static str) -> Result<PathBuf, Error> {
        self.optional_path(key)?.ok_or_else(|| self.missing(key))
    }

    fn optional_path(&mut self, key: &'static str) -> Result<Option<PathBuf>, Error> {
        let path = |value: &DeValue<'_>| value.as_str().map(PathBuf::from).filter(|path| path.is_absolute());
        Ok(self.optional(key, "a path that begins with /", path)?.map(|(_, path)| path))
    }

    fn number(&mut self, key: &'static str) -> Result<Option<(Range<usize>, u64)>, Error> {
        self.optional(key, "a number, not negative", |value| {
            let number = value.as_integer()?;
            u64::from_str_radix(number.as_str(), number.radix()).ok()
        })
    }

    fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, Error> {
        let (span, text) = self.needed(key, "a text", |value| value.as_str().map(str::to_owned))?;
        parse(&text).map_err(|what| self.reader.error(span, what))
    }

    fn needed<T>(
        &mut self,
        key: &'static str,
        what: &str,
        read: impl FnOnce(&DeValue<'i>) -> Option<T>,
    ) -> Result<(Range<usize>, T), Error> {
        self.optional(key, what, read)?.ok_or_else(|| self.missing(key))
    }

    fn optional<T>(
        &mut self,
        key: &'static str,
        what: &str,
        read: impl FnOnce(&DeValue<'i>) -> Option<T>,
    ) -> Result<Option<(Range<usize>, T)>, Error> {
        self.known.insert(key);
        let Some((_, value)) = self.keys.remove(key) else { return Ok(None) };
        let wrong = || self.reader.error(value.span(), format!("{key} is {what}"));
        let read = read(value.get_ref()).ok_or_else(wrong)?;
        Ok(Some((value.span(), read)))
    }

    fn missing(&self, key: &str) -> Error {
        self.reader.error(self.span.clone(), format!("this projection needs the key {key}"))
    }

    fn nothing_else(&self) -> Result<(), Error> {
        let Some((key, (span, _))) = self.keys.first_key_value() else { return Ok(()) };
        let known: Vec<&str> = self.known.iter().copied().collect();
        let what = format!("unknown key {key:?}; for this kind allowed are {}", known.join(", "));
        Err(self.reader.error(span.clone(), what))
    }
}

#[cfg(test)]
mod tests;
