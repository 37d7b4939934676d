//! Store → archive. The same images give the same bytes: members in a fixed
//! order, without times and owners.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Read, Write};

use serde::Serialize;

use super::{ArchiveError, Form};
use crate::compress::{Coding, Decompressor};
use crate::digest::Digest;
use crate::document::{CONTAINERD_NAME, Descriptor, Index, REF_NAME, media};
use crate::layer::encode;
use crate::layer::entry::{Entry, What};
use crate::layer::limits::Limits;
use crate::reference::Reference;
use crate::store::{Image, LAYOUT, Store, StoreError};

/// One image of docker's `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// Writes images under these names; the same images give the same bytes.
///
/// In docker form, layers stay gzip as they are stored, which docker 20.10,
/// podman 4 and skopeo 1.9 read; zstd, which docker 20.10 does not know, is
/// written plain. What was written before an error is no archive.
pub fn save(
    store: &Store,
    images: &[(Reference, Image)],
    out: impl Write,
    form: Form,
) -> Result<(), ArchiveError> {
    let mut sorted: Vec<&(Reference, Image)> = images.iter().collect();
    sorted.sort_by_key(|(reference, image)| (reference.clone(), image.digest));
    let mut out = BufWriter::with_capacity(128 << 10, out);
    match form {
        Form::Docker => docker(store, &sorted, &mut out)?,
        Form::Oci => oci(store, &sorted, &mut out)?,
    }
    encode::write_end(&mut out).map_err(ArchiveError::Write)?;
    out.flush().map_err(ArchiveError::Write)
}

fn docker(
    store: &Store,
    images: &[&(Reference, Image)],
    out: &mut impl Write,
) -> Result<(), ArchiveError> {
    let mut tags: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
    let mut order: Vec<&Image> = Vec::new();
    for (reference, image) in images {
        let names = tags.entry(image.digest).or_default();
        if names.is_empty() {
            order.push(image);
        }
        names.push(
            reference
                .clone()
                .without_digest()
                .with_default_tag()
                .to_string(),
        );
    }
    let items: Vec<Item> = order
        .iter()
        .map(|image| Item {
            config: format!("{}.json", image.id().hex()),
            repo_tags: tags.remove(&image.digest).unwrap_or_default(),
            layers: image
                .manifest
                .layers
                .iter()
                .map(|layer| layer_name(&layer.digest))
                .collect(),
        })
        .collect();
    let manifest = serde_json::to_vec(&items).map_err(StoreError::Encode)?;
    bytes(out, "manifest.json", &manifest)?;
    let mut written = BTreeSet::new();
    for image in order {
        let config = &image.manifest.config;
        if written.insert(config.digest) {
            bytes(
                out,
                &format!("{}.json", config.digest.hex()),
                &store.read_blob(config)?,
            )?;
        }
        for layer in &image.manifest.layers {
            if !written.insert(layer.digest) {
                continue;
            }
            let name = layer_name(&layer.digest);
            if layer.media_type == media::LAYER_ZSTD {
                plain_layer(store, out, &name, layer)?;
            } else {
                blob(store, out, &name, layer)?;
            }
        }
    }
    Ok(())
}

fn layer_name(digest: &Digest) -> String {
    format!("{}.tar", digest.hex())
}

fn oci(
    store: &Store,
    images: &[&(Reference, Image)],
    out: &mut impl Write,
) -> Result<(), ArchiveError> {
    let mut index = Vec::new();
    let mut blobs: BTreeMap<Digest, Descriptor> = BTreeMap::new();
    for (reference, image) in images {
        let manifest = store.manifest_descriptor(&image.digest)?;
        for descriptor in image
            .manifest
            .layers
            .iter()
            .chain([&image.manifest.config, &manifest])
        {
            blobs.insert(descriptor.digest, descriptor.clone());
        }
        let name = reference.clone().without_digest().with_default_tag();
        let annotations = [(REF_NAME, name.to_string()), (CONTAINERD_NAME, name.full())];
        index.push(Descriptor {
            annotations: annotations
                .map(|(key, value)| (key.to_owned(), value))
                .into(),
            ..manifest
        });
    }
    let index = serde_json::to_vec(&Index::new(index)).map_err(StoreError::Encode)?;
    bytes(out, "oci-layout", LAYOUT.as_bytes())?;
    bytes(out, "index.json", &index)?;
    for descriptor in blobs.values() {
        let name = format!("blobs/sha256/{}", descriptor.digest.hex());
        blob(store, out, &name, descriptor)?;
    }
    Ok(())
}

fn header(out: &mut impl Write, name: &str, size: u64) -> Result<(), ArchiveError> {
    let entry = Entry {
        path: name.as_bytes().to_vec(),
        what: What::File,
        size,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: 0,
        mtime_nanos: 0,
        xattrs: Vec::new(),
    };
    encode::write_entry(out, &entry).map_err(ArchiveError::Write)
}

fn bytes(out: &mut impl Write, name: &str, content: &[u8]) -> Result<(), ArchiveError> {
    let size = content.len() as u64;
    header(out, name, size)?;
    out.write_all(content).map_err(ArchiveError::Write)?;
    encode::pad(out, size).map_err(ArchiveError::Write)
}

fn blob(
    store: &Store,
    out: &mut impl Write,
    name: &str,
    descriptor: &Descriptor,
) -> Result<(), ArchiveError> {
    header(out, name, descriptor.size)?;
    copy(&mut store.open_blob(descriptor)?, out, descriptor)?;
    encode::pad(out, descriptor.size).map_err(ArchiveError::Write)
}

/// Decompresses twice: a tar tells the size before the content.
fn plain_layer(
    store: &Store,
    out: &mut impl Write,
    name: &str,
    layer: &Descriptor,
) -> Result<(), ArchiveError> {
    let open = || {
        let wrap = |source| StoreError::ReadBlob {
            digest: layer.digest,
            source,
        };
        let blob = store.open_blob(layer)?;
        Decompressor::new(Coding::Zstd, blob, &Limits::default()).map_err(wrap)
    };
    let size = copy(&mut open()?, &mut io::sink(), layer)?;
    header(out, name, size)?;
    copy(&mut open()?, out, layer)?;
    encode::pad(out, size).map_err(ArchiveError::Write)
}

/// As `io::copy`, but tells which side failed.
fn copy(
    from: &mut impl Read,
    to: &mut impl Write,
    descriptor: &Descriptor,
) -> Result<u64, ArchiveError> {
    let mut buffer = vec![0; 128 << 10];
    let mut copied = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other.map_err(|source| {
                let digest = descriptor.digest;
                StoreError::ReadBlob { digest, source }
            })?,
        };
        match buffer.get(..read) {
            Some([]) | None => return Ok(copied),
            Some(bytes) => to.write_all(bytes).map_err(ArchiveError::Write)?,
        }
        copied += read as u64;
    }
}
