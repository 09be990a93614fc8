//! Verbs on files, without a store: apply and verify.

use crate::args::{Apply, Verify};
use crate::bytes::{count, size};
use crate::chunks;
use crate::failure::{Code, Failure};
use crate::keys;
use crate::load;
use crate::output::{Paint, Reply};
use crate::progress::Show;
use serde_json::json;
use siding_image::Image;
use siding_patch::{Checked, ChunkKind, Limits, Manifest, Trust};
use siding_slot::{Builder, date};
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A patch's bytes: a file's, or standard input's for `-`. Read sequentially.
pub(crate) fn reader(path: &Path) -> Result<Box<dyn Read + Send>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(std::io::stdin()));
    }
    let file = File::open(path).map_err(|e| Failure::io("open the patch", path, &e))?;
    if file.metadata().is_ok_and(|meta| meta.is_dir()) {
        return Err(Failure::usage(format!("{} is a directory, and a patch is a file", path.display())));
    }
    Ok(Box::new(BufReader::new(file)))
}

pub(crate) fn apply(args: &Apply, mut show: &Show) -> Result<Reply, Failure> {
    let started = Instant::now();
    let trust = keys::bench_trust(&args.trust)?;
    let out = Out::new(&args.out)?;
    let patch = siding_patch::open(reader(&args.patch)?, &trust, &Limits::default())?;
    let manifest = patch.manifest().clone();
    let vouched = match patch.signers().is_empty() {
        false => "every digest is the signed one",
        true => "every digest is the patch's, for which nobody vouched",
    };
    let (old, apply) = load::prepare(&args.load, patch, &args.old)?;
    let mut builder = Builder::create(&out.building)?;
    builder.made_from(&old);
    let report = load::run(&args.load, apply, &old, &mut builder, &mut show)?;
    show.finish();
    builder.finish(Some(&old))?;
    out.keep()?;
    let seconds = started.elapsed().as_secs_f64();
    let text = format!(
        "{}: {} {}, {}; {vouched}; {seconds:.2} s",
        args.out.display(),
        manifest.component,
        manifest.target.version,
        size(manifest.target.identity.size)
    );
    let json = json!({
        "out": args.out, "component": manifest.component.as_str(), "version": manifest.target.version.to_string(),
        "digest": manifest.target.identity.digest.to_string(), "written": report.written, "seconds": seconds,
    });
    Ok(Reply::new(text, json))
}

/// Where a result is built, and where it goes once it is right.
struct Out {
    wanted: PathBuf,
    building: PathBuf,
    kept: bool,
}

impl Out {
    fn new(wanted: &Path) -> Result<Self, Failure> {
        use std::os::unix::fs::FileTypeExt;
        let (wanted, kept) = (wanted.to_owned(), false);
        if std::fs::metadata(&wanted).is_ok_and(|meta| meta.file_type().is_block_device()) {
            // Written in place, at the device that a link such as /dev/disk/by-label/… leads to.
            let device = std::fs::canonicalize(&wanted).map_err(|e| Failure::io("resolve", &wanted, &e))?;
            return Ok(Self { building: device, wanted, kept: true });
        }
        if wanted.symlink_metadata().is_ok() {
            let message = format!("{} exists already; name a path where nothing is yet", wanted.display());
            return Err(Failure::usage(message));
        }
        let name = wanted.file_name().ok_or_else(|| Failure::usage("the result needs a file name"))?;
        remove_abandoned(&wanted, name);
        let mut partial = std::ffi::OsString::from(".");
        partial.push(name);
        partial.push(format!(".{}.partial", std::process::id()));
        Ok(Self { building: wanted.with_file_name(partial), wanted, kept })
    }

    fn keep(mut self) -> Result<(), Failure> {
        if !self.kept {
            rename(&self.building, &self.wanted).map_err(|e| Failure::io("rename to", &self.wanted, &e))?;
            self.kept = true;
            let parent =
                self.wanted.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let flushed = File::open(parent).and_then(|dir| dir.sync_all());
            flushed.map_err(|e| Failure::io("flush", parent, &e))?;
        }
        Ok(())
    }
}

/// Renames unless something appeared at `to` meanwhile, where the filesystem can be asked for that.
fn rename(from: &Path, to: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => std::fs::rename(from, to),
        done => Ok(done?),
    }
}

/// Takes away what runs for the same result left that were killed: their processes are gone.
fn remove_abandoned(wanted: &Path, name: &std::ffi::OsStr) {
    let dir = wanted.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let begin = [b".", name.as_bytes(), b"."].concat();
    let is_gone = |process: u32| {
        let proc = Path::new("/proc");
        proc.join("self").exists() && !proc.join(process.to_string()).exists()
    };
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let file = entry.file_name();
        let process =
            file.as_bytes().strip_prefix(&begin[..]).and_then(|rest| rest.strip_suffix(b".partial"));
        let process = process.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u32>().ok());
        if process.is_some_and(is_gone) {
            // What cannot be removed harms nothing.
            let _ = siding_slot::discard(&entry.path());
        }
    }
}

/// What is not kept is taken away.
impl Drop for Out {
    fn drop(&mut self) {
        if !self.kept {
            let _ = siding_slot::discard(&self.building);
        }
    }
}

pub(crate) fn verify(args: &Verify, mut show: &Show) -> Result<Reply, Failure> {
    // Without --slot the command line has a patch.
    let file = args.patch.as_deref().unwrap_or(Path::new("-"));
    let trust = keys::bench_trust(&args.trust)?;
    let patch = siding_patch::open(reader(file)?, &trust, &Limits::default())?;
    let manifest = patch.manifest().clone();
    let signers: Vec<String> = patch.signers().iter().map(ToString::to_string).collect();
    let paint = Paint::stdout();
    let mut lines = vec![vouched(&trust, &signers)];
    lines.extend(in_time(file, &manifest)?);
    lines.extend(args.target.as_deref().map(|target| is_target(target, &manifest)).transpose()?);
    match &args.source {
        None => {
            read_through(patch)?;
            lines.push(format!("{} intact", count(manifest.chunks.len(), "chunk")));
        }
        Some(path) => {
            let source = load::open_source(path, patch.manifest().source.identity.kind)?;
            siding_apply::check(patch, &source, siding_apply::MEMORY, &mut show)?;
            show.finish();
            lines.push(format!(
                "{} intact, and they make the target of {}",
                count(manifest.chunks.len(), "chunk"),
                path.display()
            ));
        }
    }
    let text = lines.iter().map(|line| format!("{} {line}\n", paint.good("ok"))).collect::<String>();
    let json = json!({
        "ok": true, "signers": signers, "chunks": manifest.chunks.len(), "component": manifest.component.as_str(),
        "from": manifest.source.version.to_string(), "to": manifest.target.version.to_string(),
        "rebuilt": args.source.is_some(),
    });
    Ok(Reply::new(text, json))
}

fn vouched(trust: &Trust, signers: &[String]) -> String {
    if trust.threshold() == 0 {
        return "the patch is well formed; nobody was asked to vouch for it".into();
    }
    format!("signed by {}", signers.join(", "))
}

/// Until when the patch may be used, if its maker says so; an error once that is over.
fn in_time(patch: &Path, manifest: &Manifest) -> Result<Option<String>, Failure> {
    let Some(at) = manifest.expires else { return Ok(None) };
    if at <= crate::time::now() {
        let message = format!("{}: the patch expired on {}; get a newer one", patch.display(), date(at));
        return Err(Failure::new(Code::NotTrusted, message));
    }
    Ok(Some(format!("expires {}", date(at))))
}

/// Compares an image with what the patch promises to make.
fn is_target(target: &Path, manifest: &Manifest) -> Result<String, Failure> {
    let (expected, got) = (manifest.target.identity, Image::open(target)?.identity());
    if got != expected {
        let message =
            format!("{} is not what the patch makes: expected {expected}, got {got}", target.display());
        return Err(Failure::new(Code::NotForThis, message));
    }
    Ok(format!("its target is {}", target.display()))
}

/// Compares every chunk with its signed digest, decodes it and walks its instructions, as far as that goes
/// without the source.
fn read_through<R: Read>(mut patch: Checked<R>) -> Result<(), Failure> {
    let mut at = 0;
    while let Some(stored) = patch.next_chunk()? {
        match stored.chunk().kind {
            ChunkKind::Changes => drop(stored.decode_changes()?),
            ChunkKind::Model => drop(chunks::model(&stored)?),
            ChunkKind::Delta => chunks::walk(&stored, &stored.decode_shape()?, at, &mut ())?,
        }
        at += stored.chunk().target;
    }
    Ok(())
}
