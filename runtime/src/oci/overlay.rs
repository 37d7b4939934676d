//! Overlay filesystems that are attached nowhere.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

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

/// Stacks directories into a detached mount.
///
/// `lower` is bottom first. With `upper` (and its work directory, empty and on
/// the same filesystem) the result is writable. The mount exists as long as
/// the descriptor, or what it gets attached to: nothing is left on the host
/// when anybody dies.
///
/// Layers are given through descriptors, so neither their number nor the
/// length or characters of their paths is bounded by a page of options (their
/// number is before Linux 6.8: see `short.rs`). Extensions that leave traces in the upper directory (redirects,
/// index, metacopy) are off: what lies there is a plain layer.
///
/// # Errors
/// Where a directory can't be opened, or the kernel refuses; with its own
/// words when it has some.
pub fn mount(lower: &[PathBuf], upper: Option<(&Path, &Path)>) -> Result<OwnedFd, OverlayError> {
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
        .map(|(up, work)| Ok((open_dir(up)?, open_dir(work)?)))
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
    pair: Option<&'a (OwnedFd, OwnedFd)>,
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
            if let Some((up, work)) = self.pair {
                fs.set("upperdir", by_fd(up))?;
                fs.set("workdir", by_fd(work))?;
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
