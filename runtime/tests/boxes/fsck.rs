//! The check of boxes names each thing that is damaged, and looks after none.

use std::fs;
use std::path::PathBuf;

use holdall_protocol::Millis;
use holdall_runtime::boxes::Record;
use holdall_runtime::boxes::fsck::Report;

use crate::cgroups::of_box;
use crate::loss::{kill_both, vanish};
use crate::tests;
use crate::world::{World, eventually};

tests![
    boxes_that_nobody_harmed_are_whole,
    each_harm_to_a_stopped_box_is_named,
    two_boxes_of_one_name_are_named,
    a_running_box_without_a_monitor_is_named_and_repaired,
    a_box_that_vanished_with_its_monitor_is_named_and_repaired,
    what_is_left_of_a_run_is_named_and_repaired,
    a_cgroup_of_a_stopped_box_is_named_and_goes_with_those_below_it,
    a_box_that_was_to_go_with_its_end_is_named_and_repaired,
    an_empty_cgroup_of_nobody_is_shown_and_is_no_fault,
    what_a_killed_create_left_is_counted_and_swept,
];

fn check(world: &World) -> Report {
    world
        .boxes
        .check(&world.store)
        .expect("it can be looked at")
}

fn told(world: &World) -> Vec<String> {
    let faults = check(world).faults;
    let told = faults
        .iter()
        .map(|fault| format!("{}: {fault}", fault.kind()));
    told.collect()
}

/// The one fault there is.
fn fault(world: &World) -> String {
    let told = told(world);
    assert_eq!(told.len(), 1, "{told:#?}");
    told.concat()
}

fn repair(world: &World) {
    for fault in check(world).faults {
        assert!(world.boxes.repair(&fault).expect("repaired"), "{fault}");
    }
    assert_eq!(told(world), [""; 0]);
}

/// A box that ran once, with a volume of its own and a named one.
fn stopped(world: &World) -> Record {
    let mut options = world.script("true");
    options.volumes = ["/own", "data:/data"]
        .map(|volume| volume.parse().expect("a volume"))
        .to_vec();
    let record = world.create(options);
    world.start(&record.id).wait().expect("ended");
    world.boxes.wait(&record.id).expect("ended");
    // As long as they clear away, nothing is left behind.
    eventually("its minders to end", || {
        let minders = |role| world.minders(role, &record.id);
        minders("holdall-monitor").is_empty() && minders("holdall-keeper").is_empty()
    });
    record
}

fn boxes_that_nobody_harmed_are_whole() {
    let world = World::new();
    let _stopped = stopped(&world);
    let running = world.create(world.script("sleep 1000"));
    drop(world.start(&running.id));
    world.create(world.script("never started"));
    let report = check(&world);
    assert_eq!(told(&world), [""; 0]);
    assert_eq!((report.boxes, report.images.len()), (3, 1));
    assert!(report.leftovers.is_empty());
    world
        .boxes
        .stop(&running.id, Some(Millis(0)))
        .expect("stopped");
}

fn each_harm_to_a_stopped_box_is_named() {
    type Harm = fn(&World, &PathBuf);
    let harms: [(&str, Harm); 8] = [
        ("box-record: the record of box ", |_, dir| {
            fs::write(dir.join("record.json"), "{").expect("written");
        }),
        ("box-record: the record of box ", |_, dir| {
            fs::remove_file(dir.join("record.json")).expect("removed");
        }),
        ("box-record: the record of box ", |_, dir| {
            fs::write(dir.join("record.json"), "{\"version\": 9999}").expect("written");
        }),
        ("box-life: the life of box ", |_, dir| {
            fs::write(dir.join("life.json"), "{}").expect("written");
        }),
        ("box-folder: box ", |_, dir| {
            fs::remove_dir_all(dir.join("upper")).expect("removed");
        }),
        ("volume: the volume at /own of box ", |_, dir| {
            fs::remove_dir_all(dir.join("volumes")).expect("removed");
        }),
        ("volume: the volume at /data of box ", |world, _| {
            fs::remove_dir_all(world.dirs.volumes().join("data")).expect("removed");
        }),
        ("box-image: the image of box ", |world, _| {
            let blobs = world.dirs.store().join("blobs/sha256");
            fs::remove_dir_all(&blobs).expect("removed");
            fs::create_dir(blobs).expect("made");
        }),
    ];
    for (wanted, harm) in harms {
        let world = World::new();
        let record = stopped(&world);
        let dir = world.dirs.boxes().join(record.id.as_str());
        harm(&world, &dir);
        let fault = fault(&world);
        assert!(fault.starts_with(wanted), "{fault}");
        // A box whose record is gone can't be removed by name.
        fs::remove_dir_all(dir).expect("removed");
    }
}

fn two_boxes_of_one_name_are_named() {
    let world = World::new();
    let records = [stopped(&world), stopped(&world)];
    let path = world
        .dirs
        .boxes()
        .join(records[1].id.as_str())
        .join("record.json");
    let text = fs::read_to_string(&path).expect("a record");
    let [one, two] = records.map(|record| format!("\"name\": \"{}\"", record.name));
    fs::write(&path, text.replace(&two, &one)).expect("written");
    let fault = fault(&world);
    assert!(fault.starts_with("box-name: boxes "), "{fault}");
}

fn a_running_box_without_a_monitor_is_named_and_repaired() {
    let world = World::new();
    let record = world.create(world.script("echo up; sleep 1000"));
    drop(world.start(&record.id));
    world.wait_for_line(&record.id, "up");
    kill_both(&world, &record.id);
    let wanted = format!("box-unminded: box {} runs without a monitor", record.name);
    // Twice: the check itself doesn't look after it.
    assert_eq!(fault(&world), wanted);
    assert_eq!(fault(&world), wanted);
    repair(&world);
    world
        .boxes
        .stop(&record.id, Some(Millis(0)))
        .expect("stopped");
}

fn a_box_that_vanished_with_its_monitor_is_named_and_repaired() {
    let world = World::new();
    let record = world.create(world.script("echo up; sleep 1000"));
    drop(world.start(&record.id));
    world.wait_for_line(&record.id, "up");
    vanish(&world, &record.id);
    let told = told(&world);
    assert!(told[0].starts_with("box-unburied: box "), "{told:#?}");
    // Its cgroups are empty and still there.
    assert!(told.len() > 1, "{told:#?}");
    let mut cgroups = told.iter().skip(1);
    assert!(
        cgroups.all(|line| line.starts_with("cgroup: ")),
        "{told:#?}"
    );
    repair(&world);
}

fn what_is_left_of_a_run_is_named_and_repaired() {
    let world = World::new();
    let record = stopped(&world);
    let remains = world.dirs.run_boxes().join(record.id.as_str());
    fs::create_dir_all(&remains).expect("made");
    assert!(fault(&world).starts_with("box-remains: box "));
    repair(&world);
    for dir in [world.dirs.run_boxes(), world.dirs.runtime_state()] {
        fs::create_dir_all(dir.join("0123456789ab")).expect("made");
        assert!(fault(&world).starts_with("run-folder: "));
        repair(&world);
    }
    let point = world.dirs.boxes().join(record.id.as_str()).join("etc");
    let mount = |program: &str, args: &[&str]| {
        let done = std::process::Command::new(program)
            .args(args)
            .arg(&point)
            .status();
        assert!(done.expect("it can be started").success());
    };
    mount("mount", &["-t", "tmpfs", "holdall-fsck"]);
    let mounted = fault(&world);
    mount("umount", &[]);
    assert!(mounted.starts_with("mount: "), "{mounted}");
}

fn a_cgroup_of_a_stopped_box_is_named_and_goes_with_those_below_it() {
    let world = World::new();
    let record = stopped(&world);
    let left = of_box(&record.id, None);
    fs::create_dir_all(left.join("services/service.app")).expect("made");
    assert!(fault(&world).starts_with("cgroup: "));
    repair(&world);
    assert!(!left.exists());
}

fn a_box_that_was_to_go_with_its_end_is_named_and_repaired() {
    let world = World::new();
    let record = stopped(&world);
    let dir = world.dirs.boxes().join(record.id.as_str());
    let text = fs::read_to_string(dir.join("record.json")).expect("a record");
    let text = text.replace("\"remove\": false", "\"remove\": true");
    fs::write(dir.join("record.json"), text).expect("written");
    let fault = fault(&world);
    let wanted = "has ended, and was to be removed then";
    assert!(fault.starts_with("box-unremoved: box ") && fault.ends_with(wanted));
    repair(&world);
    assert!(!dir.exists());
}

fn an_empty_cgroup_of_nobody_is_shown_and_is_no_fault() {
    let world = World::new();
    let record = world.create(world.script("echo up; sleep 1000"));
    drop(world.start(&record.id));
    world.wait_for_line(&record.id, "up");
    // Beside that of a box which runs, whose cgroup is no stray.
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let points = mounts.lines().filter(|line| line.contains(" - cgroup"));
    let mut of_box = points
        .filter_map(|line| line.split(' ').nth(4))
        .map(|point| {
            PathBuf::from(point)
                .join("holdall")
                .join(record.id.as_str())
        })
        .filter(|path| path.exists());
    let of_box = of_box.next().expect("the box's cgroup");
    let stray = of_box.with_file_name(format!("{:012x}", std::process::id()));
    fs::create_dir(&stray).expect("made");
    let report = check(&world);
    fs::remove_dir(&stray).expect("removed");
    assert!(report.strays.contains(&stray), "{report:?}");
    assert!(!report.strays.contains(&of_box), "{report:?}");
    assert!(report.faults.is_empty(), "{report:?}");
    world
        .boxes
        .stop(&record.id, Some(Millis(0)))
        .expect("stopped");
}

fn what_a_killed_create_left_is_counted_and_swept() {
    let world = World::new();
    let left = world.dirs.boxes().join(".new-0123456789ab");
    fs::create_dir_all(left.join("upper")).expect("made");
    fs::write(left.join("lock"), "").expect("made");
    let report = check(&world);
    assert!(report.faults.is_empty());
    assert_eq!(report.leftovers, std::slice::from_ref(&left));
    world.boxes.sweep_drafts().expect("swept");
    assert!(!left.exists());
}
