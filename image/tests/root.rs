//! Nothing named through a `RootDir` is outside of it.

mod fixture;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use fixture::{chain, listing};
use holdall_image::RootDir;
use holdall_image::root::Kind;
use insta::assert_snapshot;

/// A root with every kind of way out, and a secret beside it.
fn root() -> (tempfile::TempDir, RootDir) {
    let dir = tempfile::tempdir().expect("a temp dir");
    fs::create_dir_all(dir.path().join("root/etc")).expect("directories");
    fs::create_dir(dir.path().join("outside")).expect("a directory");
    fs::write(dir.path().join("outside/secret"), "secret").expect("a file");
    fs::write(dir.path().join("root/etc/inside"), "inside").expect("a file");
    let inner = dir.path().join("root");
    symlink(dir.path().join("outside"), inner.join("abs")).expect("a link");
    symlink("../outside", inner.join("rel")).expect("a link");
    symlink("/etc", inner.join("in")).expect("a link");
    symlink("/proc/self/root", inner.join("magic")).expect("a link");
    let root = RootDir::open(&inner).expect("opens");
    (dir, root)
}

#[test]
fn paths_and_links_end_within_the_root() {
    let (_dir, root) = root();
    for path in [
        "/etc/inside",
        "etc/inside",
        "in/inside",
        "../../etc/inside",
        "/../in/inside",
    ] {
        assert_eq!(
            root.read(Path::new(path), 99).expect(path),
            b"inside",
            "{path}"
        );
    }
    for path in [
        "abs/secret",
        "rel/secret",
        "../outside/secret",
        "magic/etc/hostname",
    ] {
        assert!(root.read(Path::new(path), 99).is_err(), "{path}");
        assert_eq!(
            root.stat_follow(Path::new(path)).expect(path),
            None,
            "{path}"
        );
    }
}

#[test]
fn magic_links_are_not_followed() {
    let root = RootDir::open(Path::new("/proc/self")).expect("opens");
    let error = root.open_dir(Path::new("root")).expect_err("a magic link");
    assert_snapshot!(chain(&error), @"cannot open root: Too many levels of symbolic links (os error 40)");
}

#[test]
fn changes_do_not_follow_the_last_component() {
    let (dir, root) = root();
    let before = fs::metadata(dir.path().join("outside/secret")).expect("is there");
    symlink(
        dir.path().join("outside/secret"),
        dir.path().join("root/link"),
    )
    .expect("a link");
    let link = Path::new("link");
    assert!(root.create_file(link, 0o644).is_err());
    root.set_owner(link, 5, 6).expect("of the link");
    root.set_mtime(link, 7, 0).expect("of the link");
    root.set_xattr(link, "trusted.x".as_ref(), b"1")
        .expect("of the link");
    assert_eq!(root.xattrs(link).expect("reads").len(), 1);
    assert!(root.set_mode(link, 0o777).is_err(), "a link has no mode");
    let meta = root.stat(link).expect("stats").expect("is there");
    assert_eq!(
        (meta.kind, meta.uid, meta.gid, meta.mtime),
        (Kind::Symlink, 5, 6, 7)
    );
    root.remove(link).expect("removes the link");
    let after = fs::metadata(dir.path().join("outside/secret")).expect("is there");
    assert_eq!(
        (before.ctime_nsec(), before.mode()),
        (after.ctime_nsec(), after.mode())
    );
}

#[test]
fn removing_a_tree_removes_links_and_not_what_they_lead_to() {
    let (dir, root) = root();
    root.mkdir_all(Path::new("a/b/c"), 0o700).expect("makes");
    symlink(dir.path().join("outside"), dir.path().join("root/a/b/out")).expect("a link");
    symlink("../../outside", dir.path().join("root/a/rel")).expect("a link");
    root.remove(Path::new("a")).expect("removes");
    root.remove(Path::new("a")).expect("again is no error");
    root.remove(Path::new("abs")).expect("removes the link");
    assert_eq!(listing(&dir.path().join("outside")), ["secret 6 bytes"]);
    assert_eq!(root.stat(Path::new("a")).expect("stats"), None);
}

#[test]
fn modes_are_exact_whatever_the_umask() {
    let (dir, root) = root();
    let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    root.create_file(Path::new("f"), 0o4755)
        .expect("makes")
        .write_all(b"x")
        .expect("writes");
    root.mkdir(Path::new("d"), 0o1777).expect("makes");
    root.mknod(Path::new("p"), Kind::Fifo, 0o666, 0)
        .expect("makes");
    nix::sys::stat::umask(before);
    let mode = |name: &str| {
        fs::symlink_metadata(dir.path().join("root").join(name))
            .expect("is there")
            .mode()
            & 0o7777
    };
    assert_eq!(mode("d"), 0o1777);
    assert_eq!(mode("p"), 0o666);
    // Writing clears set-uid, as the kernel has it; set it after.
    assert_eq!(mode("f") & 0o777, 0o755);
}

#[test]
fn reads_are_bounded_and_of_files_alone() {
    let (_dir, root) = root();
    root.mknod(Path::new("fifo"), Kind::Fifo, 0o666, 0)
        .expect("makes");
    let text = |path: &str, limit| chain(&root.read(Path::new(path), limit).expect_err(path));
    assert_snapshot!(text("etc/inside", 3), @"cannot read etc/inside: it has more than 3 bytes");
    assert_snapshot!(text("fifo", 3), @"cannot open fifo: it is no regular file");
    assert_snapshot!(text("etc", 3), @"cannot open etc: is a directory");
    assert_snapshot!(text("none", 3), @"cannot open none: No such file or directory (os error 2)");
}

#[test]
fn names_are_listed_sorted_and_links_moved_whole() {
    let (_dir, root) = root();
    for name in ["z", "a", "m"] {
        root.create_file(&Path::new("etc").join(name), 0o600)
            .expect("makes");
    }
    assert_eq!(
        root.entries(Path::new("in")).expect("lists"),
        ["a", "inside", "m", "z"]
    );
    root.link(Path::new("in/a"), Path::new("in/b"))
        .expect("links");
    root.symlink("anything".as_ref(), Path::new("etc/s"))
        .expect("links");
    root.rename(Path::new("in/s"), Path::new("t"))
        .expect("moves");
    assert_eq!(root.read_link(Path::new("t")).expect("reads"), "anything");
    let links = root
        .stat(Path::new("etc/b"))
        .expect("stats")
        .expect("is there")
        .links;
    assert_eq!(links, 2);
    for path in ["", "/", "..", "etc/.."] {
        let error = root
            .remove(Path::new(path))
            .expect_err("not the root itself");
        assert!(
            chain(&error).ends_with("Invalid argument (os error 22)"),
            "{path}"
        );
    }
}
