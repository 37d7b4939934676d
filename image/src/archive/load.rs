//! Archive → store.

use std::collections::HashMap;
use std::io::{Read, Write};

use serde::Deserialize;

use super::layout::{self, Blobs};
use super::{ArchiveError, Refused};
use crate::compress::{Coding, Decompressor, sniff};
use crate::digest::Digest;
use crate::document::{
    self, Descriptor, DocumentError, ImageConfig, MAX_DOCUMENT, Manifest, media,
};
use crate::layer::entry::What;
use crate::layer::limits::Limits;
use crate::layer::stream::TarReader;
use crate::reference::Reference;
use crate::root::read_bounded;
use crate::store::{Image, Staged, Store};

/// Members of one archive: far more than the layers of all its images can be.
const MAX_MEMBERS: usize = 20_000;
/// Links to follow from one member to another; docker writes one.
const MAX_LINKS: u32 = 8;

/// Reads a docker-archive or OCI archive, plain, gzip or zstd, into the
/// store. Nothing is tagged: an image appears once for each of its names, or
/// once with `None`. After an error no image of it is in the list, and what had
/// become a blob goes with the next gc.
///
/// An archive of both forms at once (docker 25 and later) is read as docker's,
/// which has the full names.
pub fn load(
    store: &Store,
    input: impl Read,
) -> Result<Vec<(Option<Reference>, Image)>, ArchiveError> {
    let mut members = Members::read(store, input)?;
    let images = if members.has("manifest.json") {
        docker(store, &mut members)?
    } else if members.has("index.json") {
        let index = members.bytes("index.json")?;
        layout::images(store, &mut members, &index)?
    } else {
        return Err(ArchiveError::NotAnArchive);
    };
    store.sync_blobs()?;
    Ok(images)
}

/// One image of docker's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

fn docker(
    store: &Store,
    members: &mut Members<'_>,
) -> Result<Vec<(Option<Reference>, Image)>, ArchiveError> {
    let name = "manifest.json";
    let items: Vec<Item> =
        document::decode("image list", &members.bytes(name)?).map_err(|source| {
            ArchiveError::Document {
                name: name.to_owned(),
                source,
            }
        })?;
    let mut found = Vec::new();
    for item in items {
        let refused = |source| ArchiveError::Document {
            name: item.config.clone(),
            source,
        };
        let config = ImageConfig::decode(&members.bytes(&item.config)?).map_err(refused)?;
        let layers = item.layers.unwrap_or_default();
        let diff_ids = config.rootfs.diff_ids;
        if layers.len() != diff_ids.len() {
            let (layers, diff_ids) = (layers.len(), diff_ids.len());
            return Err(refused(DocumentError::LayerCount { layers, diff_ids }));
        }
        let mut descriptors = Vec::with_capacity(layers.len());
        for (layer, diff_id) in layers.iter().zip(&diff_ids) {
            descriptors.push(members.layer(layer, diff_id)?);
        }
        let names = item.repo_tags.unwrap_or_default();
        let names = names
            .iter()
            .map(|name| name.parse())
            .collect::<Result<Vec<Reference>, _>>();
        let names = names.map_err(ArchiveError::Name)?;
        let config = members.commit(&item.config, media::CONFIG)?;
        let image = store.put_manifest(&Manifest::new(config, descriptors))?;
        if names.is_empty() {
            found.push((None, image));
        } else {
            found.extend(names.into_iter().map(|name| (Some(name), image.clone())));
        }
    }
    Ok(found)
}

/// A member that was read.
enum Member {
    Staged(Staged),
    /// Already a blob of the store: an image has it.
    Stored(Descriptor),
    /// Docker writes a layer that two images share as a link.
    Link(String),
}

/// The archive's members by name.
pub(super) struct Members<'s> {
    store: &'s Store,
    by_name: HashMap<String, Member>,
}

impl Members<'_> {
    fn read(store: &Store, input: impl Read) -> Result<Members<'_>, ArchiveError> {
        let limits = Limits::default();
        let (coding, input) = sniff(input).map_err(ArchiveError::Read)?;
        let input = Decompressor::new(coding, input, &limits).map_err(ArchiveError::Read)?;
        let mut tar = TarReader::new(input, &limits);
        let mut by_name = HashMap::new();
        let mut buffer = vec![0; 128 << 10];
        while let Some(entry) = tar.next()? {
            let raw = String::from_utf8_lossy(&entry.path).into_owned();
            let refused = |why| ArchiveError::Member {
                name: raw.clone(),
                why,
            };
            let name = normal(&raw, "").ok_or_else(|| refused(Refused::Path))?;
            let member = match &entry.what {
                What::Directory => continue,
                What::File => {
                    let mut writer = store.blob_writer()?;
                    loop {
                        let read = tar.read_content(&mut buffer)?;
                        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty())
                        else {
                            break;
                        };
                        writer
                            .write_all(bytes)
                            .map_err(|source| writer.failed(source))?;
                    }
                    Member::Staged(writer.finish())
                }
                What::Symlink(target) | What::HardLink(target) => {
                    let target = String::from_utf8_lossy(target);
                    let folder = match &entry.what {
                        What::Symlink(_) => name.rsplit_once('/').map_or("", |(folder, _)| folder),
                        _ => "",
                    };
                    let target = normal(&target, folder).ok_or_else(|| refused(Refused::Path))?;
                    Member::Link(target)
                }
                What::CharDevice(..) | What::BlockDevice(..) | What::Fifo => {
                    return Err(refused(Refused::Kind));
                }
            };
            if by_name.len() >= MAX_MEMBERS {
                return Err(refused(Refused::TooMany));
            }
            if by_name.insert(name, member).is_some() {
                return Err(refused(Refused::Twice));
            }
        }
        Ok(Members { store, by_name })
    }

    fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// The name of the file that `name` leads to.
    fn resolve(&self, name: &str) -> Result<String, ArchiveError> {
        let missing = || ArchiveError::Missing {
            name: name.to_owned(),
        };
        let mut at = normal(name, "").ok_or_else(missing)?;
        for _ in 0..MAX_LINKS {
            match self.by_name.get(&at) {
                Some(Member::Link(target)) => at = target.clone(),
                Some(Member::Staged(_) | Member::Stored(_)) => return Ok(at),
                None => return Err(missing()),
            }
        }
        Err(ArchiveError::Member {
            name: name.to_owned(),
            why: Refused::Link,
        })
    }

    /// A document, read whole. Documents are read before they are committed.
    fn bytes(&self, name: &str) -> Result<Vec<u8>, ArchiveError> {
        let refused = |size| ArchiveError::Document {
            name: name.to_owned(),
            source: DocumentError::TooLarge {
                what: "archive member",
                size,
            },
        };
        let (file, size) = match self.by_name.get(&self.resolve(name)?) {
            Some(Member::Staged(staged)) => (staged.open()?, staged.size),
            Some(Member::Stored(stored)) => return Ok(self.store.read_blob(stored)?),
            Some(Member::Link(_)) | None => {
                return Err(ArchiveError::Missing {
                    name: name.to_owned(),
                });
            }
        };
        if size > MAX_DOCUMENT {
            return Err(refused(size));
        }
        read_bounded(file, MAX_DOCUMENT).map_err(ArchiveError::Read)
    }

    /// Makes the member a blob of the store, whose name is synced at the end.
    fn commit(&mut self, name: &str, media_type: &str) -> Result<Descriptor, ArchiveError> {
        let name = self.resolve(name)?;
        let descriptor = match self.by_name.remove(&name) {
            Some(Member::Staged(staged)) => staged.name(media_type)?,
            Some(Member::Stored(descriptor)) => Descriptor {
                media_type: media_type.to_owned(),
                ..descriptor
            },
            Some(Member::Link(_)) | None => return Err(ArchiveError::Missing { name }),
        };
        self.by_name
            .insert(name, Member::Stored(descriptor.clone()));
        Ok(descriptor)
    }

    /// A layer, whose coding is told by its content: docker names all of them
    /// `layer.tar`. A plain one is checked here, the others as they unpack.
    fn layer(&mut self, name: &str, diff_id: &Digest) -> Result<Descriptor, ArchiveError> {
        let file = self.resolve(name)?;
        if let Some(Member::Staged(staged)) = self.by_name.get(&file) {
            let (coding, _) = sniff(staged.open()?).map_err(ArchiveError::Read)?;
            if coding == Coding::Plain && staged.digest != *diff_id {
                return Err(ArchiveError::DiffId {
                    name: name.to_owned(),
                    expected: *diff_id,
                    found: staged.digest,
                });
            }
            let media_type = match coding {
                Coding::Plain => media::LAYER,
                Coding::Gzip => media::LAYER_GZIP,
                Coding::Zstd => media::LAYER_ZSTD,
            };
            return self.commit(name, media_type);
        }
        match self.by_name.get(&file) {
            Some(Member::Stored(descriptor)) => Ok(descriptor.clone()),
            _ => Err(ArchiveError::Missing {
                name: name.to_owned(),
            }),
        }
    }
}

impl Blobs for Members<'_> {
    fn document(&mut self, descriptor: &Descriptor) -> Result<Vec<u8>, ArchiveError> {
        let bytes = self.bytes(&blob_name(&descriptor.digest))?;
        let found = Digest::of(&bytes);
        if found != descriptor.digest {
            return Err(ArchiveError::Digest {
                expected: descriptor.digest,
                found,
            });
        }
        Ok(bytes)
    }

    fn store(&mut self, _: &Store, descriptor: &Descriptor) -> Result<Descriptor, ArchiveError> {
        let name = blob_name(&descriptor.digest);
        if let Some(Member::Staged(staged)) = self.by_name.get(&self.resolve(&name)?)
            && staged.digest != descriptor.digest
        {
            let (expected, found) = (descriptor.digest, staged.digest);
            return Err(ArchiveError::Digest { expected, found });
        }
        self.commit(&name, &descriptor.media_type)
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// A member's path as its name, from `folder`; `None` where it leads out.
fn normal(path: &str, folder: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut names: Vec<&str> = folder.split('/').filter(|name| !name.is_empty()).collect();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop()?;
            }
            name => names.push(name),
        }
    }
    Some(names.join("/"))
}
