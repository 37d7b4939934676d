//! From a FIFO into the log, so that a kill at any instant loses no line and
//! writes none twice.
//!
//! What a monitor had read and not yet written would die with it. So bytes are
//! only looked at (tee(2)) and stay in the FIFO, which the box holds open,
//! until their lines are in the log:
//!
//! 1. the intent is written down: which FIFO, how many bytes, where in the log;
//! 2. the lines are appended to the log;
//! 3. the bytes are moved (splice(2)) into the *ledger*, a FIFO that the keeper
//!    holds open too;
//! 4. there is no intent any more;
//! 5. the ledger is emptied.
//!
//! Whoever follows a killed monitor finds in intent, log and ledger which step
//! was its last, and does the rest. Where the keeper was lost as well, the
//! ledger's content is; then lines may come twice, and still none is lost.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, SpliceFFlags, splice, tee};
use nix::unistd::{pipe2, read};

use super::logfile::LogFile;
use crate::clock::WallTime;
use state::{Intent, State, StateFile};

mod state;

/// Bytes looked at in one turn: what a FIFO holds.
pub(crate) const CHUNK: usize = 64 * 1024;

/// The log and the way into it.
#[derive(Debug)]
pub(crate) struct Transfer {
    log: LogFile,
    state: StateFile,
    ledger: OwnedFd,
    /// Through this pipe the bytes of a FIFO are looked at.
    window: (OwnedFd, OwnedFd),
    /// Where the ledger is emptied into.
    null: File,
}

impl Transfer {
    /// Goes on with the log in `dir` where the one before has left off.
    /// `ledger` is the one that it had, or an empty one if it is `lost`.
    pub(crate) fn open(
        dir: &Path,
        state: &Path,
        fifos: &[BorrowedFd<'_>],
        ledger: OwnedFd,
        lost: bool,
    ) -> io::Result<Self> {
        let (state, mut before) = StateFile::open(state);
        let window = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let written = match before.intent {
            Some(intent) => LogFile::settle(dir, intent.place)?,
            None => false,
        };
        if written {
            before.lost = 0;
        }
        let transfer = Self {
            log: LogFile::resume(dir, before.lost)?,
            state,
            ledger,
            window,
            null: File::options().write(true).open("/dev/null")?,
        };
        if let Some(intent) = before.intent.filter(|_| written && !lost) {
            let moved = transfer.look_at(transfer.ledger.as_fd(), &mut [0; CHUNK])?;
            let count = usize::try_from(intent.count).unwrap_or(CHUNK);
            let fifo = usize::try_from(intent.fifo).ok();
            if let Some(fifo) = fifo.and_then(|fifo| fifos.get(fifo)) {
                transfer.take_away(*fifo, count.saturating_sub(moved))?;
            }
        }
        transfer.set(None);
        transfer.empty_ledger()?;
        Ok(transfer)
    }

    /// What is in a FIFO, which stays there; how many bytes.
    pub(crate) fn look_at(&self, fifo: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        let (exit, entry) = &self.window;
        let found = again(|| tee(fifo, entry, buffer.len(), SpliceFFlags::SPLICE_F_NONBLOCK))?;
        let mut count = 0;
        while let Some(rest) = buffer.get_mut(count..found)
            && !rest.is_empty()
        {
            match again(|| read(exit, rest))? {
                0 => break,
                more => count += more,
            }
        }
        Ok(count)
    }

    /// Appends lines that the first `count` bytes of this FIFO are, and takes
    /// these away. An error of the log is given back once each time that such
    /// errors begin.
    pub(crate) fn append(
        &mut self,
        (number, fifo): (usize, BorrowedFd<'_>),
        count: usize,
        lines: &[u8],
        now: WallTime,
    ) -> io::Result<Option<io::Error>> {
        let (fifo_number, bytes) = (number as u64, count as u64);
        let state = &self.state;
        let failed = self.log.append_told(lines, now, |place, lost| {
            let intent = Intent {
                fifo: fifo_number,
                count: bytes,
                place,
            };
            let intent = Some(intent);
            state.set(State { lost, intent });
        });
        if self.log.lost() > 0 {
            self.set(None);
        }
        self.take_away(fifo, count)?;
        self.set(None);
        self.empty_ledger()?;
        Ok(failed)
    }

    /// Appends the host's own words.
    pub(crate) fn say(&mut self, line: &[u8], now: WallTime) -> Option<io::Error> {
        self.log.append(line, now)
    }

    /// Moves bytes that are in the log from a FIFO into the ledger.
    fn take_away(&self, fifo: BorrowedFd<'_>, mut count: usize) -> io::Result<()> {
        while count > 0 {
            let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
            match again(|| splice(fifo, None, &self.ledger, None, count, flags))? {
                // A program in the box has read its own output.
                0 => break,
                moved => count -= moved.min(count),
            }
        }
        Ok(())
    }

    /// Takes bytes away that no line was made of yet.
    pub(crate) fn take(&self, fifo: BorrowedFd<'_>, count: usize) -> io::Result<()> {
        self.take_away(fifo, count)?;
        self.empty_ledger()
    }

    fn empty_ledger(&self) -> io::Result<()> {
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
        while again(|| splice(&self.ledger, None, &self.null, None, CHUNK, flags))? > 0 {}
        Ok(())
    }

    fn set(&self, intent: Option<Intent>) {
        let lost = self.log.lost();
        self.state.set(State { lost, intent });
    }
}

/// Until it isn't interrupted; 0 where there is nothing to be had.
fn again(mut call: impl FnMut() -> nix::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(0),
            other => return Ok(other?),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::unix::fs::OpenOptionsExt as _;

    use nix::libc;
    use nix::unistd::write;

    use super::super::logfile::CURRENT;
    use super::*;

    /// A box's folder, its one FIFO, and what its keeper holds.
    struct World {
        dir: tempfile::TempDir,
        fifo: (OwnedFd, OwnedFd),
        ledger: OwnedFd,
    }

    fn fifo(path: &Path) -> OwnedFd {
        nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let file = options.custom_flags(libc::O_NONBLOCK).open(path);
        file.expect("a FIFO").into()
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("directory");
            let ledger = fifo(&dir.path().join("ledger"));
            let fifo = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).expect("a pipe");
            Self { dir, fifo, ledger }
        }

        /// A monitor; dropped, it was killed.
        fn monitor(&self, lost: bool) -> Transfer {
            let ledger = self.ledger.try_clone().expect("a descriptor");
            let state = self.dir.path().join("state");
            Transfer::open(
                self.dir.path(),
                &state,
                &[self.fifo.0.as_fd()],
                ledger,
                lost,
            )
            .expect("opened")
        }

        fn says(&self, text: &str) {
            write(&self.fifo.1, text.as_bytes()).expect("written");
        }

        fn log(&self) -> String {
            std::fs::read_to_string(self.dir.path().join(CURRENT)).expect("a log")
        }

        fn left(&self, monitor: &Transfer) -> String {
            let mut buffer = [0; CHUNK];
            let count = monitor.look_at(self.fifo.0.as_fd(), &mut buffer);
            let count = count.expect("looked at");
            String::from_utf8_lossy(&buffer[..count]).into_owned()
        }
    }

    /// The steps of one append, so that a kill can come between any two.
    fn steps(world: &World, monitor: &mut Transfer, until: usize, torn: bool) {
        let lines = b"one\ntwo\n";
        let mut place = None;
        if until == 0 {
            return;
        }
        monitor.log.begin_only(lines.len(), &mut place);
        let place = place.expect("a place");
        monitor.set(Some(Intent {
            fifo: 0,
            count: 8,
            place,
        }));
        if until == 1 {
            if torn {
                let mut log = OpenOptions::new();
                let log = log.append(true).open(world.dir.path().join(CURRENT));
                io::Write::write_all(&mut log.expect("a log"), b"one\nt").expect("written");
            }
            return;
        }
        assert!(monitor.log.append(lines, WallTime(0)).is_none());
        if until == 2 {
            return;
        }
        let moved = if torn { 3 } else { 8 };
        monitor
            .take_away(world.fifo.0.as_fd(), moved)
            .expect("moved");
        if until == 3 {
            return;
        }
        monitor
            .take_away(world.fifo.0.as_fd(), 8 - moved)
            .expect("moved");
        monitor.set(None);
    }

    #[test]
    fn whoever_follows_a_killed_monitor_writes_each_line_once() {
        for (until, torn) in [
            (0, false),
            (1, false),
            (1, true),
            (2, false),
            (3, true),
            (3, false),
            (4, false),
        ] {
            let world = World::new();
            world.says("one\ntwo\nthr");
            let mut killed = world.monitor(false);
            steps(&world, &mut killed, until, torn);
            drop(killed);
            // What comes meanwhile looks just the same.
            world.says("ee\none\ntwo\n");
            let mut next = world.monitor(false);
            let left = world.left(&next);
            let from = (0, world.fifo.0.as_fd());
            let failed = next.append(from, left.len(), left.as_bytes(), WallTime(0));
            assert!(failed.expect("appended").is_none());
            let wanted = "one\ntwo\nthree\none\ntwo\n";
            assert_eq!(world.log(), wanted, "killed after step {until}, {torn}");
            assert_eq!(world.left(&next), "");
        }
    }

    #[test]
    fn without_the_ledger_lines_may_come_twice_and_none_is_lost() {
        let world = World::new();
        world.says("one\ntwo\n");
        let mut killed = world.monitor(false);
        steps(&world, &mut killed, 2, false);
        drop(killed);
        let next = world.monitor(true);
        assert_eq!(world.log(), "one\ntwo\n");
        assert_eq!(world.left(&next), "one\ntwo\n");
    }

    #[test]
    fn what_was_lost_to_a_full_disk_is_told_by_whoever_follows() {
        let world = World::new();
        world.says("one\ntwo\n");
        let mut killed = world.monitor(false);
        killed.log.break_it(world.dir.path());
        let from = (0, world.fifo.0.as_fd());
        let failed = killed.append(from, 8, b"one\ntwo\n", WallTime(0));
        assert!(failed.expect("taken away").is_some());
        drop(killed);
        let mut next = world.monitor(false);
        assert_eq!(world.left(&next), "");
        assert!(next.say(b"three\n", WallTime(0)).is_none());
        let log = world.log();
        assert!(log.contains("2 lines of the log are lost"), "{log}");
        assert!(log.ends_with("three\n"), "{log}");
    }

    #[test]
    fn a_run_whose_folder_is_gone_can_still_be_ended() {
        let world = World::new();
        let gone = world.dir.path().join("gone/state");
        let ledger = world.ledger.try_clone().expect("a descriptor");
        let fifos = [world.fifo.0.as_fd()];
        let opened = Transfer::open(world.dir.path(), &gone, &fifos, ledger, false);
        world.says("one\n");
        let from = (0, world.fifo.0.as_fd());
        let appended = opened
            .expect("opened")
            .append(from, 4, b"one\n", WallTime(0));
        assert!(appended.expect("appended").is_none());
        assert_eq!(world.log(), "one\n");
    }

    #[test]
    fn looking_takes_nothing_away() {
        let world = World::new();
        world.says("half a li");
        let monitor = world.monitor(false);
        assert_eq!(world.left(&monitor), "half a li");
        assert_eq!(world.left(&monitor), "half a li");
    }
}
