//! What programs and libraries are made of: which bytes have which addresses, and hold which kind of references.
//!
//! Only the maker reads ELF, PE and Mach-O (by the `object` crate); the patch tells the device what it needs.

use object::read::{Object, ObjectSection};
use object::{Architecture, File, SectionFlags, SectionKind, elf};
use siding_predict::{Kind, Model, Region, SPACE, Segment, ShiftMap, Span};

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
        let mut binary = Self::default();
        let Ok(file) = File::parse(bytes) else { return binary };
        if space >= 1 << 16 {
            return binary;
        }
        let base = space * SPACE;
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
            let Some((offset, len)) = section.file_range().filter(|(_, len)| *len > 0) else { continue };
            if offset.checked_add(len).is_none_or(|end| end > bytes.len() as u64) {
                continue;
            }
            let kind = kind(&file, &section);
            let link = if kind.has_link() { base + link(&file, &section) } else { 0 };
            binary.regions.push(Region { start: start + offset, len: len.min(size), address, kind, link });
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
            let same = next.kind == region.kind && region.kind.joins() && gap < 4096;
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

trait Joins {
    /// Whether two regions of this kind side by side may count as one.
    fn joins(self) -> bool;
}

impl Joins for Kind {
    fn joins(self) -> bool {
        matches!(self, Self::X86_64 | Self::AArch64 | Self::Words64 | Self::Jumps | Self::Plain)
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

/// The address of the table that a table refers to by number.
fn link<'a>(file: &File<'_>, section: &impl ObjectSection<'a>) -> u64 {
    let to = if section.name() == Ok(".dynsym") { ".dynstr" } else { ".dynsym" };
    file.section_by_name(to).map_or(0, |section| section.address() & (SPACE - 1))
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
