//! supervisord.conf as it is, beside the real supervisord: the same files,
//! side by side, come to the same states, give programs the same and end them
//! alike.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use holdall_protocol::control::State;
use holdall_supervisord::keys::{KEYS, Of};
use holdall_supervisord::{Files, Surroundings};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::{INIT, Init, Setup, eventually, kill_marked, program, said};

/// `supervisorctl`'s names with its states.
type States = BTreeMap<String, String>;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/supervisord")
}

/// Every file of the corpus, those that are included too.
fn files() -> Vec<PathBuf> {
    let within = |dir: PathBuf| {
        let entries = fs::read_dir(dir).expect("the corpus").flatten();
        let paths = entries.map(|entry| entry.path());
        paths
            .filter(|path| path.extension().is_some_and(|e| e == "conf"))
            .collect::<Vec<_>>()
    };
    let mut files = within(corpus());
    files.extend(within(corpus().join("conf.d")));
    files.sort();
    files
}

/// The states that a file says it comes to.
fn expected(name: &str) -> States {
    let text = fs::read_to_string(corpus().join(name)).expect("the corpus");
    let lines = text.lines().filter_map(|line| line.strip_prefix(";; "));
    let pairs = lines.map(|line| line.split_once(' ').expect("a name and a state"));
    pairs
        .map(|(name, state)| (name.to_owned(), state.to_owned()))
        .collect()
}

/// Copies the corpus into a folder, and makes what its programs write into.
fn lay_out(dir: &Path) {
    fs::create_dir(dir.join("conf.d")).expect("a folder");
    fs::create_dir(dir.join("seen")).expect("a folder");
    // A program that runs as nobody writes there, too.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(dir.join("seen"), open).expect("chmod");
    let reachable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(dir, reachable).expect("chmod");
    // Other users may not be let into the folder of this tree.
    fs::copy(program("witness.py"), dir.join("witness.py")).expect("copy");
    for file in files() {
        let within = file.strip_prefix(corpus()).expect("below it").to_owned();
        fs::copy(&file, dir.join(within)).expect("copy");
    }
}

/// A port of loopback that nobody has at the moment.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").port()
}

fn environment(dir: &Path) -> BTreeMap<String, String> {
    let dir = dir.to_str().expect("text").to_owned();
    [
        ("WITNESS", format!("{dir}/witness.py")),
        ("DIR", dir),
        ("PORT", free_port().to_string()),
        ("W_GIVEN", "by the environment".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// What the programs wrote down, with what differs by nature taken out.
fn seen(dir: &Path, env: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let entries = fs::read_dir(dir.join("seen")).expect("a folder").flatten();
    let read = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().expect("text");
        let text = fs::read_to_string(entry.path()).expect("text");
        let text = text.replace(env["DIR"].as_str(), "DIR");
        (name, text.replace(env["PORT"].as_str(), "PORT"))
    };
    entries.map(read).collect()
}

/// The real one.
struct Real {
    dir: tempfile::TempDir,
    env: BTreeMap<String, String>,
    config: PathBuf,
    child: Child,
}

impl Real {
    fn start(name: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("supervisord-")
            .tempdir()
            .expect("a folder");
        lay_out(dir.path());
        let env = environment(dir.path());
        let config = dir.path().join(name);
        let mut command = Command::new("supervisord");
        command
            .args(["-n", "-c"])
            .arg(&config)
            .envs(&env)
            .env("HOLDALL_TEST", dir.path())
            .current_dir("/");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().expect("supervisord is installed");
        Self {
            dir,
            env,
            config,
            child,
        }
    }

    fn states(&self) -> States {
        let mut command = Command::new("supervisorctl");
        command
            .arg("-c")
            .arg(&self.config)
            .arg("status")
            .envs(&self.env);
        let output = command.output().expect("supervisorctl is installed");
        let text = said(&output);
        let rows = text.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?.to_owned(), words.next()?.to_owned()))
        });
        rows.collect()
    }

    /// Stops it: what its programs wrote down.
    fn stop(mut self) -> (Option<i32>, BTreeMap<String, String>) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a number"));
        kill(pid, Signal::SIGTERM).expect("it lives");
        let status = eventually("supervisord ends", || {
            self.child.try_wait().expect("a child")
        });
        // It leaves behind what it did not kill.
        kill_marked(self.dir.path());
        (status.code(), seen(self.dir.path(), &self.env))
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        kill_marked(self.dir.path());
    }
}

/// Ours.
struct Ours {
    init: Init,
    env: BTreeMap<String, String>,
    names: BTreeMap<String, String>,
}

struct Disk;

impl Files for Disk {
    fn read(&mut self, path: &str) -> std::io::Result<String> {
        fs::read_to_string(path)
    }

    fn names(&mut self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }
}

impl Ours {
    fn setup(name: &str) -> (Setup, BTreeMap<String, String>) {
        let setup = Setup::without_config();
        lay_out(setup.dir.path());
        let env = environment(setup.dir.path());
        let config = setup.path(name);
        let setup = setup.args(&["--supervisord", &config]).at_root();
        let setup = env
            .iter()
            .fold(setup, |setup, (name, value)| setup.env(name, value));
        (setup, env)
    }

    fn start(name: &str) -> Self {
        let (setup, env) = Self::setup(name);
        let around = Surroundings {
            env: env.clone(),
            folder: "/".to_owned(),
            host: "box".to_owned(),
            as_it_is: true,
        };
        let read = holdall_supervisord::read(&setup.path(name), &mut Disk, &around);
        let names = read.expect("well-formed").names;
        let names = names
            .into_iter()
            .map(|(service, own)| (service.to_string(), own));
        let names = names.collect();
        let init = setup.start();
        init.wait_for_socket();
        Self { init, env, names }
    }

    fn states(&self) -> States {
        let word = |state| match state {
            State::Stopped | State::Listening => "STOPPED",
            State::Waiting | State::Starting => "STARTING",
            State::Ready | State::Unhealthy | State::Scheduled => "RUNNING",
            State::Stopping => "STOPPING",
            State::Backoff => "BACKOFF",
            State::Exited => "EXITED",
            State::Fatal => "FATAL",
        };
        let mut states = States::new();
        for service in self.init.status().services {
            let group = service.name.service().to_owned();
            let own = self.names.get(service.name.as_str());
            // Instances of a pool count from 1.
            let own = own.cloned().unwrap_or_else(|| {
                let number = service.name.number().expect("an instance") - 1;
                format!("{group}:{group}_{number}")
            });
            states.insert(own, word(service.state).to_owned());
        }
        states
    }

    fn stop(mut self) -> (Option<i32>, BTreeMap<String, String>) {
        let code = self.init.stop();
        (code, seen(self.init.dir.path(), &self.env))
    }
}

/// Runs a file under both until each has come to the states that it says.
fn side_by_side(name: &str) -> (Real, Ours) {
    let expected = expected(name);
    let (real, ours) = (Real::start(name), Ours::start(name));
    let mut newest = States::new();
    for (who, states) in [
        ("supervisord", &(|| real.states()) as &dyn Fn() -> States),
        ("holdall", &|| ours.states()),
    ] {
        eventually(&format!("{who} has {name} in its states"), || {
            newest = states();
            if newest == expected { Some(()) } else { None }
        });
    }
    (real, ours)
}

/// What happens to processes that nobody told of: which of two is faster.
fn without(mut seen: BTreeMap<String, String>, names: &[&str]) -> BTreeMap<String, String> {
    for name in names {
        seen.remove(*name);
    }
    seen
}

#[test]
fn programs_come_to_the_same_states_by_as_many_starts() {
    let (real, ours) = side_by_side("life.conf");
    let ((real_code, real), (code, ours)) = (real.stop(), ours.stop());
    assert_eq!((real_code, code), (Some(0), Some(0)));
    // All are of one priority: supervisord tells them one after the other.
    assert_eq!(without(ours, &["order"]), without(real, &["order"]));
}

#[test]
fn programs_are_given_the_same() {
    let (real, ours) = side_by_side("given.conf");
    let (real, ours) = (real.stop().1, ours.stop().1);
    assert!(ours["plain"].contains("ids 65534:"), "{ours:?}");
    assert_eq!(without(ours, &["order"]), without(real, &["order"]));
}

#[test]
fn programs_are_told_to_end_in_the_same_order_by_the_same_signals() {
    let (real, ours) = side_by_side("stop.conf");
    let ((real_code, real), (code, ours)) = (real.stop(), ours.stop());
    assert_eq!((real_code, code), (Some(0), Some(0)));
    assert_eq!(ours["order"], "last\nalone\nfamily\nmiddle\ndeaf\nfirst\n");
    assert!(!ours.contains_key("alone-child") && ours.contains_key("family-child"));
    assert_eq!(ours, real);
}

#[test]
fn fcgi_programs_have_their_socket_on_descriptor_0() {
    let (real, ours) = side_by_side("sockets.conf");
    let (real, ours) = (real.stop().1, ours.stop().1);
    assert!(
        ours["single"].contains("stdin AF_UNIX listens 1 at DIR/single.sock"),
        "{ours:?}"
    );
    let plain = |mut seen: BTreeMap<String, String>| {
        seen.remove("order");
        for text in seen.values_mut() {
            // Instances of one service share their environment.
            let own = |line: &&str| !line.contains("SUPERVISOR_PROCESS_NAME");
            *text = text.lines().filter(own).collect::<Vec<_>>().join("\n");
        }
        seen
    };
    assert_eq!(plain(ours), plain(real));
}

#[test]
fn keys_without_effect_are_told_of_and_change_nothing() {
    let (real, mut ours) = side_by_side("logs.conf");
    let told = ours.init.line_with("without effect here");
    for key in [
        "[supervisord] logfile",
        "[program:file] stdout_events_enabled",
        "[supervisorctl] prompt",
    ] {
        assert!(told.contains(key), "{told}");
    }
    assert!(!told.contains("redirect_stderr"), "{told}");
    // A file of both streams has the same lines, as they were written.
    let lines = |dir: &Path| {
        let text = fs::read_to_string(dir.join("merged.log")).unwrap_or_default();
        text.lines()
            .map(str::to_owned)
            .collect::<BTreeSet<String>>()
    };
    let of_both = || (lines(real.dir.path()), lines(ours.init.dir.path()));
    let (theirs, own) = eventually("both files have both lines", || {
        Some(of_both()).filter(|(theirs, own)| theirs.len() == 2 && own.len() == 2)
    });
    assert_eq!(own, theirs);
    let (real, ours) = (real.stop().1, ours.stop().1);
    assert_eq!(without(ours, &["order"]), without(real, &["order"]));
}

#[test]
fn an_event_listener_is_refused_with_what_stands_in_for_it() {
    let real = Real::start("listener.conf");
    let expected = expected("listener.conf");
    eventually("supervisord runs it", || {
        (real.states() == expected).then_some(())
    });
    real.stop();
    let (setup, _) = Ours::setup("listener.conf");
    let (status, stderr) = setup.start().wait();
    assert_eq!(status.code(), Some(1));
    for words in [
        "listener.conf:",
        "[eventlistener:guard] is refused",
        "essential = true",
        "@every 60s",
    ] {
        assert!(stderr.contains(words), "{stderr}");
    }
}

#[test]
fn check_names_every_key_that_is_not_carried_with_its_line_and_why() {
    let (setup, env) = Ours::setup("logs.conf");
    let check = |name: &str, more: &[&str]| {
        let mut command = Command::new(INIT);
        command.args(["check", "--supervisord", &setup.path(name)]);
        let output = command.args(more).envs(&env).output();
        output.expect("init can be started")
    };
    let output = check("logs.conf", &[]);
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8(output.stdout).expect("text");
    let conf = fs::read_to_string(setup.path("logs.conf")).expect("the corpus");
    let logfile = conf.lines().position(|line| line.starts_with("logfile"));
    let line = logfile.expect("it has one") + 1;
    let at = format!(
        "{}:{line}: [supervisord] logfile: ",
        setup.path("logs.conf")
    );
    let found = text.lines().find(|line| line.starts_with(&at));
    assert!(found.expect(&text).len() > at.len() + 10, "{text}");
    assert!(
        text.contains(" without effect, or not all of it\n"),
        "{text}"
    );

    let output = check("logs.conf", &["--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let notes = json["notes"].as_array().expect("a list");
    assert_eq!(notes.len(), text.lines().count() - 1);
    assert!(
        notes
            .iter()
            .all(|note| note["at"].is_string() && note["why"].is_string())
    );
    assert!(json["services"].is_u64() && json["problems"] == serde_json::json!([]));

    let output = check("listener.conf", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("[eventlistener:guard] is refused"));
    let output = check("listener.conf", &["--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let problem = &json["problems"][0];
    assert!(problem["line"].as_u64() > Some(1), "{json}");
    assert_eq!(problem["file"], setup.path("listener.conf"));
    assert!(json["services"].is_null());

    let path = setup.path("bad.conf");
    fs::write(
        &path,
        "[supervisord]\n[program:x]\ncommand = x\nautostart = perhaps\n",
    )
    .expect("write");
    let output = check("bad.conf", &["--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["problems"][0]["line"], 4);
    let output = check("bad.conf", &[]);
    assert!(output.status.code() == Some(1) && said(&output).contains("bad.conf:4:"));
    assert_eq!(check("none.conf", &[]).status.code(), Some(1));
}

#[test]
fn a_wrong_file_is_refused_with_its_lines() {
    let setup = Setup::without_config();
    let path = setup.path("bad.conf");
    let text = "[supervisord]\n\n[program:x]\ncommand = x\nautorestart = perhaps\n";
    fs::write(&path, text).expect("write");
    let (status, stderr) = setup.args(&["--supervisord", &path]).start().wait();
    assert_eq!(status.code(), Some(1));
    assert!(
        stderr.contains("bad.conf:5:15: `autorestart` can't be \"perhaps\""),
        "{stderr}"
    );
}

#[test]
fn a_program_of_another_user_runs_where_that_user_may_not_enter_the_folder_of_init() {
    let config = "[supervisord]\n[program:one]\nuser = nobody\n\
        command = sh -c 'id -u; exec sleep 1000'\n[program:two]\nuser = nobody\n\
        directory = /\ncommand = sh -c 'pwd; exec sleep 1000'\n";
    let setup = Setup::without_config();
    let path = setup.path("s.conf");
    fs::write(&path, config).expect("write");
    let mut init = setup
        .args(&["--supervisord", &path])
        .at_its_folder()
        .start();
    init.wait_for("one  | 65534");
    init.wait_for("two  | /\n");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_reload_reads_the_file_again() {
    let setup = Setup::without_config();
    let path = setup.path("s.conf");
    let text = "[supervisord]\n[program:one]\ncommand = sleep 1000\nstartsecs = 0\n";
    fs::write(&path, text).expect("write");
    let mut init = setup.args(&["--supervisord", &path]).start();
    init.wait_for("one: ready");
    let more = text.replace("one", "two");
    fs::write(
        &path,
        format!("{text}{}", more.replace("[supervisord]\n", "")),
    )
    .expect("write");
    init.signal(Signal::SIGHUP);
    init.wait_for("two: ready");
    assert_eq!(init.stop(), Some(0));
}

/// Every key, as `[section] key`, and the files that have it.
fn used() -> BTreeMap<String, BTreeSet<String>> {
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in files() {
        let file = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(&path).expect("the corpus");
        let mut section: &[Of] = &[];
        for line in text.lines() {
            if let Some(header) = line
                .strip_prefix('[')
                .and_then(|rest| rest.split(']').next())
            {
                section = Of::of_section(header);
            }
            let key = line.split(['=', ':']).next().unwrap_or("").trim();
            for known in KEYS.iter().filter(|known| known.name == key) {
                if section.contains(&known.of) && !line.starts_with([';', ' ']) {
                    let name = format!("{} {key}", known.of.header());
                    used.entry(name).or_default().insert(file.clone());
                }
            }
        }
    }
    used
}

#[test]
fn the_corpus_uses_every_key() {
    let used = used();
    let missing = KEYS
        .iter()
        .map(|key| format!("{} {}", key.of.header(), key.name));
    let missing: Vec<String> = missing.filter(|key| !used.contains_key(key)).collect();
    assert!(
        missing.is_empty(),
        "no file of tests/supervisord has {missing:?}"
    );
}
