//! `[service.NAME]`.

use std::ops::Range;

use super::parse::{environment, profile_name};
use super::policy::{backoff, give_up, stop};
use super::values::{absolute, account, umask, words};
use super::{
    Backoff, Condition, Dependency, GiveUp, Kind, OnUnhealthy, Restart, Service, Stop, health,
    ports,
};
use crate::decode::{Problems, Table, Value};
use crate::{Millis, ServiceName, Signal};

/// Keys of the design that this release does not know what to do with.
const NOT_BUILT: &[&str] = &[
    "env_file",
    "handoff",
    "instances",
    "limits",
    "log",
    "ready",
    "reload",
    "schedule",
    "secrets",
    "templates",
];

/// Keys that are built.
const KEYS: &[&str] = &[
    "backoff",
    "command",
    "depends_on",
    "dir",
    "env",
    "essential",
    "expose",
    "give_up",
    "group",
    "health",
    "listen",
    "on_unhealthy",
    "profiles",
    "restart",
    "stop",
    "type",
    "umask",
    "user",
    "volumes",
];

/// Every key of a service but `env`: what a profile can't set yet.
pub(super) fn all_keys() -> Vec<&'static str> {
    let others = KEYS.iter().filter(|key| **key != "env");
    others.chain(NOT_BUILT).copied().collect()
}

/// What compose and supervisord call them.
const ELSEWHERE: &[(&str, &str)] = &[
    ("after", "depends_on"),
    ("autorestart", "restart"),
    ("cmd", "command"),
    ("cwd", "dir"),
    ("directory", "dir"),
    ("entrypoint", "command"),
    ("environment", "env"),
    ("healthcheck", "health"),
    ("needs", "depends_on"),
    ("numprocs", "instances"),
    ("on_failure", "restart"),
    ("ports", "expose"),
    ("replicas", "instances"),
    ("requires", "depends_on"),
    ("restart_policy", "restart"),
    ("startretries", "give_up"),
    ("stop_grace_period", "stop"),
    ("stop_signal", "stop"),
    ("stopsignal", "stop"),
    ("stopwaitsecs", "stop"),
    ("working_dir", "dir"),
    ("workdir", "dir"),
];

/// A service with the places of what is checked across services.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) service: Service,
    /// As many as [`Service::depends_on`], and for each of the following
    /// alike.
    pub(super) depends_spans: Vec<Range<usize>>,
    /// Dependencies on what can't be the name of a service.
    pub(super) unnamed: Vec<(String, Range<usize>)>,
    pub(super) listen_spans: Vec<Range<usize>>,
    pub(super) expose_spans: Vec<Range<usize>>,
}

impl Service {
    /// A service of this name and command, everything else as where nothing is
    /// said.
    #[must_use]
    pub fn new(name: ServiceName, kind: Kind, command: Vec<String>) -> Self {
        Self {
            name,
            kind,
            command,
            user: None,
            group: None,
            umask: 0o022,
            dir: "/".to_owned(),
            env: std::collections::BTreeMap::new(),
            depends_on: Vec::new(),
            listen: Vec::new(),
            expose: Vec::new(),
            volumes: Vec::new(),
            health: None,
            restart: match kind {
                Kind::Daemon => Restart::Always,
                Kind::Oneshot => Restart::OnFailure,
            },
            backoff: Backoff {
                initial: Millis::from_secs(1),
                max: Millis::from_secs(30),
            },
            give_up: GiveUp {
                failures: 5,
                within: Millis::from_secs(60),
            },
            essential: true,
            on_unhealthy: OnUnhealthy::Restart,
            stop: Stop {
                signal: Signal::TERM,
                timeout: Millis::from_secs(5),
            },
            profiles: Vec::new(),
        }
    }
}

/// Reads one service. What is wrong with it is reported and left as where
/// nothing is said.
pub(super) fn read(entry: &Value<'_>, problems: &mut Problems) -> Option<Draft> {
    let name = service_name(entry, problems);
    let mut table = entry.table(problems)?;
    table.elsewhere(ELSEWHERE);
    let kind = table.take("type").and_then(|value| {
        value.word(
            &[("daemon", Kind::Daemon), ("oneshot", Kind::Oneshot)],
            problems,
        )
    });
    let kind = kind.unwrap_or(Kind::Daemon);
    let command = table.required("command", problems);
    let command = command
        .and_then(|value| words(&value, problems))
        .unwrap_or_default();
    // A name that can't be used still has its table checked.
    let unnamed = name.is_none();
    let name = name.or_else(|| "unnamed".parse().ok())?;
    let mut draft = Draft {
        service: Service::new(name, kind, command),
        depends_spans: Vec::new(),
        unnamed: Vec::new(),
        listen_spans: Vec::new(),
        expose_spans: Vec::new(),
    };
    draft.read_process(&mut table, problems);
    draft.read_relations(&mut table, problems);
    draft.read_life(&mut table, problems);
    debug_assert!(
        KEYS.iter().all(|key| table.knows(key)),
        "KEYS lists what is read"
    );
    table.finish(NOT_BUILT, problems);
    (!unnamed).then_some(draft)
}

/// The key of an entry as the name of a service.
pub(super) fn service_name(entry: &Value<'_>, problems: &mut Problems) -> Option<ServiceName> {
    let error = match entry.key().parse::<ServiceName>() {
        Ok(name) => return Some(name),
        Err(error) => format!("service's {error}"),
    };
    match entry.key().to_lowercase().parse::<ServiceName>() {
        Ok(lower) => problems.add_help(entry.key_span(), error, format!("write `{lower}`")),
        Err(_) => problems.add(entry.key_span(), error),
    }
    None
}

impl Draft {
    /// What the process is given.
    fn read_process(&mut self, table: &mut Table<'_>, problems: &mut Problems) {
        let service = &mut self.service;
        service.user = table
            .take("user")
            .and_then(|value| account(&value, problems));
        service.group = table
            .take("group")
            .and_then(|value| account(&value, problems));
        if let Some(mask) = table
            .take("umask")
            .and_then(|value| umask(&value, problems))
        {
            service.umask = mask;
        }
        if let Some(dir) = table
            .take("dir")
            .and_then(|value| absolute(&value, problems))
        {
            service.dir = dir;
        }
        if let Some(value) = table.take("env") {
            service.env = environment(&value, problems);
        }
        if let Some(volumes) = table
            .take("volumes")
            .and_then(|value| value.array(problems))
        {
            for value in volumes {
                let Some(path) = absolute(&value, problems) else {
                    continue;
                };
                if path == "/" {
                    problems.add(value.span(), "a volume can't be the root directory");
                } else if service.volumes.contains(&path) {
                    problems.add(value.span(), format!("volume {path:?} is listed twice"));
                } else {
                    service.volumes.push(path);
                }
            }
        }
    }

    /// What binds it to others and to the outside.
    fn read_relations(&mut self, table: &mut Table<'_>, problems: &mut Problems) {
        if let Some(value) = table.take("depends_on") {
            self.read_dependencies(&value, problems);
        }
        for value in elements(table.take("listen"), problems) {
            if let Some(listen) = ports::listen(&value, problems) {
                self.service.listen.push(listen);
                self.listen_spans.push(value.span());
            }
        }
        for value in elements(table.take("expose"), problems) {
            if let Some(expose) = ports::expose(&value, problems) {
                self.service.expose.push(expose);
                self.expose_spans.push(value.span());
            }
        }
        for value in elements(table.take("profiles"), problems) {
            let Some(name) = value.string(problems) else {
                continue;
            };
            profile_name(name, value.span(), problems);
            if self.service.profiles.iter().any(|known| known == name) {
                problems.add(value.span(), format!("profile {name:?} is listed twice"));
            } else {
                self.service.profiles.push(name.to_owned());
            }
        }
    }

    fn read_dependencies(&mut self, value: &Value<'_>, problems: &mut Problems) {
        let mut found = Vec::new();
        if let Some(elements) = value.as_array() {
            for element in elements {
                let name = element.string(problems);
                found.extend(name.map(|name| (name, element.span(), Condition::Ready)));
            }
        } else if let Some(table) = value.as_table() {
            for entry in table.entries() {
                let condition = entry.word(
                    &[
                        ("started", Condition::Started),
                        ("ready", Condition::Ready),
                        ("done", Condition::Done),
                    ],
                    problems,
                );
                let condition = condition.unwrap_or(Condition::Ready);
                found.push((entry.key(), entry.key_span(), condition));
            }
        } else {
            value.wrong_type("a list of services or a table", problems);
        }
        let mut seen = std::collections::BTreeSet::new();
        for (name, span, condition) in found {
            if !seen.insert(name) {
                problems.add(span, format!("service `{name}` is listed twice"));
                continue;
            }
            match name.parse() {
                Ok(service) => {
                    self.service
                        .depends_on
                        .push(Dependency { service, condition });
                    self.depends_spans.push(span);
                }
                Err(_) => self.unnamed.push((name.to_owned(), span)),
            }
        }
    }

    /// How it is watched, restarted and stopped.
    fn read_life(&mut self, table: &mut Table<'_>, problems: &mut Problems) {
        let service = &mut self.service;
        let oneshot = service.kind == Kind::Oneshot;
        if let Some(value) = table.take("health") {
            service.health = health::read(&value, problems);
            if oneshot {
                problems.add_help(
                    value.key_span(),
                    "a oneshot has no `health`: it is done when it exits 0",
                    "leave it out, or make the service a daemon",
                );
            }
        }
        if let Some(value) = table.take("restart") {
            let words = [
                ("always", Restart::Always),
                ("on-failure", Restart::OnFailure),
                ("never", Restart::Never),
            ];
            match value.word(&words, problems) {
                Some(Restart::Always) if oneshot => problems.add_help(
                    value.span(),
                    "a oneshot that is always started again is never done",
                    "write \"on-failure\" or \"never\"",
                ),
                Some(restart) => service.restart = restart,
                None => {}
            }
        }
        if let Some(table) = table
            .take("backoff")
            .and_then(|value| value.table(problems))
        {
            service.backoff = backoff(table, service.backoff, problems);
        }
        if let Some(table) = table
            .take("give_up")
            .and_then(|value| value.table(problems))
        {
            service.give_up = give_up(table, service.give_up, problems);
        }
        if let Some(truth) = table
            .take("essential")
            .and_then(|value| value.boolean(problems))
        {
            service.essential = truth;
        }
        if let Some(value) = table.take("on_unhealthy") {
            let words = [
                ("restart", OnUnhealthy::Restart),
                ("ignore", OnUnhealthy::Ignore),
            ];
            service.on_unhealthy = value.word(&words, problems).unwrap_or(service.on_unhealthy);
        }
        if let Some(table) = table.take("stop").and_then(|value| value.table(problems)) {
            service.stop = stop(table, service.stop, problems);
        }
    }
}

fn elements<'t>(value: Option<Value<'t>>, problems: &mut Problems) -> Vec<Value<'t>> {
    value
        .and_then(|value| value.array(problems))
        .unwrap_or_default()
}
