//! Names of images: given, taken away, looked up, listed.

use std::collections::BTreeSet;

use super::{Image, Store, StoreError};
use crate::digest::Digest;
use crate::document::{CONTAINERD_NAME, Descriptor, REF_NAME};
use crate::reference::{self, Reference};

/// One line of [`Store::list`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name; an image with several names is listed under each.
    pub reference: Option<Reference>,
    /// The manifest's digest.
    pub digest: Digest,
    /// The config's digest.
    pub id: Digest,
    /// RFC 3339, where the config says.
    pub created: Option<String>,
    /// Bytes of its config and its layers, as they are stored.
    pub size: u64,
}

impl Store {
    /// Gives the image this name, which another one then loses. A name
    /// without a tag gets `latest`; a digest in it is left out.
    pub fn tag(&self, reference: &Reference, image: &Image) -> Result<(), StoreError> {
        let name = tagged(reference);
        self.add_entry(Some(&name), image)
    }

    /// Lists the image without a name, so that gc keeps it, unless it has one.
    pub fn keep_untagged(&self, image: &Image) -> Result<(), StoreError> {
        self.add_entry(None, image)
    }

    fn add_entry(&self, name: Option<&Reference>, image: &Image) -> Result<(), StoreError> {
        // From here on no gc can take what the name will need.
        self.begin()?;
        let mut entry = self.manifest_descriptor(&image.digest)?;
        if let Some(name) = name {
            entry
                .annotations
                .insert(REF_NAME.to_owned(), name.to_string());
        }
        self.change_index(|index| {
            let named = |entry: &Descriptor| entry_name(entry);
            if name.is_none()
                && index
                    .manifests
                    .iter()
                    .any(|other| other.digest == image.digest)
            {
                return;
            }
            index.manifests.retain(|other| match named(other) {
                Some(other) => Some(&other) != name,
                None => other.digest != image.digest,
            });
            index.manifests.push(entry);
            index
                .manifests
                .sort_by_key(|entry| (named(entry), entry.digest));
        })
    }

    /// Takes the name away; the manifest it had, if any. Nothing is removed
    /// from the disk: see [`Store::gc`].
    pub fn untag(&self, reference: &Reference) -> Result<Option<Digest>, StoreError> {
        let name = tagged(reference);
        self.change_index(|index| {
            let is_it = |entry: &Descriptor| entry_name(entry).as_ref() == Some(&name);
            let found = index
                .manifests
                .iter()
                .find(|entry| is_it(entry))
                .map(|entry| entry.digest);
            index.manifests.retain(|entry| !is_it(entry));
            found
        })
    }

    /// Takes all names of the image away, and its place in the list; the
    /// names it had. Works on a damaged image too.
    pub fn forget(&self, manifest_digest: &Digest) -> Result<Vec<Reference>, StoreError> {
        self.change_index(|index| {
            let is_it = |entry: &Descriptor| entry.digest == *manifest_digest;
            let names = index.manifests.iter().filter(|entry| is_it(entry));
            let names = names.filter_map(entry_name).collect();
            index.manifests.retain(|entry| !is_it(entry));
            names
        })
    }

    /// The image of a name (default tag latest), a digest, or a unique hex
    /// prefix of its id or its manifest's digest. Reads the index, and
    /// manifest and config of what it finds.
    pub fn resolve(&self, name: &str) -> Result<Image, StoreError> {
        let index = self.index()?;
        let parsed = name.parse::<Reference>();
        if let Ok(reference) = &parsed {
            let wanted = reference.clone().with_default_tag();
            if let Some(digest) = wanted.digest() {
                return self.image(digest);
            }
            let mut entries = index.manifests.iter();
            if let Some(entry) = entries.find(|entry| entry_name(entry).as_ref() == Some(&wanted)) {
                return self.image(&entry.digest);
            }
        }
        let prefix = name.strip_prefix("sha256:").unwrap_or(name);
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if !prefix.is_empty() && prefix.len() <= 64 && prefix.bytes().all(is_hex) {
            if let Some(image) = self.by_prefix(&index.manifests, name, prefix)? {
                return Ok(image);
            }
        } else {
            parsed?;
        }
        let names: Vec<String> = index
            .manifests
            .iter()
            .filter_map(entry_name)
            .map(|name| name.to_string())
            .collect();
        let closest = reference::closest(name, names.iter().map(String::as_str));
        Err(StoreError::NotFound {
            name: name.to_owned(),
            closest: closest.map(str::to_owned),
        })
    }

    fn by_prefix(
        &self,
        entries: &[Descriptor],
        name: &str,
        prefix: &str,
    ) -> Result<Option<Image>, StoreError> {
        let mut found = BTreeSet::new();
        for entry in entries {
            let id = self.manifest(&entry.digest)?.config.digest;
            if entry.digest.hex().starts_with(prefix) || id.hex().starts_with(prefix) {
                found.insert(entry.digest);
            }
        }
        let count = found.len();
        match (found.pop_first(), count) {
            (Some(digest), 1) => self.image(&digest).map(Some),
            (None, _) => match Digest::from_hex(prefix) {
                Ok(digest) if self.blobs().join(digest.hex()).is_file() => {
                    self.image(&digest).map(Some)
                }
                _ => Ok(None),
            },
            (Some(_), count) => Err(StoreError::Ambiguous {
                prefix: name.to_owned(),
                count,
            }),
        }
    }

    /// All names and their images, sorted by name; those without one first.
    pub fn list(&self) -> Result<Vec<Listed>, StoreError> {
        let mut listed = Vec::new();
        for entry in self.index()?.manifests {
            let image = self.image(&entry.digest)?;
            listed.push(Listed {
                reference: entry_name(&entry),
                digest: image.digest,
                id: image.id(),
                created: image.config.created.clone(),
                size: image.size(),
            });
        }
        listed.sort_by(|a, b| (&a.reference, a.digest).cmp(&(&b.reference, b.digest)));
        Ok(listed)
    }
}

/// The name under which an image is listed.
fn tagged(reference: &Reference) -> Reference {
    reference.clone().without_digest().with_default_tag()
}

/// The name of an index entry, ours or another tool's; `None` where it has
/// none that could be asked for.
pub(crate) fn entry_name(entry: &Descriptor) -> Option<Reference> {
    let named = |key: &str| entry.annotations.get(key)?.parse::<Reference>().ok();
    named(CONTAINERD_NAME)
        .or_else(|| named(REF_NAME))
        .map(|name| tagged(&name))
}
