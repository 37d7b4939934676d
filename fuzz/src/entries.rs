//! Layers made of entries: what a fuzzer of bytes would need years to write.
//! Names are drawn from few words, so that they meet.

use arbitrary::{Result, Unstructured};
use tar::EntryType;

use crate::jail::Jail;
use crate::tarball;

/// Records in one extended header.
const MAX_RECORDS: usize = 4;

pub(crate) fn run(data: &[u8]) {
    let jail = Jail::new();
    let outside = jail.outside().into_os_string().into_encoded_bytes();
    let mut from = Unstructured::new(data);
    // What is there when the bytes run out is a layer as well.
    let mut tar = Vec::new();
    while let Ok(()) = entry(&mut from, &outside, &mut tar) {}
    tarball::end(&mut tar);
    crate::layer::through(&jail, &tar);
}

fn entry(from: &mut Unstructured<'_>, outside: &[u8], tar: &mut Vec<u8>) -> Result<()> {
    if from.is_empty() {
        return Err(arbitrary::Error::NotEnoughData);
    }
    let path = path(from, outside)?;
    let link = path_to(from, outside)?;
    let kind = kind(from)?;
    extensions(from, outside, tar)?;
    let content: &[u8] = match kind {
        EntryType::Regular => from.choose(&[&b""[..], b"1", b"content", &[7; 600]])?,
        _ => b"",
    };
    let (mode, uid, numbers) = (
        u32::from(from.arbitrary::<u16>()?),
        from.arbitrary::<u8>()?,
        *from.choose(&[0, 1, 3, 8])?,
    );
    let time = *from.choose(&[0, 1, 1_000_000, u64::from(u32::MAX)])?;
    let lie = from
        .ratio(1_u8, 30)?
        .then(|| from.arbitrary::<u64>())
        .transpose()?;
    tarball::append(tar, &path, content, |header| {
        header.set_entry_type(kind);
        tarball::copy(&mut header.as_old_mut().linkname, &link);
        header.set_mode(mode & 0o7777);
        header.set_uid(u64::from(uid));
        header.set_mtime(time);
        header.set_device_major(numbers).expect("a ustar header");
        header
            .set_device_minor(numbers / 2)
            .expect("a ustar header");
        if let Some(size) = lie {
            header.set_size(size);
        }
    });
    Ok(())
}

fn kind(from: &mut Unstructured<'_>) -> Result<EntryType> {
    const KINDS: [u8; 20] = *b"00000555552222111346";
    if from.ratio(1_u8, 40)? {
        return Ok(EntryType::new(from.arbitrary()?));
    }
    Ok(EntryType::new(*from.choose(&KINDS)?))
}

const WORDS: [&[u8]; 16] = [
    b"a",
    b"a",
    b"b",
    b"b",
    b"c",
    b"d",
    b"..",
    b".",
    b"",
    b".wh.a",
    b".wh.b",
    b".wh.c",
    b".wh..wh..opq",
    b".wh.",
    b"outside",
    b"canary",
];

fn path(from: &mut Unstructured<'_>, outside: &[u8]) -> Result<Vec<u8>> {
    if from.ratio(1_u8, 20)? {
        return absolute(from, outside);
    }
    let mut path = Vec::new();
    for _ in 0..from.int_in_range(0..=3_u8)? {
        path.extend_from_slice(from.choose(&WORDS)?);
        path.push(b'/');
    }
    path.extend_from_slice(from.choose(&WORDS)?);
    Ok(path)
}

/// Where a link leads: further than a name can.
fn path_to(from: &mut Unstructured<'_>, outside: &[u8]) -> Result<Vec<u8>> {
    match from.int_in_range(0..=3_u8)? {
        0 => absolute(from, outside),
        1 => Ok(from
            .choose(&[
                &b".."[..],
                b"../..",
                b"../../outside",
                b"../outside",
                b"/",
                b".",
            ])?
            .to_vec()),
        _ => path(from, outside),
    }
}

fn absolute(from: &mut Unstructured<'_>, outside: &[u8]) -> Result<Vec<u8>> {
    let mut path = match from.int_in_range(0..=3_u8)? {
        0 | 1 => outside.to_vec(),
        2 => b"/proc/self/cwd".to_vec(),
        _ => b"/proc/self/root".to_vec(),
    };
    if from.arbitrary()? {
        path.push(b'/');
        path.extend_from_slice(from.choose(&WORDS)?);
    }
    Ok(path)
}

/// Extended headers in front of an entry, of both kinds.
fn extensions(from: &mut Unstructured<'_>, outside: &[u8], tar: &mut Vec<u8>) -> Result<()> {
    let mut body = Vec::new();
    // Bytes that have run out are zeros, which would mean one more for ever.
    for _ in 0..MAX_RECORDS {
        if from.is_empty() || !from.ratio(1_u8, 5)? {
            break;
        }
        let key: &[u8] = from.choose(&[
            &b"path"[..],
            b"linkpath",
            b"size",
            b"uid",
            b"gid",
            b"mtime",
            b"comment",
            b"SCHILY.xattr.user.x",
            b"SCHILY.xattr.trusted.x",
            b"SCHILY.xattr.trusted.overlay.opaque",
            b"SCHILY.xattr.security.capability",
            b"GNU.sparse.major",
            b"hdrcharset",
        ])?;
        let value = match key {
            b"path" | b"linkpath" => path_to(from, outside)?,
            b"SCHILY.xattr.security.capability" => {
                let mut capability = vec![1, 0, 0, 2, 0, 32];
                capability.resize(20, 0);
                capability
            }
            _ => from
                .choose(&[
                    &b"0"[..],
                    b"1",
                    b"7.5",
                    b"-1",
                    b"-1.25",
                    b"",
                    b"y",
                    b"1\0",
                    b"99999999999999999999",
                ])?
                .to_vec(),
        };
        tarball::record(&mut body, key, &value);
    }
    if !body.is_empty() {
        let kind = if from.ratio(1_u8, 10)? { b'g' } else { b'x' };
        tarball::append(tar, b"pax", &body, |header| {
            header.set_entry_type(EntryType::new(kind))
        });
    }
    if from.ratio(1_u8, 20)? {
        let kind = *from.choose(b"LK")?;
        let mut name = path_to(from, outside)?;
        name.push(0);
        tarball::append(tar, b"././@LongLink", &name, |header| {
            header.set_entry_type(EntryType::new(kind));
        });
    }
    Ok(())
}
