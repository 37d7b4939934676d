//! [`Manifest`] → holdall.toml, in the normal form that lies in an image at
//! /etc/holdall.toml: what is as where nothing is said is left out.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::policy::{word_of, write_exit_codes, write_reload, write_stop};
use super::ports::write_listen;
use super::{
    Condition, InitSettings, Kind, Manifest, OnUnhealthy, Overlay, Profile, Restart, Service,
    Start, files, health, limits, listener, logging, ready,
};

impl Manifest {
    /// The manifest as a text that [`Manifest::from_toml`] reads back to the
    /// same; equal manifests give equal texts.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut out = Lines::default();
        if let Some(name) = &self.name {
            out.line("name", &quoted(name));
        }
        if self.init != InitSettings::default() {
            write_init(&mut out, &self.init);
        }
        for service in &self.services {
            write_service(&mut out, service);
        }
        for (name, profile) in &self.profiles {
            self.write_profile(&mut out, name, profile);
        }
        out.text
    }

    fn write_profile(&self, out: &mut Lines, name: &str, profile: &Profile) {
        let scope = format!("profile.{}", key(name));
        out.header(&scope);
        out.unless(profile.env.is_empty(), "env", || variables(&profile.env));
        for (name, Overlay { service, env }) in &profile.services {
            out.header(&format!("{scope}.service.{}", key(name.as_str())));
            out.unless(env.is_empty(), "env", || variables(env));
            let usual = self.services.iter().find(|usual| usual.name == *name);
            if let Some(usual) = usual {
                write_changes(out, service, usual);
            }
        }
    }
}

fn write_init(out: &mut Lines, init: &InitSettings) {
    let usual = InitSettings::default();
    out.header("init");
    out.unless(
        init.stop_timeout == usual.stop_timeout,
        "stop_timeout",
        || quoted(init.stop_timeout),
    );
    out.unless(!init.keep_running, "keep_running", || "true".to_owned());
    out.unless(init.log == usual.log, "log", || {
        logging::write_box(init.log)
    });
    if let Some(said) = &init.listener {
        out.line("listener", &listener::write(said));
    }
}

#[derive(Default)]
struct Lines {
    text: String,
}

impl Lines {
    fn header(&mut self, name: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        let _infallible = writeln!(self.text, "[{name}]");
    }

    fn line(&mut self, key: &str, value: &str) {
        let _infallible = writeln!(self.text, "{key} = {value}");
    }

    /// A line only where the value is not the one that goes without saying.
    fn unless(&mut self, same: bool, key: &str, value: impl FnOnce() -> String) {
        if !same {
            self.line(key, &value());
        }
    }
}

fn write_service(out: &mut Lines, service: &Service) {
    let mut usual = Service::new(service.name.clone(), service.kind, Vec::new());
    out.header(&format!("service.{}", key(service.name.as_str())));
    if service.kind == Kind::Oneshot {
        out.line("type", "\"oneshot\"");
    }
    if let Some(schedule) = &service.schedule {
        out.line("schedule", &quoted(schedule));
    }
    out.unless(service.env.is_empty(), "env", || variables(&service.env));
    usual.env.clone_from(&service.env);
    write_changes(out, service, &usual);
    out.unless(service.depends_on.is_empty(), "depends_on", || {
        dependencies(service)
    });
    out.unless(service.listen.is_empty(), "listen", || {
        array(service.listen.iter().map(write_listen))
    });
    out.unless(!service.handoff, "handoff", || "true".to_owned());
    out.unless(service.expose.is_empty(), "expose", || {
        let port = |e: &super::Expose| format!("{}/{}", e.port, e.protocol);
        list(&service.expose.iter().map(port).collect::<Vec<_>>())
    });
    out.unless(service.volumes.is_empty(), "volumes", || {
        list(&service.volumes)
    });
    out.unless(service.profiles.is_empty(), "profiles", || {
        list(&service.profiles)
    });
}

/// What a profile may change, where it is not as `usual`.
fn write_changes(out: &mut Lines, service: &Service, usual: &Service) {
    write_process(out, service, usual);
    out.unless(service.start == usual.start, "start", || {
        word_of(&Start::WORDS, &service.start)
    });
    out.unless(service.order == usual.order, "order", || {
        service.order.to_string()
    });
    if let Some(ready) = service
        .ready
        .as_ref()
        .filter(|_| service.ready != usual.ready)
    {
        out.line("ready", &ready::write(ready));
    }
    if let Some(health) = service
        .health
        .as_ref()
        .filter(|_| service.health != usual.health)
    {
        out.line("health", &health::write(health));
    }
    if let Some(span) = service
        .watchdog
        .filter(|_| service.watchdog != usual.watchdog)
    {
        out.line("watchdog", &quoted(span));
    }
    write_restart(out, service, usual);
    out.unless(service.stop == usual.stop, "stop", || {
        write_stop(&service.stop, &usual.stop)
    });
    if let Some(reload) = service
        .reload
        .as_ref()
        .filter(|_| service.reload != usual.reload)
    {
        out.line("reload", &write_reload(reload));
    }
    if let Some(count) = service
        .instances
        .filter(|_| service.instances != usual.instances)
    {
        out.line("instances", &count.to_string());
    }
}

fn write_process(out: &mut Lines, service: &Service, usual: &Service) {
    out.unless(service.command == usual.command, "command", || {
        list(&service.command)
    });
    let accounts = [
        ("user", &service.user, &usual.user),
        ("group", &service.group, &usual.group),
    ];
    for (key, account, usual) in accounts {
        if let Some(account) = account.as_ref().filter(|_| account != usual) {
            out.line(key, &quoted(account));
        }
    }
    out.unless(service.groups == usual.groups, "groups", || {
        list(&service.groups)
    });
    out.unless(service.umask == usual.umask, "umask", || {
        format!("\"{:03o}\"", service.umask)
    });
    out.unless(service.dir == usual.dir, "dir", || quoted(&service.dir));
    out.unless(service.env_files == usual.env_files, "env_file", || {
        array(service.env_files.iter().map(files::write_env_file))
    });
    out.unless(service.templates == usual.templates, "templates", || {
        array(service.templates.iter().map(files::write_template))
    });
    out.unless(service.limits == usual.limits, "limits", || {
        limits::write(&service.limits, &usual.limits)
    });
    out.unless(service.log == usual.log, "log", || {
        logging::write(&service.log, &usual.log)
    });
}

fn write_restart(out: &mut Lines, service: &Service, usual: &Service) {
    out.unless(service.restart == usual.restart, "restart", || {
        word_of(&Restart::WORDS, &service.restart)
    });
    out.unless(service.success == usual.success, "success", || {
        write_exit_codes(service.success)
    });
    if let Some(retries) = service
        .start_retries
        .filter(|_| service.start_retries != usual.start_retries)
    {
        out.line("start_retries", &retries.to_string());
    }
    out.unless(service.backoff == usual.backoff, "backoff", || {
        let super::Backoff { initial, max } = service.backoff;
        format!("{{ initial = \"{initial}\", max = \"{max}\" }}")
    });
    out.unless(service.give_up == usual.give_up, "give_up", || {
        let super::GiveUp { failures, within } = service.give_up;
        format!("{{ failures = {failures}, within = \"{within}\" }}")
    });
    out.unless(service.essential == usual.essential, "essential", || {
        service.essential.to_string()
    });
    out.unless(
        service.on_unhealthy == usual.on_unhealthy,
        "on_unhealthy",
        || word_of(&OnUnhealthy::WORDS, &service.on_unhealthy),
    );
}

fn dependencies(service: &Service) -> String {
    let word = |condition| match condition {
        Condition::Started => "started",
        Condition::Ready => "ready",
        Condition::Done => "done",
    };
    let entry =
        |d: &super::Dependency| format!("{} = \"{}\"", key(d.service.as_str()), word(d.condition));
    table(service.depends_on.iter().map(entry))
}

fn variables(env: &BTreeMap<String, String>) -> String {
    table(
        env.iter()
            .map(|(name, value)| format!("{} = {}", key(name), quoted(value))),
    )
}

pub(super) fn table(entries: impl Iterator<Item = String>) -> String {
    let entries: Vec<String> = entries.collect();
    if entries.is_empty() {
        "{}".to_owned()
    } else {
        format!("{{ {} }}", entries.join(", "))
    }
}

pub(super) fn list<T: AsRef<str>>(texts: &[T]) -> String {
    array(texts.iter().map(|text| quoted(text.as_ref())))
}

fn array(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(", "))
}

/// A key, quoted where TOML wants it.
pub(super) fn key(text: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !text.is_empty() && text.bytes().all(bare) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// A basic string (TOML 1.0, *String*).
pub(super) fn quoted(text: impl std::fmt::Display) -> String {
    let mut out = String::from("\"");
    for letter in text.to_string().chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => {
                let _infallible = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
