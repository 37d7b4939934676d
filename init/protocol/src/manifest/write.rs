//! [`Manifest`] → holdall.toml, in the normal form that lies in an image at
//! /etc/holdall.toml: what is as where nothing is said is left out.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{
    Condition, Health, InitSettings, Kind, Listen, ListenAddress, Manifest, OnUnhealthy, Probe,
    Profile, Restart, Service,
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
            out.header("init");
            out.line("stop_timeout", &quoted(self.init.stop_timeout));
        }
        for service in &self.services {
            write_service(&mut out, service);
        }
        for (name, profile) in &self.profiles {
            write_profile(&mut out, name, profile);
        }
        out.0
    }
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn header(&mut self, name: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        let _infallible = writeln!(self.0, "[{name}]");
    }

    fn line(&mut self, key: &str, value: &str) {
        let _infallible = writeln!(self.0, "{key} = {value}");
    }

    /// A line only where the value is not the one that goes without saying.
    fn unless(&mut self, same: bool, key: &str, value: impl FnOnce() -> String) {
        if !same {
            self.line(key, &value());
        }
    }
}

fn write_service(out: &mut Lines, service: &Service) {
    let usual = Service::new(service.name.clone(), service.kind, Vec::new());
    out.header(&format!("service.{}", key(service.name.as_str())));
    if service.kind == Kind::Oneshot {
        out.line("type", "\"oneshot\"");
    }
    out.line("command", &list(&service.command));
    for (key, account) in [("user", &service.user), ("group", &service.group)] {
        if let Some(account) = account {
            out.line(key, &quoted(account));
        }
    }
    out.unless(service.umask == usual.umask, "umask", || {
        format!("\"{:03o}\"", service.umask)
    });
    out.unless(service.dir == usual.dir, "dir", || quoted(&service.dir));
    out.unless(service.env.is_empty(), "env", || variables(&service.env));
    out.unless(service.depends_on.is_empty(), "depends_on", || {
        dependencies(service)
    });
    out.unless(service.listen.is_empty(), "listen", || {
        list(&service.listen.iter().map(listen).collect::<Vec<_>>())
    });
    out.unless(service.expose.is_empty(), "expose", || {
        let port = |e: &super::Expose| format!("{}/{}", e.port, e.protocol);
        list(&service.expose.iter().map(port).collect::<Vec<_>>())
    });
    out.unless(service.volumes.is_empty(), "volumes", || {
        list(&service.volumes)
    });
    if let Some(health) = &service.health {
        out.line("health", &write_health(health));
    }
    out.unless(service.restart == usual.restart, "restart", || {
        quoted(match service.restart {
            Restart::Always => "always",
            Restart::OnFailure => "on-failure",
            Restart::Never => "never",
        })
    });
    out.unless(service.backoff == usual.backoff, "backoff", || {
        let super::Backoff { initial, max } = service.backoff;
        format!("{{ initial = \"{initial}\", max = \"{max}\" }}")
    });
    out.unless(service.give_up == usual.give_up, "give_up", || {
        let super::GiveUp { failures, within } = service.give_up;
        format!("{{ failures = {failures}, within = \"{within}\" }}")
    });
    out.unless(service.essential, "essential", || "false".to_owned());
    out.unless(
        service.on_unhealthy == OnUnhealthy::Restart,
        "on_unhealthy",
        || quoted("ignore"),
    );
    out.unless(service.stop == usual.stop, "stop", || {
        let super::Stop { signal, timeout } = service.stop;
        format!("{{ signal = \"{signal}\", timeout = \"{timeout}\" }}")
    });
    out.unless(service.profiles.is_empty(), "profiles", || {
        list(&service.profiles)
    });
}

fn write_profile(out: &mut Lines, name: &str, profile: &Profile) {
    out.header(&format!("profile.{}", key(name)));
    out.unless(profile.env.is_empty(), "env", || variables(&profile.env));
    for (service, env) in &profile.service_env {
        out.line(
            &format!("service.{}.env", key(service.as_str())),
            &variables(env),
        );
    }
}

fn write_health(health: &Health) -> String {
    let probe = match &health.probe {
        Probe::Exec(command) => format!("exec = {}", list(command)),
        Probe::Tcp(address) => format!("tcp = {}", quoted(address)),
        Probe::Http { host, path, .. } => {
            format!("http = {}", quoted(format!("http://{host}{path}")))
        }
    };
    let Health {
        interval,
        timeout,
        retries,
        start_period,
        ..
    } = health;
    format!(
        "{{ {probe}, interval = \"{interval}\", timeout = \"{timeout}\", retries = {retries}, \
         start_period = \"{start_period}\" }}"
    )
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

fn listen(listen: &Listen) -> String {
    let name = &listen.name;
    match &listen.address {
        ListenAddress::Port(port) => format!("{name}={port}"),
        ListenAddress::Tcp(address) => format!("{name}={address}"),
        ListenAddress::Unix(path) => format!("{name}={path}"),
    }
}

fn variables(env: &BTreeMap<String, String>) -> String {
    table(
        env.iter()
            .map(|(name, value)| format!("{} = {}", key(name), quoted(value))),
    )
}

fn table(entries: impl Iterator<Item = String>) -> String {
    let entries: Vec<String> = entries.collect();
    if entries.is_empty() {
        "{}".to_owned()
    } else {
        format!("{{ {} }}", entries.join(", "))
    }
}

fn list<T: AsRef<str>>(texts: &[T]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text.as_ref())).collect();
    format!("[{}]", texts.join(", "))
}

/// A key, quoted where TOML wants it.
fn key(text: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !text.is_empty() && text.bytes().all(bare) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// A basic string (TOML 1.0, *String*).
fn quoted(text: impl std::fmt::Display) -> String {
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
