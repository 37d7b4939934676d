//! Podman with every folder in one story's root. It has no daemon.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::engine::{DockerLike, Engine, Runtime};
use crate::env::Ran;
use crate::place::{Place, ran};

/// Podman's own configuration, in the place of the machine's. Locks are files
/// in its folder, so that stories share none. Its default limits are more than
/// what a machine without CAP_SYS_RESOURCE can set.
fn configuration(runtime: Runtime) -> String {
    format!(
        r#"
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=1000:1000"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
runtime = "chosen"
[engine.runtimes]
chosen = ["{}"]
"#,
        runtime.program()
    )
}

/// The engine.
#[derive(Debug)]
pub(crate) struct Podman<'a> {
    place: &'a Place,
}

impl<'a> Podman<'a> {
    pub(crate) fn new(place: &'a Place, runtime: Runtime) -> Self {
        let file = place.dir("podman").join("containers.conf");
        fs::write(file, configuration(runtime)).expect("a file below the root");
        Self { place }
    }

    /// `podman` or `buildah` over this story's store, not yet run.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = self.place.command(program);
        command
            .env("CONTAINERS_CONF", self.place.path("podman/containers.conf"))
            .args(["--root", &self.place.path("podman/root")])
            .args(["--runroot", &self.place.path("podman/run")]);
        command
    }

    /// Calls podman.
    pub(crate) fn call<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        ran(self.podman().args(args))
    }

    fn podman(&self) -> Command {
        let mut command = self.command("podman");
        command.args(["--tmpdir", &self.place.path("podman/tmp")]);
        command
    }
}

impl DockerLike for Podman<'_> {
    fn run_command(&self, flags: &[&str]) -> Command {
        let [cgroup, mark] = [format!("/{}", self.place.cgroup), self.place.mark()];
        let mut command = self.client(&["run", "--cgroup-parent", &cgroup, "-e", &mark]);
        command.args(flags);
        command
    }

    fn client(&self, args: &[&str]) -> Command {
        let mut command = self.podman();
        command.args(args);
        command
    }
}

impl Engine for Podman<'_> {
    fn load(&self, archive: &Path) {
        let _names = self
            .call([
                "load".as_ref(),
                "-q".as_ref(),
                "-i".as_ref(),
                archive.as_os_str(),
            ])
            .ok();
    }

    fn start(&self, name: &str, image: &str) {
        let _id =
            ran(&mut self.run_command(&["-d", "--network", "host", "--name", name, image])).ok();
    }

    fn run(&self, image: &str, program: &[&str]) -> Ran {
        ran(self
            .run_command(&["--rm", "--network", "host", image])
            .args(program))
    }

    fn exec(&self, name: &str, program: &[&str]) -> Ran {
        self.call(["exec", name].iter().chain(program))
    }

    fn stop(&self, name: &str) -> i32 {
        let _name = self.call(["stop", name]).ok();
        let code = self
            .call(["inspect", "-f", "{{.State.ExitCode}}", name])
            .ok();
        code.trim().parse().expect("an exit code")
    }

    fn logs(&self, name: &str) -> String {
        self.call(["logs", name]).ok()
    }

    fn remove(&self, name: &str) {
        let _name = self.call(["rm", name]).ok();
    }
}

impl Drop for Podman<'_> {
    fn drop(&mut self) {
        let removed = self.call(["rm", "-fa", "-t", "1"]);
        if !std::thread::panicking() {
            let _ids = removed.ok();
        }
    }
}
