//! `siding inspect`: what a patch is, what it changes, and where its bytes go.
//!
//! `walk.rs` and `steps.rs` count, `references.rs` judges predictions, `sections.rs` knows names, `tables.rs` is the text; JSON is here.

mod references;
mod sections;
mod steps;
mod tables;
mod walk;

use crate::args::Inspect;
use crate::bytes::{count, size};
use crate::failure::Failure;
use crate::offline::reader;
use crate::output::{Paint, Reply, plain};
use references::Count;
use serde_json::{Value, json};
use siding_image::Image;
use siding_patch::{Limits, Manifest, Stream, Trust};
use siding_slot::date;
use walk::{Found, Made};

pub(crate) fn inspect(args: &Inspect) -> Result<Reply, Failure> {
    let limits = Limits::default();
    let mut patch = siding_patch::open(reader(&args.patch)?, &Trust::anyone(), &limits)?;
    let manifest = patch.manifest().clone();
    let (overhead, signatures) = (patch.overhead(), patch.signatures());
    let old = args.old.as_deref().map(Image::open).transpose()?;
    if let Some(old) = old.as_ref().filter(|old| old.identity() != manifest.source.identity) {
        let (expected, got) = (manifest.source.identity, old.identity());
        return Err(siding_apply::Error::WrongSource { expected, got }.into());
    }
    let mut found = Found::new(old.as_ref(), &limits);
    while let Some(chunk) = patch.next_chunk()? {
        found.look(&chunk)?;
    }
    let total = overhead + manifest.chunks.iter().map(|chunk| chunk.stored).sum::<u64>();
    let text = [
        head(&manifest, total, signatures),
        found.changes_text(),
        found.files_text(&manifest),
        found.regions_text(),
        found.references_text(),
        found.streams_text(overhead, total),
    ];
    let text = text.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n");
    Ok(Reply::new(text, json(&manifest, &found, overhead, total, signatures)))
}

fn head(manifest: &Manifest, total: u64, signatures: usize) -> String {
    let paint = Paint::stdout();
    let title = format!("{} {} → {}", manifest.component, manifest.source.version, manifest.target.version);
    let mut rows = vec![
        ("patch", format!("{}, {}", size(total), count(manifest.chunks.len(), "chunk"))),
        ("source", manifest.source.identity.to_string()),
        ("target", manifest.target.identity.to_string()),
        ("signatures", format!("{signatures}, not checked here; `siding verify` checks them")),
    ];
    for advisory in &manifest.advisories {
        rows.push((
            "fixes",
            format!("{} ({}): {}", advisory.id, advisory.severity, indented(&advisory.text)),
        ));
    }
    if manifest.epoch > 0 {
        rows.push(("epoch", manifest.epoch.to_string()));
    }
    if !manifest.restart.is_empty() {
        rows.push(("restart", manifest.restart.join(", ")));
    }
    if !manifest.products.is_empty() {
        rows.push(("products", manifest.products.join(", ")));
    }
    rows.extend(manifest.created.map(|at| ("created", date(at))));
    rows.extend(manifest.expires.map(|at| ("expires", date(at))));
    rows.extend(manifest.minimum.map(|[a, b, c]| ("needs", format!("siding {a}.{b}.{c}"))));
    let lines: String = rows.iter().map(|(name, value)| format!("  {name:<10}  {value}\n")).collect();
    format!("{}\n{lines}", paint.bold(&title))
}

fn json(manifest: &Manifest, found: &Found<'_>, overhead: u64, total: u64, signatures: usize) -> Value {
    let image = |image: &siding_patch::ImageRef| {
        json!({
            "version": image.version.to_string(), "kind": image.identity.kind.to_string(),
            "bytes": image.identity.size, "digest": image.identity.digest.to_string(),
        })
    };
    let streams = found.streams.iter().map(|((stream, coder), (stored, decoded))| {
        json!({ "stream": Stream::ALL[*stream].name(), "coder": coder, "stored": stored, "decoded": decoded })
    });
    let files = found.names(manifest).into_iter().zip(&found.files);
    let files = files.map(|(name, made)| with(made_json(made), json!({ "file": name })));
    let put = found.changes.put.iter().enumerate().map(
        |(index, entry)| json!({ "path": show(&entry.path), "what": found.describe(index, entry).trim() }),
    );
    let advisories = manifest.advisories.iter().map(|advisory| {
        json!({ "id": advisory.id, "severity": advisory.severity.to_string(), "text": advisory.text })
    });
    json!({
        "component": manifest.component.as_str(), "source": image(&manifest.source), "target": image(&manifest.target),
        "bytes": total, "manifest_bytes": overhead, "heads_bytes": found.heads, "signatures": signatures, "epoch": manifest.epoch,
        "advisories": advisories.collect::<Vec<_>>(), "restart": manifest.restart, "products": manifest.products,
        "created": manifest.created, "expires": manifest.expires, "minimum_siding": manifest.minimum,
        "chunks": manifest.chunks.len(), "streams": streams.collect::<Vec<_>>(), "files": files.collect::<Vec<_>>(),
        "model": model_json(found), "references": references_json(found),
        "removed": found.changes.removed.iter().map(|path| show(path)).collect::<Vec<_>>(),
        "put": put.collect::<Vec<_>>(), "touched": found.changes.touched.len(),
    })
}

/// The model, each region with what copies from it cost; null where nothing is predicted.
fn model_json(found: &Found<'_>) -> Value {
    let Some(model) = &found.model else { return Value::Null };
    let made = |start: Option<u64>| found.regions.get(&start).copied().unwrap_or_default();
    let regions = model.regions().iter().map(|region| {
        let place = json!({
            "kind": region.kind.name(), "sections": found.sections.names(region), "offset": region.start, "bytes_of_old": region.len,
            "address": Found::address(region), "file": found.file_of(region),
        });
        // Nothing comes from a region without bytes, which may start where the next one does.
        let made = if region.len > 0 { made(Some(region.start)) } else { Made::default() };
        with(made_json(&made), place)
    });
    json!({
        "stored": found.model_bytes(), "steps": model.map().steps().len(), "segments": model.segments().len(),
        "spans": model.spans().len(), "regions": regions.collect::<Vec<_>>(), "outside": made_json(&made(None)),
    })
}

/// How predictions turned out, by kind and together; null without the old image.
fn references_json(found: &Found<'_>) -> Value {
    if found.old.is_none() {
        return Value::Null;
    }
    let one = |count: &Count| {
        json!({
            "found": count.found, "changed": count.changed, "changed_and_right": count.predicted,
            "moved": count.moved, "right": count.right, "wrong": count.wrong(),
        })
    };
    let kinds = found.references.iter().map(|(kind, count)| with(one(count), json!({ "kind": kind.name() })));
    with(one(&found.all_references()), json!({ "kinds": kinds.collect::<Vec<_>>() }))
}

fn made_json(made: &Made) -> Value {
    json!({
        "bytes": made.bytes, "literals": made.literals, "copied": made.copied, "changed": made.changed,
        "copies": made.copies, "patch_share": made.stored.round(),
    })
}

/// The fields of two objects.
fn with(mut object: Value, more: Value) -> Value {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    object
}

/// A path for people; control characters, which a hostile patch may hold, are spelled out.
fn show(path: &[u8]) -> String {
    if path.is_empty() {
        return ".".into();
    }
    plain(&String::from_utf8_lossy(path))
}

/// Several lines under one label, so that none can pass for a line of ours.
fn indented(text: &str) -> String {
    text.lines().map(plain).collect::<Vec<_>>().join("\n              ")
}
