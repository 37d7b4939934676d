//! Every section and key that supervisord 4.2 and 4.3 know, with their
//! defaults, and what becomes of them here.

use crate::value::Kind;

/// Which sections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// `[supervisord]`
    Supervisord,
    /// `[program:x]`, `[fcgi-program:x]` and `[eventlistener:x]`
    Program,
    /// `[fcgi-program:x]`
    Fcgi,
    /// `[eventlistener:x]`
    Listener,
    /// `[group:x]`
    Group,
    /// `[include]`
    Include,
    /// `[unix_http_server]`
    UnixServer,
    /// `[inet_http_server]`
    InetServer,
    /// `[supervisorctl]`
    Client,
    /// `[rpcinterface:x]`
    Rpc,
    /// `[ctlplugin:x]`
    Plugin,
}

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is carried over, to this.
    Becomes(&'static str),
    /// It is not, for this reason.
    Dropped(&'static str),
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Where it stands.
    pub of: Of,
    /// Its name.
    pub name: &'static str,
    /// What holds where it is not there.
    pub default: &'static str,
    /// How its value is read.
    pub(crate) kind: Kind,
    /// What becomes of it.
    pub fate: Fate,
}

impl Of {
    /// As a person writes the section.
    #[must_use]
    pub fn header(self) -> &'static str {
        match self {
            Self::Supervisord => "[supervisord]",
            Self::Program => "[program:x]",
            Self::Fcgi => "[fcgi-program:x]",
            Self::Listener => "[eventlistener:x]",
            Self::Group => "[group:x]",
            Self::Include => "[include]",
            Self::UnixServer => "[unix_http_server]",
            Self::InetServer => "[inet_http_server]",
            Self::Client => "[supervisorctl]",
            Self::Rpc => "[rpcinterface:x]",
            Self::Plugin => "[ctlplugin:x]",
        }
    }

    /// The kinds of keys that a section of this name may have; none where
    /// supervisord does not know it.
    #[must_use]
    pub fn of_section(name: &str) -> &'static [Self] {
        match name.split_once(':').map_or(name, |(kind, _)| kind) {
            "supervisord" => &[Self::Supervisord],
            "program" => &[Self::Program],
            "fcgi-program" => &[Self::Program, Self::Fcgi],
            "eventlistener" => &[Self::Program, Self::Listener],
            "group" => &[Self::Group],
            "include" => &[Self::Include],
            "unix_http_server" => &[Self::UnixServer],
            "inet_http_server" => &[Self::InetServer],
            "supervisorctl" => &[Self::Client],
            "rpcinterface" => &[Self::Rpc],
            "ctlplugin" => &[Self::Plugin],
            _ => &[],
        }
    }
}

/// The key of this name that a section may have.
pub(crate) fn find(section: &str, name: &str) -> Option<&'static Key> {
    let of = Of::of_section(section);
    KEYS.iter()
        .find(|key| key.name == name && of.contains(&key.of))
}

const CONTROL: &str = "clients speak to init over its control socket: `/init ps`, `holdall ps BOX`";
const OWN_LOG: &str = "init says what it does in the log of the box";
const NO_DAEMON: &str = "init never goes into the background";
const CAPTURE: &str = "nothing listens to marks in the output: a service that has something to say uses sd_notify or its log";
const EVENTS: &str = "log lines are no events: `/init logs --follow` has them";
const SYSLOG: &str = "the log of the box goes wherever its engine puts it, syslog included";
const EMPTYING: &str = "there are no AUTO log files to clear";

const fn becomes(
    of: Of,
    name: &'static str,
    default: &'static str,
    kind: Kind,
    what: &'static str,
) -> Key {
    let fate = Fate::Becomes(what);
    Key {
        of,
        name,
        default,
        kind,
        fate,
    }
}

const fn dropped(
    of: Of,
    name: &'static str,
    default: &'static str,
    kind: Kind,
    why: &'static str,
) -> Key {
    let fate = Fate::Dropped(why);
    Key {
        of,
        name,
        default,
        kind,
        fate,
    }
}

/// All of them, a row each.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    becomes(Of::Supervisord, "directory", "", Kind::Text, "`dir` of programs that have none, unless nodaemon"),
    becomes(Of::Supervisord, "environment", "", Kind::Text, "`env` of every service"),
    becomes(Of::Supervisord, "umask", "022", Kind::Octal, "`umask` of programs that have none, unless nodaemon"),
    becomes(Of::Supervisord, "user", "", Kind::Text, "`user` of programs that have none"),
    dropped(Of::Supervisord, "childlogdir", "the temporary folder", Kind::Text, "what a program says is in the log of the box, and in its own where it has one"),
    dropped(Of::Supervisord, "identifier", "supervisor", Kind::Text, "a box has its own name"),
    dropped(Of::Supervisord, "logfile", "supervisord.log", Kind::Text, OWN_LOG),
    dropped(Of::Supervisord, "logfile_backups", "10", Kind::Integer, OWN_LOG),
    dropped(Of::Supervisord, "logfile_maxbytes", "50MB", Kind::Bytes, OWN_LOG),
    dropped(Of::Supervisord, "loglevel", "info", Kind::LogLevel, "init says what happens to services, and nothing else"),
    dropped(Of::Supervisord, "minfds", "1024", Kind::Integer, "init has no such limit; a service's own is `limits.nofile`"),
    dropped(Of::Supervisord, "minprocs", "200", Kind::Integer, "init has no such limit; a service's own is `limits.nproc`"),
    dropped(Of::Supervisord, "nocleanup", "false", Kind::Boolean, EMPTYING),
    dropped(Of::Supervisord, "nodaemon", "false", Kind::Boolean, NO_DAEMON),
    dropped(Of::Supervisord, "pidfile", "supervisord.pid", Kind::Text, "init is process 1 of its box"),
    dropped(Of::Supervisord, "silent", "false", Kind::Boolean, OWN_LOG),
    dropped(Of::Supervisord, "strip_ansi", "false", Kind::Boolean, "lines are kept as they come"),
    becomes(Of::Program, "autorestart", "unexpected", Kind::AutoRestart, "`restart`: `always`, `never`, or `on-failure` with `success`"),
    becomes(Of::Program, "autostart", "true", Kind::Boolean, "`start = \"manual\"` where it is false"),
    becomes(Of::Program, "command", "", Kind::Text, "`command`"),
    becomes(Of::Program, "directory", "", Kind::Text, "`dir`"),
    becomes(Of::Program, "environment", "", Kind::Text, "`env`"),
    becomes(Of::Program, "exitcodes", "0", Kind::ExitCodes, "`success`"),
    becomes(Of::Program, "killasgroup", "as stopasgroup", Kind::Boolean, "nothing: the kill always takes every process of a service, whatever its group"),
    becomes(Of::Program, "numprocs", "1", Kind::Integer, "so many services; of an fcgi-program `instances`, which share its socket"),
    becomes(Of::Program, "numprocs_start", "0", Kind::Integer, "the number of the first of them"),
    becomes(Of::Program, "priority", "999", Kind::Integer, "the place in the file, and `order` where groups differ in it"),
    becomes(Of::Program, "process_name", "%(program_name)s", Kind::Text, "the service's name, in small letters; `group.process` where it is taken"),
    becomes(Of::Program, "redirect_stderr", "false", Kind::Boolean, "nothing: both streams go to the same log"),
    becomes(Of::Program, "startretries", "3", Kind::Integer, "`start_retries`"),
    becomes(Of::Program, "startsecs", "1", Kind::Integer, "`ready = { after = \"1s\" }`; 0: ready at once"),
    becomes(Of::Program, "stderr_logfile", "AUTO", Kind::Text, "as stdout_logfile; a second file of its own is not kept"),
    becomes(Of::Program, "stdout_logfile", "AUTO", Kind::Text, "`log.file`; `log = \"passthrough\"` for /dev/stdout and the like; else the log of the box"),
    becomes(Of::Program, "stdout_logfile_backups", "10", Kind::Integer, "`log.count`"),
    becomes(Of::Program, "stdout_logfile_maxbytes", "50MB", Kind::Bytes, "`log.size`, at least 64K; 0: as large as can be"),
    becomes(Of::Program, "stopasgroup", "false", Kind::Boolean, "`stop.group`"),
    becomes(Of::Program, "stopsignal", "TERM", Kind::Signal, "`stop.signal`"),
    becomes(Of::Program, "stopwaitsecs", "10", Kind::Integer, "`stop.timeout`, and their sum `stop_timeout` of the box"),
    becomes(Of::Program, "umask", "that of supervisord", Kind::Octal, "`umask`"),
    becomes(Of::Program, "user", "that of supervisord", Kind::Text, "`user`; HOME, USER and LOGNAME are then those of the user"),
    dropped(Of::Program, "serverurl", "AUTO", Kind::Text, CONTROL),
    dropped(Of::Program, "stderr_capture_maxbytes", "0", Kind::Bytes, CAPTURE),
    dropped(Of::Program, "stderr_events_enabled", "false", Kind::Boolean, EVENTS),
    becomes(Of::Program, "stderr_logfile_backups", "10", Kind::Integer, "`log.count`, where only stderr has a file"),
    becomes(Of::Program, "stderr_logfile_maxbytes", "50MB", Kind::Bytes, "`log.size`, where only stderr has a file"),
    dropped(Of::Program, "stderr_syslog", "false", Kind::Boolean, SYSLOG),
    dropped(Of::Program, "stdout_capture_maxbytes", "0", Kind::Bytes, CAPTURE),
    dropped(Of::Program, "stdout_events_enabled", "false", Kind::Boolean, EVENTS),
    dropped(Of::Program, "stdout_syslog", "false", Kind::Boolean, SYSLOG),
    becomes(Of::Fcgi, "socket", "", Kind::Text, "a socket of `listen`, with `stdin = true`"),
    becomes(Of::Fcgi, "socket_backlog", "the kernel's", Kind::Integer, "its `backlog`"),
    becomes(Of::Fcgi, "socket_mode", "0700", Kind::Octal, "its `mode`"),
    becomes(Of::Fcgi, "socket_owner", "that of the program", Kind::Text, "its `owner`"),
    dropped(Of::Listener, "buffer_size", "10", Kind::Integer, "event listeners are refused"),
    dropped(Of::Listener, "events", "", Kind::Text, "event listeners are refused, with what stands in for each event"),
    dropped(Of::Listener, "result_handler", "supervisor.dispatchers:default_handler", Kind::Text, "event listeners are refused"),
    becomes(Of::Group, "priority", "999", Kind::Integer, "`order` of its services, where groups differ in it"),
    becomes(Of::Group, "programs", "", Kind::Text, "the group's name before the service's, where that is taken"),
    becomes(Of::Include, "files", "", Kind::Text, "what is in the files"),
    dropped(Of::UnixServer, "chmod", "0700", Kind::Octal, CONTROL),
    dropped(Of::UnixServer, "chown", "", Kind::Text, CONTROL),
    dropped(Of::UnixServer, "file", "", Kind::Text, CONTROL),
    dropped(Of::UnixServer, "password", "", Kind::Text, CONTROL),
    dropped(Of::UnixServer, "username", "", Kind::Text, CONTROL),
    dropped(Of::InetServer, "password", "", Kind::Text, CONTROL),
    dropped(Of::InetServer, "port", "", Kind::Text, CONTROL),
    dropped(Of::InetServer, "username", "", Kind::Text, CONTROL),
    dropped(Of::Client, "history_file", "", Kind::Text, CONTROL),
    dropped(Of::Client, "password", "", Kind::Text, CONTROL),
    dropped(Of::Client, "prompt", "supervisor", Kind::Text, CONTROL),
    dropped(Of::Client, "serverurl", "http://localhost:9001", Kind::Text, CONTROL),
    dropped(Of::Client, "username", "", Kind::Text, CONTROL),
    dropped(Of::Rpc, "supervisor.rpcinterface_factory", "", Kind::Text, "there is no XML-RPC: clients speak to the control socket"),
    dropped(Of::Plugin, "supervisor.ctl_factory", "", Kind::Text, "there is no supervisorctl: `/init` is its own client"),
];
