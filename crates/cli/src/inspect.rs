//! `siding inspect`: what a patch is, what it changes, and where its bytes go.

use crate::args::Inspect;
use crate::bytes::{count, percent, size, thousands};
use crate::failure::Failure;
use crate::offline::reader;
use crate::output::{Paint, Reply, plain, table};
use serde_json::{Value, json};
use siding_image::{Changes, Entry, Node};
use siding_patch::{ChunkKind, Frame, Limits, Manifest, Step, Stored, Stream, Trust, Walker};
use siding_slot::date;
use std::collections::BTreeMap;

pub(crate) fn inspect(args: &Inspect) -> Result<Reply, Failure> {
    let mut patch = siding_patch::open(reader(&args.patch)?, &Trust::anyone(), &Limits::default())?;
    let manifest = patch.manifest().clone();
    let (overhead, signatures) = (patch.overhead(), patch.signatures());
    let mut found = Found::default();
    while let Some(chunk) = patch.next_chunk()? {
        found.look(&chunk)?;
    }
    let total = overhead + manifest.chunks.iter().map(|chunk| chunk.stored).sum::<u64>();
    let text = [
        head(&manifest, total, signatures),
        found.changes_text(),
        found.files_text(&manifest),
        found.streams_text(overhead, total),
    ];
    let text = text.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n");
    Ok(Reply::new(text, json(&manifest, &found, overhead, total, signatures)))
}

/// What a walk over the chunks finds.
#[derive(Default)]
struct Found {
    changes: Changes,
    /// Stored and decoded bytes by stream and coder.
    streams: BTreeMap<(usize, &'static str), (u64, u64)>,
    /// Bytes of heads of frames.
    heads: u64,
    /// By fresh content: what its bytes are.
    made: Vec<Made>,
    /// Where each fresh content ends in the target's flat space.
    ends: Vec<u64>,
    at: u64,
}

/// What a stretch of the target is made of.
#[derive(Clone, Copy, Default)]
struct Made {
    bytes: u64,
    literals: u64,
    copied: u64,
    changed: u64,
    copies: u64,
    /// Its share of the stored bytes, by its share of the decoded ones.
    stored: f64,
}

impl Found {
    fn look(&mut self, chunk: &Stored) -> Result<(), Failure> {
        let frames = chunk.frames()?;
        let packed: u64 = frames.iter().map(|frame| frame.stored).sum();
        self.heads += chunk.chunk().stored.saturating_sub(packed);
        frames.iter().for_each(|frame| self.count(frame));
        match chunk.chunk().kind {
            ChunkKind::Changes => {
                self.changes.append(chunk.decode_changes()?);
                Ok(())
            }
            ChunkKind::Model => Ok(()),
            ChunkKind::Delta => self.walk(chunk),
        }
    }

    /// Streams that share a frame share its stored bytes by their length.
    fn count(&mut self, frame: &Frame) {
        let all = frame.decoded().max(1);
        for (stream, len) in &frame.streams {
            let entry = self.streams.entry((*stream as usize, frame.coder.name())).or_default();
            entry.0 += frame.stored * len / all;
            entry.1 += len;
        }
    }

    fn walk(&mut self, chunk: &Stored) -> Result<(), Failure> {
        let streams = chunk.decode_shape()?;
        let (start, len) = (self.at, chunk.chunk().target);
        let broken = |rule| Failure::from(siding_apply::Error::Instructions { chunk: chunk.index(), rule });
        let mut walker = Walker::new(&streams, start, len).map_err(broken)?;
        let weight = chunk.chunk().stored as f64 / chunk.chunk().decoded.max(1) as f64;
        let mut scratch = vec![0; 64 << 10];
        // Where a copy would go on that is only handed out in parts.
        let mut goes_on = None;
        loop {
            let (file, room) = self.file_at(self.at);
            let Some(step) = walker.step(scratch.len().min(room)).map_err(broken)? else { return Ok(()) };
            let made = &mut self.made[file];
            let len = match step {
                Step::Literal(bytes) => {
                    goes_on = None;
                    made.literals += bytes.len() as u64;
                    made.stored += bytes.len() as f64 * weight;
                    bytes.len()
                }
                Step::Copy { from, len } => {
                    let copied = &mut scratch[..len];
                    copied.fill(0);
                    walker.adjust(copied).map_err(broken)?;
                    let changed = copied.iter().filter(|byte| **byte != 0).count() as u64;
                    made.copied += len as u64;
                    made.changed += changed;
                    let begins = goes_on != Some(from);
                    made.copies += u64::from(begins);
                    goes_on = Some(from + len as u64);
                    // A difference is a value and about one number; a copy about three numbers.
                    made.stored += (changed as f64 * 2.0 + if begins { 5.0 } else { 0.0 }) * weight;
                    len
                }
            };
            made.bytes += len as u64;
            self.at += len as u64;
        }
    }

    /// Which fresh content the byte at `at` belongs to, and how many more it has; one for all in a file.
    fn file_at(&mut self, at: u64) -> (usize, usize) {
        if self.ends.is_empty() {
            let mut end = 0u64;
            self.ends.extend(self.changes.fresh_files().map(|(_, file)| {
                end = end.saturating_add(file.size);
                end
            }));
            self.made.resize(self.ends.len().max(1), Made::default());
        }
        let index = self.ends.partition_point(|end| *end <= at);
        match self.ends.get(index) {
            Some(end) => (index, usize::try_from(end - at).unwrap_or(usize::MAX)),
            None => (self.made.len() - 1, usize::MAX),
        }
    }

    fn changes_text(&self) -> String {
        let Changes { removed, put, touched, .. } = &self.changes;
        if removed.is_empty() && put.is_empty() && touched.is_empty() {
            return String::new();
        }
        let mut text = Paint::stdout().bold("Changes of the tree") + "\n";
        for path in &self.changes.removed {
            text += &format!("  removed    {}\n", show(path));
        }
        for (index, entry) in self.changes.put.iter().enumerate() {
            text += &format!("  {}  {}\n", self.describe(index, entry), show(&entry.path));
        }
        if !touched.is_empty() {
            text += &format!(
                "  {} more keep their content and get other modes, times or attributes\n",
                touched.len()
            );
        }
        text
    }

    fn describe(&self, index: usize, entry: &Entry) -> &'static str {
        match &entry.node {
            Node::Directory(_) => "directory",
            Node::File(..) if self.changes.fresh.binary_search(&index).is_ok() => "content  ",
            Node::File(..) => "as old   ",
            Node::Symlink(..) => "symlink  ",
            Node::HardLink(_) => "hard link",
        }
    }

    fn names(&self, manifest: &Manifest) -> Vec<String> {
        let names: Vec<String> = self.changes.fresh_files().map(|(path, _)| show(path)).collect();
        if self.changes.put.is_empty() && names.is_empty() {
            vec![manifest.component.to_string()]
        } else {
            names
        }
    }

    fn files_text(&self, manifest: &Manifest) -> String {
        if self.made.is_empty() {
            return String::new();
        }
        let mut rows = vec![
            ["patch", "new size", "literals", "copied", "changed", "copies", "file"]
                .map(String::from)
                .to_vec(),
        ];
        for (name, made) in self.names(manifest).into_iter().zip(&self.made) {
            let counts = [made.bytes, made.literals, made.copied, made.changed, made.copies].map(thousands);
            rows.push([vec![format!("~{}", size(made.stored as u64))], counts.to_vec(), vec![name]].concat());
        }
        let title = Paint::stdout().bold("Where the bytes go, file by file");
        format!("{title} (patch: a share by decoded length)\n{}", table(&rows, &[0, 1, 2, 3, 4, 5]))
    }

    fn streams_text(&self, overhead: u64, total: u64) -> String {
        let mut rows = vec![["patch", "", "decoded", "stream", "coder"].map(String::from).to_vec()];
        let row = |stored: u64, decoded: String, name: &str, coder: &str| {
            vec![thousands(stored), percent(stored, total), decoded, name.to_owned(), coder.to_owned()]
        };
        for ((stream, coder), (stored, decoded)) in &self.streams {
            rows.push(row(*stored, thousands(*decoded), Stream::ALL[*stream].name(), coder));
        }
        rows.push(row(self.heads, String::new(), "heads of frames", ""));
        rows.push(row(overhead, String::new(), "manifest and signatures", ""));
        let title = Paint::stdout().bold("Where the bytes go, stream by stream");
        format!("{title}\n{}", table(&rows, &[0, 1, 2]))
    }
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

fn json(manifest: &Manifest, found: &Found, overhead: u64, total: u64, signatures: usize) -> Value {
    let image = |image: &siding_patch::ImageRef| {
        json!({
            "version": image.version.to_string(), "kind": image.identity.kind.to_string(),
            "bytes": image.identity.size, "digest": image.identity.digest.to_string(),
        })
    };
    let streams = found.streams.iter().map(|((stream, coder), (stored, decoded))| {
        json!({ "stream": Stream::ALL[*stream].name(), "coder": coder, "stored": stored, "decoded": decoded })
    });
    let files = found.names(manifest).into_iter().zip(&found.made).map(|(name, made)| {
        json!({
            "file": name, "bytes": made.bytes, "literals": made.literals, "copied": made.copied,
            "changed": made.changed, "copies": made.copies, "patch_share": made.stored.round(),
        })
    });
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
        "removed": found.changes.removed.iter().map(|path| show(path)).collect::<Vec<_>>(),
        "put": put.collect::<Vec<_>>(), "touched": found.changes.touched.len(),
    })
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
