//! Overlay filesystems that are attached nowhere.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::sys::{self, NewFs};

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
/// Layers are given one by one through descriptors, so neither their number
/// nor the length or characters of their paths is bounded by a page of
/// options. Extensions that leave traces in the upper directory (redirects,
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
    let by_fd = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    // The descriptors live until the filesystem is made.
    let layers: Vec<OwnedFd> = lower
        .iter()
        .map(|path| open_dir(path))
        .collect::<Result<_, _>>()?;
    let pair = upper
        .map(|(up, work)| Ok((open_dir(up)?, open_dir(work)?)))
        .transpose()?;

    let plain = |errno| OverlayError {
        detail: None,
        errno,
    };
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
    let fs = NewFs::open("overlay").map_err(plain)?;
    let explained = |fs: &NewFs, errno| OverlayError {
        detail: fs.complaint(),
        errno,
    };
    let configure = || -> nix::Result<()> {
        fs.set("source", "overlay")?;
        // Top first.
        for layer in layers.iter().rev() {
            fs.set("lowerdir+", by_fd(layer))?;
        }
        if let Some((up, work)) = &pair {
            fs.set("upperdir", by_fd(up))?;
            fs.set("workdir", by_fd(work))?;
        }
        for option in ["redirect_dir", "index", "metacopy", "xino"] {
            fs.set(option, "off")?;
        }
        Ok(())
    };
    configure().map_err(|errno| explained(&fs, errno))?;
    fs.mount(0).map_err(|errno| explained(&fs, errno))
}
