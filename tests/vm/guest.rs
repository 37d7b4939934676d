//! This program as the init of a machine: it mounts what a distribution's
//! would, does the chore of the kernel's command line, reports on the second
//! serial port and switches the machine off.

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sys::wait::WaitStatus;

use crate::Named;

/// The serial port that carries reports; the first one is the console.
const PORT: &str = "/dev/ttyS1";

/// A line from the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Report {
    /// Nothing new, but it hasn't hung.
    Alive,
    /// Something that the other half of the story waits for.
    Says(String),
    /// The chore is done.
    Done,
    /// It has failed; the reason stands on the console too.
    Failed(String),
}

impl Report {
    /// Reads a line of the port.
    pub(crate) fn of(line: &str) -> Option<Self> {
        let (kind, text) = line.split_once(':')?;
        match kind {
            "alive" => Some(Self::Alive),
            "says" => Some(Self::Says(text.to_owned())),
            "done" => Some(Self::Done),
            "failed" => Some(Self::Failed(text.to_owned())),
            _ => None,
        }
    }

    fn send(&self) {
        let (kind, text) = match self {
            Self::Alive => ("alive", ""),
            Self::Says(text) => ("says", text.as_str()),
            Self::Done => ("done", ""),
            Self::Failed(text) => ("failed", text.as_str()),
        };
        let mut port = OpenOptions::new().write(true).open(PORT).expect(PORT);
        let line = format!("{kind}:{}\n", text.replace('\n', " | "));
        port.write_all(line.as_bytes()).expect(PORT);
    }
}

/// Tells the other half of the story something.
pub(crate) fn say(text: &str) {
    Report::Says(text.to_owned()).send();
}

/// What the kernel starts, and what that starts in turn.
const INIT: &str = "/guest";
const CHORE: &str = "/guest-chore";

/// All of a machine's life, if this process is in one.
pub(crate) fn main(chores: &[Named]) -> Option<ExitCode> {
    let name = std::env::args_os().next()?;
    if name == INIT {
        init();
    } else if name == CHORE {
        let wanted = chore();
        let found = chores.iter().find(|(name, _)| *name == wanted);
        let (_, chore) = found.unwrap_or_else(|| panic!("no chore {wanted:?}"));
        // A panic's words stand on the console, and its exit code tells.
        chore();
        return Some(ExitCode::SUCCESS);
    }
    None
}

/// Starts the chore, reaps whoever loses its parent, switches off.
fn init() -> ! {
    prepare();
    let mut command = Command::new("/proc/self/exe");
    #[expect(clippy::zombie_processes, reason = "reaped below, as all others")]
    let chore = command.arg0(CHORE).spawn().expect("this program");
    let chore = i32::try_from(chore.id()).expect("a number of a process");
    let ended = loop {
        let status = nix::sys::wait::wait().expect("a child");
        if status.pid().is_some_and(|pid| pid.as_raw() == chore) {
            break status;
        }
    };
    let report = match ended {
        WaitStatus::Exited(_, 0) => Report::Done,
        other => Report::Failed(format!("the chore: {other:?}")),
    };
    report.send();
    // qemu takes a reset for the end; init's own end would be a panic.
    let _nothing = printed(Command::new("reboot").arg("-f"));
    loop {
        std::thread::park();
    }
}

fn prepare() {
    for (kind, path) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("cgroup2", "/sys/fs/cgroup"),
        ("devpts", "/dev/pts"),
        ("tmpfs", "/dev/shm"),
        ("tmpfs", "/run"),
    ] {
        match fs::create_dir(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => panic!("{path}: {error}"),
            _ => {}
        }
        // As systemd mounts it, with the kernel's bounds around namespaces.
        let options = (kind == "cgroup2").then_some("nsdelegate");
        mount(Some(kind), path, Some(kind), MsFlags::empty(), options)
            .unwrap_or_else(|errno| panic!("{path}: {errno}"));
    }
    let _nothing = printed(Command::new("ip").args(["link", "set", "lo", "up"]));
    for limits in ["memory", "pids", "cpu"] {
        let known = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers");
        let known = known.expect("cgroup 2");
        assert!(
            known.split_whitespace().any(|name| name == limits),
            "{known}"
        );
    }
}

/// What the kernel's command line asks for.
fn chore() -> String {
    let line = fs::read_to_string("/proc/cmdline").expect("/proc");
    let chore = line
        .split_whitespace()
        .find_map(|word| word.strip_prefix("holdall.chore="));
    chore.expect("a chore").to_owned()
}

/// `holdall` with these arguments: state on the disk, and what may not outlive
/// a boot below /run, as on any machine.
pub(crate) fn holdall(args: &[&str]) -> Command {
    let mut command = Command::new("holdall");
    command.args(args).env("PATH", PATH);
    command
}

const PATH: &str = "/usr/bin:/usr/sbin";

/// What a program printed; it must have succeeded.
pub(crate) fn printed(command: &mut Command) -> String {
    command.env("PATH", PATH);
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    Report::Alive.send();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a program whose words go to the console; it must succeed.
pub(crate) fn run(command: &mut Command) {
    command.env("PATH", PATH).stdout(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    for line in lines.map_while(Result::ok) {
        println!("{line}");
        Report::Alive.send();
    }
    let ended = child.wait().expect("our own child");
    assert!(ended.success(), "{command:?}: {ended}");
}

/// A file of the machine's, as text.
pub(crate) fn text(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
