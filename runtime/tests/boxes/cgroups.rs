//! The cgroups that init is handed to divide among the services. The host of
//! the tests has version 1 beside an empty version 2; tests/vm runs these where
//! version 2 has the controllers.

use std::fs;
use std::path::{Path, PathBuf};

use holdall_image::document::RunConfig;
use holdall_runtime::boxes::{BoxId, BoxState, CreateOptions};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::exec::{exec, run, text};
use crate::init::{ready, with_services};
use crate::tests;
use crate::world::{World, cgroups, eventually};

tests![
    limits_of_services_are_held_and_an_exec_still_enters,
    what_has_left_its_service_is_in_its_cgroup_and_ends_with_it,
    a_service_has_neither_the_cgroups_nor_their_variables,
    nothing_above_the_services_can_be_reached_from_a_box,
    nothing_is_left_of_a_box_whose_init_was_killed,
    a_box_gets_only_the_controllers_that_its_image_needs,
];

/// `app` starts more than it may, and goes on with as many as it was let.
/// `eater` keeps what it reads.
const LIMITED: &str = r#"
    [service.app]
    command = "sh -c '(n=0; while [ $n -lt 30 ]; do sleep 1000 & n=$((n+1)); done); exec sleep 1000'"
    limits = { pids = 12, memory = "32M", cpu = 0.5 }
    restart = "never"
    stop = { timeout = "100ms" }

    [service.eater]
    command = "sh -c 'exec busybox tail -c 200000000 /dev/zero'"
    limits = { memory = "8M" }
    restart = "never"
    essential = false
"#;

fn services(world: &World, manifest: &str) -> CreateOptions {
    with_services(world, manifest, RunConfig::default(), &[])
}

/// The box's own cgroup in the hierarchy that has a controller; in that of
/// version 2 for none.
pub(crate) fn of_box(id: &BoxId, controller: Option<&str>) -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let point = |wanted: &dyn Fn(&str, &str) -> bool| {
        let line = mounts.lines().find(|line| {
            let (_, tail) = line.split_once(" - ").expect("well-formed");
            let mut tail = tail.split(' ');
            let (kind, options) = (tail.next(), tail.nth(1));
            wanted(kind.unwrap_or_default(), options.unwrap_or_default())
        })?;
        Some(PathBuf::from(line.split(' ').nth(4)?))
    };
    let legacy = controller.and_then(|controller| {
        point(&|kind, options| kind == "cgroup" && options.split(',').any(|o| o == controller))
    });
    let point = legacy.or_else(|| point(&|kind, _| kind == "cgroup2"));
    let point = point.expect("a hierarchy");
    point.join("holdall").join(id.as_str())
}

/// Signals the box's first process.
fn signal(world: &World, id: &BoxId, signal: Signal) {
    let BoxState::Running { pid, .. } = world.state(id) else {
        panic!("it runs")
    };
    let init = Pid::from_raw(i32::try_from(pid).expect("a pid"));
    nix::sys::signal::kill(init, signal).expect("sent");
}

/// What is in the first of these files that is there.
fn value(group: &Path, files: &[&str]) -> String {
    let read = |file: &&str| fs::read_to_string(group.join(file)).ok();
    let found = files.iter().find_map(read);
    let found = found.unwrap_or_else(|| panic!("none of {files:?} in {}", group.display()));
    found.trim().to_owned()
}

fn limits_of_services_are_held_and_an_exec_still_enters() {
    let world = World::new();
    let options = CreateOptions {
        read_only: true,
        ..services(&world, LIMITED)
    };
    let record = world.create(options);
    let id = &record.id;
    drop(world.start(id));
    let group = |controller| of_box(id, Some(controller)).join("services/service.app");
    eventually("the kernel to have refused a process", || {
        let events = fs::read_to_string(group("pids").join("pids.events"));
        let refused = |events: String| events.contains("max ") && !events.contains("max 0");
        events.is_ok_and(refused)
    });
    assert_eq!(value(&group("pids"), &["pids.max"]), "12");
    assert_eq!(
        value(&group("memory"), &["memory.max", "memory.limit_in_bytes"]),
        (32 << 20).to_string()
    );
    let share = value(&group("cpu"), &["cpu.max", "cpu.cfs_quota_us"]);
    assert!(share == "50000 100000" || share == "50000", "{share}");
    let said = "out of memory: the kernel has killed what was above `limits.memory`";
    eventually("what the kernel did to be said", || {
        world.lines(id).iter().any(|line| line.ends_with(said))
    });
    let lines = world.lines(id);
    assert!(
        !lines.iter().any(|line| line.contains("is not held")),
        "{lines:#?}"
    );

    // Through init, and, where that hangs, by joining what is there.
    let script = ["cat", "/proc/self/cgroup"];
    let output = run(&mut exec(&world, id, "", &script), "");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    signal(&world, id, Signal::SIGSTOP);
    let entered = run(&mut exec(&world, id, "", &script), "");
    signal(&world, id, Signal::SIGCONT);
    assert_eq!(entered.status.code(), Some(0), "{}", text(&entered.stderr));
    assert_eq!(text(&entered.stdout), text(&output.stdout));

    let mut client = world.boxes.control(id).expect("reached");
    client
        .stop(&["app".parse().expect("a name")])
        .expect("stopped");
    assert_eq!(value(&group("pids"), &["cgroup.procs"]), "");
    // And all of it again: the groups are new ones.
    world.boxes.stop(id, None).expect("stopped");
    assert!(cgroups(id.as_str()).is_empty());
    drop(world.start(id));
    eventually("the limit in its next life", || {
        let limit = group("pids").join("pids.max");
        fs::read_to_string(limit).is_ok_and(|limit| limit.trim() == "12")
    });
}

fn what_has_left_its_service_is_in_its_cgroup_and_ends_with_it() {
    let world = World::new();
    let manifest = r#"
        [service.app]
        command = ["sh", "-c", "(busybox setsid sh -c 'sleep 1001 & sleep 1002 &' &); echo began; exec sleep 1000"]
    "#;
    let record = world.create(services(&world, manifest));
    drop(world.start(&record.id));
    world.wait_for_line(&record.id, "began");
    let group = of_box(&record.id, None).join("services/service.app");
    // The main process, and both that are of another session and another parent.
    eventually("three processes in the group", || {
        value(&group, &["cgroup.procs"]).lines().count() == 3
    });
    let there: Vec<String> = value(&group, &["cgroup.procs"])
        .lines()
        .map(str::to_owned)
        .collect();
    let mut init = world.boxes.control(&record.id).expect("reached");
    init.stop(&["app".parse().expect("a name")])
        .expect("stopped");
    assert_eq!(value(&group, &["cgroup.procs"]), "");
    for pid in there {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(!line.starts_with(b"sleep"), "{pid} lives");
    }
}

fn a_service_has_neither_the_cgroups_nor_their_variables() {
    let world = World::new();
    // A cgroup is a directory, which nothing else that is open is.
    let look = "n=0; for f in /proc/$$/fd/*; do [ -d $f ] && n=$((n+1)); done; echo $n; \
                env | grep -c -e LISTEN_ -e cgroup; echo looked";
    let manifest = format!(
        "[service.app]\ncommand = \"sh -c '{look}; exec sleep 1000'\"\nlimits = {{ pids = 30 }}\n"
    );
    let front = format!("{look}; sleep 1000");
    let config = RunConfig::default();
    let record = world.create(with_services(
        &world,
        &manifest,
        config,
        &["sh", "-c", &front],
    ));
    drop(world.start(&record.id));
    eventually("both to have looked", || {
        let lines = world.lines(&record.id);
        lines.iter().filter(|line| *line == "looked").count() == 2
    });
    let lines = world.lines(&record.id);
    let counts: Vec<&String> = lines
        .iter()
        .filter(|line| line.parse::<u32>().is_ok())
        .collect();
    assert_eq!(counts, ["0"; 4], "{lines:#?}");
    let output = run(&mut exec(&world, &record.id, "", &["sh", "-c", look]), "");
    assert_eq!(text(&output.stdout), "0\n0\nlooked\n");
}

/// What a service as root can do: it may look into init, and finds the cgroups
/// there.
const HOSTILE: &str = r#"
for tree in /proc/1/fd/*; do
    [ -e $tree/cgroup.procs ] || continue
    mkdir $tree/own || echo cannot make one
    [ $tree -ef $tree/.. ] || echo there is something above
    ls $tree/.. | grep -q -e docker -e holdall -e slice && echo the host is seen
    ls $tree/../.. | grep -q holdall && echo the host is seen
    for file in release_agent ../release_agent; do
        ( echo /bin/sh > $tree/$file ) 2> /dev/null && echo an agent is set
    done
    for file in pids.max ../pids.max ../../pids.max own/pids.max; do
        ( echo max > $tree/$file ) 2> /dev/null
    done
    echo $$ > $tree/own/cgroup.procs || echo cannot join
    # Deeper than a path can be, where nothing bounds it.
    cd $tree
    for deep in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25; do
        mkdir $LONG 2> /dev/null && cd -P $LONG || break
    done
    cd /
done
n=0
while [ $n -lt 100 ]; do sleep 1000 & n=$((n+1)); done
"#;

fn nothing_above_the_services_can_be_reached_from_a_box() {
    let world = World::new();
    let manifest = "[service.idle]\ncommand = \"sleep 1000\"\n";
    let record = world.create(services(&world, manifest));
    drop(world.start(&record.id));
    ready(&world, &record.id);
    // As the host would do it.
    let own = of_box(&record.id, Some("pids"));
    fs::write(own.join("pids.max"), "40").expect("limited");
    let output = run(
        &mut exec(&world, &record.id, "", &["sh", "-c", HOSTILE]),
        "",
    );
    assert_eq!(text(&output.stdout), "", "{}", text(&output.stderr));
    assert_eq!(value(&own, &["pids.max"]), "40");
    let events = value(&own, &["pids.events"]);
    let current = value(&own, &["pids.current"])
        .parse::<u32>()
        .expect("a number");
    assert!((30..=40).contains(&current), "{current}: {events}");
    let made = own.join("services/own");
    assert!(made.is_dir(), "it could make what is its own");
    signal(&world, &record.id, Signal::SIGKILL);
    eventually("all of its cgroups to be gone", || {
        cgroups(record.id.as_str()).is_empty()
    });
}

fn nothing_is_left_of_a_box_whose_init_was_killed() {
    let world = World::new();
    let record = world.create(services(&world, LIMITED));
    let started = world.start(&record.id);
    let group = of_box(&record.id, Some("pids")).join("services/service.app");
    eventually("a service in its group", || group.exists());
    signal(&world, &record.id, Signal::SIGKILL);
    assert_eq!(started.wait().expect("ended"), 137);
    eventually("all of its cgroups to be gone", || {
        cgroups(record.id.as_str()).is_empty()
    });
}

fn a_box_gets_only_the_controllers_that_its_image_needs() {
    let world = World::new();
    let manifest = "[service.app]\ncommand = \"sleep 1000\"\nlimits = { pids = 30 }\n";
    let mut config = RunConfig::default();
    let label = holdall_protocol::control::LIMITS_LABEL.to_owned();
    config.labels.insert(label, "pids".to_owned());
    let record = world.create(with_services(&world, manifest, config, &[]));
    drop(world.start(&record.id));
    ready(&world, &record.id);
    let services = |controller| of_box(&record.id, Some(controller)).join("services");
    assert_eq!(
        value(&services("pids").join("service.app"), &["pids.max"]),
        "30"
    );
    let limit = ["memory.max", "memory.limit_in_bytes"];
    let memory = services("memory");
    assert!(!limit.iter().any(|file| memory.join(file).exists()));
}
