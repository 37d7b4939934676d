//! As much of the ELF format as says whether a program can be loaded: its
//! interpreter, the libraries it needs, and where it looks for them.
//!
//! Files of an image are hostile: every offset is checked, and what makes no
//! sense is no ELF file (the kernel then says so at the start).

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

/// What an ELF file needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Elf {
    /// PT_INTERP: the loader; none for a static program or a library.
    pub(crate) interpreter: Option<PathBuf>,
    /// DT_NEEDED.
    pub(crate) needed: Vec<PathBuf>,
    /// DT_RPATH and DT_RUNPATH, split at their colons.
    pub(crate) search: Vec<String>,
}

/// The most program headers, entries and bytes of names that are read; real
/// files have a tenth of each.
const MAX_HEADERS: u16 = 256;
const MAX_DYNAMIC: u64 = 64 * 1024;
const MAX_NAME: usize = 4096;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;

const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;

/// One program header: where a segment lies in the file and in memory.
#[derive(Debug, Clone, Copy)]
struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    size: u64,
}

/// Reads a 64-bit little-endian ELF file, the kind that both architectures
/// have; none where it is anything else.
pub(crate) fn read(file: &File) -> Option<Elf> {
    let head: [u8; 64] = bytes(file, 0)?;
    if head.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let table = u64_at(&head, 32)?;
    let size = u16_at(&head, 54)?;
    let count = u16_at(&head, 56)?;
    if size != 56 || count > MAX_HEADERS {
        return None;
    }
    let mut segments = Vec::new();
    for number in 0..count {
        let header: [u8; 56] = bytes(file, table.checked_add(u64::from(number) * 56)?)?;
        segments.push(Segment {
            kind: u32_at(&header, 0)?,
            offset: u64_at(&header, 8)?,
            address: u64_at(&header, 16)?,
            size: u64_at(&header, 32)?,
        });
    }
    let of_kind = |kind| segments.iter().find(|segment| segment.kind == kind);
    let mut elf = Elf::default();
    if let Some(segment) = of_kind(PT_INTERP) {
        let path = name_at(file, segment.offset)?;
        elf.interpreter = Some(PathBuf::from(OsStr::from_bytes(&path)));
    }
    if let Some(segment) = of_kind(PT_DYNAMIC) {
        dynamic(file, &segments, segment, &mut elf)?;
    }
    Some(elf)
}

/// The dynamic section: pairs of a tag and a value, up to DT_NULL.
fn dynamic(file: &File, segments: &[Segment], section: &Segment, elf: &mut Elf) -> Option<()> {
    let mut needed = Vec::new();
    let mut search = Vec::new();
    let mut strings = None;
    let size = section.size.min(MAX_DYNAMIC);
    for number in 0..size / 16 {
        let entry: [u8; 16] = bytes(file, section.offset.checked_add(number * 16)?)?;
        let value = u64_at(&entry, 8)?;
        match u64_at(&entry, 0)? {
            DT_NULL => break,
            DT_NEEDED => needed.push(value),
            DT_STRTAB => strings = Some(value),
            DT_RPATH | DT_RUNPATH => search.push(value),
            _ => {}
        }
    }
    // The table of names is given by its address in memory.
    let address = strings?;
    let holds = |segment: &&Segment| {
        let end = segment.address.saturating_add(segment.size);
        segment.kind == PT_LOAD && (segment.address..end).contains(&address)
    };
    let load = segments.iter().find(holds)?;
    let table = load
        .offset
        .checked_add(address.checked_sub(load.address)?)?;
    for at in needed {
        let name = name_at(file, table.checked_add(at)?)?;
        elf.needed.push(PathBuf::from(OsStr::from_bytes(&name)));
    }
    for at in search {
        let path = name_at(file, table.checked_add(at)?)?;
        let path = String::from_utf8_lossy(&path).into_owned();
        elf.search.extend(
            path.split(':')
                .filter(|part| !part.is_empty())
                .map(str::to_owned),
        );
    }
    Some(())
}

fn bytes<const N: usize>(file: &File, offset: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, offset).ok()?;
    Some(bytes)
}

/// The bytes up to a NUL.
fn name_at(file: &File, offset: u64) -> Option<Vec<u8>> {
    let mut name = vec![0; MAX_NAME];
    let count = file.read_at(&mut name, offset).ok()?;
    name.truncate(count);
    let end = name.iter().position(|byte| *byte == 0)?;
    name.truncate(end);
    Some(name)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn parse(content: &[u8]) -> Option<Elf> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        read(&file)
    }

    #[test]
    fn a_dynamic_program_names_its_loader_and_libraries() {
        let elf = read(&File::open("/bin/ls").unwrap()).unwrap();
        assert!(elf.interpreter.unwrap().starts_with("/lib64"));
        assert!(elf.needed.contains(&PathBuf::from("libc.so.6")));
    }

    #[test]
    fn a_program_cut_anywhere_is_refused_or_read_but_never_a_panic() {
        let whole = std::fs::read("/bin/true").unwrap();
        for length in (0..whole.len()).step_by(97) {
            let _ = parse(&whole[..length]);
        }
        let mut damaged = whole.clone();
        for at in 0..1024.min(whole.len()) {
            damaged[at] ^= 0xff;
            let _ = parse(&damaged);
            damaged[at] ^= 0xff;
        }
    }

    #[test]
    fn a_script_is_no_elf_file() {
        assert_eq!(parse(b"#!/bin/sh\n"), None);
        assert_eq!(parse(b""), None);
    }
}
