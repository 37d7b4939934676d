//! Starting, in order, and what can't be started.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;

use crate::world::Setup;

#[test]
fn services_start_in_the_order_of_their_dependencies() {
    let mut init = Setup::new(
        r#"
        [service.last]
        command = "sh -c 'echo last runs; exec sleep 1000'"
        depends_on = ["job"]
        [service.job]
        type = "oneshot"
        command = "sh -c 'echo job runs'"
        depends_on = ["first"]
        [service.first]
        type = "oneshot"
        command = "sh -c 'sleep 0.1; echo first runs'"
        "#,
    )
    .start();
    let first = init.wait_from(0, "first runs");
    let job = init.wait_from(first, "job runs");
    init.wait_from(job, "last runs");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn what_cannot_be_started_says_why_in_words() {
    let setup = Setup::without_config();
    let (plain, script) = (setup.path("plain"), setup.path("script"));
    fs::write(&plain, "no program").expect("write");
    fs::write(&script, "#!/no/such/interpreter -x\n").expect("write");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("chmod");
    let config = format!(
        r#"
        [service.absent]
        command = "/no/such/program"
        [service.nowhere]
        command = "no-such-program-in-path"
        [service.plain]
        command = "{plain}"
        [service.script]
        command = "{script}"
        [service.user]
        command = "true"
        user = "nobody-of-that-name"
        [service.dir]
        command = "true"
        dir = "/no/such/dir"
        [service.port]
        command = "true"
        listen = ["x=192.0.2.1:80"]
        "#
    )
    .replace("[service.", "[service.x-");
    // All of them fail at once; that is not what this test is about.
    let config = config.replace("command =", "essential = false\ncommand =");
    fs::write(setup.path("holdall.toml"), config).expect("write");
    let path = setup.path("holdall.toml");
    let mut init = setup.args(&["--config", &path]).start();
    for words in [
        "x-absent: cannot execute /no/such/program: no such file".to_owned(),
        "x-nowhere: cannot execute no-such-program-in-path: no such file in PATH".to_owned(),
        format!("x-plain: cannot execute {plain}: permission denied"),
        format!(
            "x-script: cannot execute {script}: its interpreter /no/such/interpreter is missing"
        ),
        "x-user: cannot find user \"nobody-of-that-name\"".to_owned(),
        "x-dir: cannot enter /no/such/dir: no such file".to_owned(),
        "x-port: cannot listen on 192.0.2.1:80: cannot assign requested address".to_owned(),
    ] {
        init.wait_for(&words);
    }
    init.signal(Signal::SIGTERM);
    assert_eq!(init.wait().0.code(), Some(0));
}

#[test]
fn an_essential_service_that_is_given_up_ends_the_box_with_its_code_and_its_last_words() {
    let mut init = Setup::new(
        r#"
        [service.bad]
        command = "sh -c 'echo all is lost; exit 9'"
        backoff = { initial = "10ms", max = "20ms" }
        give_up = { failures = 3, within = "60s" }
        [service.good]
        command = "sleep 1000"
        "#,
    )
    .start();
    let (status, stderr) = init.wait();
    assert_eq!(status.code(), Some(9), "{}", init.seen);
    assert!(
        init.seen.contains("bad: given up after 3 failures"),
        "{}",
        init.seen
    );
    assert!(
        stderr.contains("bad: given up after 3 failures"),
        "{stderr}"
    );
    assert!(stderr.contains("bad | all is lost"), "{stderr}");
}

#[test]
fn a_killed_service_comes_back() {
    let mut init = Setup::new(
        r#"
        [service.app]
        command = "sh -c 'echo runs as $$; exec sleep 1000'"
        backoff = { initial = "10ms", max = "20ms" }
        "#,
    )
    .start();
    let first = init.number_after("runs as ");
    init.ask_ok(&["signal", "KILL", "app"]);
    init.wait_for("ended with SIGKILL");
    let place = init.wait_from(0, "restarts ");
    init.wait_from(place, "runs as ");
    assert_ne!(init.pid_of("app"), u32::try_from(first).ok());
    assert_eq!(init.stop(), Some(0));
}
