//! The tables of `siding inspect`, for people.

use super::references::Count;
use super::show;
use super::walk::{Found, Made};
use crate::bytes::{count, percent, size, thousands};
use crate::output::{Paint, table};
use siding_image::{Changes, Entry, Node};
use siding_patch::{Manifest, Stream};
use siding_predict::{Kind, Model, Region, SPACE};
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;

impl Found<'_> {
    pub(super) fn changes_text(&self) -> String {
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

    pub(super) fn describe(&self, index: usize, entry: &Entry) -> &'static str {
        match &entry.node {
            Node::Directory(_) => "directory",
            Node::File(..) if self.changes.fresh.binary_search(&index).is_ok() => "content  ",
            Node::File(..) => "as old   ",
            Node::Symlink(..) => "symlink  ",
            Node::HardLink(_) => "hard link",
        }
    }

    pub(super) fn names(&self, manifest: &Manifest) -> Vec<String> {
        let names: Vec<String> = self.changes.fresh_files().map(|(path, _)| show(path)).collect();
        if self.changes.put.is_empty() && names.is_empty() {
            vec![manifest.component.to_string()]
        } else {
            names
        }
    }

    pub(super) fn files_text(&self, manifest: &Manifest) -> String {
        if self.files.is_empty() {
            return String::new();
        }
        let mut rows = vec![
            ["patch", "new size", "literals", "copied", "changed", "copies", "file"]
                .map(String::from)
                .to_vec(),
        ];
        for (name, made) in self.names(manifest).into_iter().zip(&self.files) {
            let counts = [made.bytes, made.literals, made.copied, made.changed, made.copies].map(thousands);
            rows.push([vec![format!("~{}", size(made.stored as u64))], counts.to_vec(), vec![name]].concat());
        }
        let title = Paint::stdout().bold("Where the bytes go, file by file");
        format!("{title} (patch: a share of its streams)\n{}", table(&rows, &[0, 1, 2, 3, 4, 5]))
    }

    pub(super) fn streams_text(&self, overhead: u64, total: u64) -> String {
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
        format!(
            "{title} (patch: streams of one frame share its bytes by length)\n{}",
            table(&rows, &[0, 1, 2])
        )
    }

    pub(super) fn regions_text(&self) -> String {
        let Some(model) = &self.model else { return String::new() };
        let head = ["patch", "copied", "changed", "literals", "kind", "old bytes", "address", "file"];
        let mut rows = vec![head.map(String::from).to_vec()];
        let mut made: Vec<(Option<u64>, &Made)> =
            self.regions.iter().map(|(region, made)| (*region, made)).collect();
        made.sort_by(|a, b| b.1.stored.total_cmp(&a.1.stored));
        let shown = made.iter().take_while(|(_, made)| made.stored >= 1.0).count().min(MOST);
        let hidden = made.len() - shown;
        for (start, made) in made.into_iter().take(shown) {
            let mut row = vec![format!("~{}", size(made.stored as u64))];
            row.extend([made.copied, made.changed, made.literals].map(thousands));
            match start.and_then(|start| model.around(start).ok()) {
                Some(region) => row.extend(self.place(region)),
                None => row.push("in no region".to_owned()),
            }
            rows.push(row);
        }
        let title = Paint::stdout().bold("Where the bytes go, by the old image's regions");
        let more = match hidden {
            0 => String::new(),
            _ => format!("  and {} that cost less; --json lists all\n", count(hidden, "region")),
        };
        format!("{title}\n  {}\n{}{more}", self.model_text(model), table(&rows, &[0, 1, 2, 3]))
    }

    fn model_text(&self, model: &Model) -> String {
        let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
        model.regions().iter().for_each(|region| *kinds.entry(region.kind).or_default() += 1);
        let kinds: Vec<String> =
            kinds.iter().map(|(kind, number)| format!("{number} {}", kind.name())).collect();
        format!(
            "the model: {} ({}), {} of the map, {}",
            count(model.regions().len(), "region"),
            kinds.join(", "),
            count(model.map().steps().len(), "step"),
            size(self.model_bytes()),
        )
    }

    /// The largest section and the kind, the offsets, the address and the file of a region.
    fn place(&self, region: &Region) -> [String; 4] {
        let kind = region.kind.name();
        let kind = match self.sections.names(region)[..] {
            [] => kind.to_owned(),
            [name] => format!("{name} {kind}"),
            [name, ref others @ ..] => format!("{name} (+{}) {kind}", others.len()),
        };
        [
            kind,
            format!("{:#x}..{:#x}", region.start, region.start + region.len),
            format!("{:#x}", Self::address(region)),
            self.file_of(region).unwrap_or_default(),
        ]
    }

    pub(super) fn references_text(&self) -> String {
        if self.old.is_none() || self.references.is_empty() {
            return String::new();
        }
        let mut rows = vec![
            ["references", "changed", "and right", "moved", "right", "wrong", "kind"]
                .map(String::from)
                .to_vec(),
        ];
        let all = self.all_references();
        let kinds = self.references.iter().map(|(kind, count)| (kind.name(), count));
        for (name, count) in kinds.chain([("all", &all)]) {
            let numbers =
                [count.found, count.changed, count.predicted, count.moved, count.right, count.wrong()];
            rows.push([numbers.map(thousands).to_vec(), vec![name.to_owned()]].concat());
        }
        let title = Paint::stdout().bold("What was predicted in copied bytes");
        format!(
            "{title} (moved: by the map; right: needs no difference)\n{}  {} of {} references that changed were predicted right ({})\n",
            table(&rows, &[0, 1, 2, 3, 4, 5]),
            thousands(all.predicted),
            thousands(all.changed),
            percent(all.predicted, all.changed)
        )
    }

    pub(super) fn all_references(&self) -> Count {
        let mut all = Count::default();
        self.references.values().for_each(|count| all.add(count));
        all
    }

    /// What the model's streams take.
    pub(super) fn model_bytes(&self) -> u64 {
        let of_model =
            [Stream::Regions, Stream::StepAddresses, Stream::StepShifts].map(|stream| stream as usize);
        let streams = self.streams.iter().filter(|((stream, _), _)| of_model.contains(stream));
        streams.map(|(_, (stored, _))| stored).sum()
    }

    /// A region's address as its file writes it.
    pub(super) fn address(region: &Region) -> u64 {
        region.address & (SPACE - 1)
    }

    /// The old file in which a region lies, where there are several and they are at hand.
    pub(super) fn file_of(&self, region: &Region) -> Option<String> {
        let old = self.old.filter(|old| old.tree().is_some())?;
        let index = old.blobs().partition_point(|blob| blob.start <= region.start).checked_sub(1)?;
        let path = old.blobs().get(index)?.path();
        Some(show(path.strip_prefix(old.root()).unwrap_or(path).as_os_str().as_bytes()))
    }
}

/// So many regions are shown.
const MOST: usize = 24;
