//! Overlay filesystems that are attached nowhere.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::sys::{self, NewFs};

mod short;

/// Why an overlay can't be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot mount the overlay{}", .detail.as_deref().map(|d| format!(" ({d})")).unwrap_or_default())]
pub struct OverlayError {
    detail: Option<String>,
    #[source]
    errno: nix::Error,
}

/// Where the changes to an overlay go.
#[derive(Debug, Clone, Copy)]
pub struct Upper<'a> {
    /// The layer of the changes.
    pub dir: &'a Path,
    /// The kernel's own, empty and on the same filesystem.
    pub work: &'a Path,
    /// Whether they must outlive a power cut. When the last user of a lasting
    /// overlay is gone, the kernel writes back all of the host's filesystem
    /// that it lies on, whoever dirtied it, and the last process of a
    /// container ends only after that. What doesn't last is never synced.
    pub lasting: bool,
}

/// Stacks directories into a detached mount.
///
/// `lower` is bottom first. With `upper` the result is writable. The mount
/// exists as long as the descriptor, or what it gets attached to: nothing is
/// left on the host when anybody dies.
///
/// Layers are given through descriptors, so neither their number nor the
/// length or characters of their paths is bounded by a page of options (their
/// number is before Linux 6.8: see `short.rs`). Extensions that leave traces in
/// the upper directory (redirects, index, metacopy) are off: what lies there is
/// a plain layer.
///
/// # Errors
/// Where a directory can't be opened, or the kernel refuses; with its own
/// words when it has some.
pub fn mount(lower: &[PathBuf], upper: Option<Upper<'_>>) -> Result<OwnedFd, OverlayError> {
    let open_dir = |path: &Path| {
        open(
            path,
            OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
        .map_err(|errno| OverlayError {
            detail: Some(path.display().to_string()),
            errno,
        })
    };
    // The descriptors live until the filesystem is made.
    let layers: Vec<OwnedFd> = lower
        .iter()
        .map(|path| open_dir(path))
        .collect::<Result<_, _>>()?;
    let pair = upper
        .map(|upper| Ok((open_dir(upper.dir)?, open_dir(upper.work)?, upper)))
        .transpose()?;

    // A single read-only layer is no overlay; the kernel wants two. An empty
    // mount of the layer itself does the same.
    if let ([only], None) = (lower, upper) {
        let tree = sys::clone_tree(only, false).map_err(plain)?;
        let change = sys::MountAttr {
            set: sys::attr::RDONLY,
            ..Default::default()
        };
        sys::set_mount(tree.as_fd(), change, false).map_err(plain)?;
        return Ok(tree);
    }
    let options = Options {
        layers: &layers,
        pair: pair.as_ref(),
    };
    let paths: Vec<String> = layers.iter().rev().map(by_fd).collect();
    let paths = paths.join(":");
    if paths.len() <= OPTION {
        return options.mount(|fs| fs.set("lowerdir", &paths));
    }
    match options.one_by_one() {
        // A kernel before 6.8 doesn't know them one by one, and says no more
        // than this.
        Err(error) if error.errno == nix::Error::EINVAL => short::mount(&options),
        other => other,
    }
}

/// The longest value of an option in bytes, fsconfig(2): about fifteen layers.
const OPTION: usize = 255;

/// What becomes an overlay: layers bottom first, and upper and work.
struct Options<'a> {
    layers: &'a [OwnedFd],
    pair: Option<&'a (OwnedFd, OwnedFd, Upper<'a>)>,
}

impl Options<'_> {
    fn one_by_one(&self) -> Result<OwnedFd, OverlayError> {
        self.mount(|fs| {
            // Top first.
            for layer in self.layers.iter().rev() {
                fs.set("lowerdir+", by_fd(layer))?;
            }
            Ok(())
        })
    }

    /// Makes it, the lower layers being told by `lower`.
    fn mount(
        &self,
        lower: impl FnOnce(&NewFs) -> nix::Result<()>,
    ) -> Result<OwnedFd, OverlayError> {
        let fs = NewFs::open("overlay").map_err(plain)?;
        let configure = || -> nix::Result<OwnedFd> {
            fs.set("source", "overlay")?;
            lower(&fs)?;
            if let Some((dir, work, upper)) = self.pair {
                fs.set("upperdir", by_fd(dir))?;
                fs.set("workdir", by_fd(work))?;
                if !upper.lasting {
                    forget_mark(upper.work)?;
                    fs.flag("volatile")?;
                }
            }
            for option in ["redirect_dir", "index", "metacopy", "xino"] {
                fs.set(option, "off")?;
            }
            fs.mount(0)
        };
        configure().map_err(|errno| OverlayError {
            detail: fs.complaint(),
            errno,
        })
    }
}

fn by_fd(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn plain(errno: nix::Error) -> OverlayError {
    OverlayError {
        detail: None,
        errno,
    }
}

/// A mount that isn't synced leaves a mark in its work directory, and the
/// kernel refuses the next one: files may be missing after a power cut. Whoever
/// mounts what needn't last has only had a start that failed.
fn forget_mark(work: &Path) -> nix::Result<()> {
    match std::fs::remove_dir_all(work.join("work")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
