//! Layers made to escape, to confuse or to exhaust. Each test is one row of
//! the attacks that broke other tools; [`Jail`] checks a canary outside of the
//! root after every one.

mod fixture;

use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use fixture::{Jail, Tar, listing};
use holdall_image::layer::limits::Limits;
use insta::assert_snapshot;
use tar::EntryType;

#[test]
fn dot_dot_in_a_path_is_refused() {
    for path in [
        "../canary",
        "a/../../canary",
        "a/..",
        "..",
        "/../canary",
        "./../canary",
    ] {
        let jail = Jail::new();
        let text = jail.refusal(Tar::new().file(path, b"dead"));
        assert_eq!(
            text,
            format!("layer entry {path:?} has a \"..\" in its path")
        );
        assert!(listing(&jail.root()).is_empty());
    }
}

#[test]
fn an_absolute_path_means_the_layers_own_root() {
    let jail = Jail::new();
    jail.unpack(Tar::new().file("/etc/passwd", b"x").finish().as_slice())
        .expect("unpacks");
    assert_eq!(listing(&jail.root()), ["etc dir", "etc/passwd 1 bytes"]);
}

#[test]
fn a_file_beneath_an_absolute_link_stays_in_the_root() {
    let jail = Jail::new();
    let outside = jail.outside_dir();
    let tar = Tar::new()
        .symlink("out", &outside)
        .file("out/canary", b"dead");
    // The link is dangling within the root, so there is no such parent.
    assert_snapshot!(
        jail.refusal(tar),
        @r#"layer entry "out/canary" lies beneath something that is no directory"#
    );
}

#[test]
fn a_file_beneath_a_link_to_the_root_lands_in_the_root() {
    let jail = Jail::new();
    let tar = Tar::new().symlink("up", "/").symlink("up2", "../../../..");
    let tar = tar.file("up/a", b"1").file("up2/b", b"1");
    jail.unpack(tar.finish().as_slice()).expect("unpacks");
    assert_eq!(
        listing(&jail.root()),
        ["a 1 bytes", "b 1 bytes", "up -> /", "up2 -> ../../../.."]
    );
}

#[test]
fn a_link_as_parent_is_followed_within_the_root() {
    let jail = Jail::new();
    let tar = Tar::new()
        .dir("usr")
        .dir("usr/lib")
        .symlink("lib", "/usr/lib")
        .file("lib/x", b"1");
    jail.unpack(tar.finish().as_slice()).expect("unpacks");
    assert!(jail.root().join("usr/lib/x").is_file());
}

#[test]
fn a_link_is_never_written_through() {
    let jail = Jail::new();
    let canary = jail.canary();
    let tar = Tar::new()
        .symlink("innocent", &canary)
        .file("innocent", b"dead");
    assert_snapshot!(
        jail.refusal(tar),
        @r#"layer entry "innocent" is a second entry of that path"#
    );
}

#[test]
fn a_directory_over_a_link_does_not_change_what_the_link_means() {
    // CVE-2021-32760, CVE-2026-33056: chmod through a link of the same name.
    let jail = Jail::new();
    let outside = jail.outside_dir();
    let tar = Tar::new().symlink("out", &outside).dir("out");
    assert_snapshot!(jail.refusal(tar), @r#"layer entry "out" is a second entry of that path"#);
}

#[test]
fn links_in_a_circle_are_refused() {
    let jail = Jail::new();
    let tar = Tar::new()
        .symlink("a", "b")
        .symlink("b", "a")
        .file("a/x", b"1");
    assert_snapshot!(
        jail.refusal(tar),
        @r#"layer entry "a/x" lies beneath something that is no directory"#
    );
}

#[test]
fn a_hard_link_out_of_the_root_is_refused() {
    let jail = Jail::new();
    let canary = jail.canary();
    let outside = jail.outside_dir();
    for tar in [
        Tar::new().hardlink("stolen", &canary),
        Tar::new().hardlink("stolen", "../outside/canary"),
        Tar::new()
            .symlink("out", &outside)
            .hardlink("stolen", "out/canary"),
        Tar::new().hardlink("stolen", ""),
        Tar::new().hardlink("stolen", "."),
        Tar::new().dir("d").hardlink("stolen", "d"),
        Tar::new().file(".wh.gone", b"").hardlink("stolen", "gone"),
        Tar::new().file("a", b"").hardlink("stolen", ".wh.a"),
    ] {
        let jail = Jail::new();
        assert_eq!(
            jail.refusal(tar),
            "layer entry \"stolen\" is a hard link to no earlier file"
        );
    }
    drop(jail);
}

#[test]
fn a_hard_link_to_a_link_links_the_link() {
    let jail = Jail::new();
    let canary = jail.canary();
    let tar = Tar::new()
        .symlink("link", &canary)
        .hardlink("again", "link");
    jail.unpack(tar.finish().as_slice()).expect("unpacks");
    let meta = fs::symlink_metadata(jail.root().join("again")).expect("it is there");
    assert!(meta.file_type().is_symlink());
    assert_eq!(meta.nlink(), 2);
    // And cannot be written through either.
    let jail = Jail::new();
    let tar = Tar::new()
        .symlink("link", &canary)
        .hardlink("again", "link")
        .file("again", b"dead");
    assert_snapshot!(jail.refusal(tar), @r#"layer entry "again" is a second entry of that path"#);
}

#[test]
fn attributes_of_a_link_stay_on_the_link() {
    let jail = Jail::new();
    let canary = jail.canary();
    let tar = Tar::new().entry(b"link", EntryType::Symlink, b"", |header| {
        header.as_old_mut().linkname[..canary.len()].copy_from_slice(canary.as_bytes());
        header.set_mode(0o4777);
        header.set_uid(1234);
    });
    jail.unpack(tar.finish().as_slice()).expect("unpacks");
    let meta = fs::symlink_metadata(jail.root().join("link")).expect("it is there");
    assert_eq!((meta.uid(), meta.mtime()), (1234, 1_000_000));
}

#[test]
fn an_attribute_is_never_set_through_a_link() {
    let jail = Jail::new();
    let canary = jail.canary();
    let tar = Tar::new()
        .pax(&[("SCHILY.xattr.trusted.mark", b"on the link")])
        .symlink("link", &canary);
    jail.unpack(tar.finish().as_slice()).expect("unpacks");
    let root = holdall_image::RootDir::open(&jail.root()).expect("opens");
    let found = root.xattrs("link".as_ref()).expect("reads");
    assert_eq!(found, [("trusted.mark".into(), b"on the link".to_vec())]);
}

#[test]
fn a_root_that_is_no_directory_is_refused() {
    // CVE-2021-29136: the first entry replaces the root by a link.
    for tar in [
        Tar::new().symlink(".", "/"),
        Tar::new().symlink("./", "/"),
        Tar::new().file(".", b""),
        Tar::new().hardlink("/", "etc"),
        Tar::new().device("/", 1, 3),
    ] {
        let text = Jail::new().refusal(tar);
        assert!(
            text.ends_with("makes the root something other than a directory"),
            "{text}"
        );
    }
}

#[test]
fn the_roots_own_attributes_are_ignored() {
    let jail = Jail::new();
    let before = fs::metadata(jail.root())
        .expect("the root")
        .permissions()
        .mode();
    let tar = Tar::new().entry(b"./", EntryType::Directory, b"", |header| {
        header.set_mode(0o7777);
        header.set_uid(666);
    });
    jail.unpack(tar.finish().as_slice()).expect("unpacks");
    let meta = fs::metadata(jail.root()).expect("the root");
    assert_eq!((meta.permissions().mode(), meta.uid()), (before, 0));
}

#[test]
fn malformed_whiteouts_are_refused() {
    for path in [
        ".wh.",
        ".wh..",
        ".wh...",
        "d/.wh.",
        "d/.wh..",
        "d/.wh...",
        ".wh..wh.",
        ".wh..wh..opq2",
        ".wh..wh.plnk",
        ".wh..wh.aufs",
        ".wh.x/y",
        ".wh..wh..opq/y",
        ".wh.x/../y/.wh.",
    ] {
        let text = Jail::new().refusal(Tar::new().file(path, b""));
        assert!(
            text.ends_with("is a malformed whiteout") || text.ends_with("in its path"),
            "{path}: {text}"
        );
    }
}

#[test]
fn a_whiteout_that_is_no_file_is_refused() {
    for tar in [
        Tar::new().dir(".wh.x"),
        Tar::new().symlink(".wh.x", "/etc"),
        Tar::new().file("a", b"").hardlink(".wh.x", "a"),
        Tar::new().device(".wh.x", 1, 3),
        Tar::new().dir("d").symlink("d/.wh..wh..opq", "x"),
    ] {
        let text = Jail::new().refusal(tar);
        assert!(text.ends_with("is a malformed whiteout"), "{text}");
    }
}

#[test]
fn a_whiteout_through_a_link_stays_in_the_root() {
    let jail = Jail::new();
    let outside = jail.outside_dir();
    let tar = Tar::new()
        .symlink("out", &outside)
        .file("out/.wh.canary", b"");
    assert_snapshot!(
        jail.refusal(tar),
        @r#"layer entry "out/.wh.canary" lies beneath something that is no directory"#
    );
    let jail = Jail::new();
    let tar = Tar::new()
        .symlink("out", &outside)
        .file("out/.wh..wh..opq", b"");
    assert_snapshot!(
        jail.refusal(tar),
        @r#"layer entry "out/.wh..wh..opq" lies beneath something that is no directory"#
    );
}

#[test]
fn an_opaque_root_is_refused() {
    let text = Jail::new().refusal(Tar::new().file(".wh..wh..opq", b""));
    assert_snapshot!(text, @r#"layer entry ".wh..wh..opq" makes the root opaque"#);
}

#[test]
fn whiteouts_become_overlay_form() {
    let jail = Jail::new();
    let tar = Tar::new()
        .dir("d")
        .file("d/new", b"1")
        .file("d/.wh..wh..opq", b"")
        .file(".wh.gone", b"")
        .file(".wh.replaced", b"")
        .dir("replaced")
        .dir("later")
        .file(".wh.later", b"")
        .file(".wh.file", b"")
        .file("file", b"22");
    jail.unpack(tar.finish().as_slice()).expect("unpacks");
    assert_eq!(
        listing(&jail.root()),
        [
            "d dir",
            "d/new 1 bytes",
            "file 2 bytes",
            "gone whiteout",
            "later dir",
            "replaced dir"
        ]
    );
    let root = holdall_image::RootDir::open(&jail.root()).expect("opens");
    for opaque in ["d", "replaced", "later"] {
        let found = root.xattrs(opaque.as_ref()).expect("reads");
        assert_eq!(
            found,
            [("trusted.overlay.opaque".into(), b"y".to_vec())],
            "{opaque}"
        );
    }
}

#[test]
fn a_device_that_would_be_a_whiteout_is_refused() {
    let text = Jail::new().refusal(Tar::new().device("dev", 0, 0));
    assert_snapshot!(
        text,
        @r#"layer entry "dev" is a device 0:0, which an overlay takes for a deletion"#
    );
}

#[test]
fn attributes_of_the_overlay_are_refused() {
    for key in [
        "SCHILY.xattr.trusted.overlay.opaque",
        "SCHILY.xattr.trusted.overlay.redirect",
        "SCHILY.xattr.trusted.overlay.metacopy",
        "SCHILY.xattr.user.overlay.opaque",
    ] {
        let text = Jail::new().refusal(Tar::new().pax(&[(key, b"y")]).dir("d"));
        assert_eq!(
            text, "layer entry \"d\" sets an attribute of the overlay",
            "{key}"
        );
    }
}

#[test]
fn duplicate_paths_are_refused_save_directories() {
    for tar in [
        Tar::new().file("a", b"1").file("a", b"2"),
        Tar::new().file("a", b"1").file("./a", b"2"),
        Tar::new().file("a", b"1").file("/a", b"2"),
        Tar::new().file("a", b"1").dir("a"),
        Tar::new().dir("a").file("a", b"1"),
        Tar::new().symlink("a", "b").symlink("a", "c"),
        Tar::new()
            .file("b", b"1")
            .file("a", b"1")
            .hardlink("a", "b"),
        Tar::new().file(".wh.a", b"").file(".wh.a", b""),
    ] {
        let text = Jail::new().refusal(tar);
        assert!(text.ends_with("is a second entry of that path"), "{text}");
    }
    let jail = Jail::new();
    let tar = Tar::new().dir("a").file("a/x", b"1").dir("a").dir("./a/");
    jail.unpack(tar.finish().as_slice()).expect("unpacks");
}

#[test]
fn a_file_as_parent_is_refused() {
    let text = Jail::new().refusal(Tar::new().file("a", b"1").file("a/b", b"2"));
    assert_snapshot!(text, @r#"layer entry "a/b" lies beneath something that is no directory"#);
}

#[test]
fn missing_parents_are_made_as_0755() {
    let jail = Jail::new();
    jail.unpack(Tar::new().file("a/b/c", b"1").finish().as_slice())
        .expect("unpacks");
    for dir in ["a", "a/b"] {
        let meta = fs::metadata(jail.root().join(dir)).expect("it is there");
        assert_eq!(meta.permissions().mode() & 0o7777, 0o755);
    }
}

#[test]
fn sparse_files_are_refused() {
    let text = Jail::new().refusal(Tar::new().entry(b"s", EntryType::GNUSparse, b"", |_| {}));
    assert_snapshot!(text, @r#""s" is a sparse file"#);
    let text = Jail::new().refusal(Tar::new().pax(&[("GNU.sparse.major", b"1")]).file("s", b""));
    assert_snapshot!(text, @r#""s" is a sparse file"#);
}

#[test]
fn a_size_that_two_readers_read_differently_is_refused() {
    // CVE-2025-62518: the header says 0, the record says 1024, and what is
    // the content for one reader is entries for the other.
    let hidden = Tar::new().file("hidden", b"dead").unfinished();
    let tar = Tar::new()
        .pax(&[("size", hidden.len().to_string().as_bytes())])
        .entry(b"outer", EntryType::Regular, b"", |_| {})
        .raw(&hidden);
    let jail = Jail::new();
    jail.unpack(tar.finish().as_slice())
        .expect("the record counts, as POSIX says");
    assert_eq!(
        listing(&jail.root()),
        [format!("outer {} bytes", hidden.len())]
    );
    // Data where the type has none.
    for kind in [
        EntryType::Directory,
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Fifo,
    ] {
        let text = Jail::new().refusal(Tar::new().entry(b"e", kind, &hidden, |_| {}));
        assert_eq!(text, "\"e\" contradicts its own type");
    }
    let text = Jail::new().refusal(Tar::new().file("file/", b"x"));
    assert_eq!(text, "\"file/\" contradicts its own type");
}

#[test]
fn malformed_extended_headers_are_refused() {
    let bad = |body: &[u8]| Tar::new().entry(b"pax", EntryType::XHeader, body, |_| {});
    let cases: Vec<(&str, Tar)> = vec![
        ("no length", bad(b"path=x\n")),
        ("length too long", bad(b"99 path=x\n")),
        ("length too short", bad(b"5 path=x\n")),
        ("signed length", bad(b"+9 path=x\n")),
        ("huge length", bad(b"99999999999999999999999 path=x\n")),
        ("no newline", bad(b"9 path=xx")),
        ("no key", bad(b"6 =xy\n")),
        ("no equals", bad(b"8 pathx\n")),
        ("zero length", bad(b"0 \n")),
        (
            "key twice",
            Tar::new().pax(&[("path", b"a"), ("path", b"b")]),
        ),
        ("NUL in a path", Tar::new().pax(&[("path", b"a\0b")])),
        ("empty path", Tar::new().pax(&[("path", b"")])),
        ("negative size", Tar::new().pax(&[("size", b"-1")])),
        ("hex uid", Tar::new().pax(&[("uid", b"0x1")])),
        ("bad time", Tar::new().pax(&[("mtime", b"1.x")])),
        (
            "second header",
            Tar::new().pax(&[("uid", b"1")]).pax(&[("gid", b"1")]),
        ),
        ("bad charset", Tar::new().pax(&[("hdrcharset", b"EBCDIC")])),
        (
            "nameless attribute",
            Tar::new().pax(&[("SCHILY.xattr.", b"x")]),
        ),
    ];
    for (what, tar) in cases {
        let text = Jail::new().refusal(tar.file("f", b""));
        assert!(
            text.starts_with("the extended header at byte ") && text.contains(" is malformed: "),
            "{what}: {text}"
        );
    }
}

#[test]
fn a_global_header_may_only_comment() {
    let body = b"20 comment=a commit\n";
    let tar = Tar::new()
        .entry(b"g", EntryType::XGlobalHeader, body, |_| {})
        .file("f", b"");
    Jail::new()
        .unpack(tar.finish().as_slice())
        .expect("git archive writes such");
    let body = b"13 path=evil\n";
    let tar = Tar::new()
        .entry(b"g", EntryType::XGlobalHeader, body, |_| {})
        .file("f", b"");
    assert_snapshot!(
        Jail::new().refusal(tar),
        @r#"the extended header at byte 0 is malformed: a global header sets "path""#
    );
}

#[test]
fn two_kinds_of_long_name_for_one_entry_are_refused() {
    let tar = Tar::new()
        .entry(b"././@LongLink", EntryType::GNULongName, b"one\0", |_| {})
        .pax(&[("path", b"two")])
        .file("f", b"");
    assert_snapshot!(
        Jail::new().refusal(tar),
        @r#"the extended header at byte 1024 is malformed: "path" is given twice"#
    );
}

#[test]
fn malformed_numbers_are_refused() {
    type Change = fn(&mut tar::Header);
    let cases: [(&str, Change); 7] = [
        ("size", |header| {
            header.as_old_mut().size = *b"0000000000x\0"
        }),
        ("size", |header| {
            header.as_old_mut().size = *b"-0000000001\0"
        }),
        ("size", |header| header.as_old_mut().size = [0xff; 12]),
        ("size", |header| {
            header.as_old_mut().size = [0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }),
        ("mode", |header| header.as_old_mut().mode = *b"+755\0\0\0\0"),
        ("owner", |header| {
            header.as_old_mut().uid = [0x80, 0, 0, 1, 0, 0, 0, 0]
        }),
        ("group", |header| {
            header.as_old_mut().gid = [0x80, 0, 0, 0, 255, 255, 255, 255]
        }),
    ];
    for (field, change) in cases {
        let text = Jail::new().refusal(Tar::new().entry(b"f", EntryType::Regular, b"", change));
        assert_eq!(text, format!("\"f\" has a malformed {field}"));
    }
}

#[test]
fn a_malformed_number_is_refused_even_where_a_record_replaces_it() {
    // GNU tar refuses it, others never look. Found by the comparison of readers.
    let tar = Tar::new()
        .pax(&[("size", b"1")])
        .entry(b"f", EntryType::Regular, b"", |header| {
            header.as_old_mut().size = *b"x0000000001\0";
        })
        .raw(&[b'1'; 512]);
    assert_snapshot!(Jail::new().refusal(tar), @r#""f" has a malformed size"#);
}

#[test]
fn a_header_of_an_unknown_format_is_refused() {
    // GNU tar looks at the magic alone and then takes the prefix for part of
    // the name; others look at the version too. Found in the same way.
    let with = |magic: &'static [u8; 8]| {
        Tar::new().entry(b"f", EntryType::Regular, b"", |header| {
            header.as_mut_bytes()[257..265].copy_from_slice(magic);
            header.as_mut_bytes()[345] = b'p';
        })
    };
    for magic in [
        b"ustar\x0010",
        b"ustar\0\0\0",
        b"ustar00\0",
        b"tar\0\0\0\0\0",
    ] {
        let text = Jail::new().refusal(with(magic));
        assert_eq!(text, "\"f\" has a header of an unknown format");
    }
    for (magic, path) in [(b"ustar\x0000", "p/f"), (b"ustar  \0", "f"), (&[0; 8], "f")] {
        let jail = Jail::new();
        jail.unpack(with(magic).finish().as_slice())
            .expect("a known format");
        assert!(jail.root().join(path).is_file(), "{path}");
    }
}

#[test]
fn broken_tars_are_refused() {
    let good = Tar::new().file("a", &[7; 2000]).finish();
    let mut flipped = good.clone();
    flipped[3] ^= 1;
    let mut lone = Tar::new().file("a", b"").unfinished();
    lone.resize(1024, 0);
    lone.extend([1; 512]);
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (flipped, "the block at byte 0 is no tar header"),
        (
            good[..1000].to_vec(),
            "the tar ends within an entry, at byte 1000",
        ),
        (
            good[..300].to_vec(),
            "the tar ends within an entry, at byte 300",
        ),
        (lone, "the block at byte 1024 is no tar header"),
        (vec![1; 512], "the block at byte 0 is no tar header"),
        (
            Tar::new()
                .entry(b"v", EntryType::new(b'V'), b"", |_| {})
                .finish(),
            "\"v\" is of the unsupported type 'V'",
        ),
        (
            Tar::new().pax(&[("path", b"x")]).finish(),
            "the tar ends within an entry, at byte 2048",
        ),
    ];
    for (tar, expected) in cases {
        let jail = Jail::new();
        let error = jail.unpack(tar.as_slice()).expect_err("it is broken");
        assert_eq!(fixture::chain(&error), expected);
    }
}

#[test]
fn a_last_entry_without_padding_is_whole() {
    // umoci insert writes such; Go reads it.
    let tar = Tar::new().file("a", b"12345").finish();
    let jail = Jail::new();
    jail.unpack(&tar[..517]).expect("unpacks");
    assert_eq!(listing(&jail.root()), ["a 5 bytes"]);
}

#[test]
fn paths_too_long_or_too_deep_are_refused() {
    let long = "x".repeat(256);
    let text = Jail::new().refusal(Tar::new().pax(&[("path", long.as_bytes())]).file("f", b""));
    assert!(text.ends_with("has a path that is too long"), "{text}");
    let deep = "d/".repeat(300);
    let text = Jail::new().refusal(Tar::new().pax(&[("path", deep.as_bytes())]).dir("f"));
    assert!(text.ends_with("lies too deep"), "{text}");
    let both = "deeper/".repeat(1000);
    let text = Jail::new().refusal(Tar::new().pax(&[("path", both.as_bytes())]).dir("f"));
    assert!(text.ends_with("has a path that is too long"), "{text}");
}

#[test]
fn entries_sizes_and_headers_are_bounded() {
    let within = |limits: Limits, tar: Tar| {
        let jail = Jail::new();
        let error = jail
            .unpack_within(tar.finish().as_slice(), &limits)
            .expect_err("a limit");
        fixture::chain(&error)
    };
    let limits = Limits {
        entries: 2,
        ..Limits::default()
    };
    let tar = Tar::new().file("a", b"").file("b", b"").file("c", b"");
    assert_snapshot!(within(limits, tar), @"the tar is too large: it has more than 2 entries");
    let limits = Limits {
        entries: 3,
        ..Limits::default()
    };
    let comment = |tar: Tar| tar.entry(b"g", EntryType::XGlobalHeader, b"", |_| {});
    let tar = comment(comment(comment(comment(Tar::new()))));
    assert_snapshot!(within(limits, tar), @"the tar is too large: it has more than 3 entries");
    let limits = Limits {
        extension: 100,
        ..Limits::default()
    };
    let tar = Tar::new().pax(&[("comment", &[b'x'; 200])]).file("a", b"");
    assert_snapshot!(
        within(limits, tar),
        @"the tar is too large: it has an extended header of 213 bytes, more than 100"
    );
    let limits = Limits {
        held: 100,
        ..Limits::default()
    };
    let tar = Tar::new().dir("aaaaaaaa").dir("bbbbbbbb");
    assert_snapshot!(
        within(limits, tar),
        @"the tar is too large: the names of its directories take more than 100 bytes"
    );
}

#[test]
fn a_claimed_size_allocates_nothing() {
    let huge = |header: &mut tar::Header| header.set_size(u64::MAX >> 2);
    let text = Jail::new().refusal(Tar::new().entry(b"pax", EntryType::XHeader, b"", huge));
    assert!(text.contains("it has an extended header of"), "{text}");
    let text = Jail::new().refusal(Tar::new().entry(b"f", EntryType::Regular, b"", huge));
    assert!(text.starts_with("the tar ends within an entry"), "{text}");
}

#[test]
fn set_id_bits_owners_times_and_capabilities_are_kept() {
    let capability =
        b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let jail = Jail::new();
    let tar = Tar::new()
        .pax(&[
            ("SCHILY.xattr.security.capability", capability),
            ("mtime", b"12.25"),
        ])
        .entry(b"ping", EntryType::Regular, b"elf", |header| {
            header.set_mode(0o6755);
            header.set_uid(7);
            header.set_gid(9);
        })
        .entry(b"fifo", EntryType::Fifo, b"", |header| {
            header.set_mode(0o620)
        })
        .device("null", 1, 3)
        .entry(b"tmp", EntryType::Directory, b"", |header| {
            header.set_mode(0o1777)
        })
        .file(
            "tmp/later",
            b"changes the time of tmp unless it is set last",
        );
    jail.unpack(tar.finish().as_slice()).expect("unpacks");
    let meta = |name: &str| fs::symlink_metadata(jail.root().join(name)).expect("it is there");
    let ping = meta("ping");
    assert_eq!(
        (ping.mode() & 0o7777, ping.uid(), ping.gid()),
        (0o6755, 7, 9)
    );
    assert_eq!((ping.mtime(), ping.mtime_nsec()), (12, 250_000_000));
    let root = holdall_image::RootDir::open(&jail.root()).expect("opens");
    let found = root.xattrs("ping".as_ref()).expect("reads");
    assert_eq!(found, [("security.capability".into(), capability.to_vec())]);
    assert_eq!(
        (
            meta("fifo").file_type().is_fifo(),
            meta("fifo").mode() & 0o7777
        ),
        (true, 0o620)
    );
    assert_eq!(
        (meta("null").rdev(), meta("null").mode() & 0o7777),
        (0x103, 0o644)
    );
    assert_eq!(
        (meta("tmp").mode() & 0o7777, meta("tmp").mtime()),
        (0o1777, 1_000_000)
    );
}

/// Zeros without end.
struct Zeros;

impl Read for Zeros {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        buffer.fill(0);
        Ok(buffer.len())
    }
}

#[test]
fn a_bomb_stops_within_its_bounds() {
    // One entry of 100 GiB of zeros: about 4 MiB of zstd, of which no more
    // than a fraction may be read.
    let header = Tar::new()
        .entry(b"bomb", EntryType::Regular, b"", |header| {
            header.set_size(100 << 30)
        })
        .unfinished();
    let room = fixture::Room::new();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let feeder = std::thread::spawn(move || {
        let mut zstd = zstd::Encoder::new(writer, 1).expect("an encoder");
        // Ends by EPIPE, as the reader goes away.
        std::io::copy(&mut header.as_slice().chain(Zeros), &mut zstd).err()
    });
    let error = room.store.add_tar_layer(reader).expect_err("a bomb");
    let text = fixture::chain(&error);
    assert!(
        text.contains("unpack to more than 1100 times as many"),
        "{text}"
    );
    assert!(feeder.join().expect("the feeder ends").is_some());
    assert_eq!(
        listing(&room.dir.path().join("layers")),
        Vec::<String>::new()
    );
    assert_eq!(
        listing(&room.dir.path().join("store/tmp")),
        Vec::<String>::new()
    );
    assert_eq!(
        listing(&room.dir.path().join("store/blobs")),
        ["sha256 dir"]
    );
    room.canary.check();
    let status = fs::read_to_string("/proc/self/status").expect("status");
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("a peak");
    let kib: u64 = peak
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number");
    assert!(kib < 200 << 10, "resident memory reached {kib} KiB");
}
