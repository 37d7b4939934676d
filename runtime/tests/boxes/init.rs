//! Boxes whose first process is holdall's own init.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use holdall_image::document::RunConfig;
use holdall_protocol::control::State;
use holdall_runtime::boxes::{BoxError, BoxState, CreateOptions, LogQuery};

use crate::exec::{dockers_codes, exec, run, streams_and_code, terminal, text};
use crate::tests;
use crate::world::{Content, World, eventually, options};

tests![
    services_are_seen_and_steered_from_the_host,
    each_services_lines_are_its_own,
    a_foreground_command_ends_the_box_with_its_code,
    an_exec_through_init_has_the_callers_streams_and_its_own_code,
    an_exec_through_init_gets_a_terminal_of_the_boxs_own,
    an_exec_through_init_has_dockers_codes,
    an_exec_in_a_box_whose_init_hangs_enters_it,
    init_goes_on_logging_while_its_monitor_is_replaced,
    a_foreign_box_has_no_services,
];

const MANIFEST: &str = r#"
name = "shop"

[service.db]
command = "sh -c 'echo db up; exec sleep 1000'"

[service.app]
command = "sh -c 'echo app up; while :; do sleep 1; done'"
depends_on = ["db"]
"#;

/// The init, built by cargo beside this test; in a machine without cargo
/// (tests/vm) it was put there.
fn init() -> PathBuf {
    static INIT: OnceLock<PathBuf> = OnceLock::new();
    let built = INIT.get_or_init(|| {
        let own = std::env::current_exe().expect("this program");
        let folder = own
            .parent()
            .and_then(|deps| deps.parent())
            .expect("a target folder");
        let init = folder.join("holdall-init");
        if !Path::new(env!("CARGO")).exists() {
            return init;
        }
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", "holdall-init"])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .status()
            .expect("cargo");
        assert!(status.success(), "the init is built");
        init
    });
    built.clone()
}

fn shop(world: &World, command: &[&str]) -> CreateOptions {
    with_services(world, MANIFEST, RunConfig::default(), command)
}

/// A box with the services of a manifest.
pub(crate) fn with_services(
    world: &World,
    manifest: &str,
    config: RunConfig,
    command: &[&str],
) -> CreateOptions {
    let init = init();
    let config = RunConfig {
        entrypoint: ["/init", "run", "--"].map(str::to_owned).to_vec(),
        ..config
    };
    let files = [("/etc/holdall.toml", manifest)];
    let image = world.image(Content {
        files: &files,
        config,
        init: Some(&init),
    });
    options(image, command)
}

pub(crate) fn ready(world: &World, id: &holdall_runtime::boxes::BoxId) {
    eventually("the services to be ready", || {
        world
            .boxes
            .control(id)
            .is_ok_and(|mut init| init.status().is_ok_and(|s| s.ready))
    });
}

fn services_are_seen_and_steered_from_the_host() {
    let world = World::new();
    let record = world.create(shop(&world, &[]));
    let started = world.start(&record.id);
    ready(&world, &record.id);
    let mut init = world.boxes.control(&record.id).expect("reached");
    let status = init.status().expect("a status");
    let names: Vec<&str> = status
        .services
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    assert_eq!(names, ["db", "app"]);
    let app = "app".parse().expect("a name");
    let before = status.services[1].pid;
    init.restart(std::slice::from_ref(&app)).expect("restarted");
    let status = init.status().expect("a status");
    assert!(status.services[1].pid != before, "{status:?}");
    init.stop(std::slice::from_ref(&app)).expect("stopped");
    assert_eq!(
        init.status().expect("a status").services[1].state,
        State::Stopped
    );
    let error = init
        .start(&["nap".parse().expect("a name")])
        .expect_err("unknown");
    assert!(error.to_string().contains("nap"), "{error}");
    // An ordered stop.
    world.boxes.stop(&record.id, None).expect("stopped");
    assert_eq!(started.wait().expect("ended"), 0);
    // And all of it again.
    let started = world.start(&record.id);
    ready(&world, &record.id);
    world.boxes.stop(&record.id, None).expect("stopped");
    assert_eq!(started.wait().expect("ended"), 0);
}

fn each_services_lines_are_its_own() {
    let world = World::new();
    let record = world.create(shop(&world, &[]));
    drop(world.start(&record.id));
    // app waits until db has started, not until it has spoken.
    world.wait_for_line(&record.id, "db up");
    world.wait_for_line(&record.id, "app up");
    let of = |service: &str| {
        let mut lines = BTreeSet::new();
        let service = Some(service.parse().expect("a name"));
        let query = LogQuery {
            service,
            ..LogQuery::default()
        };
        let read = world.boxes.logs(&record.id, &query, &mut |record| {
            if record.stream != holdall_protocol::log::Stream::Init {
                lines.insert(record.text.clone());
            }
            ControlFlow::Continue(())
        });
        read.expect("read");
        lines.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(of("db"), ["db up"]);
    assert_eq!(of("app"), ["app up"]);
}

fn a_foreground_command_ends_the_box_with_its_code() {
    let world = World::new();
    let record = world.create(shop(&world, &["sh", "-c", "echo from the front; exit 12"]));
    assert_eq!(world.start(&record.id).wait().expect("ended"), 12);
    let lines = world.lines(&record.id);
    assert!(lines.contains(&"from the front".to_owned()), "{lines:?}");
}

fn running() -> (World, holdall_runtime::boxes::BoxId) {
    let world = World::new();
    let record = world.create(shop(&world, &[]));
    drop(world.start(&record.id));
    ready(&world, &record.id);
    (world, record.id)
}

fn an_exec_through_init_has_the_callers_streams_and_its_own_code() {
    let (world, id) = running();
    streams_and_code(&world, &id);
    let output = run(
        &mut exec(&world, &id, "ud", &["sh", "-c", "id -u; pwd; echo $EXTRA"]),
        "",
    );
    assert_eq!(
        text(&output.stdout),
        "1234\n/tmp\nyes\n",
        "{}",
        text(&output.stderr)
    );
}

fn an_exec_through_init_gets_a_terminal_of_the_boxs_own() {
    let (world, id) = running();
    terminal(&world, &id);
}

fn an_exec_through_init_has_dockers_codes() {
    let (world, id) = running();
    dockers_codes(&world, &id);
}

fn init_goes_on_logging_while_its_monitor_is_replaced() {
    let (world, id) = running();
    world.minder("holdall-keeper", &id);
    world.kill_minder("holdall-monitor", &id);
    world.minder("holdall-monitor", &id);
    let mut init = world.boxes.control(&id).expect("reached");
    init.restart(&["app".parse().expect("a name")])
        .expect("restarted");
    eventually("the second life of the service in the log", || {
        world
            .lines(&id)
            .iter()
            .filter(|line| *line == "app up")
            .count()
            == 2
    });
}

fn a_foreign_box_has_no_services() {
    let world = World::new();
    let record = world.create(world.script("sleep 1000"));
    drop(world.start(&record.id));
    let error = world.boxes.control(&record.id).expect_err("no init");
    assert!(matches!(error, BoxError::NoInit(_)), "{error:?}");
}

fn an_exec_in_a_box_whose_init_hangs_enters_it() {
    let world = World::new();
    let record = world.create(shop(&world, &[]));
    drop(world.start(&record.id));
    ready(&world, &record.id);
    let BoxState::Running { pid, .. } = world.state(&record.id) else {
        panic!("it runs")
    };
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a pid"));
    let signal = |signal| nix::sys::signal::kill(pid, signal).expect("sent");
    signal(nix::sys::signal::Signal::SIGSTOP);
    let script = "cat; env | grep LISTEN; ps -o comm | grep -c init; exit 4";
    let output = run(
        &mut exec(&world, &record.id, "i", &["sh", "-c", script]),
        "from outside\n",
    );
    signal(nix::sys::signal::Signal::SIGCONT);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "from outside\n1\n");
}
