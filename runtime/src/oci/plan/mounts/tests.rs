//! Mounts as config.json has them, and as a plan prints them.

use libc::{MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
use serde_json::{Value, json};

use super::*;

/// Plans one mount: itself, and what turns read-only later.
fn planned(config: &Value) -> Result<(MountPlan, Vec<PathBuf>), PlanError> {
    let mount: Mount = serde_json::from_value(config.clone()).unwrap();
    let (mut mounts, _, late) = plan(&[mount], &[])?;
    Ok((mounts.pop().unwrap(), late))
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
    let refused = "cannot use the configuration: an idmapped mount that is no bind \
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
    ]);
}

#[test]
fn only_a_tmpfs_stays_writable_until_mount_points_on_it_are_made() {
    const RO: u64 = MOUNT_ATTR_RDONLY;
    const NOSUID: u64 = MOUNT_ATTR_NOSUID;
    for (kind, options, at_once, later) in [
        ("tmpfs", &["nosuid", "ro"][..], NOSUID, true),
        ("tmpfs", &["nosuid"], NOSUID, false),
        ("tmpfs", &["ro", "rw"], 0, false),
        ("sysfs", &["nosuid", "ro"], NOSUID | RO, false),
        ("sysfs", &["nosuid"], NOSUID, false),
        ("cgroup", &["nosuid", "ro"], NOSUID | RO, false),
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
