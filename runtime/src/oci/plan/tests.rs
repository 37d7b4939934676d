//! Plans as they print: the order is what these tests hold on to.

use std::path::PathBuf;

use super::*;
use crate::oci::defaults;
use crate::oci::spec::{Hook, Hooks, Mount, Namespace};

fn around() -> Surroundings {
    Surroundings {
        cgroups: vec![CgroupMount {
            source: "/sys/fs/cgroup/x".into(),
            name: String::new(),
            aliases: Vec::new(),
        }],
        can_mknod: true,
    }
}

fn printed(spec: &Spec) -> String {
    plan(spec, &around()).unwrap().to_string()
}

/// The lines of a plan, each cut to its first words.
fn steps(spec: &Spec) -> Vec<String> {
    printed(spec).lines().map(str::to_owned).collect()
}

fn at(steps: &[String], start: &str) -> usize {
    let found = steps.iter().position(|step| step.starts_with(start));
    found.unwrap_or_else(|| panic!("no {start:?} in {steps:#?}"))
}

#[test]
fn the_default_plan_is_this_list() {
    let mut spec = defaults::spec();
    spec.linux.as_mut().unwrap().masked_paths.truncate(1);
    spec.linux.as_mut().unwrap().readonly_paths.truncate(1);
    assert_eq!(
        printed(&spec),
        "clone with flags 0x6c020000
hide from other processes
join the cgroups
hear from the runtime
start a session
make a session keyring
make a cgroup namespace
bring the loopback interface up
make all mounts Private
attach the root filesystem
mount proc at /proc attr=0xe
mount tmpfs at /dev attr=0x22 mode=755 size=65536k
mount devpts at /dev/pts attr=0xa newinstance ptmxmode=0666 mode=0620 gid=5
mount tmpfs at /dev/shm attr=0xe mode=1777 size=65536k
mount mqueue at /dev/mqueue attr=0xe
mount sysfs at /sys attr=0xf
show 1 cgroups at /sys/fs/cgroup attr=0xf
make devices /dev/core->/proc/kcore /dev/fd->/proc/self/fd /dev/full(1:7 666) \
/dev/null(1:3 666) /dev/ptmx->pts/ptmx /dev/random(1:8 666) /dev/stderr->/proc/self/fd/2 \
/dev/stdin->/proc/self/fd/0 /dev/stdout->/proc/self/fd/1 /dev/tty(5:0 666) \
/dev/urandom(1:9 666) /dev/zero(1:5 666)
pivot the root
reopen /dev/null
protect /proc/bus
mask /proc/acpi
forbid new privileges
mark descriptors to close
become the user
find the program
wait for the start
load the system call filter
execute the program
"
    );
}

#[test]
fn without_no_new_privs_the_filter_is_loaded_while_it_can_be() {
    let mut spec = defaults::spec();
    spec.process.as_mut().unwrap().no_new_privileges = false;
    let steps = steps(&spec);
    assert!(at(&steps, "load the system call filter") < at(&steps, "become the user"));
    assert!(!steps.iter().any(|step| step.starts_with("forbid")));
}

#[test]
fn hooks_stand_at_their_points() {
    let mut spec = defaults::spec();
    let hook = || vec![Hook::default()];
    spec.hooks = Some(Hooks {
        create_runtime: hook(),
        create_container: hook(),
        start_container: hook(),
        ..Hooks::default()
    });
    let steps = steps(&spec);
    assert!(at(&steps, "make devices") < at(&steps, "run the createRuntime hooks"));
    assert!(at(&steps, "run the createRuntime") < at(&steps, "run the createContainer"));
    assert!(at(&steps, "run the createContainer") < at(&steps, "pivot the root"));
    assert!(at(&steps, "wait for the start") < at(&steps, "run the startContainer"));
    assert!(at(&steps, "run the startContainer") < at(&steps, "load the system call filter"));
}

#[test]
fn dev_is_ours_even_where_nobody_asked_for_it() {
    let mut spec = defaults::spec();
    spec.mounts
        .retain(|mount| !mount.destination.starts_with("/dev"));
    let planned = steps(&spec);
    assert!(at(&planned, "mount tmpfs at /dev") < at(&planned, "mount proc at /proc"));
    // Over a bind, nothing is made: it is the host's.
    spec.mounts.push(Mount {
        destination: "/dev".into(),
        kind: Some("bind".into()),
        source: Some("/dev".into()),
        ..Mount::default()
    });
    assert!(
        !steps(&spec)
            .iter()
            .any(|step| step.starts_with("make devices"))
    );
}

#[test]
fn read_only_comes_after_what_has_to_be_written() {
    let mut spec = defaults::spec();
    spec.root.as_mut().unwrap().readonly = true;
    spec.mounts
        .iter_mut()
        .for_each(|mount| mount.options.push("ro".into()));
    let steps = steps(&spec);
    assert!(at(&steps, "make devices") < at(&steps, "make read-only /dev"));
    assert!(at(&steps, "mask /proc") < steps.iter().position(|s| s == "make read-only /").unwrap());
}

#[test]
fn a_user_namespace_binds_devices_and_becomes_root_first() {
    let mut spec = defaults::spec();
    let linux = spec.linux.as_mut().unwrap();
    linux.namespaces.push(Namespace {
        kind: NamespaceType::User,
        path: None,
    });
    let around = Surroundings {
        can_mknod: false,
        ..around()
    };
    let text = plan(&spec, &around).unwrap().to_string();
    assert!(text.contains("/dev/null(host)"), "{text}");
    assert!(text.find("become root").unwrap() < text.find("start a session").unwrap());
}

#[test]
fn namespaces_to_join_are_joined_and_not_made() {
    let mut spec = defaults::spec();
    for namespace in &mut spec.linux.as_mut().unwrap().namespaces {
        if matches!(namespace.kind, NamespaceType::Network | NamespaceType::Pid) {
            namespace.path = Some(PathBuf::from("/proc/1/ns/x"));
        }
    }
    let planned = plan(&spec, &around()).unwrap();
    assert_eq!(planned.clone_flags & (clone::NEWNET | clone::NEWPID), 0);
    assert!(planned.steps.contains(&Step::Join(NamespaceType::Network)));
    // The parent joins it for the child.
    assert!(!planned.steps.contains(&Step::Join(NamespaceType::Pid)));
    assert!(!planned.steps.contains(&Step::LoopbackUp));
}

#[test]
fn what_can_t_be_done_is_said() {
    let refused = |change: fn(&mut Spec)| {
        let mut spec = defaults::spec();
        change(&mut spec);
        plan(&spec, &around()).unwrap_err().to_string()
    };
    assert_eq!(
        refused(|spec| spec.process = None),
        "cannot use the configuration: process is missing"
    );
    assert_eq!(
        refused(|spec| spec.linux.as_mut().unwrap().namespaces.clear()),
        "cannot use the configuration: a new mount namespace is missing"
    );
    assert_eq!(
        refused(|spec| spec.linux.as_mut().unwrap().rootfs_propagation = Some("up".into())),
        "cannot use the configuration: linux.rootfsPropagation is \"up\""
    );
    assert_eq!(
        refused(|spec| {
            spec.hostname = Some("x".into());
            let linux = spec.linux.as_mut().unwrap();
            linux
                .namespaces
                .retain(|namespace| namespace.kind != NamespaceType::Uts);
        }),
        "cannot use the configuration: hostname is \"set without a namespace of its own\""
    );
}

#[test]
fn a_word_of_propagation_is_the_kernel_s_flag_for_one_mount_or_with_an_r_for_the_tree() {
    use nix::mount::MsFlags;
    for (word, flag, recursive) in [
        ("private", MsFlags::MS_PRIVATE, false),
        ("rprivate", MsFlags::MS_PRIVATE, true),
        ("slave", MsFlags::MS_SLAVE, false),
        ("rslave", MsFlags::MS_SLAVE, true),
        ("shared", MsFlags::MS_SHARED, false),
        ("rshared", MsFlags::MS_SHARED, true),
        ("unbindable", MsFlags::MS_UNBINDABLE, false),
        ("runbindable", MsFlags::MS_UNBINDABLE, true),
    ] {
        let parsed = Propagation::parse(word).map(|(how, tree)| (how.flag(), tree));
        assert_eq!(parsed, Some((flag.bits(), recursive)), "{word}");
    }
    for word in ["", "Private", "rrprivate", "bind", "ro"] {
        assert_eq!(Propagation::parse(word), None, "{word:?}");
    }
}

#[test]
fn a_filter_is_loaded_once_as_late_as_no_new_privs_lets_it_be_and_never_unasked() {
    use Step::{BecomeUser, Execute, LoadFilter, NoNewPrivileges};
    let cases = [
        (false, false, vec![BecomeUser, Execute]),
        (false, true, vec![NoNewPrivileges, BecomeUser, Execute]),
        // seccomp(2): without no_new_privs it takes a capability that falls.
        (true, false, vec![LoadFilter, BecomeUser, Execute]),
        (
            true,
            true,
            vec![NoNewPrivileges, BecomeUser, LoadFilter, Execute],
        ),
    ];
    let is_milestone =
        |step: &Step| matches!(step, NoNewPrivileges | LoadFilter | BecomeUser | Execute);
    for (filtered, no_new_privileges, expected) in cases {
        let mut spec = defaults::spec();
        let process = spec.process.as_mut().unwrap();
        process.no_new_privileges = no_new_privileges;
        let further = exec(process, false, filtered);
        if !filtered {
            spec.linux.as_mut().unwrap().seccomp = None;
        }
        for mut steps in [plan(&spec, &around()).unwrap().steps, further.steps] {
            steps.retain(is_milestone);
            assert_eq!(steps, expected, "{filtered}, {no_new_privileges}");
        }
    }
}
