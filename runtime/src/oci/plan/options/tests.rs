//! Mount options, word by word.

use super::*;

fn parsed(words: &[&str]) -> Options {
    parse(
        &words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>(),
    )
}

#[test]
fn attributes_and_data_are_told_apart() {
    let options = parsed(&["nosuid", "ro", "mode=755", "newinstance"]);
    assert_eq!(options.set, attr::NOSUID | attr::RDONLY);
    assert_eq!(
        options.data,
        [
            ("mode".into(), Some("755".into())),
            ("newinstance".into(), None)
        ]
    );
}

#[test]
fn the_later_of_two_contradicting_options_wins() {
    assert_eq!(parsed(&["ro", "rw"]).set, 0);
    assert_eq!(parsed(&["rw", "ro"]).set, attr::RDONLY);
    assert_eq!(parsed(&["rw", "ro"]).clear, 0);
}

#[test]
fn access_time_policies_replace_each_other() {
    let options = parsed(&["noatime", "strictatime"]);
    assert_eq!(
        (options.set, options.clear),
        (attr::STRICTATIME, attr::ATIME)
    );
}

#[test]
fn an_r_in_front_means_the_tree() {
    let options = parsed(&["rbind", "rro", "rprivate"]);
    assert_eq!(options.bind, Some(true));
    assert_eq!((options.set, options.tree_set), (0, attr::RDONLY));
    assert_eq!(options.propagation, Some((Propagation::Private, true)));
}

#[test]
fn every_word_of_the_specification_s_table_has_its_effect() {
    let own = |set, clear| Options {
        set,
        clear,
        ..Options::default()
    };
    let tree = |set, clear| Options {
        tree_set: set,
        tree_clear: clear,
        ..Options::default()
    };
    let bind = |recursive| Options {
        bind: Some(recursive),
        ..Options::default()
    };
    let idmap = |recursive| Options {
        idmap: Some(recursive),
        ..Options::default()
    };
    let travels = |how, recursive| Options {
        propagation: Some((how, recursive)),
        ..Options::default()
    };
    // What vfs_parse_sb_flag() of the kernel knows (fs/fs_context.c).
    let superblock = |word: &str| Options {
        data: vec![(word.to_owned(), None)],
        ..Options::default()
    };
    let table = [
        ("async", superblock("async")),
        ("atime", own(0, attr::ATIME)),
        ("bind", bind(false)),
        ("defaults", Options::default()),
        ("dev", own(0, attr::NODEV)),
        ("diratime", own(0, attr::NODIRATIME)),
        ("dirsync", superblock("dirsync")),
        ("exec", own(0, attr::NOEXEC)),
        ("iversion", Options::default()),
        ("lazytime", superblock("lazytime")),
        ("loud", Options::default()),
        ("mand", superblock("mand")),
        ("noatime", own(attr::NOATIME, attr::ATIME)),
        ("nodev", own(attr::NODEV, 0)),
        ("nodiratime", own(attr::NODIRATIME, 0)),
        ("noexec", own(attr::NOEXEC, 0)),
        ("noiversion", Options::default()),
        ("nolazytime", superblock("nolazytime")),
        ("nomand", superblock("nomand")),
        ("norelatime", own(0, attr::ATIME)),
        ("nostrictatime", own(0, attr::ATIME)),
        ("nosuid", own(attr::NOSUID, 0)),
        ("nosymfollow", own(attr::NOSYMFOLLOW, 0)),
        ("private", travels(Propagation::Private, false)),
        ("ratime", tree(0, attr::ATIME)),
        ("rbind", bind(true)),
        ("rdev", tree(0, attr::NODEV)),
        ("rdiratime", tree(0, attr::NODIRATIME)),
        ("relatime", own(0, attr::ATIME)),
        (
            "remount",
            Options {
                remount: true,
                ..Options::default()
            },
        ),
        ("rexec", tree(0, attr::NOEXEC)),
        ("rnoatime", tree(attr::NOATIME, attr::ATIME)),
        ("rnodev", tree(attr::NODEV, 0)),
        ("rnodiratime", tree(attr::NODIRATIME, 0)),
        ("rnoexec", tree(attr::NOEXEC, 0)),
        ("rnorelatime", tree(0, attr::ATIME)),
        ("rnostrictatime", tree(0, attr::ATIME)),
        ("rnosuid", tree(attr::NOSUID, 0)),
        ("rnosymfollow", tree(attr::NOSYMFOLLOW, 0)),
        ("ro", own(attr::RDONLY, 0)),
        ("rprivate", travels(Propagation::Private, true)),
        ("rrelatime", tree(0, attr::ATIME)),
        ("rro", tree(attr::RDONLY, 0)),
        ("rrw", tree(0, attr::RDONLY)),
        ("rshared", travels(Propagation::Shared, true)),
        ("rslave", travels(Propagation::Slave, true)),
        ("rstrictatime", tree(attr::STRICTATIME, attr::ATIME)),
        ("rsuid", tree(0, attr::NOSUID)),
        ("rsymfollow", tree(0, attr::NOSYMFOLLOW)),
        ("runbindable", travels(Propagation::Unbindable, true)),
        ("rw", own(0, attr::RDONLY)),
        ("shared", travels(Propagation::Shared, false)),
        ("silent", Options::default()),
        ("slave", travels(Propagation::Slave, false)),
        ("strictatime", own(attr::STRICTATIME, attr::ATIME)),
        ("suid", own(0, attr::NOSUID)),
        ("symfollow", own(0, attr::NOSYMFOLLOW)),
        ("sync", superblock("sync")),
        (
            "tmpcopyup",
            Options {
                copy_up: true,
                ..Options::default()
            },
        ),
        ("unbindable", travels(Propagation::Unbindable, false)),
        ("idmap", idmap(false)),
        ("ridmap", idmap(true)),
    ];
    for (word, effect) in &table {
        assert_eq!(parsed(&[word]), *effect, "{word}");
    }
    let mut words = table.map(|(word, _)| word);
    words.sort_unstable();
    assert_eq!(words.as_slice(), WORDS);
}

#[test]
fn what_is_in_no_table_is_the_filesystem_s_own() {
    for word in ["norelaxed", "rdefaults", "rsilent", "rremount", "Silent"] {
        assert_eq!(parsed(&[word]).data, [(word.to_owned(), None)]);
    }
    assert_eq!(parsed(&[""]), Options::default());
}

#[test]
fn of_the_two_words_for_mapped_ids_the_later_wins() {
    assert_eq!(parsed(&["idmap", "ridmap"]).idmap, Some(true));
    assert_eq!(parsed(&["ridmap", "idmap"]).idmap, Some(false));
}

#[test]
fn words_set_and_clear_the_kernel_s_attributes_and_with_an_r_those_of_the_tree() {
    use libc::{
        MOUNT_ATTR__ATIME as ATIME, MOUNT_ATTR_NOATIME as NOATIME, MOUNT_ATTR_NODEV as NODEV,
        MOUNT_ATTR_NODIRATIME as NODIRATIME, MOUNT_ATTR_NOEXEC as NOEXEC,
        MOUNT_ATTR_NOSUID as NOSUID, MOUNT_ATTR_NOSYMFOLLOW as NOSYMFOLLOW,
        MOUNT_ATTR_RDONLY as RDONLY, MOUNT_ATTR_RELATIME as RELATIME,
        MOUNT_ATTR_STRICTATIME as STRICTATIME,
    };
    for (words, set, clear) in [
        // config.md, *Linux mount options*; mount_setattr(2).
        (&["ro"][..], RDONLY, 0),
        (&["rw"], 0, RDONLY),
        (&["nosuid"], NOSUID, 0),
        (&["suid"], 0, NOSUID),
        (&["nodev"], NODEV, 0),
        (&["dev"], 0, NODEV),
        (&["noexec"], NOEXEC, 0),
        (&["exec"], 0, NOEXEC),
        (&["nodiratime"], NODIRATIME, 0),
        (&["diratime"], 0, NODIRATIME),
        (&["nosymfollow"], NOSYMFOLLOW, 0),
        (&["symfollow"], 0, NOSYMFOLLOW),
        // One of three policies: the kernel takes a new one only with the
        // whole field cleared. Without either of the others it is relatime.
        (&["noatime"], NOATIME, ATIME),
        (&["strictatime"], STRICTATIME, ATIME),
        (&["relatime"], RELATIME, ATIME),
        (&["atime"], RELATIME, ATIME),
        (&["nostrictatime"], RELATIME, ATIME),
        (&["norelatime"], RELATIME, ATIME),
        // More than one word.
        (&["ro", "nosuid"], RDONLY | NOSUID, 0),
        (&["rw", "suid"], 0, RDONLY | NOSUID),
        (&["ro", "suid"], RDONLY, NOSUID),
        (&["suid", "ro"], RDONLY, NOSUID),
        (&["ro", "rw"], 0, RDONLY),
        (&["rw", "ro"], RDONLY, 0),
        (&["noatime", "relatime"], RELATIME, ATIME),
        (&["noatime", "strictatime"], STRICTATIME, ATIME),
        (&["nodev", "noatime"], NODEV | NOATIME, ATIME),
        // Said twice is said.
        (&["ro", "ro"], RDONLY, 0),
        (&["rw", "rw"], 0, RDONLY),
    ] {
        let own = parsed(words);
        assert_eq!((own.set, own.clear), (set, clear), "{words:?}");
        assert_eq!((own.tree_set, own.tree_clear), (0, 0), "{words:?}");
        let tree: Vec<String> = words.iter().map(|word| format!("r{word}")).collect();
        let whole = parse(&tree);
        assert_eq!((whole.tree_set, whole.tree_clear), (set, clear), "{tree:?}");
        assert_eq!((whole.set, whole.clear), (0, 0), "{tree:?}");
    }
}
