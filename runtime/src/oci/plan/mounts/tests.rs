//! Mounts as config.json has them, and as a plan prints them.

use libc::{MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
use serde_json::{Value, json};

use super::*;

/// Plans one mount: itself, and what turns read-only later.
fn planned(config: &Value) -> Result<(MountPlan, Vec<PathBuf>), PlanError> {
    let (mut mounts, _, late) = planned_all(&json!([config]), None)?;
    Ok((mounts.pop().unwrap(), late))
}

/// Plans mounts, in a new user namespace of these mappings if there are any.
fn planned_all(config: &Value, userns: Option<&Linux>) -> Result<Planned, PlanError> {
    let mounts: Vec<Mount> = serde_json::from_value(config.clone()).unwrap();
    plan(&mounts, &[], userns)
}

/// One mount in words, or why it is refused.
fn printed(config: &Value) -> String {
    match planned(config) {
        Ok((mount, _)) => format!("{mount:#}"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn prints<const N: usize>(cases: [(Value, &str); N]) {
    for (config, expected) in cases {
        assert_eq!(printed(&config), expected, "{config}");
    }
}

#[test]
fn a_mount_is_a_bind_where_the_options_say_so_whatever_its_type() {
    // The first two are the example of config.md, *POSIX-platform Mounts*.
    prints([
        (
            json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]}),
            "mount tmpfs at /tmp attr=0x22 mode=755 size=65536k",
        ),
        (
            json!({"destination": "/data", "type": "none", "source": "/volumes/testing",
            "options": ["rbind", "rw"]}),
            "bind the tree /volumes/testing at /data",
        ),
        (
            json!({"destination": "/data", "source": "/v", "options": ["bind"]}),
            "bind /v at /data",
        ),
        (
            json!({"destination": "/data", "type": "ext4", "source": "/v", "options": ["bind"]}),
            "bind /v at /data",
        ),
        (
            json!({"destination": "/data", "type": "bind", "source": "/v", "options": ["bind"]}),
            "bind /v at /data",
        ),
        (
            json!({"destination": "/data", "options": ["bind"]}),
            "cannot use the configuration: the source of a bind mount is missing",
        ),
    ]);
}

#[test]
fn what_is_covered_is_copied_up_to_a_tmpfs_only() {
    prints([
        (
            json!({"destination": "/run", "type": "tmpfs", "options": ["tmpcopyup"]}),
            "mount tmpfs at /run with what it covers",
        ),
        (
            json!({"destination": "/run", "type": "tmpfs"}),
            "mount tmpfs at /run",
        ),
        (
            json!({"destination": "/run", "type": "ramfs", "options": ["tmpcopyup"]}),
            "cannot use the configuration: the mount option tmpcopyup on ramfs is not supported",
        ),
        (
            json!({"destination": "/run", "source": "/v", "options": ["bind", "tmpcopyup"]}),
            "cannot use the configuration: the mount option tmpcopyup on none is not supported",
        ),
    ]);
}

#[test]
fn ids_are_mapped_on_a_bind_and_refused_elsewhere_even_if_only_one_kind_is_given() {
    let ids = json!([{"containerID": 0, "hostID": 1000, "size": 32000}]);
    let refused = "cannot use the configuration: mounts[0] as an idmapped mount that is no bind \
        is not supported";
    prints([
        (
            json!({"destination": "/d", "source": "/v", "options": ["bind"],
            "uidMappings": ids, "gidMappings": ids}),
            "bind /v idmapped at /d",
        ),
        (
            json!({"destination": "/d", "type": "tmpfs", "uidMappings": ids, "gidMappings": ids}),
            refused,
        ),
        (
            json!({"destination": "/d", "type": "tmpfs", "uidMappings": ids}),
            refused,
        ),
        (
            json!({"destination": "/d", "type": "tmpfs", "gidMappings": ids}),
            refused,
        ),
        (
            json!({"destination": "/d", "type": "tmpfs", "options": ["idmap"]}),
            refused,
        ),
        (
            json!({"destination": "/d", "type": "tmpfs", "options": ["ridmap"]}),
            refused,
        ),
    ]);
}

#[test]
fn mapped_ids_are_those_of_users_and_of_groups_or_an_error() {
    let ids = json!([{"containerID": 0, "hostID": 1000, "size": 32000}]);
    let bind = |more: Value| {
        let mut config = json!({"destination": "/d", "source": "/v", "options": ["rbind"]});
        for (name, value) in more.as_object().unwrap() {
            config[name] = value.clone();
        }
        config
    };
    prints([
        (
            bind(json!({"uidMappings": ids})),
            "cannot use the configuration: mounts[0] has uidMappings without gidMappings, give both",
        ),
        (
            bind(json!({"gidMappings": ids, "options": ["rbind", "idmap"]})),
            "cannot use the configuration: mounts[0] has gidMappings without uidMappings, give both",
        ),
        (
            bind(json!({"options": ["rbind", "idmap=uids=0-1-10;gids=0-1-10"]})),
            "cannot use the configuration: \"idmap\" with a value in mounts[0].options, instead of \
             uidMappings and gidMappings, is not supported",
        ),
    ]);
}

#[test]
fn the_words_for_mapped_ids_say_how_far_down_and_without_them_it_is_the_mount_alone() {
    let ids = json!([{"containerID": 0, "hostID": 1000, "size": 32000}]);
    for (options, expected) in [
        (&["rbind"][..], "bind the tree /v idmapped at /d"),
        (&["rbind", "idmap"], "bind the tree /v idmapped at /d"),
        (
            &["rbind", "ridmap"],
            "bind the tree /v idmapped as a tree at /d",
        ),
        (&["bind", "idmap"], "bind /v idmapped at /d"),
    ] {
        let config = json!({"destination": "/d", "source": "/v", "options": options,
            "uidMappings": ids, "gidMappings": ids});
        assert_eq!(printed(&config), expected, "{config}");
    }
}

#[test]
fn without_mappings_of_its_own_an_idmapped_mount_has_those_of_the_user_namespace() {
    let linux = |users: u32, groups: u32| {
        let map = |host: u32| match host {
            0 => json!([]),
            host => json!([{"containerID": 0, "hostID": host, "size": 10}]),
        };
        let config = json!({"uidMappings": map(users), "gidMappings": map(groups)});
        serde_json::from_value::<Linux>(config).unwrap()
    };
    let config = |word: &str, own: u32| {
        let mut mount = json!({"destination": "/d", "source": "/v", "options": ["rbind", word]});
        if own != 0 {
            let map = json!([{"containerID": 0, "hostID": own, "size": 10}]);
            mount["uidMappings"] = map.clone();
            mount["gidMappings"] = map;
        }
        json!([{"destination": "/e", "source": "/v", "options": ["bind"]}, mount])
    };
    let hosts = |word, own, userns: Option<&Linux>| {
        let (mounts, ..) = planned_all(&config(word, own), userns)?;
        let Some(MountWhat::Bind { ids, .. }) = mounts.last().map(|mount| &mount.what) else {
            panic!("{mounts:?}");
        };
        Ok(ids
            .as_ref()
            .map(|ids| (ids.users[0].host_id, ids.groups[0].host_id, ids.recursive)))
    };
    let both = linux(500, 600);
    assert_eq!(hosts("idmap", 0, Some(&both)), Ok(Some((500, 600, false))));
    assert_eq!(hosts("ridmap", 0, Some(&both)), Ok(Some((500, 600, true))));
    assert_eq!(
        hosts("idmap", 700, Some(&both)),
        Ok(Some((700, 700, false)))
    );
    // Nobody is mapped who didn't ask for it.
    assert_eq!(hosts("rw", 0, Some(&both)), Ok(None));
    for userns in [None, Some(&linux(500, 0)), Some(&linux(0, 600))] {
        for word in ["idmap", "ridmap"] {
            let refused: PlanError = hosts(word, 0, userns).unwrap_err();
            assert_eq!(
                refused.to_string(),
                format!(
                    "cannot use the configuration: mounts[1].options has {word:?} and no user \
                     namespace maps ids, give it uidMappings and gidMappings"
                )
            );
        }
    }
}

#[test]
fn nothing_lies_below_a_new_filesystem_so_what_holds_for_its_tree_holds_for_it() {
    prints([
        (
            json!({"destination": "/d", "type": "tmpfs", "options": ["rnosuid", "rnoexec"]}),
            "mount tmpfs at /d attr=0xa",
        ),
        // As on a bind, the tree's word comes after the mount's.
        (
            json!({"destination": "/d", "type": "tmpfs", "options": ["rsuid", "nosuid", "nodev"]}),
            "mount tmpfs at /d attr=0x4",
        ),
        (
            json!({"destination": "/d", "type": "tmpfs", "options": ["strictatime", "rnoatime"]}),
            "mount tmpfs at /d attr=0x10",
        ),
        (
            json!({"destination": "/d", "type": "cgroup", "options": ["rro"]}),
            "show 0 cgroups at /d attr=0x1",
        ),
    ]);
}

#[test]
fn a_remount_changes_what_is_there_and_nothing_of_the_host_s() {
    prints([
        (
            json!({"destination": "/d", "options": ["remount", "ro"]}),
            "change the mount at /d attr=0x1",
        ),
        (
            json!({"destination": "/d", "type": "bind", "source": "/v",
            "options": ["rbind", "remount", "rnosuid", "rslave"]}),
            "change the mount at /d tree=0x2 Slave",
        ),
        // It covers nothing.
        (
            json!({"destination": "/proc", "options": ["remount", "noexec"]}),
            "change the mount at /proc attr=0x8",
        ),
        (
            json!({"destination": "/d", "type": "tmpfs", "options": ["remount", "size=1m"]}),
            "cannot use the configuration: \"size\" beside \"remount\" in mounts[0].options is not \
             supported",
        ),
        (
            json!({"destination": "/d", "type": "tmpfs", "options": ["remount", "sync"]}),
            "cannot use the configuration: \"sync\" beside \"remount\" in mounts[0].options is not \
             supported",
        ),
        (
            json!({"destination": "/d", "type": "tmpfs", "options": ["remount", "tmpcopyup"]}),
            "cannot use the configuration: the mount option tmpcopyup on a remount is not supported",
        ),
        (
            json!({"destination": "/d", "source": "/v", "options": ["bind", "remount", "idmap"]}),
            "cannot use the configuration: mounts[0] as an idmapped mount that is no bind is not \
             supported",
        ),
    ]);
}

#[test]
fn a_remount_of_dev_leaves_it_ours_and_read_only_waits_for_its_nodes() {
    let dev = json!({"destination": "/dev", "type": "tmpfs", "options": ["ro"]});
    let again = |word| json!({"destination": "/dev", "options": ["remount", word]});
    let late_of = |mounts: Value| {
        let (_, own_dev, late) = planned_all(&mounts, None).unwrap();
        assert!(own_dev, "{mounts}");
        late
    };
    assert_eq!(late_of(json!([again("ro")])), [Path::new("/dev")]);
    assert_eq!(late_of(json!([dev, again("nosuid")])), [Path::new("/dev")]);
    // The last word counts.
    assert_eq!(late_of(json!([dev, again("rw")])), Vec::<PathBuf>::new());
    let bind = json!({"destination": "/dev", "source": "/dev", "options": ["rbind"]});
    let (_, own_dev, _) = planned_all(&json!([bind, again("rw")]), None).unwrap();
    assert!(!own_dev);
}

#[test]
fn only_a_tmpfs_stays_writable_until_mount_points_on_it_are_made() {
    const RO: u64 = MOUNT_ATTR_RDONLY;
    const NOSUID: u64 = MOUNT_ATTR_NOSUID;
    for (kind, options, at_once, later) in [
        ("tmpfs", &["nosuid", "ro"][..], NOSUID, true),
        ("tmpfs", &["nosuid"], NOSUID, false),
        ("tmpfs", &["ro", "rw"], 0, false),
        ("tmpfs", &["nosuid", "rro"], NOSUID, true),
        ("tmpfs", &["ro", "rrw"], 0, false),
        ("sysfs", &["nosuid", "ro"], NOSUID | RO, false),
        ("sysfs", &["nosuid"], NOSUID, false),
        ("sysfs", &["nosuid", "rro"], NOSUID | RO, false),
        ("cgroup", &["nosuid", "ro"], NOSUID | RO, false),
        ("cgroup", &["nosuid", "rro"], NOSUID | RO, false),
        // The type of a bind is a dummy.
        ("tmpfs", &["bind", "ro"], RO, false),
        ("none", &["bind", "ro"], RO, false),
        ("none", &["bind"], 0, false),
    ] {
        let config = json!({"destination": "/x", "type": kind, "source": "/v", "options": options});
        let (mount, late) = planned(&config).unwrap();
        assert_eq!(mount.options.set, at_once, "{config}");
        assert_eq!(mount.read_only_later, later, "{config}");
        assert_eq!(late == [Path::new("/x")], later, "{config}");
    }
}

#[test]
fn nothing_but_proc_itself_and_binds_of_its_informing_files_covers_the_kernel_s_words() {
    for (destination, kind, options, covers) in [
        ("/proc", "proc", &[][..], true),
        ("proc", "proc", &[], true),
        ("/proc", "tmpfs", &[], false),
        ("/proc", "bind", &["rbind"], false),
        // The type of a bind is a dummy: the source may be any directory.
        ("/proc", "proc", &["bind"], false),
        // What lxcfs tells a container about itself.
        ("/proc/cpuinfo", "none", &["bind"], true),
        ("/proc/diskstats", "none", &["bind"], true),
        ("/proc/loadavg", "none", &["bind"], true),
        ("/proc/meminfo", "none", &["bind"], true),
        ("/proc/slabinfo", "none", &["bind"], true),
        ("/proc/stat", "none", &["bind"], true),
        ("/proc/swaps", "none", &["bind"], true),
        ("/proc/uptime", "none", &["bind"], true),
        // Security labels are written there (CVE-2019-16884).
        ("/proc/self/attr/exec", "none", &["bind"], false),
        ("/proc/sys", "none", &["bind"], false),
        ("/proc/sys/kernel/core_pattern", "none", &["bind"], false),
        ("/proc/sys/kernel", "tmpfs", &[], false),
        ("/proc/cpuinfo/x", "none", &["bind"], false),
        // The same by other words.
        ("proc/sys", "none", &["bind"], false),
        ("/x/../proc/./sys", "none", &["bind"], false),
        // Alike, and elsewhere.
        ("/procs", "tmpfs", &[], true),
        ("/x/proc/sys", "tmpfs", &[], true),
    ] {
        let config = json!({
            "destination": destination, "type": kind, "source": "/v", "options": options,
        });
        let refused = match planned(&config) {
            Err(PlanError::OverKernelTree(_)) => true,
            Err(error) => panic!("{config}: {error}"),
            Ok(_) => false,
        };
        assert_eq!(refused, !covers, "{config}");
    }
}

#[test]
fn what_holds_for_the_tree_and_how_events_travel_is_printed_where_it_was_asked_for() {
    prints([
        (
            json!({"destination": "/d", "source": "/v", "options": ["rbind", "rro"]}),
            "bind the tree /v at /d tree=0x1",
        ),
        (
            json!({"destination": "/d", "source": "/v", "options": ["rbind", "rslave"]}),
            "bind the tree /v at /d Slave",
        ),
    ]);
}
