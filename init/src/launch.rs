//! What to start, worked out before the fork: after it nothing may be
//! allocated.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt;

use holdall_protocol::account::Account;
use holdall_protocol::manifest::{self, Bounds, Service};
use nix::sys::resource::{RLIM_INFINITY, Resource};
use nix::unistd::{self, Gid};

use crate::environment::Environment;
use crate::spawn::SpawnError;
use crate::sys::Strings;
use crate::{account, env_file};

/// Digits of the largest process number; such a slot is filled in by the child.
const PID_DIGITS: &str = "0000000000";

/// Everything about a program that is to run, ready for the child, which gets a
/// copy: what is borrowed here would not be there.
#[derive(Clone)]
pub(crate) struct Launch {
    /// The program's name as it was asked for, for messages.
    pub(crate) program: String,
    /// Paths to try in their order.
    pub(crate) candidates: Vec<CString>,
    pub(crate) argv: Strings,
    pub(crate) env: Strings,
    /// Where in `env` the child writes its own number, and after how many
    /// bytes.
    pub(crate) pid_slots: Vec<(usize, usize)>,
    pub(crate) dir: Option<CString>,
    /// Whom to become; init's own ids stay where none.
    pub(crate) account: Option<Account>,
    /// The account's supplementary groups, as the call wants them.
    pub(crate) groups: Vec<Gid>,
    pub(crate) umask: Option<u32>,
    /// Become 3, 4, …
    pub(crate) handed: Vec<RawFd>,
    /// And every other descriptor that is open without close-on-exec.
    pub(crate) passes_all: bool,
    /// Those of setrlimit(2), soft and hard.
    pub(crate) limits: Vec<(Resource, u64, u64)>,
    pub(crate) nice: Option<i8>,
    /// As the kernel's file wants it.
    pub(crate) oom_score_adj: Option<Vec<u8>>,
    /// The value of RLIMIT_LOCKS by which its descendants are found.
    pub(crate) mark: Option<u64>,
    /// `cgroup.procs` of each group that it joins.
    pub(crate) cgroups: Vec<RawFd>,
    /// It is not executed: the child, as whom it would run, looks whether it
    /// is there.
    pub(crate) looks: bool,
    /// A descriptor of ours, and which it becomes: where the service announces
    /// that it is ready.
    pub(crate) announce: Option<(RawFd, RawFd)>,
}

impl Launch {
    /// A service's command, or its exec probe where `argv` is another.
    pub(crate) fn service(
        service: &Service,
        argv: &[String],
        base: &Environment,
        sockets: &[(String, RawFd)],
    ) -> Result<Self, SpawnError> {
        let account = account::of(service.user.as_deref(), service.group.as_deref())
            .map_err(SpawnError::Account)?;
        let mut env = environment(service, account.as_ref(), base)?;
        let names: Vec<&str> = sockets.iter().map(|(name, _)| name.as_str()).collect();
        if !names.is_empty() {
            env.set("LISTEN_FDS", names.len().to_string());
            env.set("LISTEN_FDNAMES", names.join(":"));
        }
        let words = argv.iter().map(|word| word.as_bytes().to_vec()).collect();
        let mut launch = Self::program(words, &env, !names.is_empty())?;
        launch.dir = folder(&service.dir, account.is_some())?;
        launch.set_account(account);
        launch.add_groups(&service.groups)?;
        launch.umask = Some(service.umask);
        launch.limits = limits(&service.limits.resources);
        launch.nice = service.limits.nice;
        let score = service.limits.oom_score_adj;
        launch.oom_score_adj = score.map(|score| score.to_string().into_bytes());
        launch.handed = sockets.iter().map(|(_, fd)| *fd).collect();
        Ok(launch)
    }

    /// A program of an exec request.
    pub(crate) fn exec(
        argv: &[String],
        extra: &[String],
        dir: Option<&str>,
        user: Option<&str>,
        base: &Environment,
    ) -> Result<Self, SpawnError> {
        let account = account::of(user, None).map_err(SpawnError::Account)?;
        let mut env = base.clone();
        adopt_account(&mut env, account.as_ref());
        for variable in extra {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            env.set(name, value);
        }
        let words = argv.iter().map(|word| word.as_bytes().to_vec()).collect();
        let mut launch = Self::program(words, &env, false)?;
        launch.dir = dir.map(|dir| string(dir.as_bytes())).transpose()?;
        launch.set_account(account);
        Ok(launch)
    }

    /// Whose the program is: uid and gid, where they are not init's own.
    pub(crate) fn owner(&self) -> Option<(u32, u32)> {
        let account = self.account.as_ref();
        account.map(|account| (account.uid, account.gid))
    }

    /// More supplementary groups, by name or number.
    fn add_groups(&mut self, names: &[String]) -> Result<(), SpawnError> {
        if names.is_empty() {
            return Ok(());
        }
        if self.account.is_none() {
            self.groups = unistd::getgroups().unwrap_or_default();
        }
        for name in names {
            let gid = account::group(name).map_err(SpawnError::Account)?;
            self.groups.push(Gid::from_raw(gid));
        }
        Ok(())
    }

    pub(crate) fn set_account(&mut self, account: Option<Account>) {
        let groups = account.iter().flat_map(|account| &account.groups);
        self.groups = groups.map(|group| Gid::from_raw(*group)).collect();
        self.account = account;
    }

    /// A program with init's own account and directory.
    pub(crate) fn program(
        argv: Vec<Vec<u8>>,
        env: &Environment,
        with_pid: bool,
    ) -> Result<Self, SpawnError> {
        let program = argv.first().cloned().unwrap_or_default();
        let candidates = candidates(&program, env)?;
        let argv: Result<Vec<CString>, SpawnError> = argv.iter().map(|word| string(word)).collect();
        let mut strings: Vec<CString> = env.strings().collect();
        let watched = env.get("WATCHDOG_USEC").is_some();
        let slots = [("LISTEN_PID", with_pid), ("WATCHDOG_PID", watched)];
        let mut pid_slots = Vec::new();
        for (name, _) in slots.into_iter().filter(|(_, wanted)| *wanted) {
            pid_slots.push((strings.len(), name.len() + 1));
            strings.push(string(format!("{name}={PID_DIGITS}").as_bytes())?);
        }
        Ok(Self {
            program: String::from_utf8_lossy(&program).into_owned(),
            candidates,
            argv: Strings::new(&argv?),
            env: Strings::new(&strings),
            pid_slots,
            dir: None,
            account: None,
            groups: Vec::new(),
            umask: None,
            handed: Vec::new(),
            passes_all: false,
            limits: Vec::new(),
            nice: None,
            oom_score_adj: None,
            mark: None,
            cgroups: Vec::new(),
            looks: false,
            announce: None,
        })
    }
}

/// The environment of a service.
pub(crate) fn environment(
    service: &Service,
    account: Option<&Account>,
    base: &Environment,
) -> Result<Environment, SpawnError> {
    let mut env = base.clone();
    adopt_account(&mut env, account.filter(|_| service.user.is_some()));
    for file in &service.env_files {
        env_file::read(file, &mut env)?;
    }
    for (name, value) in &service.env {
        env.set(name.as_str(), value.as_str());
    }
    env.set("HOLDALL_SERVICE", service.name.as_str());
    if let Some(number) = service.name.number() {
        env.set("HOLDALL_INSTANCE", number.to_string());
    }
    Ok(env)
}

/// The folder to enter. None where init is in it: who becomes another user may
/// not be let into it, and needs not be, as it is there already. (The folder
/// of init is that of a program of a supervisord.conf which names none.)
fn folder(dir: &str, becomes_another: bool) -> Result<Option<CString>, SpawnError> {
    let place = |path| fs::metadata(path).map(|found| (found.dev(), found.ino()));
    let there = || place(dir).ok().zip(place(".").ok());
    if becomes_another && there().is_some_and(|(wanted, own)| wanted == own) {
        return Ok(None);
    }
    string(dir.as_bytes()).map(Some)
}

/// Limits as setrlimit(2) wants them.
fn limits(limits: &BTreeMap<manifest::Resource, Bounds>) -> Vec<(Resource, u64, u64)> {
    use holdall_protocol::manifest::Resource as Named;
    let number = |limit: Option<u64>| limit.unwrap_or(RLIM_INFINITY);
    let limit = |(named, bounds): (&Named, &Bounds)| {
        let resource = match named {
            Named::AddressSpace => Resource::RLIMIT_AS,
            Named::Core => Resource::RLIMIT_CORE,
            Named::CpuTime => Resource::RLIMIT_CPU,
            Named::Data => Resource::RLIMIT_DATA,
            Named::FileSize => Resource::RLIMIT_FSIZE,
            Named::Memlock => Resource::RLIMIT_MEMLOCK,
            Named::MsgQueue => Resource::RLIMIT_MSGQUEUE,
            Named::Nofile => Resource::RLIMIT_NOFILE,
            Named::Nproc => Resource::RLIMIT_NPROC,
            Named::RtPriority => Resource::RLIMIT_RTPRIO,
            Named::SigPending => Resource::RLIMIT_SIGPENDING,
            Named::Stack => Resource::RLIMIT_STACK,
        };
        (resource, number(bounds.soft), number(bounds.hard))
    };
    limits.iter().map(limit).collect()
}

/// HOME, USER and LOGNAME of the account that a program becomes.
fn adopt_account(env: &mut Environment, account: Option<&Account>) {
    if let Some(account) = account {
        let name = account.name.clone();
        env.become_user(account, &name.unwrap_or_else(|| account.uid.to_string()));
    }
}

/// Where the program may lie: as it is where it has a slash, else in each
/// directory of PATH. The child tries them, with the rights of its own user.
fn candidates(program: &[u8], env: &Environment) -> Result<Vec<CString>, SpawnError> {
    if program.is_empty() {
        return Err(SpawnError::EmptyProgram);
    }
    if program.contains(&b'/') {
        return Ok(vec![string(program)?]);
    }
    let join = |dir: &[u8]| {
        let dir = if dir.is_empty() { b"." } else { dir };
        string(&[dir, b"/", program].concat())
    };
    env.path().map(join).collect()
}

fn string(bytes: &[u8]) -> Result<CString, SpawnError> {
    CString::new(bytes).map_err(|_| SpawnError::Nul(String::from_utf8_lossy(bytes).into_owned()))
}
