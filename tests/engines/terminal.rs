//! Someone at a terminal: types, and waits for what comes back.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::pty::{Winsize, openpty};

use crate::eventually::{LONG, eventually};

/// A program on a terminal of its own.
#[derive(Debug)]
pub(crate) struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<String>>,
    /// How much of the screen was waited for.
    seen: usize,
}

impl Terminal {
    /// Starts the program on a terminal of 30 rows and 100 columns.
    pub(crate) fn start(mut command: Command) -> Self {
        let size = Winsize {
            ws_row: 30,
            ws_col: 100,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).expect("the machine has terminals");
        let stdio = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
        command.stdin(stdio()).stdout(stdio()).stderr(stdio());
        let child = command.spawn().expect("the engine is installed");
        let screen = Arc::new(Mutex::new(String::new()));
        let keyboard = File::from(pty.master.try_clone().expect("a descriptor"));
        let shared = Arc::clone(&screen);
        let master = pty.master;
        thread::spawn(move || show(master, &shared));
        Self {
            child,
            keyboard,
            screen,
            seen: 0,
        }
    }

    /// Everything so far.
    pub(crate) fn screen(&self) -> String {
        self.screen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Presses keys.
    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard
            .write_all(keys.as_bytes())
            .expect("the terminal takes it");
    }

    /// Waits for `text` after what was waited for before.
    #[track_caller]
    pub(crate) fn until(&mut self, text: &str) {
        let from = self.seen;
        self.seen = eventually(&format!("{text:?} is on the screen"), LONG / 3, || {
            let screen = self.screen();
            let new = screen.get(from..).unwrap_or_default();
            match new.find(text) {
                Some(at) => Ok(from + at + text.len()),
                None => Err(screen),
            }
        });
    }

    /// Waits for the program's end; its exit code.
    pub(crate) fn end(&mut self) -> Option<i32> {
        eventually("the program ends", LONG / 3, || {
            match self.child.try_wait().expect("our own child") {
                Some(status) => Ok(status.code()),
                None => Err(self.screen()),
            }
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _gone_already = self.child.kill();
            let _ended = self.child.wait();
        }
    }
}

/// Copies the terminal's output until its last user is gone.
fn show(master: OwnedFd, screen: &Mutex<String>) {
    let mut master = File::from(master);
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = master.read(&mut bytes) {
        let text = String::from_utf8_lossy(bytes.get(..count).unwrap_or_default());
        screen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_str(&text);
    }
}
