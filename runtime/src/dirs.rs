//! Where everything lies on the host. The one place that knows the names.

use std::path::{Path, PathBuf};

/// The two roots and the folders below them. `HOLDALL_ROOT` (or `--root`) puts
/// both under one folder, which is how tests stay apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirs {
    /// What outlives a reboot.
    data: PathBuf,
    /// What doesn't: sockets, FIFOs, process records.
    run: PathBuf,
}

impl Dirs {
    /// Data and run folders apart, as in `/var/lib/holdall` and
    /// `/run/holdall`.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>, run: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            run: run.into(),
        }
    }

    /// Everything under one folder.
    #[must_use]
    pub fn under(root: &Path) -> Self {
        Self::new(root, root.join("run"))
    }

    /// The folders of the host as a whole.
    #[must_use]
    pub fn system() -> Self {
        Self::new("/var/lib/holdall", "/run/holdall")
    }

    /// What outlives a reboot.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// What a reboot takes.
    #[must_use]
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// The OCI layout of images.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.data.join("store")
    }

    /// Unpacked layers, by diff ID.
    #[must_use]
    pub fn layers(&self) -> PathBuf {
        self.data.join("layers")
    }

    /// The builder's cache.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.data.join("cache")
    }

    /// Packages that builds fetched, by digest.
    #[must_use]
    pub fn packages(&self) -> PathBuf {
        self.data.join("packages")
    }

    /// Named and anonymous volumes.
    #[must_use]
    pub fn volumes(&self) -> PathBuf {
        self.data.join("volumes")
    }

    /// One folder a box: record, upper directory, log.
    #[must_use]
    pub fn boxes(&self) -> PathBuf {
        self.data.join("boxes")
    }

    /// A layer with the places of what every box gets mounted.
    #[must_use]
    pub fn mountpoints(&self) -> PathBuf {
        self.data.join("mountpoints")
    }

    /// One folder a running box: control socket, FIFOs, locks.
    #[must_use]
    pub fn run_boxes(&self) -> PathBuf {
        self.run.join("boxes")
    }

    /// One lock file a published port.
    #[must_use]
    pub fn run_ports(&self) -> PathBuf {
        self.run.join("ports")
    }

    /// The OCI runtime's state of running containers.
    #[must_use]
    pub fn runtime_state(&self) -> PathBuf {
        self.run.join("runtime")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_root_holds_everything() {
        let root = Path::new("/tmp/r");
        let dirs = Dirs::under(root);
        for path in [
            dirs.store(),
            dirs.layers(),
            dirs.cache(),
            dirs.packages(),
            dirs.volumes(),
            dirs.boxes(),
            dirs.mountpoints(),
            dirs.run_boxes(),
            dirs.run_ports(),
            dirs.runtime_state(),
        ] {
            assert!(path.starts_with(root), "{path:?}");
        }
    }
}
