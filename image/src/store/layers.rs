//! Layers: blobs by digest, directories by diff ID.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::{Image, Store, StoreError, blob, lock};
use crate::compress::{Both, Coding, Decompressor, Gzip, Tee, sniff};
use crate::digest::{Digest, Hasher};
use crate::document::{Descriptor, media};
use crate::layer::limits::Limits;
use crate::layer::{LayerError, PackedLayer, pack, unpack};
use crate::root::{self, RootDir};

impl Store {
    /// Packs a directory in overlay form into a layer blob, in one pass:
    /// files → tar → (diff ID, gzip → digest and disk). Times after `epoch`
    /// (seconds since 1970) become `epoch`.
    pub fn pack_layer(&self, dir: BorrowedFd<'_>, epoch: i64) -> Result<PackedLayer, LayerError> {
        let mut out = Both(Hasher::new(), Gzip::new(self.blob_writer()?));
        pack::pack(dir, epoch, &mut out)?;
        let Both(diff_id, gzip) = out;
        let blob = gzip.finish().map_err(LayerError::Write)?;
        let descriptor = blob.commit(media::LAYER_GZIP)?;
        Ok(PackedLayer {
            descriptor,
            diff_id: diff_id.finish(),
        })
    }

    /// Makes a finished directory in overlay form the unpacked layer of
    /// `diff_id`, by a rename: it must lie on the same file system. If there
    /// is one already, `dir` is removed.
    pub fn adopt_layer(&self, dir: &Path, diff_id: &Digest) -> Result<PathBuf, StoreError> {
        self.begin()?;
        let target = self.layer_dir(diff_id);
        let failed = |source| StoreError::Adopt {
            path: dir.to_owned(),
            source,
        };
        sync_tree(dir).map_err(failed)?;
        match renameat2(
            AT_FDCWD,
            dir,
            AT_FDCWD,
            &target,
            RenameFlags::RENAME_NOREPLACE,
        ) {
            Ok(()) => blob::sync_dir(&self.layers).map_err(failed)?,
            Err(Errno::EEXIST) => remove_tree(dir).map_err(failed)?,
            Err(error) => return Err(failed(error.into())),
        }
        Ok(target)
    }

    /// Stores a layer that is a tar, plain, gzip or zstd, and unpacks it, in
    /// one pass. A plain one is stored as gzip.
    pub fn add_tar_layer(&self, tar: impl Read) -> Result<PackedLayer, LayerError> {
        let blob = self.blob_writer()?;
        let (coding, tar) = sniff(tar).map_err(LayerError::Read)?;
        let limits = Limits::default();
        let temporary = self.temporary_layer(&format!("add-{}", blob.name()))?;
        let root = RootDir::open(temporary.path())?;
        let (diff_id, descriptor) = match coding {
            Coding::Plain => {
                let tar = Decompressor::new(coding, tar, &limits).map_err(LayerError::Read)?;
                let mut tar = Tee {
                    input: tar,
                    copy: Both(Hasher::new(), Gzip::new(blob)),
                };
                unpack_all(&mut tar, &root, &limits)?;
                let Both(diff_id, gzip) = tar.copy;
                let blob = gzip.finish().map_err(LayerError::Write)?;
                (diff_id.finish(), blob.commit(media::LAYER_GZIP)?)
            }
            Coding::Gzip | Coding::Zstd => {
                let mut raw = Tee {
                    input: tar,
                    copy: blob,
                };
                let tar = Decompressor::new(coding, &mut raw, &limits).map_err(LayerError::Read)?;
                let mut tar = Tee {
                    input: tar,
                    copy: Hasher::new(),
                };
                unpack_all(&mut tar, &root, &limits)?;
                let diff_id = tar.copy.finish();
                drop(tar.input);
                io::copy(&mut raw, &mut io::sink()).map_err(LayerError::Read)?;
                let media_type = match coding {
                    Coding::Zstd => media::LAYER_ZSTD,
                    Coding::Gzip | Coding::Plain => media::LAYER_GZIP,
                };
                (diff_id, raw.copy.commit(media_type)?)
            }
        };
        self.adopt_layer(temporary.path(), &diff_id)?;
        Ok(PackedLayer {
            descriptor,
            diff_id,
        })
    }

    /// The layer's directory, unpacked if it was not. Of many callers at once
    /// one unpacks and the others wait; a crash leaves a dotted directory that
    /// the next caller removes.
    pub fn unpacked(&self, layer: &Descriptor, diff_id: &Digest) -> Result<PathBuf, LayerError> {
        self.begin()?;
        let target = self.layer_dir(diff_id);
        if self.is_unpacked(diff_id)? {
            return Ok(target);
        }
        let _lock = lock::exclusive(&self.layers.join(format!(".{}.lock", diff_id.hex())))?;
        if self.is_unpacked(diff_id)? {
            return Ok(target);
        }
        let temporary = self.temporary_layer(&format!("unpack-{}", diff_id.hex()))?;
        let limits = Limits::default();
        let damaged = |source| StoreError::ReadBlob {
            digest: layer.digest,
            source,
        };
        let mut blob = self.open_blob(layer)?;
        let (coding, raw) = sniff(&mut blob).map_err(damaged)?;
        let tar = Decompressor::new(coding, raw, &limits).map_err(damaged)?;
        let mut tar = Tee {
            input: tar,
            copy: Hasher::new(),
        };
        unpack_all(&mut tar, &RootDir::open(temporary.path())?, &limits)?;
        let found = tar.copy.finish();
        drop(tar.input);
        blob.drain().map_err(damaged)?;
        if found != *diff_id {
            let (layer, expected) = (layer.digest, *diff_id);
            return Err(LayerError::DiffId {
                layer,
                expected,
                found,
            });
        }
        self.adopt_layer(temporary.path(), diff_id)?;
        Ok(target)
    }

    /// Whether the layer is unpacked. As with [`Store::contains`], it then
    /// stays while this [`Store`] is open.
    pub fn is_unpacked(&self, diff_id: &Digest) -> Result<bool, StoreError> {
        self.begin()?;
        let path = self.layer_dir(diff_id);
        match path.symlink_metadata() {
            Ok(metadata) => Ok(metadata.is_dir()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(StoreError::Examine { path, source }),
        }
    }

    /// The directories of all layers of the image, bottom first.
    pub fn unpacked_layers(&self, image: &Image) -> Result<Vec<PathBuf>, LayerError> {
        image
            .layers()
            .map(|(layer, diff_id)| self.unpacked(layer, diff_id))
            .collect()
    }

    /// Where the layer's directory is, or would be.
    pub(super) fn layer_dir(&self, diff_id: &Digest) -> PathBuf {
        self.layers.join(diff_id.hex())
    }

    /// An empty directory beside the layers; one that a crash left is removed.
    fn temporary_layer(&self, name: &str) -> Result<Temporary, StoreError> {
        let path = self.layers.join(format!(".{name}"));
        let failed = |source| StoreError::Prepare {
            path: path.clone(),
            source,
        };
        remove_tree(&path).map_err(failed)?;
        std::fs::DirBuilder::new()
            .mode(0o755)
            .create(&path)
            .map_err(failed)?;
        let temporary = Temporary(path.clone());
        RootDir::open(&path)
            .and_then(|root| root.set_mode(Path::new("/"), 0o755))
            .map_err(|error| failed(error.source))?;
        Ok(temporary)
    }
}

/// Unpacks, then reads what follows the end mark: it belongs to the digests.
fn unpack_all(tar: &mut impl Read, root: &RootDir, limits: &Limits) -> Result<(), LayerError> {
    unpack::unpack(&mut *tar, root, limits)?;
    io::copy(tar, &mut io::sink())
        .map(drop)
        .map_err(LayerError::Read)
}

/// A directory that is removed when dropped, unless it was renamed.
struct Temporary(PathBuf);

impl Temporary {
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.0) {
            log::warn!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// Removes a directory with all beneath; that it is not there is no error.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = RootDir::open(parent).map_err(|error| error.source)?;
    match root::remove_entry(parent.as_fd(), name) {
        Err(Errno::ENOENT) => Ok(()),
        other => other.map_err(io::Error::from),
    }
}

/// Writes the whole directory to the disk: a power cut must not leave a layer
/// of empty files under a name that says it is complete. One `syncfs` beats an
/// fsync for each of thousands of files.
fn sync_tree(dir: &Path) -> io::Result<()> {
    nix::unistd::syncfs(std::fs::File::open(dir)?).map_err(io::Error::from)
}
