//! `siding diff --plan`: what making a patch would look at, and the memory it needs. Makes nothing.

use crate::args::{Diff, Level};
use crate::bytes::{count, size};
use crate::failure::Failure;
use crate::output::{Reply, table};
use crate::progress::Show;
use serde_json::{Value, json};
use siding_image::{Identity, Image};
use siding_patch::Layout;
use std::collections::BTreeMap;

/// Below this nobody needs to be told.
const WORTH_SAYING: u64 = 1_000_000_000;

pub(crate) fn plan(args: &Diff) -> Result<Reply, Failure> {
    let (old, new) = (Image::open(&args.old)?, Image::open(&args.new)?);
    let layout = Layout::new(&old, new.content());
    let plan = Plan {
        old: old.identity(),
        new: new.identity(),
        files: layout.fresh().len(),
        bytes: layout.len(),
        programs: programs(&layout, &new)?,
        level: args.level,
        memory: memory(args, &old, &layout),
    };
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

/// Files and bytes of each kind of program among the changed files.
type Programs = BTreeMap<Program, (usize, u64)>;

fn programs(layout: &Layout, new: &Image) -> Result<Programs, Failure> {
    let mut programs = Programs::new();
    for file in layout.fresh() {
        let Some(blob) = new.blob(&file.digest) else { continue };
        if let Some(program) = Program::of(blob.bytes()?) {
            let entry = programs.entry(program).or_default();
            *entry = (entry.0 + 1, entry.1 + file.size);
        }
    }
    Ok(programs)
}

impl Plan {
    fn is_pair(&self) -> bool {
        self.old.kind == self.new.kind
    }

    /// For people: names and what is said of them.
    fn rows(&self) -> Vec<Vec<String>> {
        let image = |image: &Identity| format!("{}, a {}", size(image.size), image.kind);
        let changed =
            format!("{} in {} of the new image", size(self.bytes), count(self.files, "changed file"));
        let mut rows = vec![("old", image(&self.old)), ("new", image(&self.new)), ("to match", changed)];
        for (program, (files, bytes)) in &self.programs {
            let how =
                if program.predicted { "its references are predicted" } else { "matched as plain bytes" };
            let Program { format, machine, .. } = program;
            let files = count(*files, "file");
            rows.push(("program", format!("{format} {machine}, {files}, {}; {how}", size(*bytes))));
        }
        let (memory, level) = (size(self.memory), self.level.name());
        rows.push(("memory", format!("about {memory} at most, at level {level}")));
        if !self.is_pair() {
            rows.push(("but", format!("a {} and a {} make no pair", self.old.kind, self.new.kind)));
        }
        rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect()
    }

    fn json(&self) -> Value {
        let image = |image: &Identity| json!({ "kind": image.kind.to_string(), "bytes": image.size });
        let programs = self.programs.iter().map(|(program, (files, bytes))| {
            json!({
                "format": program.format, "architecture": program.machine, "files": files, "bytes": bytes,
                "predicted": program.predicted,
            })
        });
        json!({
            "old": image(&self.old), "new": image(&self.new), "pair": self.is_pair(),
            "changed_files": self.files, "changed_bytes": self.bytes, "programs": programs.collect::<Vec<_>>(),
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

/// What kind of program a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Program {
    format: &'static str,
    machine: &'static str,
    /// Whether its code's references are predicted.
    predicted: bool,
}

impl Program {
    /// By the file's first bytes; `None` for what is no program.
    fn of(bytes: &[u8]) -> Option<Self> {
        let (format, machine) = elf(bytes).or_else(|| pe(bytes)).or_else(|| mach_o(bytes))?;
        Some(Self { format, machine, predicted: [X86_64, AARCH64].contains(&machine) })
    }
}

const X86_64: &str = "x86-64";
const AARCH64: &str = "AArch64";
const OTHER: &str = "another architecture";

fn elf(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    bytes.strip_prefix(b"\x7fELF")?;
    let machine = bytes.get(18..)?.first_chunk()?;
    let machine = match bytes.get(5)? {
        2 => u16::from_be_bytes(*machine),
        _ => u16::from_le_bytes(*machine),
    };
    let machine = match machine {
        62 => X86_64,
        183 => AARCH64,
        3 => "x86",
        40 => "Arm",
        243 => "RISC-V",
        21 => "PowerPC64",
        22 => "S390",
        8 => "MIPS",
        _ => OTHER,
    };
    Some(("ELF", machine))
}

fn pe(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    bytes.strip_prefix(b"MZ")?;
    let head = u32::from_le_bytes(*bytes.get(0x3c..)?.first_chunk()?);
    let head = bytes.get(usize::try_from(head).ok()?..)?.strip_prefix(b"PE\0\0")?;
    let machine = match u16::from_le_bytes(*head.first_chunk()?) {
        0x8664 => X86_64,
        0xaa64 => AARCH64,
        0x014c => "x86",
        _ => OTHER,
    };
    Some(("PE", machine))
}

fn mach_o(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let words = bytes.strip_prefix(&0xfeed_facf_u32.to_le_bytes())?;
    let machine = match u32::from_le_bytes(*words.first_chunk()?) {
        0x0100_0007 => X86_64,
        0x0100_000c => AARCH64,
        _ => OTHER,
    };
    Some(("Mach-O", machine))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_by_their_first_bytes() {
        let mut elf = [0; 64];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[18] = 183;
        let mut pe = [0; 0x80];
        pe[..2].copy_from_slice(b"MZ");
        pe[0x3c] = 0x40;
        pe[0x40..0x46].copy_from_slice(b"PE\0\0\x64\x86");
        let told = |bytes: &[u8]| Program::of(bytes).map(|program| (program.format, program.machine));
        assert_eq!(told(&elf), Some(("ELF", AARCH64)));
        assert_eq!(told(&pe), Some(("PE", X86_64)));
        assert_eq!(told(b"\xcf\xfa\xed\xfe\x0c\0\0\x01"), Some(("Mach-O", AARCH64)));
        for none in [&b""[..], b"#!/bin/sh", b"MZ", b"\x7fELF", &elf[..19]] {
            assert_eq!(told(none), None, "{none:?}");
        }
    }
}
