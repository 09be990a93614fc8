//! The maker's verbs: keygen, diff, sign.

use crate::args::{Diff, Keygen, Level, Sign};
use crate::bytes::{count, percent, size};
use crate::failure::Failure;
use crate::keys;
use crate::load::{is_nothing, open_source};
use crate::output::Reply;
use crate::plan;
use crate::progress::Show;
use serde_json::{Value, json};
use siding_diff::{Delta, Step};
use siding_image::{Component, Image, Kind, Version};
use siding_patch::{Advisory, ImageRef, Manifest, PrivateKey};
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub(crate) fn keygen(args: &Keygen) -> Result<Reply, Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| Failure::failed(format!("the system has no randomness: {e}")))?;
    let key = PrivateKey::from_seed(&seed);
    let (private, public) = (with_ending(&args.name, "key"), with_ending(&args.name, "pub"));
    if let Some(there) = [&private, &public].into_iter().find(|path| path.symlink_metadata().is_ok()) {
        let message =
            format!("{} exists already, and no key is overwritten; choose another name", there.display());
        return Err(Failure::failed(message));
    }
    write_new(&private, key.to_pem()?.as_bytes(), 0o600)?;
    write_new(&public, key.public().to_pem()?.as_bytes(), 0o644)?;
    let id = key.public().id().to_string();
    let text = format!(
        "{}  keep it secret: whoever has it can sign patches\n{}  give it to devices: they trust what it verifies\nkey id {id}",
        private.display(),
        public.display()
    );
    Ok(Reply::new(text, json!({ "private": private, "public": public, "id": id })))
}

fn with_ending(name: &Path, ending: &str) -> PathBuf {
    let mut path = name.as_os_str().to_owned();
    path.push(".");
    path.push(ending);
    path.into()
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    let mut file = file.map_err(|e| Failure::io("create", path, &e))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|e| Failure::io("write", path, &e))
}

pub(crate) fn diff(args: &Diff, show: &Show) -> Result<Reply, Failure> {
    // Without --plan the command line has an output.
    let Some(output) = args.output.as_deref().filter(|_| !args.plan) else { return plan::plan(args) };
    let started = Instant::now();
    let keys = args.key.iter().map(|path| keys::private(path)).collect::<Result<Vec<_>, _>>()?;
    let promise = Promise::of(args)?;
    for output in std::iter::once(output).chain(args.reverse.as_deref()) {
        may_replace(output, &[&args.old, &args.new])?;
        is_apart(output, &[&args.old, &args.new])?;
    }
    if args.reverse.as_deref().is_some_and(|reverse| is_same(reverse, output)) {
        return Err(Failure::usage("--reverse names the same file as -o; name another one"));
    }
    let (old, new) = open_pair(args)?;
    plan::warn(args, &old, &new, show);
    let manifest = promise.manifest(args, &old, &new);
    let made =
        make(args, (&old, &new), &manifest, &keys, output, show)?.reply(started.elapsed().as_secs_f64());
    let Some(reverse) = &args.reverse else { return Ok(made) };
    let started = Instant::now();
    let (source, target) = (manifest.target, manifest.source);
    let back = Manifest { source, target, advisories: Vec::new(), ..manifest };
    let back = make(args, (&new, &old), &back, &keys, reverse, show)?.reply(started.elapsed().as_secs_f64());
    Ok(made.and("reverse", back))
}

/// Makes one patch and puts it in place.
fn make<'a>(
    args: &Diff,
    (old, new): (&Image, &Image),
    manifest: &'a Manifest,
    keys: &[PrivateKey],
    output: &'a Path,
    show: &Show,
) -> Result<Made<'a>, Failure> {
    let progress = |step, done, total| show.advance(name_of(step), done, total);
    let delta = siding_diff::make(old, new, args.level.into(), &progress)?;
    show.finish();
    let mut bytes = Vec::new();
    let written = siding_patch::write(manifest, &delta.chunks, keys, &mut bytes)?;
    put_in_place(output, &bytes)?;
    Ok(Made { output, manifest, delta, written, signatures: keys.len() })
}

/// Whether two paths name one file, be it there already or not.
fn is_same(a: &Path, b: &Path) -> bool {
    let real =
        |path: &Path| fs::canonicalize(folder_of(path)).ok().zip(path.file_name().map(ToOwned::to_owned));
    real(a).is_some_and(|real_a| Some(real_a) == real(b))
}

/// Opens both images. That they are of one kind is looked at first: to read a tree may take long.
pub(crate) fn open_pair(args: &Diff) -> Result<(Image, Image), Failure> {
    let kind = |path: &Path| {
        if is_nothing(path) {
            return None;
        }
        let there = fs::metadata(path).ok()?;
        Some(if there.is_dir() { Kind::Tree } else { Kind::File })
    };
    // What cannot be looked at cannot be opened either, which says why.
    if let (Some(old), Some(new)) = (kind(&args.old), kind(&args.new))
        && old != new
    {
        return Err(siding_diff::Error::Kinds { old, new }.into());
    }
    let new = Image::open(&args.new)?;
    Ok((open_source(&args.old, new.identity().kind)?, new))
}

/// What the manifest says that the images do not. It is complete before they are read, which takes a while.
struct Promise {
    component: Component,
    to: Version,
    advisories: Vec<Advisory>,
}

impl Promise {
    fn of(args: &Diff) -> Result<Self, Failure> {
        let advisories = args.advisory.iter().map(|path| advisories(path)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            component: args.component.clone().map_or_else(|| component_of(&args.new), Ok)?,
            to: args.to.clone().map_or_else(|| next_supplement(&args.from), Ok)?,
            advisories: advisories.concat(),
        })
    }

    fn manifest(self, args: &Diff, old: &Image, new: &Image) -> Manifest {
        let source = ImageRef { version: args.from.clone(), identity: old.identity() };
        let target = ImageRef { version: self.to, identity: new.identity() };
        Manifest {
            epoch: args.epoch,
            advisories: self.advisories,
            restart: args.restart.clone(),
            products: args.product.clone(),
            created: args.created,
            expires: args.expires,
            minimum: args.minimum_siding,
            ..Manifest::new(self.component, source, target)
        }
    }
}

/// A patch that is in place.
struct Made<'a> {
    output: &'a Path,
    manifest: &'a Manifest,
    delta: Delta,
    /// Its length in bytes.
    written: u64,
    signatures: usize,
}

impl Made<'_> {
    fn reply(&self, seconds: f64) -> Reply {
        let Self { output, manifest, delta, written, signatures } = self;
        let (written, signatures) = (*written, *signatures);
        let whole = manifest.target.identity.size;
        let (component, from, to) = (&manifest.component, &manifest.source.version, &manifest.target.version);
        let signed = match signatures {
            0 => "not signed".to_owned(),
            1 => "signed".to_owned(),
            keys => format!("signed by {keys} keys"),
        };
        let text = format!(
            "{}: {component} {from} → {to}\n{}, {} of the new image ({}); {}, {}; {signed}; {seconds:.1} s",
            output.display(),
            size(written),
            percent(written, whole),
            size(whole),
            count(delta.chunks.len(), "chunk"),
            count(delta.covers, "cover"),
        );
        let json = json!({
            "patch": output, "component": component.as_str(), "bytes": written, "new_bytes": whole,
            "from": from.to_string(), "to": to.to_string(), "chunks": delta.chunks.len(),
            "covers": delta.covers, "copied": delta.copied, "literals": delta.literals,
            "signatures": signatures, "seconds": seconds,
        });
        Reply::new(text, json)
    }
}

pub(crate) fn name_of(step: Step) -> &'static str {
    match step {
        Step::Index => "index",
        Step::Match => "match",
        Step::Pack => "pack",
    }
}

/// A patch may take the place of an older one, but not of an input, and not of a device or a folder.
fn may_replace(output: &Path, inputs: &[&Path]) -> Result<(), Failure> {
    let Ok(there) = output.symlink_metadata() else { return Ok(()) };
    let real = fs::canonicalize(output).ok();
    let is_input = |input: &&&Path| real.is_some() && fs::canonicalize(input).ok() == real;
    if let Some(input) = inputs.iter().find(is_input) {
        return Err(Failure::usage(format!(
            "{} would overwrite the input {}",
            output.display(),
            input.display()
        )));
    }
    if !there.is_file() {
        return Err(Failure::usage(format!(
            "{} is there and no regular file; name another output",
            output.display()
        )));
    }
    Ok(())
}

/// A patch may not lie within an input: the tree would no longer be the one it was made from.
fn is_apart(output: &Path, inputs: &[&Path]) -> Result<(), Failure> {
    let Ok(folder) = fs::canonicalize(folder_of(output)) else { return Ok(()) };
    let is_around = |input: &&&Path| fs::canonicalize(input).is_ok_and(|input| folder.starts_with(input));
    match inputs.iter().find(is_around) {
        Some(input) => Err(Failure::usage(format!(
            "{} would lie within the input {} and change it; name an output elsewhere",
            output.display(),
            input.display()
        ))),
        None => Ok(()),
    }
}

/// The folder in which `path` is.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes beside and renames, so that a patch is there whole or not at all; flushed before it appears.
fn put_in_place(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::io("write", path, &e);
    let mut file = tempfile::Builder::new();
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    let mut file = file.permissions(permissions).tempfile_in(folder_of(path)).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}

/// `26.3.1` → `26.3.1 (a)` → `26.3.1 (b)`.
fn next_supplement(from: &Version) -> Result<Version, Failure> {
    let text = from.to_string();
    let next = match text.split_once(" (") {
        None => format!("{text} (a)"),
        Some((base, letters)) => {
            let mut letters = letters.trim_end_matches(')').as_bytes().to_vec();
            match letters.iter().rposition(|letter| *letter < b'z') {
                Some(at) => {
                    letters[at] += 1;
                    letters[at + 1..].fill(b'a');
                }
                None => letters = vec![b'a'; letters.len() + 1],
            }
            format!("{base} ({})", String::from_utf8_lossy(&letters))
        }
    };
    next.parse().map_err(|_| Failure::usage("there is no letter after that of --from; give --to"))
}

fn component_of(new: &Path) -> Result<Component, Failure> {
    let name = new.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = name.split('.').next().unwrap_or_default();
    stem.parse()
        .map_err(|_| Failure::usage(format!("{name:?} does not give a component name; use --component")))
}

/// `{"id": …, "severity": …, "text": …}`, or a list of such.
fn advisories(path: &Path) -> Result<Vec<Advisory>, Failure> {
    let text = fs::read_to_string(path).map_err(|e| Failure::io("read the advisory", path, &e))?;
    let bad = |why: &str| {
        Failure::usage(format!(
            "{}: expected JSON {{\"id\", \"severity\", \"text\"}} or a list of such: {why}",
            path.display()
        ))
    };
    let value: Value = serde_json::from_str(&text).map_err(|e| bad(&e.to_string()))?;
    let list = value.as_array().cloned().unwrap_or_else(|| vec![value]);
    let field = |item: &Value, name: &str| {
        item.get(name)
            .and_then(Value::as_str)
            .map(str::to_owned)
            .ok_or_else(|| bad(&format!("no text {name:?}")))
    };
    list.iter()
        .map(|item| {
            let severity = field(item, "severity")?.parse().map_err(|e: String| bad(&e))?;
            Ok(Advisory { id: field(item, "id")?, severity, text: field(item, "text")? })
        })
        .collect()
}

impl From<Level> for siding_diff::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Fast => Self::Fast,
            Level::Default => Self::Default,
            Level::Best => Self::Best,
        }
    }
}

pub(crate) fn sign(args: &Sign) -> Result<Reply, Failure> {
    let key = keys::private(&args.key)?;
    let output = args.output.as_ref().unwrap_or(&args.patch);
    may_replace(output, &[])?;
    let file = File::open(&args.patch).map_err(|e| Failure::io("open", &args.patch, &e))?;
    let mut bytes = BufWriter::new(Vec::new());
    siding_patch::add_signature(&mut BufReader::new(file), &key, &mut bytes)?;
    let bytes = bytes.into_inner().map_err(|e| Failure::failed(e.error()))?;
    put_in_place(output, &bytes)?;
    let id = key.public().id().to_string();
    let text = format!("{}: signed by {id}", output.display());
    Ok(Reply::new(text, json!({ "patch": output, "signed_by": id })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn supplements_count_on() {
        let next = |text: &str| next_supplement(&text.parse().unwrap()).map(|v| v.to_string()).ok();
        assert_eq!(next("26.3.1").as_deref(), Some("26.3.1 (a)"));
        assert_eq!(next("26.3.1 (a)").as_deref(), Some("26.3.1 (b)"));
        assert_eq!(next("1 (az)").as_deref(), Some("1 (ba)"));
        assert_eq!(next("1 (zz)").as_deref(), Some("1 (aaa)"));
        assert_eq!(next("1 (zzzz)"), None);
    }

    #[test]
    fn a_component_is_named_after_its_file() {
        assert_eq!(component_of(Path::new("x/libssl.so.3")).unwrap().as_str(), "libssl");
        assert!(component_of(Path::new("/")).is_err());
    }
}
