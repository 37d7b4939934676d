//! What supervisord would run → the manifest's services.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use holdall_protocol::manifest::{
    Dialect, Kind, Listen, ListenAddress, Ready, Restart, Service, Start, Stop,
};
use holdall_protocol::{Manifest, Millis, ServiceName};

use crate::conf::{self, Common, Process, Values};
use crate::expand::Variables;
use crate::group::{Group, Socket};
use crate::ini::{Entry, Ini, Place, Section};
use crate::keys::{self, Fate, Of};
use crate::names::Names;
use crate::sources::{Sources, join};
use crate::value::AutoRestart;
use crate::{Converted, Listener, Note, Surroundings, listener, log};

/// Seconds kept back for the kills, beyond what the programs may take.
const SLACK: u64 = 1;

/// The longest wait that is written: more is as good as for ever.
const LONGEST: u64 = 365 * 24 * 3600;

pub(crate) struct Converter<'c> {
    common: &'c Common,
    around: &'c Surroundings,
    sources: &'c mut Sources,
    names: Names,
    converted: Converted,
    /// The first service of each section.
    first: BTreeMap<String, ServiceName>,
}

impl<'c> Converter<'c> {
    pub(crate) fn new(
        common: &'c Common,
        around: &'c Surroundings,
        sources: &'c mut Sources,
    ) -> Self {
        let mut manifest = Manifest::default();
        manifest.init.keep_running = true;
        Self {
            common,
            around,
            sources,
            names: Names::default(),
            converted: Converted {
                manifest,
                names: BTreeMap::new(),
                notes: Vec::new(),
                listeners: Vec::new(),
            },
            first: BTreeMap::new(),
        }
    }

    pub(crate) fn finish(self) -> Converted {
        self.converted
    }

    fn note(&mut self, section: &str, key: &str, place: &Place, why: impl Into<String>) {
        let what = if key.is_empty() {
            format!("[{section}]")
        } else {
            format!("[{section}] {key}")
        };
        let note = Note {
            service: self.first.get(section).cloned(),
            at: self.sources.line_of(place),
            what,
            why: why.into(),
        };
        if !self.converted.notes.contains(&note) {
            self.converted.notes.push(note);
        }
    }

    pub(crate) fn patterns_in_vain(&mut self, patterns: &[(Place, String)]) {
        for (place, pattern) in patterns {
            self.note(
                "include",
                "files",
                place,
                format!("no file fits {pattern:?}"),
            );
        }
    }

    /// Converts the programs, in the order of their start.
    pub(crate) fn groups(&mut self, groups: &[Group]) {
        let mut priorities: Vec<i64> = groups.iter().map(|group| group.priority).collect();
        priorities.dedup();
        let ordered = priorities.len() > 1;
        let mut longest: BTreeMap<i64, u64> = BTreeMap::new();
        for group in groups {
            self.without_sockets(group);
            let order = match ordered {
                true => i32::try_from(group.priority).unwrap_or(if group.priority < 0 {
                    i32::MIN
                } else {
                    i32::MAX
                }),
                false => 0,
            };
            let services = match &group.socket {
                Some(socket) => self.fcgi(group, socket),
                None => group
                    .processes
                    .iter()
                    .map(|process| (process, self.service(process)))
                    .collect(),
            };
            for (process, mut service) in services {
                service.order = order;
                let wait = process.stopwaitsecs.min(LONGEST);
                let most = longest.entry(group.priority).or_default();
                *most = wait.max(*most);
                self.converted.manifest.services.push(service.into());
            }
        }
        let sum = longest
            .values()
            .fold(0_u64, |sum, wait| sum.saturating_add(*wait));
        let init = &mut self.converted.manifest.init;
        let needed = Millis::from_secs(sum.min(LONGEST) + SLACK);
        init.stop_timeout = init.stop_timeout.max(needed);
    }

    /// Within a group of several sections supervisord gives no sockets.
    fn without_sockets(&mut self, group: &Group) {
        for process in group.processes.iter().filter(|_| group.socket.is_none()) {
            if process.section.starts_with("fcgi-program:") {
                let why = "supervisord gives it no socket within a [group:x], and so it has none";
                self.note(&process.section, "socket", &process.place, why);
            }
        }
    }

    /// The services of an fcgi-program: one, or instances of one, since they
    /// share the socket.
    fn fcgi<'g>(&mut self, group: &'g Group, socket: &Socket) -> Vec<(&'g Process, Service)> {
        let Some(process) = group.processes.first() else {
            return Vec::new();
        };
        let mut service = self.service(process);
        if let Some(listen) = self.listen(&service, process, socket) {
            service.listen.push(listen);
        }
        if let Ok(count @ 2..) = u32::try_from(group.processes.len()) {
            let alike = |other: &&Process| {
                let (a, b) = (&other.command, &other.environment);
                (a, b, &other.directory)
                    == (&process.command, &process.environment, &process.directory)
            };
            if !group.processes.iter().all(|other| alike(&other)) {
                let help = "they share one socket, and so are instances of one service; \
                            ${INSTANCE} is the number of each";
                let message =
                    "processes of an fcgi-program must not differ in more than their names";
                self.sources
                    .wrong(&process.place, message, Some(help.to_owned()));
            }
            self.converted.names.remove(&service.name);
            service.instances = Some(count);
            service.name = self.names.give(&group.name, &group.name);
            let name = format!("{}:{}", group.name, "*");
            self.converted.names.insert(service.name.clone(), name);
            self.first
                .insert(process.section.clone(), service.name.clone());
        }
        vec![(process, service)]
    }

    fn listen(&mut self, service: &Service, process: &Process, socket: &Socket) -> Option<Listen> {
        let address = match address(&socket.url) {
            Ok(address) => address,
            Err(message) => {
                let help = "write unix:///path, or tcp://ADDRESS:PORT".to_owned();
                self.sources.wrong(&socket.place, message, Some(help));
                return None;
            }
        };
        let unix = matches!(address, ListenAddress::Unix(_));
        let user = process.user.clone().or_else(|| self.common.user.clone());
        Some(Listen {
            name: service.name.as_str().to_owned(),
            address,
            backlog: socket.backlog,
            mode: unix.then_some(socket.mode.unwrap_or(0o700)),
            owner: socket.owner.clone().or(user).filter(|_| unix),
            reuse_port: false,
            stdin: true,
        })
    }

    fn service(&mut self, process: &Process) -> Service {
        let name = self.names.give(&process.group, &process.name);
        let own = if process.group == process.name {
            process.name.clone()
        } else {
            format!("{}:{}", process.group, process.name)
        };
        self.converted.names.insert(name.clone(), own);
        self.first
            .entry(process.section.clone())
            .or_insert_with(|| name.clone());
        let mut service = Service::new(name, Kind::Daemon, process.command.clone());
        service.user = process.user.clone().or_else(|| self.common.user.clone());
        service.umask = process.umask.unwrap_or(self.common.umask) & 0o777;
        let folder = match &self.common.directory {
            Some(folder) => join(&self.around.folder, folder),
            None => self.around.folder.clone(),
        };
        service.dir = match &process.directory {
            Some(dir) => join(&folder, dir),
            None => folder.clone(),
        };
        if self.around.as_it_is {
            let told = [
                ("SUPERVISOR_ENABLED", "1"),
                ("SUPERVISOR_PROCESS_NAME", &process.name),
                ("SUPERVISOR_GROUP_NAME", &process.group),
            ];
            for (name, value) in told {
                service.env.insert(name.to_owned(), value.to_owned());
            }
        }
        let environment = self.common.environment.iter().chain(&process.environment);
        service.env.extend(environment.cloned());
        if !process.autostart {
            service.start = Start::Manual;
        }
        if process.startsecs > 0 {
            let span = Millis::from_secs(process.startsecs.min(LONGEST));
            service.ready = Some(Box::new(Ready {
                by: Dialect::After(span),
                timeout: None,
            }));
        }
        service.start_retries = Some(process.startretries.min(1_000_000));
        service.restart = match process.autorestart {
            AutoRestart::Always => Restart::Always,
            AutoRestart::Unexpected => Restart::OnFailure,
            AutoRestart::Never => Restart::Never,
        };
        service.success = process.exitcodes;
        service.essential = false;
        service.stop = Stop {
            signal: process.stopsignal,
            timeout: Millis::from_secs(process.stopwaitsecs.min(LONGEST)),
            command: None,
            group: process.stopasgroup,
        };
        let (logging, notes) = log::logging(process, &folder);
        service.log = logging;
        for (key, why) in notes {
            self.note(&process.section, key, &process.place, why);
        }
        service
    }

    /// Tells of every key that could not be carried, and of event listeners.
    pub(crate) fn sections(&mut self, ini: &Ini, variables: &Variables) {
        for section in ini.sections() {
            let of = Of::of_section(&section.name);
            if of.contains(&Of::Listener) {
                self.listener(ini, section, variables);
                continue;
            }
            if of.is_empty() {
                let why = "supervisord does not know this section either, and ignores it";
                self.note(&section.name, "", &section.place, why);
                continue;
            }
            for entry in &section.entries {
                self.key(section, entry);
            }
        }
    }

    fn key(&mut self, section: &Section, entry: &Entry) {
        let (name, place) = (&section.name, &entry.place);
        match keys::find(name, &entry.key).map(|key| key.fate) {
            Some(Fate::Becomes(_)) => {
                let of_background = ["directory", "umask"].contains(&entry.key.as_str());
                if name == "supervisord" && of_background && !self.common.background {
                    let why = "supervisord does so only when it goes into the background";
                    self.note(name, &entry.key, place, why);
                }
            }
            Some(Fate::Dropped(why)) => self.note(name, &entry.key, place, why),
            None if name.starts_with("rpcinterface:") || name.starts_with("ctlplugin:") => {
                self.note(name, &entry.key, place, "it is for the plugin alone");
            }
            None => {
                let why = "supervisord does not know this key either, and ignores it";
                self.note(name, &entry.key, place, why);
            }
        }
    }

    fn listener(&mut self, ini: &Ini, section: &Section, variables: &Variables) {
        let mut values = Values::of(ini, section, variables, self.sources);
        values.check_the_rest();
        let name = conf::own_name(section);
        for (known, text) in [("program_name", name), ("group_name", name)] {
            values.variables.insert(known.to_owned(), text.into());
        }
        let command = ini.entry(section, "command");
        let command = command.map(|entry| entry.value.clone());
        let events = values.text("events").unwrap_or_default();
        let listener = Listener {
            at: self.sources.line_of(&section.place),
            section: section.name.clone(),
            instead: listener::replacements(&command.unwrap_or_default(), &events),
        };
        self.converted.listeners.push(listener);
    }
}

/// `unix:///path` or `tcp://host:port`; a host is an address, since no name is
/// looked up before the services run.
fn address(url: &str) -> Result<ListenAddress, String> {
    if let Some(path) = url.strip_prefix("unix://") {
        if !path.starts_with('/') {
            return Err(format!("{path:?} is no absolute path"));
        }
        return Ok(ListenAddress::Unix(path.to_owned()));
    }
    let place = url
        .strip_prefix("tcp://")
        .and_then(|place| place.rsplit_once(':'));
    let Some((host, port)) = place else {
        return Err(format!("`socket` can't be {url:?}"));
    };
    let port = port.parse::<u16>().ok().filter(|port| *port != 0);
    let ip = match host.to_lowercase().as_str() {
        "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        host => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    };
    match (ip, port) {
        (Some(ip), Some(port)) => Ok(ListenAddress::Tcp(SocketAddr::new(ip, port))),
        (_, None) => Err(format!("`socket` has no port in {url:?}")),
        (None, _) => Err(format!("{host:?} is no address")),
    }
}
