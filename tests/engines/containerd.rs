//! A containerd of one story's own, spoken to with `ctr`.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::engine::{Engine, Runtime};
use crate::env::Ran;
use crate::eventually::{LONG, eventually};
use crate::place::{Daemon, Place, ran};

/// A running daemon.
#[derive(Debug)]
pub(crate) struct Containerd<'a> {
    place: &'a Place,
    daemon: Daemon,
    runtime: Runtime,
}

impl<'a> Containerd<'a> {
    pub(crate) fn new(place: &'a Place, runtime: Runtime) -> Self {
        let own = |name: &str| place.path(&format!("containerd/{name}"));
        let file = place.dir("containerd").join("config.toml");
        let configuration = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {:?}\n[ttrpc]\naddress = {:?}\n",
            own("root"),
            own("state"),
            own("sock"),
            own("ttrpc"),
        );
        fs::write(&file, configuration).expect("a file below the root");
        let args = ["--config".to_owned(), own("config.toml")];
        let mut daemon = Daemon::start(place, "containerd", &args);
        daemon.until(|| ran(client(place).arg("version")));
        Self {
            place,
            daemon,
            runtime,
        }
    }

    fn call<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        ran(client(self.place).args(args))
    }

    /// Runs a program whose output goes to a file and not through `ctr`, which
    /// loses it every now and then (2 in 100 on runc, under load).
    fn with_output(&self, run: impl FnOnce(&str) -> Ran) -> Ran {
        let file = self.place.path("containerd/output");
        let ran = run(&format!("file://{file}"));
        let out = fs::read_to_string(&file).unwrap_or_default();
        let _gone = fs::remove_file(&file);
        Ran { out, ..ran }
    }

    /// `ctr run FLAGS IMAGE NAME`, not yet run.
    pub(crate) fn run_command(&self, name: &str, image: &str, flags: &[&str]) -> Command {
        let mut command = client(self.place);
        let cgroup = format!("/{}/{name}", self.place.cgroup);
        command
            .args(["run", "--net-host", "--cgroup", &cgroup])
            .args(["--runc-binary", self.runtime.program()])
            .args(["--env", &self.place.mark()])
            .args(flags)
            .args([&reference(image), name]);
        command
    }
}

fn client(place: &Place) -> Command {
    let mut command = place.command("ctr");
    command.args(["--address", &place.path("containerd/sock")]);
    command
}

/// `ctr` knows no short names.
fn reference(image: &str) -> String {
    format!("docker.io/library/{image}:latest")
}

impl Engine for Containerd<'_> {
    fn load(&self, archive: &Path) {
        let _names = self
            .call(["images".as_ref(), "import".as_ref(), archive.as_os_str()])
            .ok();
    }

    fn start(&self, name: &str, image: &str) {
        let log = format!("file://{}", self.place.path("containerd/log"));
        let flags = ["-d", "--log-uri", &log];
        let _out = ran(&mut self.run_command(name, image, &flags)).ok();
    }

    fn run(&self, image: &str, program: &[&str]) -> Ran {
        // Arguments of `ctr run` stand in the place of the entrypoint.
        let program = ["/init", "run", "--"].iter().chain(program);
        self.with_output(|log| {
            let flags = ["--rm", "--log-uri", log];
            ran(self.run_command("once", image, &flags).args(program))
        })
    }

    fn exec(&self, name: &str, program: &[&str]) -> Ran {
        self.with_output(|log| {
            let args = ["task", "exec", "--exec-id", "story", "--log-uri", log, name];
            self.call(args.iter().chain(program))
        })
    }

    fn stop(&self, name: &str) -> i32 {
        let _out = self.call(["task", "kill", "-s", "SIGTERM", name]).ok();
        eventually("the task ends", LONG / 6, || {
            let tasks = self.call(["task", "ls"]).ok();
            let stopped = |line: &str| line.starts_with(name) && line.contains("STOPPED");
            if tasks.lines().any(stopped) {
                Ok(())
            } else {
                Err(tasks)
            }
        });
        // This one returns the task's exit code.
        self.call(["task", "rm", name]).code
    }

    fn logs(&self, _name: &str) -> String {
        fs::read_to_string(self.place.path("containerd/log")).expect("ctr was told to write it")
    }

    fn remove(&self, name: &str) {
        let _out = self.call(["container", "rm", name]).ok();
    }
}

impl Drop for Containerd<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for task in self.call(["task", "ls", "-q"]).out.lines() {
                let _removed = self.call(["task", "rm", "-f", task]);
            }
        }
        self.daemon.stop();
    }
}
