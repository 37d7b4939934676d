//! The work that supervisors are given: this program calls itself as
//! `holdall-bench load WHAT …`. It prints nothing; what it knows goes into the
//! file or FIFO it is given.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getpid, pipe};

use crate::clock;
use crate::sys::{Forked, exit_now, fork};

/// Length of a line of [`lines`], its end included.
pub(crate) const LINE: usize = 100;

/// What the last line of [`lines`] consists of.
pub(crate) const LAST: u8 = b'z';

/// Does the work that the file `load` of the working directory names, a word a
/// line: what a scan folder's `run` is a link to.
pub(crate) fn run_here() -> Result<()> {
    let text = fs::read_to_string("load").context("cannot read ./load")?;
    let words: Vec<OsString> = text.lines().map(OsString::from).collect();
    run(&words)
}

/// Does the work that `arguments` name.
pub(crate) fn run(arguments: &[OsString]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().filter_map(|a| a.to_str()).collect();
    match words.as_slice() {
        ["orphans", waves, each, file] => orphans(waves.parse()?, each.parse()?, file),
        ["service", fifo] => service(fifo),
        ["crash", name, life, fifo] => crash(name, life.parse()?, fifo),
        ["lines", count, fifo] => lines(count.parse()?, fifo),
        _ => bail!("there is no work called {words:?}"),
    }
}

/// Makes `each` orphans that wait, lets them all end at once, and waits until
/// PID 1 has reaped every one; `waves` times. Writes the nanoseconds from their
/// end to the last one's reaping, summed over the waves.
fn orphans(waves: usize, each: usize, file: &str) -> Result<()> {
    let mut total = 0;
    for _ in 0..waves {
        total += wave(each)?;
    }
    fs::write(file, total.to_string()).with_context(|| format!("cannot write {file}"))
}

fn wave(each: usize) -> Result<i64> {
    let (hold, release) = pipe().context("cannot make a pipe")?;
    let (told, tell) = pipe().context("cannot make a pipe")?;
    match fork().context("cannot fork")? {
        Forked::Child => {
            drop((release, told));
            // A failure shows as too few numbers in the parent.
            middle(each, hold, tell).ok();
            exit_now()
        }
        Forked::Parent(middle) => {
            drop((hold, tell));
            let mut bytes = Vec::new();
            File::from(told)
                .read_to_end(&mut bytes)
                .context("cannot read the orphans' numbers")?;
            waitpid(Pid::from_raw(middle), None).context("cannot wait for their parent")?;
            let (numbers, _) = bytes.as_chunks::<4>();
            if numbers.len() != each {
                bail!("only {} of {each} orphans were made", numbers.len());
            }
            let start = clock::monotonic_ns().context("cannot read the clock")?;
            drop(release);
            for number in numbers {
                // A zombie can still be signalled; one that is reaped can't.
                while kill(Pid::from_raw(i32::from_ne_bytes(*number)), None) != Err(Errno::ESRCH) {
                    clock::pass(Duration::from_millis(1));
                }
            }
            Ok(clock::monotonic_ns().context("cannot read the clock")? - start)
        }
    }
}

/// Makes the children that its own end orphans.
fn middle(each: usize, hold: OwnedFd, tell: OwnedFd) -> Result<()> {
    let mut hold = File::from(hold);
    let mut numbers = Vec::with_capacity(each);
    for _ in 0..each {
        match fork()? {
            // Ends when the last writer has closed the pipe.
            Forked::Child => {
                drop(tell);
                hold.read_to_end(&mut Vec::new()).ok();
                exit_now()
            }
            Forked::Parent(pid) => numbers.extend(pid.to_ne_bytes()),
        }
    }
    File::from(tell).write_all(&numbers)?;
    Ok(())
}

fn open(fifo: &str) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .open(fifo)
        .with_context(|| format!("cannot open {fifo}"))
}

fn say(fifo: &mut File, word: &str, name: &str) -> Result<()> {
    let now = clock::monotonic_ns().context("cannot read the clock")?;
    // One write below PIPE_BUF: lines of several writers never mix.
    fifo.write_all(format!("{word} {name} {now}\n").as_bytes())
        .context("cannot write to the FIFO")
}

/// Says that it runs, and sleeps until a signal ends it.
fn service(fifo: &str) -> Result<()> {
    let mut fifo = open(fifo)?;
    say(&mut fifo, "up", "-")?;
    loop {
        nix::unistd::pause();
    }
}

/// Says that it runs, lives so many milliseconds, says that it dies, and is
/// killed.
fn crash(name: &str, life: u64, fifo: &str) -> Result<()> {
    let mut fifo = open(fifo)?;
    say(&mut fifo, "up", name)?;
    clock::pass(Duration::from_millis(life));
    say(&mut fifo, "down", name)?;
    kill(getpid(), Signal::SIGKILL).context("cannot kill itself")?;
    Ok(())
}

/// Writes `count` lines of [`LINE`] bytes to standard output in blocks of
/// 64 KiB, the last one of [`LAST`]; says when it begins and when all is
/// written. Then it sleeps, as a daemon would.
fn lines(count: usize, fifo: &str) -> Result<()> {
    let mut fifo = open(fifo)?;
    let line = |byte: u8| {
        let mut line = [byte; LINE];
        if let Some(end) = line.last_mut() {
            *end = b'\n';
        }
        line
    };
    let per_block = 65_536 / LINE;
    let block = line(b'a').repeat(per_block);
    let mut out = std::io::stdout().lock();
    say(&mut fifo, "up", "-")?;
    let mut left = count.saturating_sub(1);
    while left > 0 {
        let now = left.min(per_block);
        out.write_all(block.get(..now * LINE).unwrap_or(&block))
            .context("cannot write")?;
        left -= now;
    }
    out.write_all(&line(LAST)).context("cannot write")?;
    out.flush().context("cannot write")?;
    say(&mut fifo, "written", "-")?;
    loop {
        nix::unistd::pause();
    }
}
