//! What a service is given beside its command: variables, files, groups and
//! limits.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::world::Setup;

#[test]
fn variables_come_from_files_below_those_of_the_service() {
    let setup = Setup::without_config();
    let (first, second) = (setup.path("first.env"), setup.path("second.env"));
    fs::write(&first, "# comment\nA=file\nB=file\nC=file\n").expect("write");
    fs::write(&second, "B=second\n").expect("write");
    let config = format!(
        r#"
        [service.app]
        command = "sh -c 'echo $A $B $C; exec sleep 1000'"
        env = {{ C = "own" }}
        env_file = ["{first}", "{second}", {{ path = "{first}.none", optional = true }}]
        "#
    );
    let path = setup.path("holdall.toml");
    fs::write(&path, config).expect("write");
    let mut init = setup.args(&["--config", &path]).start();
    init.wait_for("file second own\n");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_template_is_made_anew_before_each_start_and_one_that_fails_is_a_failed_start() {
    let setup = Setup::without_config();
    let made = setup.path("made.conf");
    fs::write(setup.path("app.tpl"), "port ${PORT:-80} of ${NAME} $host\n").expect("write");
    let config = format!(
        r#"
        [service.app]
        command = "sh -c 'cat {made}; exec sleep 1000'"
        env = {{ NAME = "app" }}
        templates = [{{ from = "app.tpl", to = "{made}", mode = "0600" }}]
        backoff = {{ initial = "10ms" }}
        give_up = {{ failures = 1 }}
        "#
    );
    let path = setup.path("holdall.toml");
    fs::write(&path, config).expect("write");
    let template = setup.path("app.tpl");
    let mut init = setup.args(&["--config", &path]).start();
    let at = init.wait_from(0, "port 80 of app $host\n");
    let mode = fs::metadata(&made).expect("made").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    fs::write(&template, "now ${NAME}\n").expect("write");
    init.ask_ok(&["restart", "app"]);
    let at = init.wait_from(at, "now app\n");
    fs::write(&template, "${NONE:?write it down}\n").expect("write");
    assert!(!init.ask(&["restart", "app"]).status.success());
    init.wait_from(at, "app.tpl:1: NONE: write it down");
    assert_eq!(init.wait().0.code(), Some(125));
}

#[test]
fn groups_and_limits_are_those_of_the_file() {
    let mut init = Setup::new(
        r#"
        [service.app]
        command = "sh -c 'echo groups $(id -G); echo nofile $(ulimit -Sn) $(ulimit -Hn) core $(ulimit -c) nice $(nice); echo oom $(cat /proc/self/oom_score_adj); exec sleep 1000'"
        user = "daemon"
        groups = ["sys", "4321"]
        limits = { nofile = { soft = 100, hard = 200 }, core = 0, nice = 7, oom_score_adj = 500 }
        "#,
    )
    .start();
    init.wait_for("groups 1 3 4321\n");
    init.wait_for("nofile 100 200 core 0 nice 7\n");
    init.wait_for("oom 500\n");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_stop_command_is_run_in_place_of_the_signal_with_the_number_of_the_main_process() {
    let mut init = Setup::new(
        r#"
        [service.app]
        command = "sh -c 'trap \"echo by signal; exit\" TERM; trap \"echo by command; exit\" USR1; echo runs; while :; do sleep 0.01; done'"
        stop = { command = "sh -c 'echo stopping; kill -USR1 $MAINPID'" }
        "#,
    )
    .start();
    init.wait_for("| runs");
    assert_eq!(init.stop(), Some(0));
    assert!(init.seen.contains("by command"), "{}", init.seen);
    assert!(init.seen.contains("| stopping"), "{}", init.seen);
    assert!(!init.seen.contains("by signal"), "{}", init.seen);
}

#[test]
fn a_stop_command_that_fails_leaves_the_stop_to_the_signal() {
    let mut init = Setup::new(
        r#"
        [service.app]
        command = "sleep 1000"
        stop = { command = "false" }
        "#,
    )
    .start();
    init.wait_for("ready after");
    assert_eq!(init.stop(), Some(0));
    let said = "its stop command failed (the command ended with exit 1), and it is sent its signal";
    assert!(init.seen.contains(said), "{}", init.seen);
}
