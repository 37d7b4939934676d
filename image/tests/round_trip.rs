//! Directory → tar → directory → tar: nothing is lost, and the same content
//! is the same bytes.

mod fixture;

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use fixture::{Room, listing};
use holdall_image::layer::limits::Limits;
use holdall_image::layer::pack::pack;
use holdall_image::layer::unpack::unpack;
use holdall_image::root::Kind;
use holdall_image::{Digest, RootDir};
use insta::assert_snapshot;
use proptest::prelude::*;

const EPOCH: i64 = 1_700_000_000;

fn packed(dir: &Path) -> Vec<u8> {
    let mut tar = Vec::new();
    let dir = File::open(dir).expect("the directory opens");
    pack(dir.as_fd(), EPOCH, &mut tar).expect("packs");
    tar
}

fn unpacked(tar: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temp dir");
    let root = RootDir::open(dir.path()).expect("opens");
    unpack(tar, &root, &Limits::default()).expect("unpacks");
    dir
}

/// One thing to make in a directory.
#[derive(Debug, Clone)]
enum Made {
    File {
        content: Vec<u8>,
        mode: u32,
    },
    Directory {
        mode: u32,
        opaque: bool,
        children: Vec<(Vec<u8>, Made)>,
    },
    Symlink(Vec<u8>),
    Link,
    Fifo,
    Device(u32),
    Whiteout,
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => proptest::collection::vec(b'a'..=b'f', 1..4),
        1 => proptest::collection::vec(any::<u8>(), 1..120),
        1 => proptest::collection::vec(b'a'..=b'z', 90..200),
    ]
    .prop_filter("a name that may be", |name| {
        !name.contains(&0)
            && !name.contains(&b'/')
            && !name.starts_with(b".wh.")
            && name != b"."
            && name != b".."
    })
}

fn made() -> impl Strategy<Value = Made> {
    let mode = prop_oneof![
        Just(0o644),
        Just(0o4755),
        Just(0o2755),
        Just(0o600),
        Just(0)
    ];
    let leaf = prop_oneof![
        4 => (proptest::collection::vec(any::<u8>(), 0..1500), mode.clone())
            .prop_map(|(content, mode)| Made::File { content, mode }),
        1 => name().prop_map(Made::Symlink),
        1 => Just(Made::Link),
        1 => Just(Made::Fifo),
        1 => (1_u32..300).prop_map(Made::Device),
        1 => Just(Made::Whiteout),
    ];
    leaf.prop_recursive(4, 24, 6, move |inner| {
        (
            mode.clone(),
            any::<bool>(),
            proptest::collection::vec((name(), inner), 0..6),
        )
            .prop_map(|(mode, opaque, children)| Made::Directory {
                mode,
                opaque,
                children,
            })
    })
}

fn make(root: &RootDir, path: &Path, what: &Made, files: &mut Vec<std::path::PathBuf>) {
    if root.stat(path).expect("stats").is_some() {
        return;
    }
    match what {
        Made::File { content, mode } => {
            use std::io::Write;
            let mut file = root.create_file(path, *mode).expect("a file");
            file.write_all(content).expect("its content");
            let owner = u32::try_from(content.len()).expect("short") * 5000;
            root.set_owner(path, owner, 7).expect("its owner");
            root.set_mode(path, *mode).expect("its mode");
            if content.len() % 3 == 0 {
                root.set_xattr(
                    path,
                    "user.mark".as_ref(),
                    content.get(..9).unwrap_or(b"\0"),
                )
                .expect("its attribute");
            }
            root.set_mtime(
                path,
                i64::try_from(content.len()).expect("short") * 2_000_000,
                5,
            )
            .expect("its time");
            files.push(path.to_owned());
        }
        Made::Directory {
            mode,
            opaque,
            children,
        } => {
            root.mkdir(path, *mode).expect("a directory");
            if *opaque {
                root.set_xattr(path, "trusted.overlay.opaque".as_ref(), b"y")
                    .expect("opaque");
            }
            for (name, child) in children {
                make(
                    root,
                    &path.join(std::ffi::OsStr::from_bytes(name)),
                    child,
                    files,
                );
            }
        }
        Made::Symlink(target) => {
            root.symlink(std::ffi::OsStr::from_bytes(target), path)
                .expect("a link");
        }
        Made::Link => {
            if let Some(file) = files.last() {
                root.link(file, path).expect("a hard link");
            }
        }
        Made::Fifo => root.mknod(path, Kind::Fifo, 0o640, 0).expect("a fifo"),
        Made::Device(minor) => {
            let device = nix::sys::stat::makedev(1, u64::from(*minor));
            root.mknod(path, Kind::CharDevice, 0o600, device)
                .expect("a device");
        }
        Made::Whiteout => root
            .mknod(path, Kind::CharDevice, 0, 0)
            .expect("a whiteout"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_survives_packing_and_unpacking(
        tree in proptest::collection::vec((name(), made()), 0..8)
    ) {
        let dir = tempfile::tempdir().expect("a temp dir");
        let root = RootDir::open(dir.path()).expect("opens");
        let mut files = Vec::new();
        for (name, what) in &tree {
            make(&root, Path::new(std::ffi::OsStr::from_bytes(name)), what, &mut files);
        }
        let first = packed(dir.path());
        let copy = unpacked(&first);
        prop_assert_eq!(listing(dir.path()), listing(copy.path()));
        let second = packed(copy.path());
        prop_assert_eq!(Digest::of(&first), Digest::of(&second));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(
        mut tar in proptest::collection::vec(any::<u8>(), 0..3000),
        base in any::<bool>(),
    ) {
        // Noise over a good archive gets further than noise alone.
        if base {
            let good = fixture::Tar::new().pax(&[("path", b"x")]).file("a", b"1").dir("b").finish();
            for (index, byte) in good.iter().enumerate() {
                match tar.get_mut(index) {
                    Some(noise) if *noise < 250 => *noise = *byte,
                    Some(_) => {}
                    None => tar.push(*byte),
                }
            }
        }
        let jail = fixture::Jail::new();
        let _outcome = jail.unpack(tar.as_slice()).is_ok();
    }
}

/// The same content, made in another order and under another umask.
fn make_twin(dir: &Path, reverse: bool, umask: u32) {
    let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(umask));
    let mut names: Vec<String> = (0..50).map(|index| format!("file{index}")).collect();
    if reverse {
        names.reverse();
    }
    fs::create_dir(dir.join("d")).expect("a directory");
    for name in &names {
        let path = dir.join("d").join(name);
        fs::write(&path, name).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("its mode");
        chown(&path, Some(5), Some(6)).expect("its owner");
    }
    fs::set_permissions(dir.join("d"), fs::Permissions::from_mode(0o711)).expect("its mode");
    if reverse {
        symlink("file1", dir.join("link")).expect("a link");
        fs::hard_link(dir.join("d/file3"), dir.join("hard")).expect("a hard link");
    } else {
        fs::hard_link(dir.join("d/file3"), dir.join("hard")).expect("a hard link");
        symlink("file1", dir.join("link")).expect("a link");
    }
    nix::sys::stat::umask(before);
}

#[test]
fn the_same_content_is_the_same_digest_whatever_order_umask_and_clock() {
    let room = Room::new();
    let mut found = Vec::new();
    for (reverse, umask) in [(false, 0), (true, 0o077)] {
        let dir = tempfile::tempdir().expect("a temp dir");
        make_twin(dir.path(), reverse, umask);
        // The root's own mode and time count for nothing.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700 | umask)).expect("mode");
        let opened = File::open(dir.path()).expect("opens");
        found.push(room.store.pack_layer(opened.as_fd(), EPOCH).expect("packs"));
    }
    assert_eq!(found[0], found[1]);
    assert!(room.store.contains(&found[0].descriptor.digest));
}

#[test]
fn entries_are_sorted_with_whiteouts_first_and_times_clamped() {
    let dir = tempfile::tempdir().expect("a temp dir");
    let root = RootDir::open(dir.path()).expect("opens");
    for (index, path) in ["b", "a", "sub", "sub/z", "sub/y"].iter().enumerate() {
        if *path == "sub" {
            root.mkdir(path.as_ref(), 0o755).expect("a directory");
        } else {
            root.create_file(path.as_ref(), 0o644).expect("a file");
            root.set_mtime(
                path.as_ref(),
                EPOCH + 1 - i64::try_from(index).expect("small"),
                9,
            )
            .expect("its time");
        }
    }
    root.mknod("sub/gone".as_ref(), Kind::CharDevice, 0, 0)
        .expect("a whiteout");
    root.set_xattr("sub".as_ref(), "trusted.overlay.opaque".as_ref(), b"y")
        .expect("opaque");
    root.mknod("zz".as_ref(), Kind::CharDevice, 0, 0)
        .expect("a whiteout");
    let tar = packed(dir.path());
    let mut lines = String::new();
    for entry in tar::Archive::new(tar.as_slice())
        .entries()
        .expect("entries")
    {
        let entry = entry.expect("an entry");
        let header = entry.header();
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mtime = header.mtime().expect("a time");
        let time = i64::try_from(mtime).expect("small") - EPOCH;
        let time = if mtime == 0 {
            "0".to_owned()
        } else {
            format!("epoch{time:+}")
        };
        lines += &format!("{path} {:o} {time}\n", header.mode().expect("a mode"));
        assert_eq!(header.username_bytes(), Some(&b""[..]));
    }
    assert_snapshot!(lines, @r"
    .wh.zz 0 0
    a 644 epoch+0
    b 644 epoch+0
    sub/ 755 epoch+0
    sub/.wh..wh..opq 0 0
    sub/.wh.gone 0 0
    sub/y 644 epoch-3
    sub/z 644 epoch-2
    ");
}

#[test]
fn hard_links_stay_hard_links() {
    let dir = tempfile::tempdir().expect("a temp dir");
    fs::write(dir.path().join("one"), "x").expect("a file");
    fs::hard_link(dir.path().join("one"), dir.path().join("two")).expect("a link");
    let copy = unpacked(&packed(dir.path()));
    let inode = |name: &str| {
        fs::metadata(copy.path().join(name))
            .expect("it is there")
            .ino()
    };
    assert_eq!(inode("one"), inode("two"));
}

#[test]
fn what_belongs_to_the_overlay_or_the_host_is_left_out_or_refused() {
    let dir = tempfile::tempdir().expect("a temp dir");
    let root = RootDir::open(dir.path()).expect("opens");
    root.mkdir("d".as_ref(), 0o755).expect("a directory");
    let plain = packed(dir.path());
    root.set_xattr("d".as_ref(), "trusted.overlay.origin".as_ref(), b"\0\xfb!")
        .expect("sets");
    root.set_xattr("d".as_ref(), "trusted.overlay.impure".as_ref(), b"y")
        .expect("sets");
    let clean = |tar: &[u8]| tar.to_vec();
    assert_eq!(clean(&packed(dir.path())), clean(&plain));
    root.set_xattr("d".as_ref(), "trusted.overlay.redirect".as_ref(), b"/e")
        .expect("sets");
    let opened = File::open(dir.path()).expect("opens");
    let error = pack(opened.as_fd(), EPOCH, Vec::new()).expect_err("content is missing");
    assert_snapshot!(
        error.to_string(),
        @"cannot pack d/: it was moved or changed without its content (overlay redirect or metacopy)"
    );
    let dir = tempfile::tempdir().expect("a temp dir");
    fs::write(dir.path().join(".wh.x"), "").expect("a file");
    let opened = File::open(dir.path()).expect("opens");
    let error = pack(opened.as_fd(), EPOCH, Vec::new()).expect_err("it would delete");
    assert_snapshot!(
        error.to_string(),
        @"cannot pack .wh.x: it has a name that means a deletion"
    );
}

#[test]
fn sockets_are_left_out() {
    let dir = tempfile::tempdir().expect("a temp dir");
    let empty = packed(dir.path());
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).expect("a socket");
    assert_eq!(packed(dir.path()), empty);
}

#[test]
fn gnu_tar_reads_what_we_pack() {
    let dir = tempfile::tempdir().expect("a temp dir");
    make_twin(dir.path(), false, 0o022);
    let long = "n".repeat(180);
    fs::write(dir.path().join(&long), "long").expect("a file");
    fs::write(dir.path().join("ünïcode"), "x").expect("a file");
    let copy = tempfile::tempdir().expect("a temp dir");
    let tar = copy.path().join("layer.tar");
    fs::write(&tar, packed(dir.path())).expect("the tar");
    let to = copy.path().join("to");
    fs::create_dir(&to).expect("a directory");
    let status = std::process::Command::new("tar")
        .args(["--numeric-owner", "-xpf"])
        .arg(&tar)
        .arg("-C")
        .arg(&to)
        .status()
        .expect("tar runs");
    assert!(status.success());
    assert_eq!(listing(dir.path()), listing(&to));
    assert_eq!(packed(dir.path()), packed(&to));
}

#[test]
fn we_unpack_what_gnu_tar_packs_in_every_format() {
    let dir = tempfile::tempdir().expect("a temp dir");
    make_twin(dir.path(), false, 0o022);
    fs::write(dir.path().join("m".repeat(99)), "99 bytes").expect("a file");
    fs::create_dir(dir.path().join("deep".repeat(20))).expect("a directory");
    fs::write(dir.path().join("deep".repeat(20)).join("f".repeat(60)), "x").expect("a file");
    for format in ["gnu", "pax", "ustar", "oldgnu"] {
        let tar = std::process::Command::new("tar")
            .args(["-c", "--format", format, "--numeric-owner", "-C"])
            .arg(dir.path())
            .arg(".")
            .output()
            .expect("tar runs");
        assert!(tar.status.success());
        let copy = unpacked(&tar.stdout);
        assert_eq!(packed(dir.path()), packed(copy.path()), "{format}");
    }
}

#[test]
fn a_file_that_changes_while_it_is_packed_is_an_error() {
    // The writer shrinks the file when the header is out.
    struct Shrinks<'f>(&'f Path);
    impl std::io::Write for Shrinks<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            File::options().write(true).open(self.0)?.set_len(10)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let dir = tempfile::tempdir().expect("a temp dir");
    let path = dir.path().join("f");
    fs::write(&path, vec![1; 1000]).expect("a file");
    let opened = File::open(dir.path()).expect("opens");
    let error = pack(opened.as_fd(), EPOCH, Shrinks(&path)).expect_err("it changed");
    assert_snapshot!(error.to_string(), @"cannot pack f: it changed while it was read");
}

/// Sets the right checksum in every block that was a header.
fn sum(tar: &mut [u8], headers: &[usize]) {
    for at in headers {
        let Some(block) = tar.get_mut(*at..at + 512) else {
            continue;
        };
        let mut header = tar::Header::new_old();
        header.as_mut_bytes().copy_from_slice(block);
        header.set_cksum();
        block.copy_from_slice(header.as_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// What we accept, another reader must read alike (CVE-2025-62518 and its
    /// kin): good archives, with bytes of their headers changed and the
    /// checksums made right again.
    #[test]
    fn what_is_accepted_gnu_tar_reads_alike(
        changes in proptest::collection::vec(
            (
                0_usize..5,
                prop_oneof![0_usize..8, 124_usize..136, 156_usize..164, 257_usize..265, 345_usize..350],
                proptest::sample::select(&b"01257xgLKS/.a \0\x80\xff"[..]),
            ),
            1..5,
        )
    ) {
        let long = "l".repeat(120);
        let mut tar = fixture::Tar::new()
            .dir("d")
            .file("d/f", &[b'x'; 600])
            .symlink("s", "d/f")
            .pax(&[("path", long.as_bytes()), ("size", b"3")])
            .file("short", b"abc")
            .hardlink("h", "d/f")
            .finish();
        // Of dir, file, link, PAX header and what it extends.
        let headers = [0, 512, 2048, 2560, 3584];
        for (header, offset, byte) in changes {
            tar[headers[header] + offset] = byte;
        }
        sum(&mut tar, &headers);
        let jail = fixture::Jail::new();
        if jail.unpack(tar.as_slice()).is_ok() {
            let copy = tempfile::tempdir().expect("a temp dir");
            let mut theirs = std::process::Command::new("tar")
                .args(["--numeric-owner", "-xpf", "-", "-C"])
                .arg(copy.path())
                .stdin(std::process::Stdio::piped())
                .stderr(std::process::Stdio::null())
                .spawn()
                .expect("tar runs");
            let mut input = theirs.stdin.take().expect("a pipe");
            // It may have seen enough before the end.
            let _written = std::io::Write::write_all(&mut input, &tar).is_ok();
            drop(input);
            theirs.wait().expect("tar ends");
            prop_assert_eq!(listing(&jail.root()), listing(copy.path()));
        }
    }
}
