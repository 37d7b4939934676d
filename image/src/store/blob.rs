//! Blobs: written once, verified whenever they are read.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{BlobMismatch, Store, StoreError};
use crate::digest::{Digest, Hasher};
use crate::document::{Descriptor, DocumentError, MAX_DOCUMENT};
use crate::sys;

/// Mode of the files of a store: content of images is no secret, but no one
/// but us has to read it there.
const MODE: u32 = 0o644;

/// Takes a blob's bytes into a temporary file; dropped without
/// [`BlobWriter::commit`], it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter {
    file: File,
    hasher: Hasher,
    staged: Staged,
}

impl BlobWriter {
    /// Makes the blob durable under its digest.
    pub fn commit(self, media_type: &str) -> Result<Descriptor, StoreError> {
        self.finish().commit(media_type)
    }

    /// An error about this blob.
    pub(crate) fn failed(&self, source: io::Error) -> StoreError {
        self.staged.failed(source)
    }

    /// Ends the writing; the blob has no name yet.
    pub(crate) fn finish(mut self) -> Staged {
        // Whoever names it waits for the disk; until then the disk is at work.
        sys::start_writing(&self.file);
        self.staged.size = self.hasher.written();
        self.staged.digest = self.hasher.finish();
        self.staged
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A blob on the disk that has no name yet; removed when dropped.
#[derive(Debug)]
pub(crate) struct Staged {
    /// `None` once it has its name: the temporary one may be another's then.
    path: Option<PathBuf>,
    blobs: PathBuf,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

impl Staged {
    /// Makes it durable and names it by its digest. A blob of that name is
    /// replaced: it has the same content, or is damaged.
    pub(crate) fn commit(self, media_type: &str) -> Result<Descriptor, StoreError> {
        let blobs = self.blobs.clone();
        let descriptor = self.name(media_type)?;
        sync_dir(&blobs).map_err(|source| StoreError::WriteBlob {
            path: blobs,
            source,
        })?;
        Ok(descriptor)
    }

    /// The same, but the name may be lost in a power cut until
    /// [`Store::sync_blobs`]; what it names never is.
    pub(crate) fn name(mut self, media_type: &str) -> Result<Descriptor, StoreError> {
        let target = self.blobs.join(self.digest.hex());
        self.open()?
            .sync_all()
            .and_then(|()| std::fs::rename(self.temporary(), target))
            .map_err(|source| self.failed(source))?;
        self.path = None;
        Ok(Descriptor {
            media_type: media_type.to_owned(),
            digest: self.digest,
            size: self.size,
            annotations: BTreeMap::new(),
            platform: None,
        })
    }

    /// What was written, from its start.
    pub(crate) fn open(&self) -> Result<File, StoreError> {
        File::open(self.temporary()).map_err(|source| self.failed(source))
    }

    fn temporary(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new(""))
    }

    fn failed(&self, source: io::Error) -> StoreError {
        StoreError::WriteBlob {
            path: self.blobs.clone(),
            source,
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(path) = &self.path
            && let Err(error) = std::fs::remove_file(path)
        {
            // It goes with the next gc.
            log::warn!("cannot remove {}: {error}", path.display());
        }
    }
}

/// Reads a blob. Its end is an error if size or digest are wrong, so content
/// may be believed once the end was seen, and not before.
#[derive(Debug)]
pub struct VerifiedReader {
    file: File,
    /// `None` once verified.
    hasher: Option<Hasher>,
    digest: Digest,
    size: u64,
}

impl VerifiedReader {
    /// Reads on to the end, and so verifies what no one wanted to read.
    pub fn drain(&mut self) -> io::Result<()> {
        io::copy(self, &mut io::sink()).map(drop)
    }
}

impl Read for VerifiedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(hasher) = &mut self.hasher else {
            return Ok(0);
        };
        let read = self.file.read(buffer)?;
        if read > 0 {
            hasher.update(buffer.get(..read).unwrap_or_default());
            if hasher.written() > self.size {
                return Err(mismatch(BlobMismatch::Size {
                    expected: self.size,
                    found: hasher.written(),
                }));
            }
            return Ok(read);
        }
        if buffer.is_empty() {
            return Ok(0);
        }
        let found = hasher.written();
        let digest = self.hasher.take().map(Hasher::finish);
        if found != self.size {
            return Err(mismatch(BlobMismatch::Size {
                expected: self.size,
                found,
            }));
        }
        match digest {
            Some(found) if found != self.digest => Err(mismatch(BlobMismatch::Digest { found })),
            _ => Ok(0),
        }
    }
}

fn mismatch(mismatch: BlobMismatch) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, mismatch)
}

impl Store {
    /// Stores a document of at most 4 MiB. One that is there already is read
    /// back and left alone.
    pub fn write_blob(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor, StoreError> {
        let digest = Digest::of(bytes);
        let size = bytes.len() as u64;
        if size > MAX_DOCUMENT {
            let source = DocumentError::TooLarge {
                what: "document",
                size,
            };
            return Err(StoreError::Document { digest, source });
        }
        self.begin()?;
        if matches!(self.document(&digest, Some(size)), Ok(there) if there == bytes) {
            return Ok(Descriptor {
                media_type: media_type.to_owned(),
                digest,
                size,
                annotations: BTreeMap::new(),
                platform: None,
            });
        }
        let mut writer = self.blob_writer()?;
        writer
            .write_all(bytes)
            .map_err(|source| writer.failed(source))?;
        writer.commit(media_type)
    }

    /// Stores a blob that is written piece by piece.
    pub fn blob_writer(&self) -> Result<BlobWriter, StoreError> {
        self.begin()?;
        let folder = self.temporary();
        let mut attempt = 0_u32;
        loop {
            // Process ids repeat (other pid namespaces, earlier crashes): the
            // name is only a start, `create_new` decides.
            let path = folder.join(format!("{}-{attempt}", std::process::id()));
            match OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(MODE)
                .open(&path)
            {
                Ok(file) => {
                    let staged = Staged {
                        path: Some(path),
                        blobs: self.blobs(),
                        digest: Digest::of(&[]),
                        size: 0,
                    };
                    return Ok(BlobWriter {
                        file,
                        hasher: Hasher::new(),
                        staged,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => attempt += 1,
                Err(source) => {
                    return Err(StoreError::WriteBlob {
                        path: folder,
                        source,
                    });
                }
            }
        }
    }

    /// Makes the names of blobs durable.
    pub(crate) fn sync_blobs(&self) -> Result<(), StoreError> {
        let path = self.blobs();
        sync_dir(&path).map_err(|source| StoreError::WriteBlob { path, source })
    }

    /// Whether the blob is there; its content is not read. What is there
    /// stays there while this [`Store`] is open.
    #[must_use]
    pub fn contains(&self, digest: &Digest) -> bool {
        self.begin().is_ok() && self.has_blob(digest)
    }

    /// Whether the blob is there just now: nothing keeps it there.
    #[must_use]
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.blobs().join(digest.hex()).is_file()
    }

    /// A whole document of at most 4 MiB, verified.
    pub fn read_blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, StoreError> {
        self.document(&descriptor.digest, Some(descriptor.size))
    }

    /// A blob's content, verified as it is read.
    pub fn open_blob(&self, descriptor: &Descriptor) -> Result<VerifiedReader, StoreError> {
        Ok(VerifiedReader {
            file: self.open_file(&descriptor.digest)?,
            hasher: Some(Hasher::new()),
            digest: descriptor.digest,
            size: descriptor.size,
        })
    }

    pub(super) fn document(
        &self,
        digest: &Digest,
        expected: Option<u64>,
    ) -> Result<Vec<u8>, StoreError> {
        let file = self.open_file(digest)?;
        let wrap = |source| StoreError::ReadBlob {
            digest: *digest,
            source,
        };
        let size = file.metadata().map_err(wrap)?.len();
        if let Some(expected) = expected
            && expected != size
        {
            let source = BlobMismatch::Size {
                expected,
                found: size,
            };
            return Err(StoreError::Damaged {
                digest: *digest,
                source,
            });
        }
        if size > MAX_DOCUMENT {
            let source = DocumentError::TooLarge {
                what: "document",
                size,
            };
            return Err(StoreError::Document {
                digest: *digest,
                source,
            });
        }
        let bytes = crate::root::read_bounded(file, MAX_DOCUMENT).map_err(wrap)?;
        let found = Digest::of(&bytes);
        if found != *digest {
            let source = BlobMismatch::Digest { found };
            return Err(StoreError::Damaged {
                digest: *digest,
                source,
            });
        }
        Ok(bytes)
    }

    fn open_file(&self, digest: &Digest) -> Result<File, StoreError> {
        File::open(self.blobs().join(digest.hex())).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::MissingBlob { digest: *digest },
            _ => StoreError::ReadBlob {
                digest: *digest,
                source: error,
            },
        })
    }
}

/// Makes renames in the folder durable.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
