//! What a new manifest changes, service by service.

use std::fmt;

use holdall_protocol::ServiceName;
use holdall_protocol::manifest::Service;

/// One service that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// It is new, and is started.
    Added {
        /// Which.
        service: ServiceName,
    },
    /// It is no longer there, and is stopped.
    Removed {
        /// Which.
        service: ServiceName,
    },
    /// Its process is given something else: it is started again.
    Restarted {
        /// Which.
        service: ServiceName,
        /// The keys that say so.
        keys: Vec<&'static str>,
    },
    /// It is treated otherwise, and goes on running.
    Adjusted {
        /// Which.
        service: ServiceName,
        /// The keys that say so.
        keys: Vec<&'static str>,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added { service } => write!(f, "{service}: is new, and is started"),
            Self::Removed { service } => write!(f, "{service}: is gone, and is stopped"),
            Self::Restarted { service, keys } => {
                write!(f, "{service}: is started again ({})", keys.join(", "))
            }
            Self::Adjusted { service, keys } => {
                write!(f, "{service}: goes on, and changes {}", keys.join(", "))
            }
        }
    }
}

/// Whether a key says the same of two services.
type Same = fn(&Service, &Service) -> bool;

/// What a process is given at its start, and can't be given later.
const OF_THE_PROCESS: &[(&str, Same)] = &[
    ("type", |a, b| a.kind == b.kind),
    ("command", |a, b| a.command == b.command),
    ("user", |a, b| a.user == b.user),
    ("group", |a, b| a.group == b.group),
    ("groups", |a, b| a.groups == b.groups),
    ("umask", |a, b| a.umask == b.umask),
    ("dir", |a, b| a.dir == b.dir),
    ("env", |a, b| a.env == b.env),
    ("env_file", |a, b| a.env_files == b.env_files),
    ("templates", |a, b| a.templates == b.templates),
    ("limits", |a, b| a.limits == b.limits),
    ("log", |a, b| a.log == b.log),
    ("listen", |a, b| a.listen == b.listen),
    ("handoff", |a, b| a.handoff == b.handoff),
    ("ready", |a, b| a.ready == b.ready),
    ("watchdog", |a, b| a.watchdog == b.watchdog),
    // How often it is asked can change while it runs; whether, can't.
    ("health", |a, b| a.health.is_some() == b.health.is_some()),
];

/// What is only for init to know.
const OF_INIT: &[(&str, Same)] = &[
    ("depends_on", |a, b| a.depends_on == b.depends_on),
    ("expose", |a, b| a.expose == b.expose),
    ("volumes", |a, b| a.volumes == b.volumes),
    ("start", |a, b| a.start == b.start),
    ("order", |a, b| a.order == b.order),
    ("schedule", |a, b| a.schedule == b.schedule),
    ("health", |a, b| {
        a.health.is_some() != b.health.is_some() || a.health == b.health
    }),
    ("on_unhealthy", |a, b| a.on_unhealthy == b.on_unhealthy),
    ("restart", |a, b| a.restart == b.restart),
    ("success", |a, b| a.success == b.success),
    ("start_retries", |a, b| a.start_retries == b.start_retries),
    ("backoff", |a, b| a.backoff == b.backoff),
    ("give_up", |a, b| a.give_up == b.give_up),
    ("essential", |a, b| a.essential == b.essential),
    ("stop", |a, b| a.stop == b.stop),
    ("reload", |a, b| a.reload == b.reload),
];

/// What becomes of a service that is `new` now; none where nothing changes.
pub(crate) fn between(old: &Service, new: &Service) -> Option<Change> {
    let differ = |keys: &'static [(&'static str, Same)]| {
        let differ = keys.iter().filter(|(_, same)| !same(old, new));
        differ.map(|(key, _)| *key).collect::<Vec<&str>>()
    };
    let service = new.name.clone();
    let (mut keys, others) = (differ(OF_THE_PROCESS), differ(OF_INIT));
    if !keys.is_empty() {
        keys.extend(others);
        return Some(Change::Restarted { service, keys });
    }
    (!others.is_empty()).then_some(Change::Adjusted {
        service,
        keys: others,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdall_protocol::manifest::Kind;

    #[test]
    fn every_key_of_a_service_is_either_of_its_process_or_of_init() {
        let fields = format!("{:?}", service());
        // The fields as Debug names them, apart from those that tell services
        // apart and those that are used up before.
        let named = fields.matches(": ").count();
        assert!(named > 30, "{fields}");
        let others = ["name", "instances", "profiles"].len();
        let keys = OF_THE_PROCESS.len() + OF_INIT.len() - 1;
        let top = top_level_fields(&fields);
        assert_eq!(keys + others, top.len(), "{top:?}");
    }

    /// Names of the fields of the outermost struct.
    fn top_level_fields(debug: &str) -> Vec<&str> {
        let (mut depth, mut quoted, mut start, mut found) = (0, false, 0, Vec::new());
        for (at, c) in debug.char_indices() {
            match c {
                '"' => quoted = !quoted,
                '{' | '[' | '(' if !quoted => depth += 1,
                '}' | ']' | ')' if !quoted => depth -= 1,
                _ => {}
            }
            if !quoted && depth == 1 {
                if c == '{' || c == ',' {
                    start = at + 1;
                } else if c == ':' && start > 0 {
                    found.extend(debug.get(start..at).map(str::trim));
                    start = 0;
                }
            }
        }
        found
    }

    fn service() -> Service {
        let name = "a".parse().expect("a name");
        Service::new(name, Kind::Daemon, vec!["a".to_owned()])
    }

    #[test]
    fn what_a_process_is_given_starts_it_again_and_the_rest_does_not() {
        let old = service();
        assert_eq!(between(&old, &old), None);
        let mut new = old.clone();
        new.essential = false;
        let change = between(&old, &new).expect("it is not as it was");
        assert_eq!(change.to_string(), "a: goes on, and changes essential");
        new.umask = 0;
        let change = between(&old, &new).expect("it is not as it was");
        assert_eq!(change.to_string(), "a: is started again (umask, essential)");
    }
}
