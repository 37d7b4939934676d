//! Edge cases that supervisors get wrong, as far as no other file here has
//! them: the whole list is docs/edge-cases.md.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use crate::world::{Init, Setup, program};

fn run(program: &str, args: &[&str]) {
    let done = Command::new(program).args(args).status().expect("start");
    assert!(done.success(), "{program} {args:?}");
}

#[test]
fn a_number_that_is_another_process_by_now_is_not_signalled() {
    let config = format!(
        r#"
        [service.app]
        command = "sh -c 'echo had number $$ so far'"
        restart = "never"
        essential = false
        [service.heir]
        command = "/usr/bin/python3 {}"
        start = "manual"
        "#,
        program("heir.py")
    );
    // In a namespace of its own, where nobody else takes numbers.
    let mut init = Setup::new(&config).own_namespace().start();
    let number = init.number_after("had number ");
    init.wait_for("app: ended");
    init.wait_for_socket();
    fs::write(init.path("number"), number.to_string()).expect("write");
    init.ask_ok(&["start", "heir"]);
    let taken = init.number_after("the heir has number ");
    assert_eq!(taken, number);
    assert!(!init.ask(&["signal", "KILL", "app"]).status.success());
    init.ask_ok(&["stop", "app"]);
    init.ask_ok(&["signal", "USR1", "heir"]);
    let line = init.line_with("the heir is ");
    assert_eq!(line, "the heir is alive");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_fork_that_is_refused_is_tried_again_and_init_lives() {
    let config = r#"
        [service.app]
        command = "sh -c 'echo runs; exec sleep 1000'"
        backoff = { initial = "10ms", max = "20ms" }
        give_up = { failures = 0 }
    "#;
    let setup = Setup::new(config);
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(setup.dir.path(), open).expect("chmod");
    // A user of nobody else, who may have one process: init.
    let become_it = ["--reuid", "64321", "--clear-groups"];
    // By setpriv last, which may still enter the folder of this tree.
    let mut init = setup
        .by(&["prlimit", "--nproc=1:100", "setpriv"])
        .by(&become_it)
        .start();
    init.wait_for("app: cannot create a process: ");
    let pid = init.pid().to_string();
    let more = [
        &become_it[..],
        &["prlimit", "--pid", &pid, "--nproc=100:100"],
    ]
    .concat();
    run("setpriv", &more);
    init.wait_for("app  | runs");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn process_one_heeds_every_signal_that_the_kernel_would_keep_from_it() {
    let start = || {
        let config = "[service.app]\ncommand = \"sh -c 'echo runs; exec sleep 1000'\"\n";
        let mut init = Setup::new(config).own_namespace().start();
        init.wait_for("| runs");
        init
    };
    let send = |init: &Init, number: i32| {
        run("kill", &[&format!("-{number}"), &init.pid().to_string()]);
    };
    let mut init = start();
    // HUP, USR1 and USR2 ask for words; TERM, INT, QUIT, PWR and RTMIN+3 stop.
    for (number, words) in [(1, "reloaded:"), (10, "SIGUSR1"), (12, "SERVICE")] {
        send(&init, number);
        init.wait_for(words);
    }
    assert_eq!(init.stop(), Some(0));
    for number in [2, 3, 30, 37] {
        let mut init = start();
        send(&init, number);
        assert_eq!(init.wait().0.code(), Some(0), "{number}");
        assert!(init.seen.contains("init | stopping"), "{}", init.seen);
    }
}

#[test]
fn a_pipe_that_a_stranger_holds_and_fills_delays_no_exit() {
    let config = r#"
        [service.app]
        command = "sh -c 'echo runs; exec sleep 1000'"
        backoff = { initial = "10ms", max = "20ms" }
    "#;
    let mut init = Setup::new(config).start();
    init.wait_for("| runs");
    init.wait_for_socket();
    let pid = init.pid_of("app").expect("it runs");
    // They are none of init's children, and more than one, so that the pipe is
    // never found empty.
    let stranger = |_| {
        let pipe = fs::File::options()
            .write(true)
            .open(format!("/proc/{pid}/fd/1"));
        let mut yes = Command::new("yes");
        yes.stdout(pipe.expect("root may")).spawn().expect("start")
    };
    let strangers: Vec<Child> = (0..4).map(stranger).collect();
    init.wait_for("| y\n");
    init.ask_ok(&["signal", "KILL", "app"]);
    let place = init.wait_from(0, "app: ended with SIGKILL");
    init.wait_from(place, "| runs");
    // Once nobody reads the old pipe any more, its writers find out.
    for mut stranger in strangers {
        assert!(!stranger.wait().expect("a child").success());
    }
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn last_words_come_before_the_exit_is_told() {
    let mut config = String::new();
    for number in 10..30 {
        config.push_str(&format!(
            "[service.s{number}]\ncommand = \"seq {number}0000 {number}9999\"\n\
             restart = \"never\"\nessential = false\n"
        ));
    }
    config.push_str("[service.stays]\ncommand = \"sleep 1000\"\n");
    let mut init = Setup::new(&config).start();
    for number in 10..30 {
        init.wait_for(&format!("init  | s{number}: ended"));
        let at = |text: &str| init.seen.find(text).expect("it is there");
        let told = at(&format!("init  | s{number}: ended"));
        assert!(
            at(&format!("| {number}9999\n")) < told,
            "the exit of s{number} was told before its last words"
        );
    }
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn without_dev_with_run_noexec_and_with_closed_descriptors_it_boots() {
    let script = "mount --make-rprivate / && mount -t tmpfs -o noexec tmpfs /run && \
                  mount -t tmpfs tmpfs /dev && exec \"$@\" 0<&- 1>&- 2>&-";
    let setup = Setup::new("[service.app]\ncommand = \"sleep 1000\"\n");
    let mut init = setup
        .stdout(Stdio::null())
        .by(&["unshare", "--mount", "bash", "-c", script, "bash"])
        .own_namespace()
        .start();
    init.wait_for_socket();
    init.ask_ok(&["start", "app"]);
    // Else what is opened next would be taken for stdin, stdout and stderr.
    for fd in 0..3 {
        let link = fs::read_link(format!("/proc/{}/fd/{fd}", init.pid())).expect("it is open");
        let link = link.to_string_lossy();
        assert!(link.starts_with("/memfd:null"), "{fd} is {link}");
    }
    assert_eq!(init.stop(), Some(0));
}

/// Signals a process again and again until it is dropped.
struct Storm(Child);

impl Storm {
    fn over(pid: i32) -> Self {
        let script = format!("while kill -WINCH {pid} && kill -ALRM {pid}; do :; done");
        let storm = Command::new("sh").args(["-c", &script]).spawn();
        Self(storm.expect("start"))
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_storm_of_signals_interrupts_no_call() {
    let mut config = "[service.app]\ncommand = \"sh -c 'echo runs; exec sleep 1000'\"\n".to_owned();
    let names: Vec<String> = (0..40).map(|number| format!("s{number}")).collect();
    for name in &names {
        config.push_str(&format!(
            "[service.{name}]\ntype = \"oneshot\"\nstart = \"manual\"\n\
             command = \"sh -c 'echo {name} was here'\"\n"
        ));
    }
    let mut init = Setup::new(&config).start();
    init.wait_for("| runs");
    init.wait_for_socket();
    let storm = Storm::over(init.pid());
    let words: Vec<&str> = ["start"]
        .into_iter()
        .chain(names.iter().map(String::as_str))
        .collect();
    init.ask_ok(&words);
    for name in &names {
        init.wait_for(&format!("{name} was here"));
    }
    drop(storm);
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn an_inherited_descriptor_does_not_reach_a_service() {
    let config = "[service.app]\ntype = \"oneshot\"\n\
                  command = \"sh -c 'for fd in $(seq 0 255); do [ -e /proc/$$/fd/$fd ] && echo has $fd; done; true'\"\n";
    for pid1 in [false, true] {
        let before = "exec 7</dev/null 8>&1 200</etc/passwd; exec \"$@\"";
        let setup = Setup::new(config).by(&["bash", "-c", before, "bash"]);
        let mut init = if pid1 { setup.own_namespace() } else { setup }.start();
        assert_eq!(init.wait().0.code(), Some(0));
        let lines = init.seen.lines();
        let has: Vec<_> = lines.filter_map(|line| line.split_once("| has ")).collect();
        let numbers: Vec<_> = has.iter().map(|(_, number)| *number).collect();
        assert_eq!(numbers, ["0", "1", "2"], "{}", init.seen);
    }
}

#[test]
fn inherited_ignored_and_blocked_signals_do_not_reach_a_service() {
    let config = "[service.app]\ntype = \"oneshot\"\n\
                  command = \"grep -E '^Sig(Blk|Ign)' /proc/self/status\"\n";
    for pid1 in [false, true] {
        let before = "trap '' INT PIPE HUP XFSZ TSTP TTIN TTOU 34 64; exec \"$@\"";
        let blocked = program("blocked.py");
        let setup =
            Setup::new(config).by(&["bash", "-c", before, "bash", "/usr/bin/python3", &blocked]);
        let mut init = if pid1 { setup.own_namespace() } else { setup }.start();
        assert_eq!(init.wait().0.code(), Some(0));
        for clean in ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"] {
            assert!(init.seen.contains(clean), "{clean}: {}", init.seen);
        }
    }
}

#[test]
fn an_inherited_ignored_sigchld_loses_no_exit() {
    let config = "[service.app]\ncommand = \"sh -c 'exit 3'\"\nrestart = \"never\"\n";
    for pid1 in [false, true] {
        let setup = Setup::new(config).by(&["bash", "-c", "trap '' CHLD; exec \"$@\"", "bash"]);
        let mut init = if pid1 { setup.own_namespace() } else { setup }.start();
        assert_eq!(init.wait().0.code(), Some(3));
    }
}

#[test]
fn score_limits_mask_and_directory_are_set_in_the_child_alone() {
    let setup = Setup::new(
        r#"
        [service.app]
        command = "sh -c 'echo oom $(cat /proc/self/oom_score_adj) files $(ulimit -n) mask $(umask) in $(pwd) nice $(nice) home $HOME; exec sleep 1000'"
        dir = "/usr"
        umask = "027"
        limits = { nofile = 123, nice = 5, oom_score_adj = 345 }
        env = { HOME = "/var" }
        "#,
    );
    let before =
        "umask 0077; cd /tmp; ulimit -n 456; echo 12 >/proc/self/oom_score_adj; exec \"$@\"";
    let mut init = setup.by(&["bash", "-c", before, "bash"]).start();
    init.wait_for("oom 345 files 123 mask 0027 in /usr nice 5 home /var\n");
    let own = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", init.pid())).expect(name);
    assert_eq!(own("oom_score_adj"), "12\n");
    assert!(own("status").contains("Umask:\t0077"), "{}", own("status"));
    let limits = own("limits");
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    assert!(files.is_some_and(|line| line.contains("456")), "{limits}");
    let cwd = fs::read_link(format!("/proc/{}/cwd", init.pid())).expect("it lives");
    assert_eq!(cwd.to_str(), Some("/tmp"));
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_terminal_that_init_gives_up_does_not_hang_its_command_up() {
    // Without services every signal goes to the command: the HUP that the
    // kernel sends to us for giving the terminal up must not.
    let helper = program("foreground.py");
    let mut init = Setup::without_config()
        .by(&["/usr/bin/python3", &helper, "leader"])
        .args(&["--", "bash", "--norc", "--noprofile", "-i"])
        .start();
    let (status, stderr) = init.wait();
    assert_eq!(status.code(), Some(6), "{}{stderr}", init.seen);
}

#[test]
fn the_flags_of_a_command_are_its_own() {
    // What a permuting getopt makes of `sh -c 'exit 3'` is `-c` for itself.
    for words in [
        &["--", "sh", "-c", "exit 3"][..],
        &["run", "--", "sh", "-c", "exit 3"],
        &["--", "sh", "-ec", "exit 3"],
    ] {
        let mut init = Setup::without_config().args(words).start();
        assert_eq!(init.wait().0.code(), Some(3), "{words:?}");
    }
}
