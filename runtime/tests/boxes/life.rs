//! A box's life: made, started, stopped, started again, removed.

use std::fs;
use std::ops::ControlFlow;

use holdall_image::document::RunConfig;
use holdall_protocol::log::Stream;
use holdall_protocol::{Millis, Signal};
use holdall_runtime::boxes::{BoxError, BoxState, LogQuery};

use crate::tests;
use crate::world::{Content, World, chain, options};

tests![
    what_a_foreign_box_says_and_how_it_ends_is_known,
    a_stopped_box_keeps_its_files_and_volumes,
    a_named_volume_outlives_its_box_and_begins_with_the_images_files,
    a_name_is_taken_once_and_numbered_after_that,
    a_box_is_found_by_name_and_by_the_beginning_of_its_id,
    a_box_with_rm_is_gone_after_its_end_but_not_before_its_log_is_read,
    whoever_started_a_box_reads_its_log_to_the_end,
    the_places_of_mounts_are_no_change_of_the_box,
    a_box_with_rm_that_was_let_go_has_left_its_name,
    only_a_box_that_stays_makes_the_kernel_sync_the_hosts_disk,
    a_box_with_rm_whose_start_failed_starts_at_the_next_try,
    a_read_only_box_writes_to_memory_alone,
    a_box_that_ignores_term_is_killed_after_its_grace,
    a_program_that_is_not_there_is_reported_by_start_and_nothing_is_left,
    a_user_of_the_image_runs_it_and_an_unknown_one_is_refused,
    every_box_has_its_own_name_and_files,
    two_commands_that_start_a_box_at_once_start_it_once,
    a_missing_bind_is_refused_before_anything_is_made,
    a_damaged_record_names_its_file,
];

fn what_a_foreign_box_says_and_how_it_ends_is_known() {
    let world = World::new();
    let record = world.create(world.script("echo out; echo err >&2; exit 7"));
    assert_eq!(world.state(&record.id), BoxState::Created);
    let started = world.start(&record.id);
    assert_eq!(started.wait().expect("ended"), 7);
    assert_eq!(world.boxes.wait(&record.id).expect("ended"), 7);
    assert!(matches!(
        world.state(&record.id),
        BoxState::Exited {
            code: 7,
            at: Some(_)
        }
    ));
    let mut lines = Vec::new();
    let read = world
        .boxes
        .logs(&record.id, &LogQuery::default(), &mut |line| {
            lines.push((line.stream, line.text.clone()));
            ControlFlow::Continue(())
        });
    read.expect("read");
    lines.sort_by_key(|(_, text)| text.clone());
    assert_eq!(
        lines,
        [
            (Stream::Stderr, "err".into()),
            (Stream::Stdout, "out".into())
        ]
    );
}

fn a_stopped_box_keeps_its_files_and_volumes() {
    let world = World::new();
    let script = "trap 'exit 3' TERM; cat /kept /data/kept; echo k > /kept; echo v > /data/kept; \
                  echo ready; while :; do sleep 1 & wait; done";
    let mut options = world.script(script);
    options.volumes = vec!["/data".parse().expect("a volume")];
    let record = world.create(options);
    for run in 0..2 {
        let started = world.start(&record.id);
        assert!(world.state(&record.id).is_running());
        crate::world::eventually("the box to be ready", || {
            world
                .lines(&record.id)
                .iter()
                .filter(|line| *line == "ready")
                .count()
                > run
        });
        world.boxes.stop(&record.id, None).expect("stopped");
        assert_eq!(started.wait().expect("ended"), 3);
        // And once more, which changes nothing.
        world.boxes.stop(&record.id, None).expect("stopped");
    }
    let lines = world.lines(&record.id);
    assert!(
        lines.ends_with(&["k".into(), "v".into(), "ready".into()]),
        "{lines:?}"
    );
}

fn a_named_volume_outlives_its_box_and_begins_with_the_images_files() {
    let world = World::new();
    let files = [("/srv/first", "from the image\n")];
    let image = world.image(Content {
        files: &files,
        ..Content::default()
    });
    for expected in ["from the image", "from a box"] {
        let script = "cat /srv/first; echo from a box > /srv/first";
        let mut options = options(image.clone(), &["sh", "-c", script]);
        options.volumes = vec!["data:/srv".parse().expect("a volume")];
        let record = world.create(options);
        assert_eq!(world.start(&record.id).wait().expect("ended"), 0);
        assert_eq!(world.lines(&record.id), [expected]);
        world.boxes.remove(&record.id, false).expect("removed");
    }
    assert!(world.dirs.volumes().join("data/first").exists());
}

fn a_name_is_taken_once_and_numbered_after_that() {
    let world = World::new();
    let mut options = world.script("true");
    let names: Vec<String> = (0..3)
        .map(|_| world.create(options.clone()).name.to_string())
        .collect();
    assert_eq!(names, ["shop", "shop-2", "shop-3"]);
    options.name = Some("shop-2".parse().expect("a name"));
    let error = world.boxes.create(options).expect_err("in use");
    assert!(matches!(&error, BoxError::NameInUse { name, .. } if name.as_str() == "shop-2"));
    assert!(error.hint().expect("a hint").contains("holdall rm shop-2"));
    assert_eq!(world.boxes.list().expect("listed").len(), 3);
    // Nothing of the fourth is left.
    let drafts = fs::read_dir(world.dirs.boxes())
        .expect("boxes")
        .filter(|entry| {
            entry
                .as_ref()
                .is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with('.'))
        });
    assert_eq!(drafts.count(), 0);
}

fn a_box_is_found_by_name_and_by_the_beginning_of_its_id() {
    let world = World::new();
    let record = world.create(world.script("true"));
    for name in ["shop", record.id.as_str(), &record.id.as_str()[..6]] {
        assert_eq!(world.boxes.find(name).expect(name).id, record.id);
    }
    let error = world.boxes.find("shup").expect_err("unknown");
    assert_eq!(error.to_string(), "cannot find box \"shup\"");
    assert_eq!(error.hint().as_deref(), Some("did you mean \"shop\"?"));
}

fn a_box_with_rm_is_gone_after_its_end_but_not_before_its_log_is_read() {
    let world = World::new();
    let mut options = world.script("echo last words; exit 4");
    options.remove = true;
    let record = world.create(options);
    let started = world.start(&record.id);
    let mut lines = Vec::new();
    let query = LogQuery {
        follow: true,
        ..LogQuery::default()
    };
    let followed = world.boxes.logs(&record.id, &query, &mut |line| {
        lines.push(line.text.clone());
        ControlFlow::Continue(())
    });
    followed.expect("followed to the end");
    assert_eq!(lines, ["last words"]);
    assert_eq!(started.wait().expect("ended"), 4);
    drop(started);
    crate::world::eventually("the box to be removed", || {
        world.boxes.list().expect("listed").is_empty()
    });
}

fn whoever_started_a_box_reads_its_log_to_the_end() {
    let world = World::new();
    let script = "n=0; while [ $n -lt 2000 ]; do n=$((n+1)); echo $n; done; sleep 0.1; echo end";
    let mut options = world.script(script);
    options.remove = true;
    let record = world.create(options);
    let started = world.start(&record.id);
    let mut lines = Vec::new();
    let followed = world.boxes.follow(&record, &started, &mut |line| {
        lines.push(line.text.clone());
        ControlFlow::Continue(())
    });
    followed.expect("followed to the end");
    let mut expected: Vec<String> = (1..=2000).map(|n: u32| n.to_string()).collect();
    expected.push("end".to_owned());
    assert_eq!(lines, expected);
    assert_eq!(started.wait().expect("ended"), 0);
    started.let_go();
}

fn the_places_of_mounts_are_no_change_of_the_box() {
    let world = World::new();
    let script = "cat /etc/hosts > /dev/null && [ -d /proc/1 ] && ls -A /etc";
    let record = world.create(world.script(script));
    assert_eq!(world.start(&record.id).wait().expect("ended"), 0);
    let seen = ["group", "hostname", "hosts", "passwd", "resolv.conf"];
    assert_eq!(world.lines(&record.id), seen);
    let upper = world.dirs.boxes().join(record.id.as_str()).join("upper");
    assert_eq!(fs::read_dir(upper).expect("its layer").count(), 0);
}

fn a_box_with_rm_that_was_let_go_has_left_its_name() {
    let world = World::new();
    for _ in 0..3 {
        let mut options = world.script("exit 4");
        options.remove = true;
        options.name = Some("again".parse().expect("a name"));
        let record = world.create(options);
        let started = world.start(&record.id);
        assert_eq!(started.wait().expect("ended"), 4);
        started.let_go();
        assert!(world.boxes.list().expect("listed").is_empty());
    }
}

/// The kernel writes back the whole filesystem below an overlay when its last
/// process ends, unless the mount says that nothing of it need last.
fn only_a_box_that_stays_makes_the_kernel_sync_the_hosts_disk() {
    let world = World::new();
    for remove in [true, false] {
        let mut options = world.script("grep ' / overlay ' /proc/self/mounts");
        options.remove = remove;
        let record = world.create(options);
        let started = world.start(&record.id);
        assert_eq!(started.wait().expect("ended"), 0);
        let mount = world.lines(&record.id).concat();
        assert_eq!(mount.contains("volatile"), remove, "{mount}");
    }
}

fn a_box_with_rm_whose_start_failed_starts_at_the_next_try() {
    let world = World::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = taken.local_addr().expect("an address").port();
    let mut options = world.script("echo fine");
    options.remove = true;
    options.publish = vec![format!("127.0.0.1:{port}:80").parse().expect("a port")];
    let record = world.create(options);
    // Its root is mounted by then.
    let error = world
        .boxes
        .start(&record.id)
        .expect_err("the port is taken");
    assert!(matches!(error, BoxError::PortInUse { .. }), "{error}");
    drop(taken);
    let started = world.start(&record.id);
    assert_eq!(started.wait().expect("ended"), 0);
    assert_eq!(world.lines(&record.id), ["fine"]);
}

fn a_read_only_box_writes_to_memory_alone() {
    let world = World::new();
    let script = "touch /file 2>/dev/null || echo refused; touch /tmp/file /run/file && echo fine";
    let mut options = world.script(script);
    options.read_only = true;
    let record = world.create(options);
    assert_eq!(world.start(&record.id).wait().expect("ended"), 0);
    assert_eq!(world.lines(&record.id), ["refused", "fine"]);
}

fn a_box_that_ignores_term_is_killed_after_its_grace() {
    let world = World::new();
    let record = world.create(world.script("trap '' TERM; echo ready; sleep 1000; sleep 1000"));
    let started = world.start(&record.id);
    world.wait_for_line(&record.id, "ready");
    world
        .boxes
        .stop(&record.id, Some(Millis(200)))
        .expect("stopped");
    assert_eq!(started.wait().expect("ended"), 137);
    // And at once by kill.
    let started = world.start(&record.id);
    world.boxes.kill(&record.id, Signal::KILL).expect("killed");
    assert_eq!(started.wait().expect("ended"), 137);
    let error = world
        .boxes
        .kill(&record.id, Signal::KILL)
        .expect_err("gone");
    assert!(matches!(error, BoxError::NotRunning(_)), "{error:?}");
}

fn a_program_that_is_not_there_is_reported_by_start_and_nothing_is_left() {
    let world = World::new();
    let image = world.image(Content::default());
    let record = world.create(options(image, &["/no/such/program"]));
    let error = world.boxes.start(&record.id).expect_err("not there");
    assert!(
        chain(&error).ends_with("/no/such/program: executable file not found in the container"),
        "{}",
        chain(&error)
    );
    assert_eq!(error.exit_code(), 127);
    assert_eq!(world.state(&record.id), BoxState::Created);
    assert!(!world.dirs.run_boxes().join(record.id.as_str()).exists());
    let empty = world.image(Content {
        config: RunConfig::default(),
        ..Content::default()
    });
    let error = world
        .boxes
        .create(options(empty, &[]))
        .expect_err("no command");
    assert!(matches!(error, BoxError::NoCommand { .. }), "{error:?}");
}

fn a_user_of_the_image_runs_it_and_an_unknown_one_is_refused() {
    let world = World::new();
    let mut options = world.script("id -u; id -g; echo again > /dev/stdout");
    options.user = Some("shop".into());
    let record = world.create(options.clone());
    assert_eq!(world.start(&record.id).wait().expect("ended"), 0);
    assert_eq!(world.lines(&record.id), ["1234", "4321", "again"]);
    options.user = Some("nobody-here".into());
    let record = world.create(options);
    let error = world.boxes.start(&record.id).expect_err("unknown");
    assert!(chain(&error).contains("nobody-here"), "{}", chain(&error));
}

fn every_box_has_its_own_name_and_files() {
    let world = World::new();
    let script = "hostname; cat /etc/hostname; grep -c shop /etc/hosts; echo $HOSTNAME $A";
    let mut options = world.script(script);
    options.env = vec![("A".into(), "1".into())];
    let record = world.create(options);
    assert_eq!(world.start(&record.id).wait().expect("ended"), 0);
    assert_eq!(world.lines(&record.id), ["shop", "shop", "1", "shop 1"]);
}

fn two_commands_that_start_a_box_at_once_start_it_once() {
    let world = World::new();
    let record = world.create(world.script("echo begun; sleep 1000"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| drop(world.start(&record.id)));
        }
    });
    world.wait_for_line(&record.id, "begun");
    assert_eq!(world.lines(&record.id), ["begun"]);
    let error = world.boxes.remove(&record.id, false).expect_err("it runs");
    assert!(matches!(error, BoxError::Running(_)), "{error:?}");
}

fn a_missing_bind_is_refused_before_anything_is_made() {
    let world = World::new();
    let mut options = world.script("true");
    options.volumes = vec!["/no/such/folder:/data".parse().expect("a volume")];
    let error = world.boxes.create(options).expect_err("missing");
    assert_eq!(
        error.to_string(),
        "cannot bind /no/such/folder: there is no such file or directory"
    );
    assert!(world.boxes.list().expect("listed").is_empty());
}

fn a_damaged_record_names_its_file() {
    let world = World::new();
    let record = world.create(world.script("true"));
    let path = world
        .dirs
        .boxes()
        .join(record.id.as_str())
        .join("record.json");
    let whole = fs::read_to_string(&path).expect("a record");
    fs::write(&path, &whole[..40]).expect("damaged");
    let error = world.boxes.list().expect_err("damaged");
    assert!(error.to_string().contains("record.json"), "{error}");
    fs::write(&path, whole.replacen("\"version\": 1", "\"version\": 2", 1)).expect("newer");
    let error = world.boxes.list().expect_err("newer");
    assert!(
        matches!(error, BoxError::TooNew { version: 2, .. }),
        "{error:?}"
    );
    fs::write(&path, whole).expect("repaired");
}
