//! A Debian from its packages: chosen, locked, kept, and the same again.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use holdall_builder::{BuildError, Lock, Progress};

use crate::world::{World, edit};

pub(crate) const ALL: &[(&str, fn())] = &[
    (
        "a_debian_from_its_lock_is_the_one_that_was_chosen_to_the_last_bit",
        bootstrap,
    ),
    ("an_unknown_package_is_shown_in_its_place", unknown),
];

const TOML: &str = "name = \"tiny\"\n\
    [image]\n\
    from = \"bootstrap:debian/bookworm\"\n\
    packages = [\"redis-server\"]\n\
    run = [\"useradd -r shop\"]\n\
    [service.redis]\n\
    command = \"redis-server\"\n\
    user = \"redis\"\n";

/// One test, since each Debian takes long: the first build chooses and locks;
/// a stop in the middle of unpacking leaves nothing; a second store with other
/// settings makes the same image from the lock and the kept packages, without
/// a mirror.
fn bootstrap() {
    let one = World::new();
    let first = one.project("one", &[("holdall.toml", TOML)]);
    let stop = AtomicBool::new(false);
    let outcome = one.build_until(&first, &stop, &mut |event| {
        if matches!(event, Progress::Output { line } if line.starts_with("I: extracting archives"))
        {
            stop.store(true, Ordering::Relaxed);
        }
    });
    assert!(matches!(outcome.error(), BuildError::Stopped));
    one.assert_nothing_left();
    std::fs::remove_file(first.join("holdall.lock")).unwrap();
    let built = one.build(&first).built();
    assert_eq!(one.build(&first).built().ran, 0);

    let text = std::fs::read_to_string(first.join("holdall.lock")).unwrap();
    let lock = Lock::from_toml(&text).unwrap();
    assert!(
        lock.packages
            .iter()
            .any(|package| package.name == "redis-server")
    );
    for package in &lock.packages {
        let kept = one.dirs.packages().join(format!("{}.deb", package.sha256));
        assert_eq!(
            kept.metadata().unwrap().len(),
            package.size,
            "{}",
            package.name
        );
    }
    let tree = one.tree(&built);
    let read = |path: &str| tree.read(Path::new(path), 1 << 20).unwrap();
    let sources = String::from_utf8(read("/etc/apt/sources.list").unwrap()).unwrap();
    assert!(
        sources.starts_with("deb http://deb.debian.org/debian bookworm main\n"),
        "{sources}"
    );
    for path in [
        "/etc/hostname",
        "/etc/resolv.conf",
        "/etc/apt/apt.conf.d/99mmdebstrap",
        "/dev/null",
    ] {
        assert!(
            tree.lookup_link(Path::new(path)).unwrap().is_none(),
            "{path}"
        );
    }

    upon(&one);

    let two = World::new();
    let second = two.project("two", &[("holdall.toml", TOML)]);
    // No mirror has it: only the kept packages are left.
    let text = text.replace("http://", "http://127.0.0.1:1/");
    std::fs::write(second.join("holdall.lock"), text).unwrap();
    std::fs::create_dir_all(two.dirs.packages()).unwrap();
    for package in &lock.packages {
        let name = format!("{}.deb", package.sha256);
        std::fs::hard_link(
            one.dirs.packages().join(&name),
            two.dirs.packages().join(&name),
        )
        .unwrap();
    }
    let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let again = two.build(&second);
    nix::sys::stat::umask(before);
    assert_eq!(again.built().image.digest, built.image.digest);
}

/// Packages by the apt of a base: the same to the last bit twice, and without
/// what apt leaves.
fn upon(world: &World) {
    let toml = "name = \"upon\"\n[image]\nfrom = \"tiny\"\npackages = [\"nginx-light\"]\n\
        [service.web]\ncommand = \"nginx\"\n";
    let dir = world.project("upon", &[("holdall.toml", toml)]);
    let built = world.build(&dir).built();
    let tree = world.tree(&built);
    for path in [
        "/var/lib/apt/lists/lock",
        "/var/log/dpkg.log",
        "/usr/sbin/policy-rc.d",
        "/etc/resolv.conf",
    ] {
        assert!(
            tree.lookup_link(Path::new(path)).unwrap().is_none(),
            "{path}"
        );
    }
    let stop = AtomicBool::new(false);
    let mut request = world.request(&dir, &stop);
    request.no_cache = true;
    let again = holdall_builder::build(&request, &mut |_| {}).unwrap();
    assert_eq!(again.image.digest, built.image.digest);
}

fn unknown() {
    let world = World::new();
    let dir = world.project("one", &[("holdall.toml", TOML)]);
    edit(&dir, "[\"redis-server\"]", "[\"redis-sevrer\"]");
    let error = world.build(&dir).error().to_string();
    assert!(
        error.contains("holdall.toml:4:13: Debian has no package \"redis-sevrer\" in this release"),
        "{error}"
    );
    world.assert_nothing_left();
    assert!(!dir.join("holdall.lock").exists());
}
