//! Bundles in temporary folders, and the check that nothing is left of them.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use holdall_runtime::oci::client::Client;
use holdall_runtime::oci::defaults;
use holdall_runtime::oci::spec::{Mount, Spec};

/// Distinguishes containers of one test run.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A bundle whose root shows the host's /usr read-only, with a state root of
/// its own. Dropping it asserts that nothing is left.
pub(crate) struct Bundle {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) id: String,
    pub(crate) spec: Spec,
}

impl Bundle {
    #[must_use]
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("holdall-oci-")
            .tempdir()
            .unwrap();
        let rootfs = dir.path().join("rootfs");
        for name in ["usr", "etc", "tmp", "proc", "sys", "dev"] {
            fs::create_dir_all(rootfs.join(name)).unwrap();
        }
        for name in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{name}"), rootfs.join(name)).unwrap();
        }
        fs::write(
            rootfs.join("etc/passwd"),
            "root:x:0:0:r:/root:/bin/sh\nu:x:7:8:u:/tmp:/bin/sh\n",
        )
        .unwrap();
        let mut spec = defaults::spec();
        spec.mounts.push(bind(Path::new("/usr"), "/usr", "ro"));
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = format!("t{}-{number}", std::process::id());
        Self { dir, id, spec }
    }

    #[must_use]
    pub(crate) fn rootfs(&self) -> PathBuf {
        self.dir.path().join("rootfs")
    }

    #[must_use]
    pub(crate) fn state_root(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    #[must_use]
    pub(crate) fn client(&self) -> Client {
        Client {
            state_root: self.state_root(),
        }
    }

    /// Sets the program.
    pub(crate) fn program(&mut self, words: &[&str]) -> &mut Self {
        self.process().args = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Sets a shell script as the program.
    pub(crate) fn script(&mut self, text: &str) -> &mut Self {
        self.program(&["sh", "-c", text])
    }

    pub(crate) fn process(&mut self) -> &mut holdall_runtime::oci::spec::Process {
        self.spec.process.as_mut().unwrap()
    }

    pub(crate) fn linux(&mut self) -> &mut holdall_runtime::oci::spec::Linux {
        self.spec.linux.as_mut().unwrap()
    }

    pub(crate) fn write(&self) {
        let text = serde_json::to_vec_pretty(&self.spec).unwrap();
        fs::write(self.dir.path().join("config.json"), text).unwrap();
    }

    /// A call of the runtime on this state root.
    #[must_use]
    pub(crate) fn runtime(&self, verb: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .arg0("holdall-runtime")
            .arg("--root")
            .arg(self.state_root())
            .arg(verb);
        command.stdin(Stdio::null());
        command
    }

    /// Runs it in the foreground.
    #[must_use]
    pub(crate) fn run(&self) -> Output {
        self.write();
        self.runtime("run")
            .arg("-b")
            .arg(self.dir.path())
            .arg(&self.id)
            .output()
            .unwrap()
    }

    /// Runs it and returns what it printed; it must succeed.
    #[must_use]
    pub(crate) fn printed(&self) -> String {
        let output = self.run();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{:?}: {errors}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs it and returns why the runtime refused.
    #[must_use]
    pub(crate) fn refusal(&self) -> String {
        let output = self.run();
        assert!(!output.status.success());
        assert!(
            output.stdout.is_empty(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
        String::from_utf8(output.stderr).unwrap()
    }

    /// Creates and starts it in the background.
    pub(crate) fn up(&self) {
        self.write();
        let output = self.call("create", &["-b", self.dir.path().to_str().unwrap()]);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(self.call("start", &[]).status.success());
    }

    /// A verb with options, on this container.
    #[must_use]
    pub(crate) fn call(&self, verb: &str, options: &[&str]) -> Output {
        // A created container keeps its standard descriptors: to be able to
        // wait for the runtime alone, it gets files.
        let (out, err) = (self.dir.path().join("out"), self.dir.path().join("err"));
        let file = |path: &Path| fs::File::create(path).unwrap();
        let status = self
            .runtime(verb)
            .args(options)
            .arg(&self.id)
            .stdout(file(&out))
            .stderr(file(&err))
            .status()
            .unwrap();
        Output {
            status,
            stdout: fs::read(out).unwrap(),
            stderr: fs::read(err).unwrap(),
        }
    }

    /// Runs a program in it and returns what it printed.
    #[must_use]
    pub(crate) fn exec(&self, options: &[&str], words: &[&str]) -> Output {
        self.runtime("exec")
            .args(options)
            .arg(&self.id)
            .args(words)
            .output()
            .unwrap()
    }

    /// The cgroups of this container that exist now.
    #[must_use]
    pub(crate) fn cgroups(&self) -> Vec<PathBuf> {
        let name = format!("holdall-{}", self.id);
        let mut found = vec![PathBuf::from("/sys/fs/cgroup").join(&name)];
        for entry in fs::read_dir("/sys/fs/cgroup").unwrap() {
            found.push(entry.unwrap().path().join(&name));
        }
        found.retain(|path| path.exists());
        found
    }

    /// Host processes in this container's cgroups.
    #[must_use]
    pub(crate) fn processes(&self) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let cgroup = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
            // What ended may wait for the host's init to take note.
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            if cgroup.contains(&format!("holdall-{}", self.id)) && !stat.contains(") Z ") {
                found.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        found
    }

    /// Asserts that nothing of the container is left.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.cgroups(), Vec::<PathBuf>::new(), "cgroups are left");
        assert_eq!(self.processes(), Vec::<String>::new(), "processes are left");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(
            !mounts.contains(self.dir.path().to_str().unwrap()),
            "mounts are left"
        );
        if let Ok(entries) = fs::read_dir(self.state_root()) {
            assert_eq!(entries.count(), 0, "state is left");
        }
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The first failure is the one to read; only clean up after it.
            drop(self.call("delete", &["--force"]));
            return;
        }
        self.assert_clean();
    }
}

/// A bind mount of a host path.
#[must_use]
pub(crate) fn bind(source: &Path, target: &str, mode: &str) -> Mount {
    Mount {
        destination: target.into(),
        kind: Some("bind".into()),
        source: Some(source.to_owned()),
        options: vec!["rbind".into(), mode.into()],
        ..Mount::default()
    }
}

/// Waits until something holds; the tests' only way to wait for what has no
/// descriptor.
pub(crate) fn eventually(what: &str, mut probe: impl FnMut() -> bool) {
    const STEP: Duration = Duration::from_millis(5);
    for _ in 0..2000 {
        if probe() {
            return;
        }
        let timeout = nix::poll::PollTimeout::try_from(STEP).unwrap();
        nix::poll::poll(&mut [], timeout).unwrap();
    }
    panic!("waited 10 s in vain: {what}");
}

/// Ends a child that a test started, whatever becomes of the test.
pub(crate) struct Reaped(pub(crate) Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
