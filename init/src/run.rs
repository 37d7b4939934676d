//! From the command line to the loop: the boot, in its order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use holdall_protocol::control::{CGROUP_FD_NAME, CONTROL_FD_NAME, LOG_FD_NAME, SOCKET_NAME};
use holdall_supervise::{Supervisor, Timestamp};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit};

use crate::cgroup::Cgroups;
use crate::clock::Clock;
use crate::config::{self, ConfigError, Loaded, Origin};
use crate::control::Control;
use crate::environment::Environment;
use crate::errand::Errands;
use crate::events::Events;
use crate::kill::Kills;
use crate::lineage::{self, Marks};
use crate::log::pipes::Pipes;
use crate::log::sink::Sink;
use crate::log::{Log, Outlet};
use crate::notices::{Notices, Store};
use crate::notify::Engine;
use crate::perform::complain;
use crate::pid1::{Foreground, Instance, Pid1};
use crate::poll::Poll;
use crate::probe::Probes;
use crate::signals::{Forwarding, Signals};
use crate::sockets::Sockets;
use crate::terminal::Arrangement;
use crate::{account, boot, handed, sys};

/// A bug in init itself.
const BUG: u8 = 70;

/// The checked command line of `run`.
pub(crate) struct Options<'a> {
    pub(crate) config: Option<PathBuf>,
    pub(crate) supervisord: bool,
    pub(crate) run_dir: Option<&'a Path>,
    pub(crate) profile: Option<String>,
    pub(crate) command: Vec<OsString>,
    pub(crate) after_ready: bool,
    pub(crate) forwarding: Forwarding,
    pub(crate) single_child: bool,
}

/// Why the init can't run.
#[derive(Debug, thiserror::Error)]
enum BootError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(
        "nothing to run: there is no /etc/holdall.toml and no command\nhelp: /init --config FILE, or /init -- COMMAND …"
    )]
    Nothing,
    #[error("cannot {verb}")]
    System {
        verb: &'static str,
        #[source]
        errno: Errno,
    },
}

/// Runs the box: the exit code.
pub(crate) fn run(options: &Options<'_>) -> u8 {
    let mut pid1 = match boot(options) {
        Ok(pid1) => pid1,
        Err(BootError::Config(error)) => {
            config::report(&error);
            return 1;
        }
        Err(error) => {
            crate::say(&error);
            return 1;
        }
    };
    // What reading the file took is not needed again: with a thousand services
    // it is more than what they need to be minded.
    sys::mind_memory();
    let code = pid1.run().unwrap_or_else(|errno| {
        complain(&format!(
            "holdall-init: cannot wait for events: {}",
            errno.desc()
        ));
        BUG
    });
    if let Some(dir) = &pid1.run_dir {
        // It may be on a file system that is read-only by now.
        let _ = std::fs::remove_file(dir.join(SOCKET_NAME));
    }
    code
}

/// A panic must not end PID 1 by a signal, silently, or by unwinding through
/// the loop: one line, and a code of its own.
pub(crate) fn catch_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map_or_else(String::new, |at| format!(" at {at}"));
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let text = text.unwrap_or("panic").replace('\n', " ");
        complain(&format!("holdall-init: bug{place}: {text}"));
        sys::exit_now(BUG);
    }));
}

fn boot(options: &Options<'_>) -> Result<Pid1, BootError> {
    let clock = Clock::start();
    let env = Environment::inherited();
    // Before anything is opened: a number that was promised may not be taken.
    let handed = handed::descriptors(&env);
    let is_pid1 = std::process::id() == 1;
    if is_pid1 {
        boot::mount_missing();
    }
    let profile = options.profile.clone();
    let origin = Origin {
        path: options.config.clone(),
        profile: profile.or_else(|| env.text("HOLDALL_PROFILE").map(str::to_owned)),
        supervisord: options.supervisord,
    };
    let loaded = config::load(&origin, &env)?;
    if loaded.is_none() && options.command.is_empty() {
        return Err(BootError::Nothing);
    }
    let Loaded { manifest, remarks } = loaded.unwrap_or_default();
    let system = |verb| move |errno| BootError::System { verb, errno };
    let signals = Signals::take().map_err(system("take over the signals"))?;
    if !is_pid1 {
        prctl::set_child_subreaper(true).map_err(system("become a subreaper"))?;
    }
    let poll = Poll::new().map_err(system("make an epoll"))?;
    let pipes = Pipes::new().map_err(system("make an epoll"))?;
    let null = boot::null(false).map_err(system("open /dev/null"))?;
    let foreground = foreground(options);
    let (handed, refused) = match handed {
        Ok(handed) => (handed, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let received = sort(handed);
    let outlet = outlet(received.log, foreground.as_ref());
    let expanded = manifest.expanded();
    let names = expanded
        .services
        .iter()
        .map(|service| service.name.clone())
        .collect();
    let mut log = Log::new(names, outlet, manifest.init.log);
    if let Some(refused) = refused {
        log.say(&refused.to_string());
    }
    let mut sockets = Sockets::default();
    for refused in sockets.receive(received.others, &manifest) {
        log.say(&refused);
    }
    let mut control = Control::new();
    for socket in received.control {
        control
            .listen(&poll, socket, false)
            .map_err(system("listen on the socket handed over"))?;
    }
    for remark in remarks {
        log.say(&remark);
    }
    let run_dir = listen(options, &poll, &mut control, &mut log);
    let has_proc = lineage::proc_is_ours();
    let marks = marks(has_proc, &mut log);
    let supervise = holdall_supervise::Options {
        foreground: foreground.is_some(),
        after_ready: options.after_ready,
        seed: salt(),
    };
    let mut pid1 = Pid1 {
        clock,
        now: Timestamp::default(),
        poll,
        signals,
        supervisor: Supervisor::new(&expanded, supervise),
        instances: expanded
            .services
            .iter()
            .map(|_| Instance::default())
            .collect(),
        base: manifest,
        origin,
        sockets,
        awaiting: BTreeSet::new(),
        errands: Errands::default(),
        clock_watch: None,
        starting: VecDeque::new(),
        log,
        events: Events::default(),
        pipes,
        children: BTreeMap::new(),
        foreground,
        kills: Kills::new(has_proc),
        probes: Probes::default(),
        notices: Notices::new(salt()),
        store: Store::default(),
        engine: Engine::default(),
        control,
        marks,
        cgroups: Cgroups::find(is_pid1, received.cgroups),
        child_env: child_env(&env),
        env,
        null,
        next_number: 0,
        reap_more: true,
        sink_watched: false,
        farewell: None,
        run_dir,
    };
    pid1.now = clock.now();
    pid1.open_sockets();
    Ok(pid1)
}

/// What every child gets: HOME too, where the engine has set none.
fn child_env(env: &Environment) -> Environment {
    let mut child = env.for_children();
    if child.get("HOME").is_none() {
        let own = account::find(&nix::unistd::geteuid().to_string());
        child.set("HOME", own.map_or_else(|_| "/".to_owned(), |own| own.home));
    }
    child
}

fn foreground(options: &Options<'_>) -> Option<Foreground> {
    if options.command.is_empty() {
        return None;
    }
    let command = options
        .command
        .iter()
        .map(|word| word.clone().into_vec())
        .collect();
    Some(Foreground {
        command,
        terminal: Arrangement::make(),
        forwarding: options.forwarding.clone(),
        single_child: options.single_child,
        pid: None,
        mark: None,
    })
}

/// What was handed over, by its names.
#[derive(Default)]
struct Received {
    /// Sockets at which clients ask.
    control: Vec<OwnedFd>,
    /// Where the log goes.
    log: Option<OwnedFd>,
    /// Groups to divide.
    cgroups: Vec<(String, OwnedFd)>,
    /// What may be for services.
    others: Vec<(String, OwnedFd)>,
}

fn sort(handed: Vec<(String, OwnedFd)>) -> Received {
    let mut received = Received::default();
    for (name, fd) in handed {
        match name.as_str() {
            CONTROL_FD_NAME => received.control.push(fd),
            LOG_FD_NAME => received.log = Some(fd),
            // One of a later holdall, too: it is for no service.
            cgroup if cgroup.starts_with(CGROUP_FD_NAME) => received.cgroups.push((name, fd)),
            _ => received.others.push((name, fd)),
        }
    }
    received
}

/// Where the log goes.
fn outlet(log: Option<OwnedFd>, foreground: Option<&Foreground>) -> Outlet {
    if let Some(fd) = log {
        return Outlet::Runtime(Sink::new(fd));
    }
    let has_terminal = foreground.is_some_and(|command| command.terminal != Arrangement::None);
    let stdout = std::io::stdout().as_fd().try_clone_to_owned().ok();
    let stdout = stdout.filter(|_| !has_terminal).map(Sink::new);
    stdout.map_or(Outlet::Nowhere, Outlet::Stdout)
}

fn listen(
    options: &Options<'_>,
    poll: &Poll,
    control: &mut Control,
    log: &mut Log,
) -> Option<PathBuf> {
    match boot::open_run_dir(options.run_dir) {
        Ok((path, socket)) => {
            if let Err(errno) = control.listen(poll, socket, true) {
                log.say(&format!("no control socket: {}", errno.desc()));
            }
            Some(path)
        }
        Err(errors) => {
            for error in errors {
                let cause = std::error::Error::source(&error);
                let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
                log.say(&format!("no control socket: {error}{cause}"));
            }
            None
        }
    }
}

/// The marks by which descendants are found, or why there are none.
fn marks(has_proc: bool, log: &mut Log) -> Option<Marks> {
    if !has_proc {
        log.say("there is no /proc: what leaves the process group of its service is not found");
        return None;
    }
    let limit = getrlimit(Resource::RLIMIT_LOCKS).map_or(0, |(_, hard)| hard);
    let marks = Marks::under(limit, salt());
    if marks.is_none() {
        log.say(
            "RLIMIT_LOCKS is too low: what leaves the process group of its service is not found",
        );
    }
    marks
}

/// A number that differs from one init to the next.
fn salt() -> u64 {
    crate::clock::wall_micros() ^ (u64::from(std::process::id()) << 20)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    #[ignore = "run by the test below, in a process of its own"]
    fn panics() {
        catch_panics();
        panic!("a bug\nin two lines");
    }

    #[test]
    fn a_panic_prints_one_line_and_ends_with_70() {
        let tests = std::env::current_exe().expect("a path");
        let mut command = Command::new(tests);
        command.args(["--exact", "run::tests::panics", "--ignored", "--nocapture"]);
        let output = command.output().expect("start");
        assert_eq!(output.status.code(), Some(i32::from(BUG)));
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            text.starts_with("holdall-init: bug at init/src/run.rs:"),
            "{text}"
        );
        assert!(
            text.ends_with("a bug in two lines\n") && text.lines().count() == 1,
            "{text}"
        );
    }
}
