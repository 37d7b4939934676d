//! An init under test.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use holdall_protocol::control::Status;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) const INIT: &str = env!("CARGO_BIN_EXE_holdall-init");

/// A helper program of the tests.
pub(crate) fn program(name: &str) -> String {
    format!("{}/tests/programs/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// How an init is to be started.
pub(crate) struct Setup {
    pub(crate) dir: TempDir,
    /// Put before the program: what starts it.
    before: Vec<String>,
    args: Vec<String>,
    command: Command,
    own_namespace: bool,
}

impl Setup {
    /// With these services.
    pub(crate) fn new(config: &str) -> Self {
        let setup = Self::without_config();
        fs::write(setup.dir.path().join("holdall.toml"), config).expect("write");
        let path = setup.path("holdall.toml");
        setup.args(&["--config", &path])
    }

    /// With no file of services.
    pub(crate) fn without_config() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("holdall-init-")
            .tempdir()
            .expect("a folder");
        let mut command = Command::new("env");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // By this its processes are found afterwards.
        command.env("HOLDALL_TEST", dir.path());
        let before = Vec::new();
        Self {
            dir,
            before,
            args: Vec::new(),
            command,
            own_namespace: false,
        }
    }

    /// A path in its folder.
    pub(crate) fn path(&self, name: &str) -> String {
        self.dir
            .path()
            .join(name)
            .to_str()
            .expect("text")
            .to_owned()
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|&a| a.to_owned()));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts it by these words, the last of which runs what follows.
    pub(crate) fn by(mut self, words: &[&str]) -> Self {
        self.before.extend(words.iter().map(|&w| w.to_owned()));
        self
    }

    /// As process 1 of a namespace of its own.
    pub(crate) fn own_namespace(mut self) -> Self {
        self.own_namespace = true;
        self.by(&["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"])
    }

    /// With the root for its folder, which every user may enter.
    pub(crate) fn at_root(mut self) -> Self {
        self.command.current_dir("/");
        self
    }

    /// In a folder that only its owner may enter.
    pub(crate) fn at_its_folder(mut self) -> Self {
        let own = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(self.dir.path(), own).expect("chmod");
        self.command.current_dir(self.dir.path());
        self
    }

    pub(crate) fn stdout(mut self, stdout: Stdio) -> Self {
        self.command.stdout(stdout);
        self
    }

    /// Starts it.
    pub(crate) fn start(mut self) -> Init {
        let run_dir = self.dir.path().join("run");
        self.command
            .args(&self.before)
            .arg(INIT)
            .arg("--run-dir")
            .arg(&run_dir)
            .args(&self.args);
        let mut child = self.command.spawn().expect("start");
        let stdout = child.stdout.take();
        let own_namespace = self.own_namespace;
        Init {
            dir: self.dir,
            run_dir,
            child,
            stdout,
            seen: String::new(),
            own_namespace,
            ended: None,
        }
    }
}

/// One that runs.
pub(crate) struct Init {
    pub(crate) dir: TempDir,
    pub(crate) run_dir: PathBuf,
    child: Child,
    stdout: Option<ChildStdout>,
    /// All that it has written so far.
    pub(crate) seen: String,
    own_namespace: bool,
    ended: Option<ExitStatus>,
}

impl Init {
    pub(crate) fn path(&self, name: &str) -> String {
        self.dir
            .path()
            .join(name)
            .to_str()
            .expect("text")
            .to_owned()
    }

    /// The number of the init itself, seen from here.
    pub(crate) fn pid(&self) -> i32 {
        let started = i32::try_from(self.child.id()).expect("a number");
        if !self.own_namespace {
            return started;
        }
        eventually("the namespace has its first process", || {
            let children = fs::read_to_string(format!("/proc/{started}/task/{started}/children"));
            children.ok()?.split_whitespace().next()?.parse().ok()
        })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("it lives");
    }

    /// Reads its output until `text` is in it; what came before it included.
    pub(crate) fn wait_for(&mut self, text: &str) -> &str {
        let from = 0;
        self.wait_from(from, text);
        &self.seen
    }

    /// Reads its output until `text` comes after the place `from`; the place
    /// after it.
    pub(crate) fn wait_from(&mut self, from: usize, text: &str) -> usize {
        let until = now() + LIMIT;
        let mut start = from;
        loop {
            if let Some(at) = self.seen.get(start..).and_then(|seen| seen.find(text)) {
                return start + at + text.len();
            }
            // What was looked through once needs no second look.
            start = from.max(
                self.seen
                    .floor_char_boundary(self.seen.len() - text.len().min(self.seen.len())),
            );
            assert!(
                self.read_some(until),
                "no {text:?} in its output:\n{}",
                self.seen
            );
        }
    }

    /// The line of its output that has `text` in it, without its prefix.
    pub(crate) fn line_with(&mut self, text: &str) -> String {
        self.wait_for(text);
        let at = self.seen.find(text).expect("it is there");
        let until = now() + LIMIT;
        while !self.seen.get(at..).expect("a place").contains('\n') {
            assert!(self.read_some(until), "no end of line:\n{}", self.seen);
        }
        let line = self
            .seen
            .lines()
            .find(|line| line.contains(text))
            .expect("it is there");
        line.split_once(" | ")
            .map_or(line, |(_, rest)| rest)
            .to_owned()
    }

    /// The number after `text` in its output.
    pub(crate) fn number_after(&mut self, text: &str) -> i32 {
        let line = self.line_with(text);
        let (_, rest) = line.split_once(text).expect("it is there");
        rest.split_whitespace()
            .next()
            .and_then(|n| n.parse().ok())
            .expect("a number")
    }

    fn read_some(&mut self, until: Instant) -> bool {
        let stdout = self.stdout.as_mut().expect("its output is a pipe");
        let left = until.saturating_duration_since(now());
        let timeout = PollTimeout::try_from(left).expect("short");
        let mut ready = [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, timeout) != Ok(1) {
            return false;
        }
        let mut buffer = [0; 65_536];
        let read = stdout.read(&mut buffer).expect("read");
        self.seen.push_str(&String::from_utf8_lossy(
            buffer.get(..read).expect("what was read"),
        ));
        read > 0
    }

    /// Stops reading its output, which it keeps.
    pub(crate) fn leave_output(&mut self) -> ChildStdout {
        self.stdout.take().expect("its output is a pipe")
    }

    /// Waits until it can be asked.
    pub(crate) fn wait_for_socket(&self) {
        eventually("it answers", || {
            self.ask(&["ps"]).status.success().then_some(())
        });
    }

    /// Its client.
    #[must_use]
    pub(crate) fn ask(&self, args: &[&str]) -> Output {
        let mut command = Command::new(INIT);
        command.arg("--run-dir").arg(&self.run_dir).args(args);
        command.output().expect("start")
    }

    /// Its client, which must succeed: what it prints.
    pub(crate) fn ask_ok(&self, args: &[&str]) -> String {
        let output = self.ask(args);
        assert!(output.status.success(), "{args:?}: {}", said(&output));
        String::from_utf8(output.stdout).expect("text")
    }

    pub(crate) fn status(&self) -> Status {
        serde_json::from_str(&self.ask_ok(&["ps", "--format", "json"])).expect("a status")
    }

    /// The main process of a service, in the numbering of its namespace.
    pub(crate) fn pid_of(&self, service: &str) -> Option<u32> {
        let services = self.status().services;
        services
            .into_iter()
            .find(|s| s.name.as_str() == service)
            .expect("it is there")
            .pid
    }

    /// Waits for its end; its exit status, and everything it wrote to stderr.
    pub(crate) fn wait(&mut self) -> (ExitStatus, String) {
        let until = now() + LIMIT;
        while self.stdout.is_some() && self.read_some(until) {}
        let status = eventually("init ends", || self.child.try_wait().expect("a child"));
        self.ended = Some(status);
        let mut stderr = String::new();
        if let Some(mut pipe) = self.child.stderr.take() {
            pipe.read_to_string(&mut stderr).expect("text");
        }
        self.assert_nothing_left();
        (status, stderr)
    }

    /// Stops it in order; its exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.wait().0.code()
    }

    /// Every process that it started carries its mark.
    fn assert_nothing_left(&self) {
        eventually("no process is left behind", || {
            let left = processes_with(self.dir.path());
            left.is_empty().then_some(())
        });
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        if self.ended.is_some() {
            return;
        }
        // A test has failed: nothing may be left behind all the same.
        if std::thread::panicking() {
            let shown = self.seen.len().saturating_sub(4000);
            let _ = writeln!(std::io::stderr(), "its output:\n{}", &self.seen[shown..]);
        }
        for pid in processes_with(self.dir.path()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        assert!(std::thread::panicking(), "a test must end its init itself");
    }
}

/// Processes whose environment has the mark of this folder, zombies excepted.
fn processes_with(dir: &Path) -> Vec<i32> {
    let mark = format!("HOLDALL_TEST={}\0", dir.display());
    let marked = |pid: &i32| {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|env| env.windows(mark.len()).any(|part| part == mark.as_bytes()))
    };
    let own = i32::try_from(std::process::id()).expect("a number");
    let entries = fs::read_dir("/proc").expect("a /proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| *pid != own).filter(marked).collect()
}

/// Ends every process that carries the mark of this folder.
pub(crate) fn kill_marked(dir: &Path) {
    eventually("everything of it is gone", || {
        let left = processes_with(dir);
        for pid in &left {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        left.is_empty().then_some(())
    });
}

/// How many processes of an init have `word` in their command line.
pub(crate) fn processes_running(init: &Init, word: &str) -> usize {
    let has = |pid: &i32| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(word))
    };
    processes_with(init.dir.path())
        .into_iter()
        .filter(has)
        .count()
}

/// Whether a process is there and no zombie.
pub(crate) fn alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.trim().chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

/// Waits until `probe` gives something.
pub(crate) fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let until = now() + LIMIT;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(now() < until, "waited in vain until {what}");
        let _ = poll(&mut [], PollTimeout::from(5_u8));
    }
}

/// What a program said, for messages.
pub(crate) fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}

#[expect(clippy::disallowed_methods, reason = "the one clock of these tests")]
fn now() -> Instant {
    Instant::now()
}
