//! What every verb stands on: where the state lies, and whether the user wants
//! it to end.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use holdall_image::Store;
use holdall_runtime::boxes::Boxes;
use holdall_runtime::dirs::Dirs;

use crate::report::Failure;

/// See the module.
#[derive(Debug)]
pub(crate) struct Context {
    dirs: Dirs,
    interrupted: Arc<AtomicBool>,
}

impl Context {
    /// State below `root`, else below HOLDALL_ROOT, else in the system's
    /// folders.
    pub(crate) fn new(root: Option<PathBuf>) -> Result<Self, Failure> {
        let root = root
            .or_else(root_of_environment)
            .map(std::path::absolute)
            .transpose()?;
        let dirs = match root {
            Some(root) => Dirs::under(&root),
            None => Dirs::system(),
        };
        Ok(Self {
            dirs,
            interrupted: Arc::default(),
        })
    }

    /// The folders.
    pub(crate) fn dirs(&self) -> &Dirs {
        &self.dirs
    }

    /// The folders and the image store.
    pub(crate) fn state(&self) -> Result<(Dirs, Store), Failure> {
        let store = Store::open(&self.dirs.store(), &self.dirs.layers())?;
        Ok((self.dirs.clone(), store))
    }

    /// The boxes.
    pub(crate) fn boxes(&self) -> Result<Boxes, Failure> {
        Ok(Boxes::open(self.dirs.clone())?)
    }

    /// Turns true at Ctrl-C or TERM, from the first call on; before it they
    /// end the process as usual.
    pub(crate) fn interrupted(&self) -> &AtomicBool {
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // Fails only for signals that can't be caught.
            let _installed = signal_hook::flag::register(signal, Arc::clone(&self.interrupted));
        }
        &self.interrupted
    }

    /// Whether Ctrl-C or TERM came.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}

/// The one place that reads HOLDALL_ROOT.
#[expect(
    clippy::disallowed_methods,
    reason = "the licensed home of the command's environment"
)]
fn root_of_environment() -> Option<PathBuf> {
    std::env::var_os("HOLDALL_ROOT")
        .filter(|root| !root.is_empty())
        .map(PathBuf::from)
}
