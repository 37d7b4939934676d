//! The merged view against the kernel's own: an overlay mount of the same
//! layers.

mod fixture;

use std::fs;
use std::path::{Path, PathBuf};

use fixture::{Room, Tar, chain, image_of, listing};
use holdall_image::Tree;
use holdall_image::root::Kind;

/// Layers that hide, delete, replace and link in all ways.
fn layers(room: &Room) -> Vec<PathBuf> {
    let bottom = Tar::new()
        .dir("etc")
        .file("etc/passwd", b"root:x:0:0::/root:/bin/sh\n")
        .file("etc/gone", b"gone")
        .dir("opaque")
        .file("opaque/below", b"below")
        .dir("merged")
        .file("merged/one", b"1")
        .file("was-file", b"file")
        .dir("was-dir")
        .file("was-dir/x", b"x")
        .dir("usr/bin")
        .file("usr/bin/env", b"env")
        .symlink("bin", "usr/bin")
        .symlink("abs", "/etc/passwd")
        .symlink("escape", "../../../../etc/passwd")
        .symlink("loop", "loop")
        .symlink("dangling", "/nowhere");
    let middle = Tar::new()
        .file("etc/.wh.gone", b"")
        .dir("opaque")
        .file("opaque/.wh..wh..opq", b"")
        .file("opaque/above", b"above")
        .file("merged/two", b"2")
        .file(".wh.was-file", b"")
        .dir("was-file")
        .file("was-file/in", b"in")
        .file("was-dir", b"now a file")
        .symlink("etc/shadow", "passwd")
        .symlink("up", "merged/../etc");
    let top = Tar::new()
        .file("etc/gone", b"back")
        .file("merged/one", b"one")
        .dir("was-dir2")
        .file(".wh.dangling", b"");
    let image = image_of(
        &room.store,
        &[bottom.finish(), middle.finish(), top.finish()],
    );
    room.store.unpacked_layers(&image).expect("unpacks")
}

fn text(tree: &Tree, path: &str) -> Option<String> {
    let bytes = tree.read(Path::new(path), 1000).expect(path)?;
    Some(String::from_utf8(bytes).expect("text"))
}

#[test]
fn names_are_found_as_the_layers_say() {
    let room = Room::new();
    let tree = Tree::open(&layers(&room)).expect("opens");
    let found = |path: &str| text(&tree, path);
    let passwd = Some("root:x:0:0::/root:/bin/sh\n".to_owned());
    for path in [
        "/etc/passwd",
        "etc/passwd",
        "/abs",
        "/escape",
        "/etc/shadow",
        "/up/passwd",
        "/etc/../../etc/./passwd",
        "/bin/../../etc/passwd",
    ] {
        assert_eq!(found(path), passwd, "{path}");
    }
    assert_eq!(found("/etc/gone").as_deref(), Some("back"));
    assert_eq!(found("/merged/one").as_deref(), Some("one"));
    assert_eq!(found("/merged/two").as_deref(), Some("2"));
    assert_eq!(found("/opaque/above").as_deref(), Some("above"));
    assert_eq!(found("/bin/env").as_deref(), Some("env"));
    assert_eq!(found("/was-dir").as_deref(), Some("now a file"));
    assert_eq!(found("/was-file/in").as_deref(), Some("in"));
    for path in [
        "/opaque/below",
        "/dangling",
        "/was-dir/x",
        "/nowhere/at/all",
        "/etc/passwd/x",
    ] {
        assert_eq!(found(path), None, "{path}");
    }
    let entry = tree
        .lookup(Path::new("/bin/env"))
        .expect("looks")
        .expect("is there");
    assert_eq!(entry.path, Path::new("/usr/bin/env"));
    let link = tree
        .lookup_link(Path::new("/bin"))
        .expect("looks")
        .expect("is there");
    assert_eq!(link.metadata.kind, Kind::Symlink);
    assert_eq!(link.link().expect("reads"), Some("usr/bin".into()));
    let root = tree
        .lookup(Path::new("/.."))
        .expect("looks")
        .expect("is there");
    assert_eq!(
        (root.metadata.kind, root.path.as_path()),
        (Kind::Directory, Path::new("/"))
    );
}

#[test]
fn what_cannot_be_read_is_an_error_with_its_reason() {
    let room = Room::new();
    let tree = Tree::open(&layers(&room)).expect("opens");
    let error = |path: &str, limit| chain(&tree.read(Path::new(path), limit).expect_err(path));
    insta::assert_snapshot!(error("/loop", 9), @"cannot look up /loop in the image: Too many levels of symbolic links (os error 40)");
    insta::assert_snapshot!(error("/etc", 9), @"cannot read /etc of the image: is a directory");
    insta::assert_snapshot!(error("/etc/passwd", 9), @"cannot read /etc/passwd of the image: it has more than 9 bytes");
    let gone = Tree::open(&[PathBuf::from("/nonexistent/layer")]).expect_err("is gone");
    insta::assert_snapshot!(chain(&gone), @"cannot open layer /nonexistent/layer: No such file or directory (os error 2)");
}

#[test]
fn a_fifo_or_device_is_never_opened() {
    let room = Room::new();
    let tar = Tar::new()
        .entry(b"passwd", tar::EntryType::Fifo, b"", |_| {})
        .device("null", 1, 3)
        .finish();
    let image = image_of(&room.store, &[tar]);
    let tree = Tree::open(&room.store.unpacked_layers(&image).expect("unpacks")).expect("opens");
    for path in ["/passwd", "/null"] {
        let error = tree.read(Path::new(path), 9).expect_err("it is no file");
        assert!(
            chain(&error).ends_with("it is no regular file"),
            "{}",
            chain(&error)
        );
    }
}

/// Runs in a mount namespace of its thread's own, so nothing is left behind.
fn with_overlay(layers: &[PathBuf], check: impl FnOnce(&Path) + Send + 'static) {
    use nix::mount::{MsFlags, mount};
    let target = tempfile::tempdir().expect("a temp dir");
    let path = target.path().to_owned();
    let lower: Vec<_> = layers
        .iter()
        .rev()
        .map(|layer| layer.display().to_string())
        .collect();
    let thread = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).expect("a namespace");
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private");
        let options = format!("lowerdir={}", lower.join(":"));
        mount(
            Some("overlay"),
            &path,
            Some("overlay"),
            MsFlags::MS_RDONLY,
            Some(&*options),
        )
        .expect("an overlay");
        check(&path);
    });
    thread.join().expect("the overlay's test");
}

#[test]
fn the_merged_view_is_the_kernels() {
    let room = Room::new();
    let layers = layers(&room);
    let tree = Tree::open(&layers).expect("opens");
    fn walk(tree: &Tree, dir: &Path, prefix: &str, found: &mut Vec<String>) {
        for name in tree.entries(dir).expect("lists").expect("a directory") {
            let path = dir.join(&name);
            let entry = tree.lookup_link(&path).expect("looks").expect("is there");
            let name = format!("{prefix}{}", name.to_string_lossy());
            let what = match entry.metadata.kind {
                Kind::Directory => "dir".to_owned(),
                Kind::Symlink => format!(
                    "-> {}",
                    entry
                        .link()
                        .expect("reads")
                        .expect("a link")
                        .to_string_lossy()
                ),
                _ => format!("{} bytes", entry.metadata.size),
            };
            found.push(format!("{name} {what}"));
            if entry.metadata.kind == Kind::Directory {
                walk(tree, &path, &format!("{name}/"), found);
            }
        }
    }
    let mut ours = Vec::new();
    walk(&tree, Path::new("/"), "", &mut ours);
    with_overlay(&layers, move |mounted| {
        assert_eq!(ours, listing(mounted));
        assert_eq!(
            fs::read_to_string(mounted.join("etc/gone")).expect("reads"),
            "back"
        );
    });
}
