//! Services against the files of the image.

use std::sync::atomic::AtomicBool;

use crate::world::{World, edit};

pub(crate) const ALL: &[(&str, fn())] = &[
    (
        "every_service_that_cant_start_is_found_at_once_and_nothing_is_tagged",
        findings,
    ),
    ("check_finds_the_same_without_building", checked),
];

const SERVICES: &str = "\
    [service.absent]\n\
    command = \"ngnix -g x\"\n\
    [service.data]\n\
    command = \"/etc/passwd\"\n\
    [service.script]\n\
    command = \"/bin/script\"\n\
    [service.dynamic]\n\
    command = \"/bin/ls\"\n\
    [service.user]\n\
    command = \"/bin/sh\"\n\
    user = \"wbe\"\n\
    [service.volume]\n\
    command = \"/bin/sh\"\n\
    volumes = [\"/etc/group\"]\n\
    [service.probe]\n\
    command = \"/bin/sh\"\n\
    health = { exec = \"redis-cli ping\" }\n\
    [service.brought]\n\
    command = \"/data/plugin\"\n\
    volumes = [\"/data\"]\n\
    [service.good]\n\
    command = \"sh -c 'exec sleep 1'\"\n\
    user = \"shop\"\n\
    group = \"shop\"\n";

fn project(world: &World) -> std::path::PathBuf {
    let dir = world.busybox("shop", "");
    edit(&dir, crate::world::SERVICE, SERVICES);
    crate::world::write(&dir.join("root/bin/script"), b"#!/usr/bin/python3 -u\n");
    std::fs::copy("/bin/ls", dir.join("root/bin/ls")).unwrap();
    dir
}

fn findings() {
    let world = World::new();
    let error = world.build(&project(&world)).error().to_string();
    let lines: Vec<&str> = error
        .lines()
        .filter_map(|line| line.split_once("holdall.toml:").map(|(_, rest)| rest))
        .collect();
    let loader = if cfg!(target_arch = "aarch64") {
        "/lib/ld-linux-aarch64.so.1"
    } else {
        "/lib64/ld-linux-x86-64.so.2"
    };
    assert_eq!(
        lines,
        [
            "7:11: the image has no program \"ngnix\" (in /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)",
            "9:11: /etc/passwd is not executable",
            "11:11: /bin/script can't be run: its first line names /usr/bin/python3, which the image doesn't have",
            &format!(
                "13:11: /bin/ls can't be run: it needs {loader}, which the image doesn't have"
            ),
            "16:8: cannot find user \"wbe\": /etc/passwd has no such name",
            "19:11: /etc/group can't be a volume: it is a file in the image",
            "22:10: the image has no program \"redis-cli\" (in /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)",
        ],
        "{error}"
    );
    world.assert_nothing_left();
}

fn checked() {
    let world = World::new();
    let dir = world.busybox("shop", "");
    let stop = AtomicBool::new(false);
    let check = || holdall_builder::check(&world.request(&dir, &stop)).unwrap();
    assert_eq!(
        check().len(),
        0,
        "nothing is built yet, so nothing can be wrong with its files"
    );
    let _built = world.build(&dir).built();
    assert_eq!(check().len(), 0);
    edit(&dir, "/bin/busybox sleep", "/bin/bosybux sleep");
    let found = check();
    assert_eq!(found.len(), 1);
    assert!(
        found[0]
            .to_string()
            .contains("the image has no /bin/bosybux"),
        "{}",
        found[0]
    );
}
