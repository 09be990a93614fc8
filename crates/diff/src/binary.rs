//! What programs and libraries are made of: which bytes have which addresses, and hold which kind of references.
//!
//! Only the maker reads ELF, PE and Mach-O (by the `object` crate); the patch tells the device what it needs.

use object::read::{Object, ObjectSection};
use object::{Architecture, BinaryFormat, File, SectionFlags, SectionKind, elf};
use siding_predict::{Kind, Model, Region, SPACE, Segment, ShiftMap, Span};

/// What a file is to the maker, if it is a program or a library.
///
/// ```
/// # let testdata = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
/// let file = std::fs::read(testdata.join("libssl/3.0.20/libssl.so.3"))?;
/// let program = siding_diff::Program::of(&file).expect("a library");
/// assert_eq!((program.format, program.architecture), ("ELF", "x86-64"));
/// assert!(program.code_predicted);
/// assert_eq!(siding_diff::Program::of(b"no program"), None);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Program {
    /// How it is laid out: `ELF`, `PE`, `Mach-O`.
    pub format: &'static str,
    /// What it runs on: `x86-64`, `AArch64`.
    pub architecture: &'static str,
    /// Whether references in its code are predicted; if not, it is matched as it is, but for its tables.
    pub code_predicted: bool,
}

impl Program {
    /// What `bytes` are, as far as the maker can read them; `None` for what has no addresses.
    ///
    /// Looks at headers only.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let file = File::parse(bytes).ok()?;
        let binary = Binary::read(&file, bytes.len() as u64, 0, 0);
        (!binary.spans.is_empty()).then(|| Self {
            format: format(file.format()),
            architecture: architecture(file.architecture()),
            code_predicted: binary.regions.iter().any(|region| region.kind.is_code()),
        })
    }
}

/// A program's layout: regions of its bytes, in order and apart, and which addresses exist.
#[derive(Debug, Default)]
pub(crate) struct Binary {
    pub(crate) regions: Vec<Region>,
    pub(crate) spans: Vec<Span>,
}

impl Binary {
    /// The layout of the file `bytes`, which starts at `start` of a flat space and has the `space`-th addresses.
    ///
    /// What is no program, or is one that cannot be read, has none.
    pub(crate) fn of(bytes: &[u8], start: u64, space: u64) -> Self {
        File::parse(bytes)
            .map_or_else(|_| Self::default(), |file| Self::read(&file, bytes.len() as u64, start, space))
    }

    fn read(file: &File<'_>, len: u64, start: u64, space: u64) -> Self {
        let mut binary = Self::default();
        if space >= 1 << 16 {
            return binary;
        }
        let base = space * SPACE;
        let tables = Tables::of(file);
        for section in file.sections() {
            let (address, size) = (section.address(), section.size());
            if size == 0 || !is_loaded(&section) {
                continue;
            }
            let address = base + (address & (SPACE - 1));
            let code = section.kind() == SectionKind::Text;
            let end = address.saturating_add(size);
            if end > base + SPACE - 1 {
                continue;
            }
            if !is_symbols(&section) {
                binary.spans.push(Span { start: address, end, code });
            }
            let Some((offset, stored)) = section.file_range().filter(|(_, len)| *len > 0) else { continue };
            if offset.checked_add(stored).is_none_or(|end| end > len) {
                continue;
            }
            let kind = kind(file, &section);
            let link = if kind.has_link() { base + tables.linked_from(&section) } else { 0 };
            binary.regions.push(Region { start: start + offset, len: stored.min(size), address, kind, link });
        }
        binary.tidy();
        binary
    }

    /// Adds the layout of a file that comes after; whether it is a program.
    pub(crate) fn append(&mut self, next: Self) -> bool {
        let program = !next.spans.is_empty();
        self.regions.extend(next.regions);
        self.spans.extend(next.spans);
        program
    }

    /// A model in which nothing moves yet; an odd program's parts may not make one, and then nothing is predicted.
    pub(crate) fn model(self, segments: Vec<Segment>) -> Model {
        Model::new(self.regions, self.spans, segments, ShiftMap::default()).unwrap_or_default()
    }

    /// Puts everything in order, apart, and together where nothing is lost by it.
    fn tidy(&mut self) {
        self.regions.sort_by_key(|region| (region.start, region.len));
        let mut end = 0;
        self.regions.retain(|region| {
            let apart = region.start >= end;
            end = end.max(region.start + region.len);
            apart
        });
        self.regions.dedup_by(|next, region| {
            let gap = next.start - (region.start + region.len);
            let same = next.kind == region.kind && joins(region.kind) && gap < 4096;
            let joins = same && next.start - region.start == next.address.wrapping_sub(region.address);
            if joins {
                region.len = next.start + next.len - region.start;
            }
            joins
        });
        self.spans.sort_by_key(|span| (span.start, span.end));
        self.spans.dedup_by(|next, span| {
            let joins = next.start <= span.end || (next.code == span.code && next.start - span.end < 1 << 16);
            if joins {
                span.end = span.end.max(next.end);
                span.code |= next.code;
            }
            joins
        });
    }

    /// The runs of bytes whose addresses go up with them, without their space.
    pub(crate) fn segments(&self) -> Vec<Segment> {
        let mut segments: Vec<Segment> = Vec::new();
        for region in &self.regions {
            let Region { start, len, address, .. } = *region;
            let address = address & (SPACE - 1);
            match segments.last_mut() {
                Some(last) if address.wrapping_sub(last.address) == start - last.start => {
                    last.len = start + len - last.start;
                }
                _ => segments.push(Segment { start, len, address }),
            }
        }
        segments
    }
}

/// Whether two regions of this kind side by side may count as one.
fn joins(kind: Kind) -> bool {
    matches!(kind, Kind::X86_64 | Kind::AArch64 | Kind::Words64 | Kind::Jumps | Kind::Plain)
}

fn format(format: BinaryFormat) -> &'static str {
    match format {
        BinaryFormat::Elf => "ELF",
        BinaryFormat::Pe => "PE",
        BinaryFormat::MachO => "Mach-O",
        BinaryFormat::Coff => "COFF",
        _ => "another format",
    }
}

fn architecture(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86_64 => "x86-64",
        Architecture::Aarch64 => "AArch64",
        Architecture::I386 => "x86",
        Architecture::Arm => "Arm",
        Architecture::Riscv32 | Architecture::Riscv64 => "RISC-V",
        Architecture::PowerPc64 => "PowerPC64",
        Architecture::S390x => "S390",
        Architecture::Mips | Architecture::Mips64 => "MIPS",
        _ => "another architecture",
    }
}

fn is_loaded<'a>(section: &impl ObjectSection<'a>) -> bool {
    match section.flags() {
        SectionFlags::Elf { sh_flags } => {
            has(sh_flags, elf::SHF_ALLOC) && !has(sh_flags, elf::SHF_TLS) || is_symbols(section)
        }
        _ => true,
    }
}

/// The addresses of the tables that others refer to by number. Looked up once: a file may have a hundred thousand
/// sections, each with relocations.
struct Tables {
    symbols: u64,
    names: u64,
}

impl Tables {
    fn of(file: &File<'_>) -> Self {
        let address =
            |name: &str| file.section_by_name(name).map_or(0, |section| section.address() & (SPACE - 1));
        Self { symbols: address(".dynsym"), names: address(".dynstr") }
    }

    /// The one that `section` refers to.
    fn linked_from<'a>(&self, section: &impl ObjectSection<'a>) -> u64 {
        if section.name() == Ok(".dynsym") { self.names } else { self.symbols }
    }
}

fn has(flags: u64, flag: impl Into<u64>) -> bool {
    flags & flag.into() != 0
}

fn is_symbols<'a>(section: &impl ObjectSection<'a>) -> bool {
    section.name() == Ok(".symtab")
}

fn kind<'a>(file: &File<'_>, section: &impl ObjectSection<'a>) -> Kind {
    let wide = file.is_64();
    if section.kind() == SectionKind::Text {
        return match file.architecture() {
            Architecture::X86_64 => Kind::X86_64,
            Architecture::Aarch64 => Kind::AArch64,
            _ => Kind::Plain,
        };
    }
    if let SectionFlags::Elf { sh_flags } = section.flags() {
        let name = section.name().unwrap_or_default();
        return match name {
            ".dynsym" | ".symtab" if wide => Kind::Symbols64,
            ".dynsym" | ".symtab" => Kind::Symbols32,
            ".eh_frame" => Kind::EhFrame,
            ".eh_frame_hdr" => Kind::EhFrameHdr,
            // The kernel's exception, bug and unwind tables too count from their own place.
            ".gcc_except_table" | "__ex_table" | "__bug_table" | ".orc_unwind_ip" => Kind::Offsets,
            ".gnu.hash" if wide => Kind::GnuHash64,
            ".dynstr" | ".gnu.version" | ".gnu.version_r" | ".gnu.hash" | ".hash" | ".interp" => Kind::Plain,
            _ if name.starts_with(".rela") && wide => Kind::Rela64,
            _ if name.starts_with(".rel") && !wide => Kind::Words32,
            ".relr.dyn" if wide => Kind::Words64,
            _ if has(sh_flags, elf::SHF_WRITE) && wide => Kind::Words64,
            _ if has(sh_flags, elf::SHF_WRITE) => Kind::Words32,
            _ => Kind::Jumps,
        };
    }
    match section.kind() {
        SectionKind::Data if wide => Kind::Words64,
        SectionKind::ReadOnlyData | SectionKind::ReadOnlyString => Kind::Jumps,
        _ => Kind::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(folder: &str) -> Vec<u8> {
        let testdata = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
        std::fs::read(testdata.join(folder).join("3.0.20/libssl.so.3")).unwrap()
    }

    #[test]
    fn libraries_are_told_by_their_headers() {
        for (folder, architecture) in [("libssl", "x86-64"), ("libssl-arm64", "AArch64")] {
            let expected = Program { format: "ELF", architecture, code_predicted: true };
            assert_eq!(Program::of(&library(folder)), Some(expected));
        }
    }

    #[test]
    fn code_of_other_machines_is_not_predicted() {
        let mut riscv = library("libssl");
        riscv[18] = 243;
        let expected = Program { format: "ELF", architecture: "RISC-V", code_predicted: false };
        assert_eq!(Program::of(&riscv), Some(expected));
    }

    #[test]
    fn tables_know_which_table_they_refer_to() {
        let bytes = library("libssl");
        let file = File::parse(&*bytes).unwrap();
        let address = |name: &str| file.section_by_name(name).unwrap().address();
        let binary = Binary::of(&bytes, 0, 0);
        for region in binary.regions.iter().filter(|region| region.kind.has_link()) {
            let to = if region.address == address(".dynsym") { ".dynstr" } else { ".dynsym" };
            assert_eq!(region.link, address(to), "{region:?}");
        }
    }

    #[test]
    fn what_is_cut_short_is_no_program() {
        let bytes = library("libssl");
        assert_eq!(Program::of(b""), None);
        assert_eq!(Program::of(&bytes[..1000]), None);
        assert_eq!(Program::of(&crate::tests::noise(1, 4096)), None);
    }
}
