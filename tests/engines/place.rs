//! Where a story's engine lives: nothing it writes reaches the machine.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::env::{Env, Ran};
use crate::eventually::{LONG, eventually};
use crate::small;

/// Folders that engines write to whatever they are told: covered by an empty
/// one of the story.
const EMPTY: [&str; 2] = ["/run", "/dev/shm"];

/// The same, but what is in them is needed: covered by a copy on write.
const COPIED: [&str; 3] = ["/etc", "/opt", "/var/lib"];

/// In the environment of every process of a story, with the story's root:
/// this is how [`crate::leaks`] finds them.
pub(crate) const MARK: &str = "HOLDALL_STORY";

/// The root of one story, in a mount namespace of its own.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) env: Env,
    /// The parent of every cgroup of the story, in each hierarchy.
    pub(crate) cgroup: String,
}

/// What was there before the first container.
#[derive(Debug)]
pub(crate) struct Baseline {
    mounts: BTreeSet<String>,
    processes: BTreeSet<i32>,
}

impl Place {
    /// Moves the calling thread, and all that it starts, to a mount namespace
    /// of the story.
    pub(crate) fn new() -> Self {
        let env = Env::new();
        unshare(CloneFlags::CLONE_NEWNS).expect("stories run as root");
        let none: Option<&str> = None;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(none, "/", none, private, none).expect("a mount namespace of our own");
        for path in EMPTY {
            mount(Some("story"), path, Some("tmpfs"), MsFlags::empty(), none)
                .expect("tmpfs can be mounted");
        }
        for (number, path) in COPIED.iter().enumerate() {
            let [upper, work] = ["upper", "work"].map(|kind| format!("/run/story/{number}/{kind}"));
            for dir in [&upper, &work] {
                fs::create_dir_all(dir).expect("a folder on the story's tmpfs");
            }
            let options = format!("lowerdir={path},upperdir={upper},workdir={work}");
            let options = Some(options.as_str());
            mount(
                Some("story"),
                *path,
                Some("overlay"),
                MsFlags::empty(),
                options,
            )
            .expect("overlay can be mounted");
        }
        let name = env.root().file_name().expect("a folder of its own");
        let cgroup = name.to_str().expect("a temporary path is UTF-8").to_owned();
        Self { env, cgroup }
    }

    /// Moves the calling thread, and all that it starts from now on, to a
    /// network that nobody else is on.
    pub(crate) fn leave_the_network(&self) {
        unshare(CloneFlags::CLONE_NEWNET).expect("stories run as root");
        let mut up = self.command("busybox");
        let _out = ran(up.args(["ip", "link", "set", "lo", "up"])).ok();
    }

    /// `NAME=ROOT` for the environment of containers.
    pub(crate) fn mark(&self) -> String {
        format!("{MARK}={}", self.env.root().display())
    }

    /// A folder of the engine's.
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        let dir = self.env.root().join(name);
        fs::create_dir_all(&dir).expect("a folder below the root");
        dir
    }

    /// A path below the root, as text.
    pub(crate) fn path(&self, name: &str) -> String {
        let path = self.env.root().join(name);
        path.to_str().expect("a temporary path is UTF-8").to_owned()
    }

    /// Builds the small image with these services and saves it for engines.
    pub(crate) fn archive(&self, name: &str, services: &str) -> PathBuf {
        small::build(&self.env, name, services);
        let tar = self.dir("archives").join(format!("{name}.tar"));
        let args = [
            "save".as_ref(),
            "-o".as_ref(),
            tar.as_os_str(),
            name.as_ref(),
        ];
        let _saved = self.env.run::<&OsStr>(args).ok();
        tar
    }

    /// A command of the story's, not yet run.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env(MARK, self.env.root())
            .env("HOME", self.dir("home"))
            .stdin(Stdio::null());
        command
    }

    /// Mounts and processes of the story as they are now.
    pub(crate) fn baseline(&self) -> Baseline {
        Baseline {
            mounts: mounts(),
            processes: self.processes(),
        }
    }

    /// Waits until no container has left anything: mounts and processes are
    /// those of `before`, and the story's cgroup is empty.
    pub(crate) fn until_back_to(&self, before: &Baseline) {
        eventually("nothing of a container is left", LONG / 6, || {
            let mounts = mounts();
            let processes = self.processes();
            let mut left: Vec<String> = mounts
                .difference(&before.mounts)
                .map(|point| format!("mount {point}"))
                .collect();
            let new = processes.difference(&before.processes);
            left.extend(new.map(|pid| format!("process {pid}: {}", command_line(*pid))));
            left.extend(
                self.cgroups()
                    .iter()
                    .map(|dir| format!("cgroup {}", dir.display())),
            );
            if left.is_empty() {
                Ok(())
            } else {
                Err(left.join("\n"))
            }
        });
    }

    /// Every process that carries the mark, but for this one.
    fn processes(&self) -> BTreeSet<i32> {
        let mark = self.mark();
        let own = std::process::id();
        let entries = fs::read_dir("/proc").expect("/proc can be read").flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let others = pids.filter(|pid| u32::try_from(*pid) != Ok(own));
        let marked = others.filter(|pid| {
            // A process may end between the look at /proc and at its files.
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == mark.as_bytes())
        });
        marked.collect()
    }

    /// Cgroups of containers below the story's own, deepest first.
    pub(crate) fn cgroups(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for top in self.cgroup_parents() {
            below(&top, &mut found);
        }
        // Podman's monitors have one for all, which podman never removes.
        found.retain(|dir| dir.file_name() != Some(OsStr::new("conmon")));
        found
    }

    /// Mounts with the story's root in their line that no engine keeps.
    fn mounts_left(&self) -> Vec<String> {
        let root = self.env.root().to_str().expect("a temporary path is UTF-8");
        let kept = OF_ENGINES.map(|end| format!("{root}{end}"));
        let table = mount_table();
        let lines = table.lines().filter(|line| line.contains(root));
        let left = lines.filter(|line| {
            let point = line.split(' ').nth(4);
            !kept.iter().any(|kept| point == Some(kept))
        });
        left.map(str::to_owned).collect()
    }

    /// The story's cgroup in each hierarchy that has it.
    fn cgroup_parents(&self) -> Vec<PathBuf> {
        let table = mount_table();
        let hierarchies = table.lines().filter(|line| line.contains(" - cgroup"));
        let points = hierarchies.filter_map(|line| line.split(' ').nth(4));
        points
            .map(|point| Path::new(point).join(&self.cgroup))
            .filter(|path| path.is_dir())
            .collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // After a failure: whatever the engine could not end itself.
        if std::thread::panicking() {
            for pid in self.processes() {
                let _gone_already = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        // Looked for before the engines' own go: with a mount goes what is on it.
        let left = self.mounts_left();
        // The folder can't be removed with a mount in it.
        for end in OF_ENGINES {
            let point = self.path(end.trim_start_matches('/'));
            while umount2(point.as_str(), MntFlags::MNT_DETACH).is_ok() {}
        }
        let parents = self.cgroup_parents();
        let remove = || {
            let ours = parents
                .iter()
                .flat_map(|top| [top.join("conmon"), top.clone()]);
            let mut failed = ours.filter_map(|dir| {
                let error = fs::remove_dir(&dir).err()?;
                dir.exists()
                    .then(|| format!("cgroup {}: {error}", dir.display()))
            });
            failed.next().map_or(Ok(()), Err)
        };
        if std::thread::panicking() {
            let _best_effort = remove();
            return;
        }
        // A monitor of podman's that has ended is in it until the machine's
        // init has reaped it.
        eventually("the cgroups of the story go", LONG / 2, remove);
        assert_eq!(left, Vec::<String>::new(), "mounts are left");
    }
}

/// What an engine keeps for its own life: dockerd a handle on the host's
/// network, and its store as a mount on itself where `/` is a folder of another
/// file system (in a chroot it takes the mount for somebody else's, and leaves
/// it); podman its store as well.
const OF_ENGINES: [&str; 3] = [
    "/docker/exec/netns/default",
    "/docker/data",
    "/podman/root/overlay",
];

/// Every mount point of this thread's namespace, but for [`OF_ENGINES`].
fn mounts() -> BTreeSet<String> {
    let table = mount_table();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    let of_engine = |point: &&str| OF_ENGINES.iter().any(|end| point.ends_with(end));
    let others = points.filter(|point| !of_engine(point));
    others.map(str::to_owned).collect()
}

fn mount_table() -> String {
    fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo can be read")
}

fn command_line(pid: i32) -> String {
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.replace('\0', " ")
}

fn below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            below(&entry.path(), found);
            found.push(entry.path());
        }
    }
}

/// Runs a command to its end.
pub(crate) fn ran(command: &mut Command) -> Ran {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// An engine's daemon. It ends with the thread that started it.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts a program in the foreground, its words into a file.
    pub(crate) fn start(place: &Place, program: &str, args: &[String]) -> Self {
        let log = place.dir("logs").join(program);
        let file = File::create(&log).expect("a file below the root");
        let mut command = place.command("setpriv");
        command.args(["--pdeathsig", "TERM", program]).args(args);
        command
            .stdout(file.try_clone().expect("a descriptor"))
            .stderr(file);
        let child = command.spawn().expect("setpriv is part of Debian's base");
        Self { child, log }
    }

    /// Waits until `answers` does.
    pub(crate) fn until(&mut self, mut answers: impl FnMut() -> Ran) {
        eventually("the daemon answers", LONG, || {
            let ended = self.child.try_wait().expect("our own child");
            let log = || fs::read_to_string(&self.log).unwrap_or_default();
            assert!(ended.is_none(), "{ended:?}\n{}", log());
            let ran = answers();
            if ran.code == 0 {
                Ok(())
            } else {
                Err(format!("{}\n{}", ran.err, log()))
            }
        });
    }

    /// Ends it in order.
    pub(crate) fn stop(&mut self) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        let _gone_already = kill(Pid::from_raw(pid), Signal::SIGTERM);
        if std::thread::panicking() {
            let _ended = self.child.wait();
            return;
        }
        eventually("the daemon ends", LONG / 2, || {
            match self.child.try_wait().expect("our own child") {
                Some(_) => Ok(()),
                None => Err("it runs".to_owned()),
            }
        });
    }
}

#[test]
fn what_dockerd_mounts_for_itself_goes_and_what_a_container_leaves_is_seen() {
    let place = Place::new();
    let data = place.dir("docker/data");
    let inside = place.dir("docker/data/merged");
    let bind = |from: &Path, to: &Path| {
        let none: Option<&str> = None;
        mount(Some(from), to, none, MsFlags::MS_BIND, none).expect("it can be mounted");
    };
    bind(&data, &data);
    assert_eq!(place.mounts_left(), Vec::<String>::new());
    bind(&inside, &inside);
    let left = place.mounts_left();
    assert!(
        matches!(left.as_slice(), [line] if line.contains("/docker/data/merged")),
        "{left:?}"
    );
    umount2(&inside, MntFlags::empty()).expect("nobody uses it");
    let root = place.path("");
    drop(place);
    assert!(!mount_table().contains(&root), "{}", mount_table());
}
