//! The manifest: what a patch is for and what it is made of. `docs/format.md` section 3.

use crate::Error;
use minicbor::{Decoder, Encoder};
use siding_image::{Component, Digest, Identity, Kind, Version};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// Everything that is signed, the chunks by their digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The component it is for.
    pub component: Component,
    /// The image it starts from.
    pub source: ImageRef,
    /// The image it makes.
    pub target: ImageRef,
    /// The chunks, in the order they are stored.
    pub chunks: Vec<ChunkRef>,
    /// Security epoch; a device that confirmed a higher one refuses this patch.
    pub epoch: u64,
    /// What it fixes.
    pub advisories: Vec<Advisory>,
    /// What must restart for it to take effect: `reboot`, or names of services.
    pub restart: Vec<String>,
    /// The products it is for; empty for all.
    pub products: Vec<String>,
    /// When it was made, in seconds since 1970, if its maker said so.
    pub created: Option<u64>,
    /// From when on it must not be installed, in seconds since 1970.
    pub expires: Option<u64>,
    /// The oldest siding that may install it, as major, minor, patch.
    pub minimum: Option<[u64; 3]>,
    /// What a later maker adds for later readers: keys 64 to 127, byte strings, signed like the rest. A reader
    /// that does not know a key passes over it.
    pub notes: BTreeMap<u8, Vec<u8>>,
}

/// An image with its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRef {
    /// Its version.
    pub version: Version,
    /// Its identity.
    pub identity: Identity,
}

/// What a chunk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkKind {
    /// Changes of a tree's entries; such chunks come first.
    Changes,
    /// What moved, for predicting references; at most one, before all deltas.
    Model,
    /// A stretch of the target as a delta.
    Delta,
}

/// A chunk as the manifest lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRef {
    /// What it holds.
    pub kind: ChunkKind,
    /// Bytes in the file.
    pub stored: u64,
    /// Bytes once decoded, all streams together.
    pub decoded: u64,
    /// Bytes of the target's flat space that it makes; 0 for all but deltas.
    pub target: u64,
    /// SHA-256 of the stored bytes.
    pub digest: Digest,
}

/// A weakness that the patch fixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advisory {
    /// Its name, such as `CVE-2026-0001`.
    pub id: String,
    /// How bad it is.
    pub severity: Severity,
    /// One or a few sentences for people.
    pub text: String,
}

/// How bad a weakness is (the words of CVSS 4.0's rating scale).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing to worry about.
    None,
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
    /// Critical.
    Critical,
}

const PART: &str = "the manifest";
/// The largest image, in bytes, so that no offset into one overflows.
const MAX_SIZE: u64 = i64::MAX as u64;

impl Manifest {
    /// A manifest that says nothing but what must be said; the chunks come when it is written.
    pub fn new(component: Component, source: ImageRef, target: ImageRef) -> Self {
        Self {
            component,
            source,
            target,
            chunks: Vec::new(),
            epoch: 0,
            advisories: Vec::new(),
            restart: Vec::new(),
            products: Vec::new(),
            created: None,
            expires: None,
            minimum: None,
            notes: BTreeMap::new(),
        }
    }

    /// The length in bytes of what the delta chunks make together.
    pub fn fresh_len(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.target).fold(0, u64::saturating_add)
    }

    /// The canonical encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(Vec::new());
        let fields: Vec<u8> = self.fields().collect();
        ok(out.map(fields.len() as u64));
        for key in fields {
            ok(out.u8(key));
            self.encode_field(key, &mut out);
        }
        out.into_writer()
    }

    /// Reads a canonical encoding; anything else, and anything left over, is refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let manifest = Draft::read(bytes)?.complete()?;
        manifest.check()?;
        if manifest.encode() != bytes {
            return Err(Error::malformed(PART, "the encoding is not canonical"));
        }
        Ok(manifest)
    }

    /// The keys present, ascending: an optional field is absent exactly when it says nothing.
    fn fields(&self) -> impl Iterator<Item = u8> {
        let present = [
            (key::COMPONENT, true),
            (key::SOURCE, true),
            (key::TARGET, true),
            (key::CHUNKS, true),
            (key::EPOCH, self.epoch > 0),
            (key::ADVISORIES, !self.advisories.is_empty()),
            (key::RESTART, !self.restart.is_empty()),
            (key::PRODUCTS, !self.products.is_empty()),
            (key::CREATED, self.created.is_some()),
            (key::EXPIRES, self.expires.is_some()),
            (key::MINIMUM, self.minimum.is_some()),
        ];
        let known = present.into_iter().filter_map(|(key, there)| there.then_some(key));
        known.chain(self.notes.keys().copied())
    }

    fn encode_field(&self, field: u8, out: &mut Out) {
        match field {
            key::COMPONENT => ok(out.str(self.component.as_str())),
            key::SOURCE => encode_image(out, &self.source),
            key::TARGET => encode_image(out, &self.target),
            key::CHUNKS => encode_list(out, &self.chunks, encode_chunk),
            key::EPOCH => ok(out.u64(self.epoch)),
            key::ADVISORIES => encode_list(out, &self.advisories, encode_advisory),
            key::RESTART => encode_list(out, &self.restart, |out, text| ok(out.str(text))),
            key::PRODUCTS => encode_list(out, &self.products, |out, text| ok(out.str(text))),
            key::CREATED => ok(out.u64(self.created.unwrap_or_default())),
            key::EXPIRES => ok(out.u64(self.expires.unwrap_or_default())),
            key::MINIMUM => encode_list(out, &self.minimum.unwrap_or_default(), |out, n| ok(out.u64(*n))),
            note => ok(out.bytes(self.notes.get(&note).map_or(&[], Vec::as_slice))),
        }
    }

    /// The names in it, one line each.
    fn texts(&self) -> impl Iterator<Item = &str> {
        let ids = self.advisories.iter().map(|advisory| &advisory.id);
        ids.chain(&self.restart).chain(&self.products).map(String::as_str)
    }

    /// Rules between fields: `docs/format.md` section 3.3.
    fn check(&self) -> Result<(), Error> {
        let fail = |rule| Err(Error::malformed(PART, rule));
        if self.source.identity.size.max(self.target.identity.size) > MAX_SIZE {
            return fail("an image's size is 2^63 or more");
        }
        if !self.texts().all(is_plain) || !self.advisories.iter().all(|a| is_plain_text(&a.text)) {
            return fail("a text is empty or holds control characters");
        }
        if self.source.identity.kind != self.target.identity.kind {
            return fail("source and target are of different kinds");
        }
        let is_tree = self.target.identity.kind == Kind::Tree;
        let changes = self.chunks.iter().take_while(|chunk| chunk.kind == ChunkKind::Changes).count();
        if self.chunks.iter().skip(changes).any(|chunk| chunk.kind == ChunkKind::Changes) {
            return fail("a chunk of changes follows a chunk of another kind");
        }
        if self.chunks.iter().skip(changes.saturating_add(1)).any(|chunk| chunk.kind == ChunkKind::Model) {
            return fail("a model is not the only one, or follows a delta chunk");
        }
        if is_tree != (changes > 0) {
            return fail("a tree has at least one chunk of changes, a file none");
        }
        if self.chunks.iter().any(|chunk| (chunk.target > 0) != (chunk.kind == ChunkKind::Delta)) {
            return fail("a delta chunk makes at least one byte, any other none");
        }
        let made = self.chunks.iter().try_fold(0u64, |sum, chunk| sum.checked_add(chunk.target));
        match made {
            None => fail("the chunks' target lengths overflow"),
            Some(made) if !is_tree && made != self.target.identity.size => {
                fail("the chunks do not make the target's length")
            }
            Some(made) if made > self.target.identity.size => fail("the chunks make more than the target"),
            Some(_) => Ok(()),
        }
    }
}

/// What is printed on a terminal cannot steer it.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_control)
}

/// As [`is_plain`], of any number of lines.
fn is_plain_text(text: &str) -> bool {
    !text.contains(|c: char| c.is_control() && c != '\n')
}

impl Severity {
    const ALL: [(Self, &'static str); 5] = [
        (Self::None, "none"),
        (Self::Low, "low"),
        (Self::Medium, "medium"),
        (Self::High, "high"),
        (Self::Critical, "critical"),
    ];

    fn of_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).map(|(severity, _)| *severity)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(Self::ALL.iter().find(|(s, _)| s == self).map_or("", |(_, name)| name))
    }
}

impl FromStr for Severity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.iter().find(|(_, name)| *name == text).map(|(severity, _)| *severity);
        named.ok_or_else(|| format!("a severity is none, low, medium, high or critical; got {text:?}"))
    }
}

// ---- the encoding

/// Keys of the manifest's map.
mod key {
    pub(super) const COMPONENT: u8 = 1;
    pub(super) const SOURCE: u8 = 2;
    pub(super) const TARGET: u8 = 3;
    pub(super) const CHUNKS: u8 = 4;
    pub(super) const EPOCH: u8 = 5;
    pub(super) const ADVISORIES: u8 = 6;
    pub(super) const RESTART: u8 = 7;
    pub(super) const PRODUCTS: u8 = 8;
    pub(super) const CREATED: u8 = 9;
    pub(super) const EXPIRES: u8 = 10;
    pub(super) const MINIMUM: u8 = 11;
    pub(super) const NOTES: std::ops::RangeInclusive<u8> = 64..=127;
}

type Out = Encoder<Vec<u8>>;
type In<'a, 'b> = &'a mut Decoder<'b>;
type Bad = minicbor::decode::Error;

/// Writing to a `Vec` cannot fail.
fn ok<T>(result: Result<T, minicbor::encode::Error<Infallible>>) {
    debug_assert!(result.is_ok());
}

fn encode_list<T>(out: &mut Out, items: &[T], each: impl Fn(&mut Out, &T)) {
    ok(out.array(items.len() as u64));
    items.iter().for_each(|item| each(out, item));
}

fn encode_image(out: &mut Out, image: &ImageRef) {
    ok(out.array(4));
    ok(out.str(&image.version.to_string()));
    ok(out.u8(match image.identity.kind {
        Kind::File => 0,
        Kind::Tree => 1,
    }));
    ok(out.u64(image.identity.size));
    ok(out.bytes(&image.identity.digest.0));
}

fn encode_chunk(out: &mut Out, chunk: &ChunkRef) {
    ok(out.array(5));
    ok(out.u8(match chunk.kind {
        ChunkKind::Changes => 0,
        ChunkKind::Delta => 1,
        ChunkKind::Model => 2,
    }));
    ok(out.u64(chunk.stored));
    ok(out.u64(chunk.decoded));
    ok(out.u64(chunk.target));
    ok(out.bytes(&chunk.digest.0));
}

fn encode_advisory(out: &mut Out, advisory: &Advisory) {
    ok(out.array(3));
    ok(out.str(&advisory.id));
    ok(out.u8(advisory.severity as u8));
    ok(out.str(&advisory.text));
}

/// The fields read so far; becomes a [`Manifest`] when the mandatory ones are there.
#[derive(Default)]
struct Draft {
    component: Option<Component>,
    source: Option<ImageRef>,
    target: Option<ImageRef>,
    chunks: Option<Vec<ChunkRef>>,
    rest: Rest,
}

#[derive(Default)]
struct Rest {
    epoch: u64,
    advisories: Vec<Advisory>,
    restart: Vec<String>,
    products: Vec<String>,
    created: Option<u64>,
    expires: Option<u64>,
    minimum: Option<[u64; 3]>,
    notes: BTreeMap<u8, Vec<u8>>,
}

impl Draft {
    fn read(bytes: &[u8]) -> Result<Self, Error> {
        let mut draft = Self::default();
        let mut unknown = None;
        draft.fill(&mut Decoder::new(bytes), &mut unknown).map_err(|_| match unknown {
            // What a later format may bring deserves a better answer than "malformed".
            Some((what, number)) => Error::Unknown { part: PART.into(), what, number },
            None => Error::malformed(PART, "it does not follow the format's grammar"),
        })?;
        Ok(draft)
    }

    fn fill(&mut self, input: In<'_, '_>, unknown: &mut Unknown) -> Result<(), Bad> {
        for _ in 0..input.map()?.ok_or_else(bad)? {
            let rest = &mut self.rest;
            let key = input.u64()?;
            match u8::try_from(key).unwrap_or(0) {
                key::COMPONENT => self.component = Some(parse(input.str()?)?),
                key::SOURCE => self.source = Some(decode_image(input)?),
                key::TARGET => self.target = Some(decode_image(input)?),
                key::CHUNKS => self.chunks = Some(decode_list(input, |input| decode_chunk(input, unknown))?),
                key::EPOCH => rest.epoch = input.u64()?,
                key::ADVISORIES => rest.advisories = decode_list(input, decode_advisory)?,
                key::RESTART => rest.restart = decode_list(input, |input| Ok(input.str()?.to_owned()))?,
                key::PRODUCTS => rest.products = decode_list(input, |input| Ok(input.str()?.to_owned()))?,
                key::CREATED => rest.created = Some(input.u64()?),
                key::EXPIRES => rest.expires = Some(input.u64()?),
                key::MINIMUM => {
                    expect_array(input, 3)?;
                    rest.minimum = Some([input.u64()?, input.u64()?, input.u64()?]);
                }
                note if key::NOTES.contains(&note) => drop(rest.notes.insert(note, input.bytes()?.to_vec())),
                _ => {
                    *unknown = Some(("field", key));
                    return Err(bad());
                }
            }
        }
        Ok(())
    }

    fn complete(self) -> Result<Manifest, Error> {
        let missing = || Error::malformed(PART, "a mandatory field is missing");
        Ok(Manifest {
            component: self.component.ok_or_else(missing)?,
            source: self.source.ok_or_else(missing)?,
            target: self.target.ok_or_else(missing)?,
            chunks: self.chunks.ok_or_else(missing)?,
            epoch: self.rest.epoch,
            advisories: self.rest.advisories,
            restart: self.rest.restart,
            products: self.rest.products,
            created: self.rest.created,
            expires: self.rest.expires,
            minimum: self.rest.minimum,
            notes: self.rest.notes,
        })
    }
}

/// What was met that this version does not know, and its number.
type Unknown = Option<(&'static str, u64)>;

fn decode_list<T>(
    input: In<'_, '_>,
    mut each: impl FnMut(In<'_, '_>) -> Result<T, Bad>,
) -> Result<Vec<T>, Bad> {
    let count = input.array()?.ok_or_else(bad)?;
    // Grown item by item: the input's own length, not the stated count, bounds the memory.
    (0..count).map(|_| each(input)).collect()
}

fn decode_image(input: In<'_, '_>) -> Result<ImageRef, Bad> {
    expect_array(input, 4)?;
    let version = parse(input.str()?)?;
    let kind = match input.u8()? {
        0 => Kind::File,
        1 => Kind::Tree,
        _ => return Err(bad()),
    };
    let size = input.u64()?;
    Ok(ImageRef { version, identity: Identity { kind, size, digest: decode_digest(input)? } })
}

fn decode_chunk(input: In<'_, '_>, unknown: &mut Unknown) -> Result<ChunkRef, Bad> {
    let fields = input.array()?;
    let kind = match input.u64()? {
        0 => ChunkKind::Changes,
        1 => ChunkKind::Delta,
        2 => ChunkKind::Model,
        number => {
            *unknown = Some(("chunk kind", number));
            return Err(bad());
        }
    };
    if fields != Some(5) {
        return Err(bad());
    }
    let (stored, decoded, target) = (input.u64()?, input.u64()?, input.u64()?);
    Ok(ChunkRef { kind, stored, decoded, target, digest: decode_digest(input)? })
}

fn decode_advisory(input: In<'_, '_>) -> Result<Advisory, Bad> {
    expect_array(input, 3)?;
    let id = input.str()?.to_owned();
    let severity = Severity::of_code(input.u8()?).ok_or_else(bad)?;
    Ok(Advisory { id, severity, text: input.str()?.to_owned() })
}

fn decode_digest(input: In<'_, '_>) -> Result<Digest, Bad> {
    Ok(Digest(input.bytes()?.try_into().map_err(|_| bad())?))
}

fn expect_array(input: In<'_, '_>, len: u64) -> Result<(), Bad> {
    if input.array()? == Some(len) { Ok(()) } else { Err(bad()) }
}

fn parse<T: FromStr>(text: &str) -> Result<T, Bad> {
    text.parse().map_err(|_| bad())
}

fn bad() -> Bad {
    Bad::message("not canonical")
}

#[cfg(test)]
mod tests;
