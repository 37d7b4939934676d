//! A docker daemon of one story's own.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::engine::{DockerLike, Engine, Runtime};
use crate::env::Ran;
use crate::place::{Daemon, Place, ran};

/// Debian's client, whatever else is on the path.
const CLIENT: &str = "/usr/bin/docker";

/// What keeps a daemon from the packet filter and the links of the machine.
const NO_NETWORK: [&str; 3] = ["--bridge=none", "--iptables=false", "--ip-masq=false"];

/// A running daemon.
#[derive(Debug)]
pub(crate) struct Docker<'a> {
    place: &'a Place,
    daemon: Daemon,
    runtime: Runtime,
}

impl<'a> Docker<'a> {
    /// Boxes are on the host's network or on none.
    pub(crate) fn new(place: &'a Place, runtime: Runtime) -> Self {
        Self::with(place, runtime, &NO_NETWORK)
    }

    /// With docker's own bridge and packet filter, in a network of the story:
    /// there boxes can be published.
    pub(crate) fn bridged(place: &'a Place, runtime: Runtime) -> Self {
        place.leave_the_network();
        Self::with(place, runtime, &[])
    }

    fn with(place: &'a Place, runtime: Runtime, network: &[&str]) -> Self {
        let dir = place.dir("docker");
        let file = dir.join("daemon.json");
        fs::write(&file, "{}").expect("a file below the root");
        let own =
            |flag: &str, name: &str| format!("{flag}={}", place.path(&format!("docker/{name}")));
        let mut args = vec![
            own("--config-file", "daemon.json"),
            own("--data-root", "data"),
            own("--exec-root", "exec"),
            own("--pidfile", "pid"),
            own("--host", "sock").replace('=', "=unix://"),
            format!("--cgroup-parent=/{}", place.cgroup),
            "--exec-opt=native.cgroupdriver=cgroupfs".to_owned(),
            format!("--add-runtime=holdall={}", Runtime::Holdall.program()),
        ];
        args.extend(network.iter().map(|&arg| arg.to_owned()));
        let daemon = Daemon::start(place, "dockerd", &args);
        let mut docker = Self {
            place,
            daemon,
            runtime,
        };
        let client = |args: &[&str]| ran(client(place).args(args));
        docker.daemon.until(|| client(&["version"]));
        docker
    }

    /// Calls the client.
    pub(crate) fn call<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        ran(client(self.place).args(args))
    }

    /// `docker inspect -f FORMAT NAME`.
    pub(crate) fn inspect(&self, name: &str, format: &str) -> String {
        self.call(["inspect", "-f", format, name])
            .ok()
            .trim()
            .to_owned()
    }
}

fn client(place: &Place) -> Command {
    let mut command = place.command(CLIENT);
    let socket = format!("unix://{}", place.path("docker/sock"));
    command.args(["--host", &socket]);
    command
}

impl DockerLike for Docker<'_> {
    fn run_command(&self, flags: &[&str]) -> Command {
        let runtime = match self.runtime {
            Runtime::Runc => "runc",
            Runtime::Holdall => "holdall",
            Runtime::Crun => panic!("this daemon is not told of crun"),
        };
        let mark = self.place.mark();
        let mut command = self.client(&["run", "--runtime", runtime, "-e", &mark]);
        command.args(flags);
        command
    }

    fn client(&self, args: &[&str]) -> Command {
        let mut command = client(self.place);
        command.args(args);
        command
    }
}

impl Engine for Docker<'_> {
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
        let flags = ["-d", "--network", "host", "--name", name, image];
        let _id = ran(&mut self.run_command(&flags)).ok();
    }

    fn run(&self, image: &str, program: &[&str]) -> Ran {
        let flags = ["--rm", "--network", "host", image];
        ran(self.run_command(&flags).args(program))
    }

    fn exec(&self, name: &str, program: &[&str]) -> Ran {
        self.call(["exec", name].iter().chain(program))
    }

    fn stop(&self, name: &str) -> i32 {
        let _name = self.call(["stop", name]).ok();
        let code = self.inspect(name, "{{.State.ExitCode}}");
        code.parse().expect("an exit code")
    }

    fn logs(&self, name: &str) -> String {
        self.call(["logs", name]).ok()
    }

    fn remove(&self, name: &str) {
        let _name = self.call(["rm", name]).ok();
    }
}

impl Drop for Docker<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let ids = self.call(["ps", "-aq"]).out;
            let _removed = self.call(["rm", "-f"].into_iter().chain(ids.lines()));
        }
        self.daemon.stop();
    }
}
