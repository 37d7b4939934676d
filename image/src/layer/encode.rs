//! Writes tar entries: ustar where it suffices, PAX records where it does
//! not. No names of users, no times but the ones given.

use std::io::{self, Write};

use tar::{EntryType, Header};

use super::entry::{Entry, What};
use super::pax;
use super::stream::padding;

/// Largest owner that ustar's seven octal digits hold.
const MAX_USTAR_ID: u32 = 0o7_777_777;
/// Largest size that ustar's eleven octal digits hold.
const MAX_USTAR_SIZE: u64 = 0o77_777_777_777;
/// Bytes of ustar's name and link fields.
const USTAR_NAME: usize = 100;

/// Writes the entry's headers; its content and [`pad`] must follow.
pub(crate) fn write_entry(out: &mut impl Write, entry: &Entry) -> io::Result<()> {
    let mut records = Vec::new();
    for (name, value) in &entry.xattrs {
        records.push(([pax::XATTR.as_bytes(), name].concat(), value.clone()));
    }
    let mut header = Header::new_ustar();
    let name = fit(&entry.path, b"path", &mut records);
    copy(&mut header.as_old_mut().name, name);
    let (kind, link, device) = match &entry.what {
        What::File => (EntryType::Regular, None, None),
        What::Directory => (EntryType::Directory, None, None),
        What::Symlink(target) => (EntryType::Symlink, Some(target), None),
        What::HardLink(target) => (EntryType::Link, Some(target), None),
        What::CharDevice(major, minor) => (EntryType::Char, None, Some((*major, *minor))),
        What::BlockDevice(major, minor) => (EntryType::Block, None, Some((*major, *minor))),
        What::Fifo => (EntryType::Fifo, None, None),
    };
    header.set_entry_type(kind);
    if let Some(target) = link {
        let target = fit(target, b"linkpath", &mut records);
        copy(&mut header.as_old_mut().linkname, target);
    }
    if let Some((major, minor)) = device {
        header.set_device_major(major)?;
        header.set_device_minor(minor)?;
    } else {
        header.set_device_major(0)?;
        header.set_device_minor(0)?;
    }
    let mut number = |key: &[u8], value: u64, largest: u64| {
        if value <= largest {
            return value;
        }
        records.push((key.to_vec(), value.to_string().into_bytes()));
        0
    };
    header.set_uid(number(
        b"uid",
        u64::from(entry.uid),
        u64::from(MAX_USTAR_ID),
    ));
    header.set_gid(number(
        b"gid",
        u64::from(entry.gid),
        u64::from(MAX_USTAR_ID),
    ));
    header.set_size(number(b"size", entry.size, MAX_USTAR_SIZE));
    // Times before 1970 become 1970: ustar has no sign, and none is worth a
    // record.
    header.set_mtime(u64::try_from(entry.mtime).unwrap_or(0).min(MAX_USTAR_SIZE));
    header.set_mode(entry.mode);
    header.set_cksum();
    if !records.is_empty() {
        write_pax(out, &entry.path, records)?;
    }
    out.write_all(header.as_bytes())
}

/// Fills the content of `size` bytes up to whole blocks.
pub(crate) fn pad(out: &mut impl Write, size: u64) -> io::Result<()> {
    let zeros = [0_u8; 512];
    let length = usize::try_from(padding(size)).unwrap_or(0);
    out.write_all(zeros.get(..length).unwrap_or(&zeros))
}

/// The end mark: two zero blocks.
pub(crate) fn write_end(out: &mut impl Write) -> io::Result<()> {
    out.write_all(&[0_u8; 1024])
}

fn write_pax(
    out: &mut impl Write,
    path: &[u8],
    records: Vec<(Vec<u8>, Vec<u8>)>,
) -> io::Result<()> {
    let body = pax::encode(records);
    let mut header = Header::new_ustar();
    let mut name = b"PaxHeaders.0/".to_vec();
    name.extend(
        path.iter()
            .filter(|byte| byte.is_ascii_graphic() && **byte != b'/'),
    );
    name.truncate(USTAR_NAME);
    copy(&mut header.as_old_mut().name, &name);
    header.set_entry_type(EntryType::XHeader);
    header.set_size(body.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_device_major(0)?;
    header.set_device_minor(0)?;
    header.set_cksum();
    out.write_all(header.as_bytes())?;
    out.write_all(&body)?;
    pad(out, body.len() as u64)
}

/// A name for the header's field; one that does not fit, or is not ASCII,
/// goes to a record and is cut in the field.
fn fit<'n>(name: &'n [u8], key: &[u8], records: &mut Vec<(Vec<u8>, Vec<u8>)>) -> &'n [u8] {
    if name.len() <= USTAR_NAME && name.is_ascii() {
        return name;
    }
    records.push((key.to_vec(), name.to_vec()));
    let cut = name.get(..USTAR_NAME).unwrap_or(name);
    if cut.is_ascii() { cut } else { b"see-pax" }
}

fn copy(field: &mut [u8], bytes: &[u8]) {
    for (to, from) in field.iter_mut().zip(bytes) {
        *to = *from;
    }
}
