//! An image run, and rebuilt.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, umount2};

use super::bundle::Hugetlb;
use super::dockerd::Docker;
use super::group;
use crate::measure::{Contestant, Group, OURS, Unit, in_turn};
use crate::process::{installed, output, timed};
use crate::world::World;

const RUN: &str = "\
One image (busybox as `true`, and the init that `holdall build` adds), run with one
command in the foreground to its end, box or container removed: the image is built
by holdall and loaded into podman and docker from `holdall save`, so that all start
/init, which starts `true`. podman and docker have no network but loopback
(`--network none`), as a holdall box without published ports; podman's limits are
named because this machine lets nobody raise them; no systemd. docker's daemon runs
already, on runc.";

const REBUILD: &str = "\
The same files into an image from scratch: *small* is two (busybox and a passwd
file), the other has 20,000 files of 10 kB in 200 folders besides, 200 MB. The
first build is the round to warm up. *Unchanged* builds again; *one file changed*
appends a line to one of the 20,000 before each build, outside the time. *Nothing
cached* is the same with `--no-cache`; holdall's layers are compressed then, and what
the others keep is not. The image is in the store after each, unpacked or not, without an archive written. podman
build is buildah's code, and only measured on the small one. docker build is the
daemon's own builder, as Debian packages no buildx.";

/// Files of the large image.
pub(super) const FILES: usize = 20_000;

/// Where a store of podman and buildah lies while this lives.
pub(super) struct Store {
    dir: PathBuf,
}

impl Store {
    fn new(world: &World) -> Result<Self> {
        Ok(Self::at(&world.dir("containers")?))
    }

    pub(super) fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .arg("--root")
            .arg(self.dir.join("root"))
            .arg("--runroot")
            .arg(self.dir.join("run"))
            .args(["--storage-driver", "overlay"]);
        command
    }

    pub(super) fn podman(&self) -> Command {
        let mut command = self.command("podman");
        command.args(["--cgroup-manager", "cgroupfs", "--events-backend", "file"]);
        command
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // containers/storage leaves its root mounted on itself; a folder that
        // can't be removed then shows.
        umount2(&self.dir.join("root/overlay"), MntFlags::MNT_DETACH).ok();
        // podman leaves its cgroups; one that is in use stays.
        for controller in fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten()
        {
            let parent = controller.path().join("libpod_parent");
            fs::remove_dir(parent.join("conmon")).ok();
            fs::remove_dir(parent).ok();
        }
    }
}

/// podman's `run` of the image `bench`.
pub(super) fn podman_run(store: &Store, runtime: &str) -> Command {
    let mut command = store.podman();
    command
        .args(["--runtime", runtime, "run", "--rm", "--network", "none"])
        .args(["--ulimit", "nofile=1024:1024"])
        .args(["--ulimit", "nproc=4096:4096"])
        .args(["bench", "/bin/true"]);
    command
}

/// holdall with its own store.
fn ours(world: &World) -> Result<Command> {
    let mut command = Command::new(&world.holdall);
    command.arg("--root").arg(world.dir("store")?);
    Ok(command)
}

pub(super) fn run(world: &World) -> Result<Group> {
    let project = project(world, "run", 0)?;
    output(ours(world)?.args(["build", "-q"]).arg(&project))?;
    let archive = project.join("image.tar");
    output(ours(world)?.args(["save", "-o"]).arg(&archive).arg("bench"))?;
    let dir = &world.dir("said")?;
    let store = &Store::new(world)?;
    let _hugetlb = Hugetlb::mount()?;
    let docker = &Docker::start(&world.dir("docker")?)?;
    let mut contestants = vec![Contestant {
        who: OURS,
        budget: None,
        run: Box::new(move || {
            let mut command = ours(world)?;
            timed(command.args(["run", "--rm", "bench", "/bin/true"]), dir)
        }),
    }];
    if installed("podman") {
        output(store.podman().args(["load", "-q", "-i"]).arg(&archive))?;
        for (who, runtime) in [("podman + crun", "crun"), ("podman + runc", "runc")] {
            contestants.push(Contestant {
                who,
                budget: Some(0.1),
                run: Box::new(move || timed(&mut podman_run(store, runtime), dir)),
            });
        }
    }
    if let Some(docker) = docker {
        output(docker.command().args(["load", "-q", "-i"]).arg(&archive))?;
        contestants.push(Contestant {
            who: "docker",
            budget: Some(0.1),
            run: Box::new(move || {
                let mut command = docker.command();
                command.args(["run", "--rm", "--network", "none", "bench", "/bin/true"]);
                timed(&mut command, dir)
            }),
        });
    }
    let row = in_turn("run --rm of `true`", Unit::Seconds, 15, contestants)?;
    let commands = [
        (OURS, "holdall run --rm bench /bin/true"),
        (
            "podman",
            "podman --cgroup-manager cgroupfs --events-backend file --storage-driver overlay --runtime RUNTIME run --rm --network none --ulimit nofile=1024:1024 --ulimit nproc=4096:4096 bench /bin/true",
        ),
        ("docker", "docker run --rm --network none bench /bin/true"),
    ];
    Ok(group("An image run to its end", RUN, &commands, vec![row]))
}

pub(super) fn rebuild(world: &World) -> Result<Group> {
    let small = &project(world, "small", 0)?;
    let large = &project(world, "large", FILES)?;
    let changed = &large.join("app/d000/f000");
    let store = &Store::new(world)?;
    let docker = &Docker::start(&world.dir("docker")?)?;
    let dir = &world.dir("said")?;
    type Words = &'static [&'static str];
    let build_with = |flags: Words, project: &'static str, peers: Words, budget: Option<f64>| {
        let project = if project == "small" { small } else { large };
        let ours = move || {
            let mut command = ours(world)?;
            timed(command.args(["build", "-q"]).args(flags).arg(project), dir)
        };
        let mut contestants = vec![Contestant {
            who: OURS,
            budget: None,
            run: Box::new(ours),
        }];
        let there = |who: &&&str| match **who {
            "docker" => docker.is_some(),
            other => installed(other),
        };
        for who in peers.iter().filter(there) {
            contestants.push(Contestant {
                who,
                budget,
                run: Box::new(move || {
                    let mut command = match (*who, docker) {
                        ("docker", Some(docker)) => docker.command(),
                        ("podman", _) => store.podman(),
                        (other, _) => store.command(other),
                    };
                    command.args(["build", "-q", "-t", "bench"]);
                    if *who != "docker" {
                        command.arg("--layers");
                    }
                    timed(command.args(flags).arg(project), dir)
                }),
            });
        }
        contestants
    };
    let build = |project, peers, budget| build_with(&[], project, peers, budget);
    let mut first = in_turn(
        "small, unchanged",
        Unit::Seconds,
        15,
        build("small", &["podman", "buildah", "docker"], Some(0.05)),
    )?;
    first.limit = Some(0.01);
    let mut second = in_turn(
        "20,000 files of 200 MB, unchanged",
        Unit::Seconds,
        3,
        build("large", &["buildah", "docker"], Some(0.05)),
    )?;
    second.limit = Some(0.1);
    let touched = build("large", &["buildah", "docker"], Some(0.1))
        .into_iter()
        .map(|mut contestant| Contestant {
            who: contestant.who,
            budget: contestant.budget,
            run: Box::new(move || {
                append(changed)?;
                (contestant.run)()
            }),
        })
        .collect();
    let mut third = in_turn(
        "20,000 files of 200 MB, one changed",
        Unit::Seconds,
        3,
        touched,
    )?;
    third.limit = Some(0.6);
    let fourth = in_turn(
        "20,000 files of 200 MB, nothing cached",
        Unit::Seconds,
        3,
        build_with(&["--no-cache"], "large", &["buildah", "docker"], Some(0.5)),
    )?;
    let commands = [
        (OURS, "holdall build -q DIR"),
        ("podman", "podman build -q --layers -t bench DIR"),
        ("buildah", "buildah build -q --layers -t bench DIR"),
        ("docker", "DOCKER_BUILDKIT=0 docker build -q -t bench DIR"),
    ];
    Ok(group(
        "An image built again",
        REBUILD,
        &commands,
        vec![first, second, third, fourth],
    ))
}

fn append(path: &Path) -> Result<()> {
    let mut file = OpenOptions::new()
        .append(true)
        .open(path)
        .with_context(|| format!("cannot open {path:?}"))?;
    file.write_all(b"one line more\n")
        .context("cannot change a file")
}

/// A folder with the same image for both: holdall.toml and Dockerfile.
pub(super) fn project(world: &World, name: &str, files: usize) -> Result<PathBuf> {
    let dir = world.dir(name)?;
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {path:?}"))
    };
    let busybox = dir.join("busybox");
    fs::copy("/bin/busybox", &busybox).context("busybox-static is not installed")?;
    fs::set_permissions(&busybox, fs::Permissions::from_mode(0o755)).context("cannot chmod")?;
    write("passwd", "root:x:0:0:root:/root:/bin/sh\n")?;
    let (mut copy, mut docker) = ("", "");
    if files > 0 {
        copy = "  { from = \"app/\", to = \"/srv/app/\" },\n";
        docker = "COPY app/ /srv/app/\n";
        fill(&dir.join("app"), files)?;
    }
    write(
        "holdall.toml",
        &format!(
            "name = \"bench\"\n[image]\nfrom = \"scratch\"\ncopy = [\n  {{ from = \"busybox\", to = \"/bin/true\" }},\n  {{ from = \"passwd\", to = \"/etc/passwd\" }},\n{copy}]\n"
        ),
    )?;
    write(
        "Dockerfile",
        &format!("FROM scratch\nCOPY busybox /bin/true\nCOPY passwd /etc/passwd\n{docker}"),
    )?;
    Ok(dir)
}

/// Files of 10 kB that compress to about half, a hundred a folder.
fn fill(dir: &Path, files: usize) -> Result<()> {
    // Knuth's MMIX generator: the same files everywhere.
    let mut state: u64 = 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state >> 32
    };
    for number in 0..files {
        let folder = dir.join(format!("d{:03}", number / 100));
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {folder:?}"))?;
        let text: String = (0..1_250).map(|_| format!("{:08x}", next())).collect();
        let path = folder.join(format!("f{:03}", number % 100));
        fs::write(&path, text).with_context(|| format!("cannot write {path:?}"))?;
    }
    Ok(())
}
