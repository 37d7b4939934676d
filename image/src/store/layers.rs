//! Layers: blobs by digest, directories by diff ID.

use std::cmp::Reverse;
use std::io::{self, Read};
use std::num::NonZero;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::{Image, Store, StoreError};
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
        self.adopt_layers(&[(dir, *diff_id)])?;
        Ok(self.layer_dir(diff_id))
    }

    /// The same of several.
    pub fn adopt_layers(&self, layers: &[(&Path, Digest)]) -> Result<(), StoreError> {
        self.begin()?;
        self.mark_unsynced(layers.iter().map(|(_, diff_id)| diff_id))?;
        for (dir, diff_id) in layers {
            let _lock = self.lock_layer(diff_id)?;
            self.name_layer(dir, diff_id)?;
        }
        Ok(())
    }

    /// Gives a directory its name as a layer, or removes it where there is one.
    /// The caller has marked it, and holds its lock.
    fn name_layer(&self, dir: &Path, diff_id: &Digest) -> Result<(), StoreError> {
        let target = self.layer_dir(diff_id);
        let flags = RenameFlags::RENAME_NOREPLACE;
        let named = match renameat2(AT_FDCWD, dir, AT_FDCWD, &target, flags) {
            Err(Errno::EEXIST) => remove_tree(dir),
            other => other.map_err(io::Error::from),
        };
        named.map_err(|source| StoreError::Adopt {
            path: dir.to_owned(),
            source,
        })
    }

    /// Stores a layer that is a tar, plain, gzip or zstd, and unpacks it, in
    /// one pass. A plain one is stored as gzip.
    pub fn add_tar_layer(&self, tar: impl Read) -> Result<PackedLayer, LayerError> {
        let blob = self.blob_writer()?;
        let (coding, tar) = sniff(tar).map_err(LayerError::Read)?;
        let limits = Limits::default();
        let temporary = self.new_layer()?;
        let root = RootDir::open(temporary.path())?;
        let (diff_id, blob, media_type) = if coding == Coding::Plain {
            let mut tar = Tee::new(tar, Gzip::new(blob));
            let result = unpack_coded(coding, &mut tar, &root, &limits);
            let (diff_id, gzip) = settle(tar, result)?;
            (
                diff_id,
                gzip.finish().map_err(LayerError::Write)?,
                media::LAYER_GZIP,
            )
        } else {
            let mut tar = Tee::new(tar, blob);
            let result = unpack_coded(coding, &mut tar, &root, &limits);
            let (diff_id, blob) = settle(tar, result)?;
            let zstd = coding == Coding::Zstd;
            (
                diff_id,
                blob,
                if zstd {
                    media::LAYER_ZSTD
                } else {
                    media::LAYER_GZIP
                },
            )
        };
        let descriptor = blob.commit(media_type)?;
        self.adopt(temporary, &diff_id)?;
        Ok(PackedLayer {
            descriptor,
            diff_id,
        })
    }

    /// The layer's directory, unpacked if it was not. Of many callers at once
    /// one unpacks and the others wait; a crash leaves a dotted directory that
    /// the next caller removes.
    pub fn unpacked(&self, layer: &Descriptor, diff_id: &Digest) -> Result<PathBuf, LayerError> {
        if !self.is_unpacked(diff_id)? {
            self.mark_unsynced([diff_id])?;
            self.unpack_marked(layer, diff_id)?;
        }
        Ok(self.layer_dir(diff_id))
    }

    fn unpack_marked(&self, layer: &Descriptor, diff_id: &Digest) -> Result<(), LayerError> {
        let _lock = self.lock_layer(diff_id)?;
        if self.is_unpacked(diff_id)? {
            return Ok(());
        }
        let path = self.layers.join(format!(".unpack-{}", diff_id.hex()));
        let failed = |source| StoreError::Prepare {
            path: path.clone(),
            source,
        };
        remove_tree(&path)
            .and_then(|()| make_root(&path))
            .map_err(failed)?;
        let mut temporary = Temporary(Some(path.clone()));
        self.unpack_blob(layer, diff_id, &RootDir::open(&path)?)?;
        self.name_layer(&path, diff_id)?;
        temporary.0 = None;
        Ok(())
    }

    /// Unpacks a layer's blob, which must be of this diff ID.
    pub(super) fn unpack_blob(
        &self,
        layer: &Descriptor,
        diff_id: &Digest,
        root: &RootDir,
    ) -> Result<(), LayerError> {
        let damaged = |source| StoreError::ReadBlob {
            digest: layer.digest,
            source,
        };
        let mut blob = self.open_blob(layer)?;
        let (coding, tar) = sniff(&mut blob).map_err(damaged)?;
        let found = unpack_coded(coding, tar, root, &Limits::default())?;
        blob.drain().map_err(damaged)?;
        if found != *diff_id {
            let (layer, expected) = (layer.digest, *diff_id);
            return Err(LayerError::DiffId {
                layer,
                expected,
                found,
            });
        }
        Ok(())
    }

    /// Whether the layer is unpacked. As with [`Store::contains`], it then
    /// stays while this [`Store`] is open.
    pub fn is_unpacked(&self, diff_id: &Digest) -> Result<bool, StoreError> {
        self.begin()?;
        if !self.is_of_this_boot(diff_id)? {
            return Ok(false);
        }
        let path = self.layer_dir(diff_id);
        match path.symlink_metadata() {
            Ok(metadata) => Ok(metadata.is_dir()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(StoreError::Examine { path, source }),
        }
    }

    /// The directories of all layers of the image, bottom first. Those that
    /// were not unpacked are, by one thread more than there are processors: one
    /// of them may wait for the disk.
    pub fn unpacked_layers(&self, image: &Image) -> Result<Vec<PathBuf>, LayerError> {
        let mut missing = Vec::new();
        for (layer, diff_id) in image.layers() {
            if !self.is_unpacked(diff_id)? {
                missing.push((layer, diff_id));
            }
        }
        // The largest first, or it may keep one busy while the others are done.
        missing.sort_by_key(|(layer, _)| Reverse(layer.size));
        self.mark_unsynced(missing.iter().map(|(_, diff_id)| *diff_id))?;
        let threads = 1 + thread::available_parallelism().map_or(1, NonZero::get);
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some((layer, diff_id)) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = self.unpack_marked(layer, diff_id) {
                    next.store(missing.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
            Ok(())
        };
        thread::scope(|scope| {
            let others: Vec<_> = (1..threads.min(missing.len()))
                .map(|_| scope.spawn(work))
                .collect();
            let mut done = work();
            for other in others {
                let other = other.join().unwrap_or_else(|panic| resume_unwind(panic));
                done = done.and(other);
            }
            done
        })?;
        let folders = image.layers().map(|(_, diff_id)| self.layer_dir(diff_id));
        Ok(folders.collect())
    }

    /// Where the layer's directory is, or would be.
    pub(super) fn layer_dir(&self, diff_id: &Digest) -> PathBuf {
        self.layers.join(diff_id.hex())
    }

    fn adopt(&self, mut temporary: Temporary, diff_id: &Digest) -> Result<PathBuf, LayerError> {
        let target = self.adopt_layer(temporary.path(), diff_id)?;
        temporary.0 = None;
        Ok(target)
    }

    /// An empty directory beside the layers, no one else's.
    pub(super) fn new_layer(&self) -> Result<Temporary, StoreError> {
        let mut attempt = 0_u32;
        loop {
            let path = self
                .layers
                .join(format!(".add-{}-{attempt}", std::process::id()));
            match make_root(&path) {
                Ok(()) => return Ok(Temporary(Some(path))),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => attempt += 1,
                Err(source) => return Err(StoreError::Prepare { path, source }),
            }
        }
    }
}

/// Unpacks all of a stream, and gives the digest of what was compressed in it.
/// What follows the tar's end mark belongs to the digests too.
pub(crate) fn unpack_coded(
    coding: Coding,
    mut input: impl Read,
    root: &RootDir,
    limits: &Limits,
) -> Result<Digest, LayerError> {
    let tar = Decompressor::new(coding, &mut input, limits).map_err(LayerError::Read)?;
    let mut tar = Tee::new(tar, Hasher::new());
    unpack::unpack(&mut tar, root, limits)?;
    io::copy(&mut tar, &mut io::sink()).map_err(LayerError::Read)?;
    let diff_id = tar.copy.finish();
    io::copy(&mut input, &mut io::sink()).map_err(LayerError::Read)?;
    Ok(diff_id)
}

/// What came of reading through a [`Tee`]: that its copy failed is the reason
/// for whatever the reader saw.
fn settle<T, R, W>(tee: Tee<R, W>, result: Result<T, LayerError>) -> Result<(T, W), LayerError> {
    match tee.failure {
        Some(failure) => Err(LayerError::Write(failure)),
        None => Ok((result?, tee.copy)),
    }
}

/// Makes the root of a layer: 0755 whatever the umask, and owned by root as
/// all of the layer is until entries say otherwise.
fn make_root(path: &Path) -> io::Result<()> {
    std::fs::create_dir(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}

/// A directory that is removed when dropped, unless it became a layer: then
/// its old name may be another's already.
pub(super) struct Temporary(Option<PathBuf>);

impl Temporary {
    pub(super) fn path(&self) -> &Path {
        self.0.as_deref().unwrap_or(Path::new(""))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.0
            && let Err(error) = remove_tree(path)
        {
            // It goes with the next gc.
            log::warn!("cannot remove {}: {error}", path.display());
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
