//! `[service.NAME]`: what it is and to whom it relates. [`super::process`] and
//! [`super::life`] read the rest.

use std::ops::Range;

use super::parse::{environment, profile_name};
use super::values::{absolute, elements};
use super::{
    Backoff, Condition, Dependency, ExitCodes, GiveUp, Kind, Limits, Logging, OnUnhealthy, Overlay,
    Restart, Schedule, Service, Start, Stop, life, ports, process, unbuilt,
};
use crate::decode::{Problems, Table, Value};
use crate::{Millis, ServiceName, Signal};

/// Keys that bind a service to others or make it what it is: a profile can't
/// change them.
const FIXED: &[&str] = &[
    "depends_on",
    "expose",
    "handoff",
    "listen",
    "profiles",
    "schedule",
    "type",
    "volumes",
];

/// What compose and supervisord call them.
const ELSEWHERE: &[(&str, &str)] = &[
    ("after", "depends_on"),
    ("priority", "order"),
    ("exitcodes", "success"),
    ("autorestart", "restart"),
    ("autostart", "start"),
    ("cmd", "command"),
    ("cwd", "dir"),
    ("cron", "schedule"),
    ("directory", "dir"),
    ("entrypoint", "command"),
    ("group_add", "groups"),
    ("environment", "env"),
    ("healthcheck", "health"),
    ("needs", "depends_on"),
    ("numprocs", "instances"),
    ("on_failure", "restart"),
    ("logging", "log"),
    ("ports", "expose"),
    ("replicas", "instances"),
    ("requires", "depends_on"),
    ("restart_policy", "restart"),
    ("scale", "instances"),
    ("startretries", "start_retries"),
    ("startsecs", "ready"),
    ("stdout_logfile", "log"),
    ("stop_grace_period", "stop"),
    ("stop_signal", "stop"),
    ("stopsignal", "stop"),
    ("stopwaitsecs", "stop"),
    ("ulimits", "limits"),
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
            schedule: None,
            command,
            user: None,
            group: None,
            groups: Vec::new(),
            umask: 0o022,
            dir: "/".to_owned(),
            env: std::collections::BTreeMap::new(),
            env_files: Vec::new(),
            templates: Vec::new(),
            limits: Limits::default(),
            log: Logging::default(),
            depends_on: Vec::new(),
            listen: Vec::new(),
            handoff: false,
            expose: Vec::new(),
            volumes: Vec::new(),
            start: Start::Boot,
            order: 0,
            ready: None,
            health: None,
            watchdog: None,
            restart: match kind {
                Kind::Daemon => Restart::Always,
                Kind::Oneshot => Restart::OnFailure,
                Kind::Job => Restart::Never,
            },
            success: ExitCodes::default(),
            start_retries: None,
            backoff: Backoff {
                initial: Millis::from_secs(1),
                max: Millis::from_secs(30),
            },
            give_up: GiveUp {
                failures: 5,
                within: Millis::from_secs(60),
            },
            // A box doesn't end for a backup that failed.
            essential: kind != Kind::Job,
            on_unhealthy: OnUnhealthy::Restart,
            stop: Stop {
                signal: Signal::TERM,
                timeout: Millis::from_secs(5),
                command: None,
                group: true,
            },
            reload: None,
            instances: None,
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
    let (kind, schedule) = kind(&mut table, problems);
    let command = table.required("command", problems);
    // A name that can't be used still has its table checked.
    let unnamed = name.is_none();
    let name = name.or_else(|| "unnamed".parse().ok())?;
    let mut service = Service::new(name, kind, Vec::new());
    service.schedule = schedule;
    process::command(command, &mut service, problems);
    let mut draft = Draft {
        service,
        depends_spans: Vec::new(),
        unnamed: Vec::new(),
        listen_spans: Vec::new(),
        expose_spans: Vec::new(),
    };
    process::read(&mut table, &mut draft.service, problems);
    if let Some(value) = table.take("env") {
        draft.service.env = environment(&value, problems);
    }
    draft.read_relations(&mut table, problems);
    life::read(&mut table, &mut draft.service, problems);
    table.finish(unbuilt::UNREAD, problems);
    (!unnamed).then_some(draft)
}

/// What kind of service it is, and when it runs.
fn kind(table: &mut Table<'_>, problems: &mut Problems) -> (Kind, Option<Schedule>) {
    let said = table.take("type");
    let words = [
        ("daemon", Kind::Daemon),
        ("oneshot", Kind::Oneshot),
        ("job", Kind::Job),
    ];
    let kind = said.as_ref().and_then(|value| value.word(&words, problems));
    let schedule = table.take("schedule");
    let due = schedule.as_ref().and_then(|value| value.parsed(problems));
    match (kind, &schedule, &said) {
        (Some(Kind::Job), None, Some(said)) => {
            let help = "add schedule = \"*/5 * * * *\" or \"@every 30s\"";
            problems.add_help(said.span(), "a job needs a `schedule`", help);
        }
        (Some(Kind::Daemon | Kind::Oneshot), Some(schedule), _) => {
            let message = "`schedule` makes a service a job";
            problems.add_help(schedule.key_span(), message, "leave `type` out");
        }
        (None | Some(_), _, _) => {}
    }
    let kind = match &schedule {
        Some(_) => Kind::Job,
        None => kind.unwrap_or(Kind::Daemon),
    };
    (kind, due)
}

/// Reads what a profile says of a service.
pub(super) fn overlay(
    table: &mut Table<'_>,
    service: &Service,
    problems: &mut Problems,
) -> Overlay {
    table.elsewhere(ELSEWHERE);
    let mut service = service.clone();
    process::command(table.take("command"), &mut service, problems);
    process::read(table, &mut service, problems);
    life::read(table, &mut service, problems);
    let env = table.take("env");
    let env = env.map(|value| environment(&value, problems));
    for key in FIXED {
        if let Some(value) = table.take(key) {
            let message = format!("`{key}` can't be changed by a profile");
            problems.add(value.key_span(), message);
        }
    }
    Overlay {
        service,
        env: env.unwrap_or_default(),
    }
}

/// The key of an entry as the name of a service.
pub(super) fn service_name(entry: &Value<'_>, problems: &mut Problems) -> Option<ServiceName> {
    let key = entry.key();
    if key.contains('@') {
        let message = "service's name has '@', which stands before the number of an instance";
        problems.add_help(
            entry.key_span(),
            message,
            "add instances = … to the service",
        );
        return None;
    }
    let error = match key.parse::<ServiceName>() {
        Ok(name) => return Some(name),
        Err(error) => format!("service's {error}"),
    };
    match key.to_lowercase().parse::<ServiceName>() {
        Ok(lower) => problems.add_help(entry.key_span(), error, format!("write `{lower}`")),
        Err(_) => problems.add(entry.key_span(), error),
    }
    None
}

impl Draft {
    /// What binds it to others and to the outside.
    fn read_relations(&mut self, table: &mut Table<'_>, problems: &mut Problems) {
        if let Some(value) = table.take("depends_on") {
            self.read_dependencies(&value, problems);
        }
        for value in elements(table.take("listen"), problems) {
            if let Some(listen) = ports::listen(&value, problems) {
                let second = |other: &super::Listen| other.stdin && listen.stdin;
                if self.service.listen.iter().any(second) {
                    problems.add(value.span(), "`stdin` is that of another socket already");
                }
                self.service.listen.push(listen);
                self.listen_spans.push(value.span());
            }
        }
        if let Some(value) = table.take("handoff") {
            self.service.handoff = value.boolean(problems).unwrap_or(false);
            if self.service.handoff && self.service.listen.is_empty() {
                let message = "`handoff` is about the sockets of `listen`, and there are none";
                problems.add(value.key_span(), message);
            }
        }
        for value in elements(table.take("expose"), problems) {
            if let Some(expose) = ports::expose(&value, problems) {
                self.service.expose.push(expose);
                self.expose_spans.push(value.span());
            }
        }
        for value in elements(table.take("volumes"), problems) {
            self.read_volume(&value, problems);
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

    fn read_volume(&mut self, value: &Value<'_>, problems: &mut Problems) {
        let Some(path) = absolute(value, problems) else {
            return;
        };
        if path == "/" {
            problems.add(value.span(), "a volume can't be the root directory");
        } else if self.service.volumes.contains(&path) {
            problems.add(value.span(), format!("volume {path:?} is listed twice"));
        } else {
            self.service.volumes.push(path);
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
}
