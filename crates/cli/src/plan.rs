//! `siding diff --plan`: what making a patch would look at, and the memory it needs. Makes nothing.

use crate::args::{Diff, Level};
use crate::bytes::{count, size};
use crate::failure::Failure;
use crate::make::open_pair;
use crate::output::{Reply, table};
use crate::progress::Show;
use serde_json::{Value, json};
use siding_diff::Program;
use siding_image::{Identity, Image};
use siding_patch::Layout;
use std::collections::{BTreeMap, BTreeSet};

/// Below this nobody needs to be told.
const WORTH_SAYING: u64 = 1_000_000_000;

pub(crate) fn plan(args: &Diff) -> Result<Reply, Failure> {
    let (old, new) = open_pair(args)?;
    let layout = Layout::new(&old, new.content());
    let mut plan = Plan {
        old: old.identity(),
        new: new.identity(),
        files: 0,
        bytes: 0,
        programs: Programs::new(),
        level: args.level,
        memory: memory(args, &old, &layout),
    };
    if plan.old != plan.new {
        (plan.files, plan.bytes) = (layout.fresh().len(), layout.len());
        plan.programs = programs(&layout, &old, &new)?;
    }
    Ok(Reply::new(table(&plan.rows(), &[]), plan.json()))
}

/// What making a patch would look at.
struct Plan {
    old: Identity,
    new: Identity,
    /// Files and bytes of the new image that the old one does not have.
    files: usize,
    bytes: u64,
    programs: Programs,
    level: Level,
    memory: u64,
}

/// Files and bytes of each kind of program among the changed files, and what is predicted of them.
type Programs = BTreeMap<(Program, Predicted), (usize, u64)>;

/// Which references of a program are predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Predicted {
    /// There is no such program in the old image.
    Nothing,
    Tables,
    All,
}

fn programs(layout: &Layout, old: &Image, new: &Image) -> Result<Programs, Failure> {
    let mut known = BTreeSet::new();
    for blob in old.blobs() {
        known.extend(Program::of(blob.bytes()?));
    }
    let mut programs = Programs::new();
    for file in layout.fresh() {
        let Some(blob) = new.blob(&file.digest) else { continue };
        if let Some(program) = Program::of(blob.bytes()?) {
            let predicted = match known.contains(&program) {
                true if program.code_predicted => Predicted::All,
                true => Predicted::Tables,
                false => Predicted::Nothing,
            };
            let entry = programs.entry((program, predicted)).or_default();
            *entry = (entry.0 + 1, entry.1 + file.size);
        }
    }
    Ok(programs)
}

impl Plan {
    /// For people: names and what is said of them.
    fn rows(&self) -> Vec<Vec<String>> {
        let image = |image: &Identity| format!("{}, a {}", size(image.size), image.kind);
        let changed = match self.old == self.new {
            true => "nothing changed".to_owned(),
            false => {
                format!("{} in {} of the new image", size(self.bytes), count(self.files, "changed file"))
            }
        };
        let mut rows = vec![("old", image(&self.old)), ("new", image(&self.new)), ("to match", changed)];
        for ((program, predicted), (files, bytes)) in &self.programs {
            let how = match predicted {
                Predicted::All => "its references are predicted",
                Predicted::Tables => "its tables are predicted, its code matched as plain bytes",
                Predicted::Nothing => "matched as plain bytes: there is none in the old image",
            };
            let Program { format, architecture, .. } = program;
            let files = count(*files, "file");
            rows.push(("program", format!("{format} {architecture}, {files}, {}; {how}", size(*bytes))));
        }
        let (memory, level) = (size(self.memory), self.level.name());
        rows.push(("memory", format!("about {memory} at most, at level {level}")));
        rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect()
    }

    fn json(&self) -> Value {
        let image = |image: &Identity| json!({ "kind": image.kind.to_string(), "bytes": image.size });
        let programs = self.programs.iter().map(|((program, predicted), (files, bytes))| {
            json!({
                "format": program.format, "architecture": program.architecture, "files": files, "bytes": bytes,
                "code_predicted": *predicted == Predicted::All, "tables_predicted": *predicted != Predicted::Nothing,
            })
        });
        json!({
            "old": image(&self.old), "new": image(&self.new), "changed_files": self.files,
            "changed_bytes": self.bytes, "programs": programs.collect::<Vec<_>>(),
            "level": self.level.name(), "memory_bytes": self.memory,
        })
    }
}

/// Says how much memory making the patch needs, where that is a lot.
pub(crate) fn warn(args: &Diff, old: &Image, new: &Image, show: &Show) {
    let memory = memory(args, old, &Layout::new(old, new.content()));
    if memory > WORTH_SAYING {
        show.needs_memory(memory);
    }
}

fn memory(args: &Diff, old: &Image, layout: &Layout) -> u64 {
    siding_diff::memory(old.len(), layout.len(), args.level.into())
}
