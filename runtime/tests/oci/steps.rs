//! Build steps: over layers, on the host's network, gone with their caller.

use std::fs;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use holdall_runtime::step::{Bind, Exit, Step, StepError, run};

use crate::Test;
use crate::fixture::eventually;

pub(crate) const TESTS: &[Test] = &[
    (
        "a step's changes are the upper directory, its output the descriptor",
        changes,
    ),
    ("a step's exit code comes back", code),
    (
        "a step is on the host's network with docker's privileges",
        surroundings,
    ),
    ("a step's files are bound read-only where asked for", bound),
    ("a step that can't run says why", refused),
    (
        "a step ends when told to stop, with everything it started",
        stopped,
    ),
    ("a step dies with its caller, however that dies", orphaned),
    ("many layers stack, the last on top", many_layers),
];

/// The name under which this program runs one long step and nothing else.
const CALLER: &str = "step-caller";

/// A layer of folders and links, and room for changes.
struct Place {
    dir: tempfile::TempDir,
    layers: Vec<PathBuf>,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("holdall-step-")
            .tempdir()
            .unwrap();
        let base = dir.path().join("base");
        for name in ["usr", "etc", "tmp", "proc", "sys", "dev"] {
            fs::create_dir_all(base.join(name)).unwrap();
        }
        for name in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{name}"), base.join(name)).unwrap();
        }
        fs::write(base.join("etc/given"), "given\n").unwrap();
        for name in ["upper", "work"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self {
            layers: vec![base],
            dir,
        }
    }

    /// Runs a script as a step; its end and its output.
    fn run(
        &self,
        script: &str,
        binds: Vec<Bind>,
        stop: &AtomicBool,
    ) -> (Result<Exit, StepError>, String) {
        let out = self.dir.path().join("out");
        let file = fs::File::create(&out).unwrap();
        let (upper, work) = (self.dir.path().join("upper"), self.dir.path().join("work"));
        let step = Step {
            layers: &self.layers,
            upper: &upper,
            work: &work,
            argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
            env: vec![
                ("PATH".into(), "/usr/bin:/bin".into()),
                ("A".into(), "b".into()),
            ],
            dir: "/work/dir".into(),
            user: None,
            binds: [vec![usr()], binds].concat(),
            output: file.as_fd(),
        };
        let exit = run(&step, stop);
        (exit, fs::read_to_string(out).unwrap())
    }

    fn go(&self, script: &str) -> (Exit, String) {
        let (exit, text) = self.run(script, Vec::new(), &AtomicBool::new(false));
        (exit.unwrap(), text)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
            assert!(
                !mounts.contains(self.dir.path().to_str().unwrap()),
                "mounts are left"
            );
            assert_eq!(running(self.dir.path()), 0, "processes are left");
        }
    }
}

fn usr() -> Bind {
    Bind {
        source: "/usr".into(),
        target: "/usr".into(),
        read_only: true,
    }
}

/// How many processes have a path among their arguments.
fn running(path: &Path) -> usize {
    let path = path.to_str().unwrap();
    let mut count = 0;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        count += usize::from(String::from_utf8_lossy(&words).contains(path));
    }
    count
}

fn changes() {
    let place = Place::new();
    let (exit, text) =
        place.go("echo $A; cat /etc/given; echo new >/etc/new; rm /etc/given; pwd; id -u");
    assert_eq!(
        (exit, text.as_str()),
        (Exit::Code(0), "b\ngiven\n/work/dir\n0\n")
    );
    let upper = place.dir.path().join("upper");
    assert_eq!(fs::read_to_string(upper.join("etc/new")).unwrap(), "new\n");
    let whiteout = fs::symlink_metadata(upper.join("etc/given")).unwrap();
    assert!(std::os::unix::fs::FileTypeExt::is_char_device(
        &whiteout.file_type()
    ));
    assert!(place.layers.first().unwrap().join("etc/given").exists());
}

fn code() {
    assert_eq!(Place::new().go("exit 42").0, Exit::Code(42));
    assert_eq!(Place::new().go("nothing-like-it").0, Exit::Code(127));
}

fn surroundings() {
    let place = Place::new();
    let (_, text) = place.go(
        "readlink /proc/self/ns/net; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; \
         ls /proc/self/fd; echo $$",
    );
    let host = fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(
        text,
        format!(
            "{}\nCapEff:\t00000000a80425fb\nNoNewPrivs:\t1\nSeccomp:\t2\n0\n1\n2\n3\n1\n",
            host.display()
        )
    );
}

fn bound() {
    let place = Place::new();
    let resolv = place.dir.path().join("resolv");
    fs::write(&resolv, "nameserver 127.0.0.53\n").unwrap();
    let bind = Bind {
        source: resolv,
        target: "/etc/resolv.conf".into(),
        read_only: true,
    };
    let script = "cat /etc/resolv.conf; (echo x >/etc/resolv.conf) 2>/dev/null || echo ro";
    let (exit, text) = place.run(script, vec![bind], &AtomicBool::new(false));
    assert_eq!(exit.unwrap(), Exit::Code(0));
    assert_eq!(text, "nameserver 127.0.0.53\nro\n");
    // The stub that carried the mount is there and empty: the builder drops it.
    let stub = place.dir.path().join("upper/etc/resolv.conf");
    assert_eq!(fs::read_to_string(stub).unwrap(), "");
}

fn refused() {
    let place = Place::new();
    let bind = Bind {
        source: "/nothing/like/it".into(),
        target: "/x".into(),
        read_only: true,
    };
    let (exit, _) = place.run("true", vec![bind], &AtomicBool::new(false));
    let error = exit.unwrap_err();
    assert_eq!(error.to_string(), "cannot run the step");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        cause.starts_with("cannot take /nothing/like/it for the mount at /x: "),
        "{cause}"
    );
}

fn stopped() {
    let place = Place::new();
    let stop = AtomicBool::new(false);
    let marker = place.dir.path().to_str().unwrap().to_owned();
    let script = format!("setsid sh -c 'sleep 1000; : {marker}' & sleep 1000; : {marker}");
    std::thread::scope(|scope| {
        let running_step = scope.spawn(|| place.run(&script, Vec::new(), &stop).0.unwrap());
        eventually("the step runs", || running(place.dir.path()) >= 2);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(running_step.join().unwrap(), Exit::Stopped);
    });
    eventually("everything ended", || running(place.dir.path()) == 0);
}

/// Runs one long step, when this program was started for it.
pub(crate) fn caller_main() -> Option<ExitCode> {
    let mut words = std::env::args_os();
    if words.next()? != CALLER {
        return None;
    }
    let dir = PathBuf::from(words.next()?);
    let (upper, work) = (dir.join("upper"), dir.join("work"));
    let output = std::io::stdout();
    let marker = format!("echo running; sleep 1000; : {}", dir.display());
    let step = Step {
        layers: &[dir.join("base")],
        upper: &upper,
        work: &work,
        argv: vec!["sh".into(), "-c".into(), marker],
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        dir: "/".into(),
        user: None,
        binds: vec![usr()],
        output: output.as_fd(),
    };
    let ended = run(&step, &AtomicBool::new(false));
    Some(ExitCode::from(u8::from(ended.is_err())))
}

fn orphaned() {
    let place = Place::new();
    let mut caller = Command::new(std::env::current_exe().unwrap())
        .arg0(CALLER)
        .arg(place.dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 8];
    caller
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut first)
        .unwrap();
    assert_eq!(&first, b"running\n");
    caller.kill().unwrap();
    caller.wait().unwrap();
    eventually("everything ended", || running(place.dir.path()) == 0);
}

fn many_layers() {
    let mut place = Place::new();
    // More than one page of options could hold.
    for number in 0..100 {
        let layer = place
            .dir
            .path()
            .join(format!("a-layer-with-a-long-name-{number:0>60}"));
        fs::create_dir_all(layer.join("etc")).unwrap();
        fs::write(layer.join("etc/top"), format!("{number}\n")).unwrap();
        place.layers.push(layer);
    }
    assert_eq!(place.go("cat /etc/top"), (Exit::Code(0), "99\n".to_owned()));
}
