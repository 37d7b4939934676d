//! `listener` of `[init]`: health, metrics and a status page over HTTP, served
//! by a process of init's own.

use super::write::quoted;
use super::{GiveUp, InitSettings, Kind, Listen, ListenAddress, Service, ports};
use crate::decode::{Problems, Value};
use crate::{Millis, ServiceName};

/// The name of the service that serves it. No other may have it.
pub const LISTENER: &str = "holdall-listener";

/// The name of its socket, in LISTEN_FDNAMES.
pub const LISTENER_SOCKET: &str = "holdall-http";

/// `listener = 9100`, `"127.0.0.1:9100"`, `"/run/status.sock"`, or `{ at =
/// 9100, user = "metrics" }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where it listens: TCP or a unix socket.
    pub address: ListenAddress,
    /// Whom it runs as; nobody (65534) where none and init is root.
    pub user: Option<String>,
}

impl InitSettings {
    /// What serves the listener, as a service among the others: it is started
    /// and restarted as they are, is never given up, and the box neither ends
    /// for it nor waits for it.
    #[must_use]
    pub fn listener_service(&self) -> Option<Service> {
        let Listener { address, user } = self.listener.as_ref()?;
        let name = LISTENER.parse::<ServiceName>().ok()?;
        let mut service = Service::new(name, Kind::Daemon, vec![LISTENER.to_owned()]);
        service.user.clone_from(user);
        service.listen = vec![Listen {
            name: LISTENER_SOCKET.to_owned(),
            address: address.clone(),
            backlog: None,
            mode: None,
            owner: None,
            reuse_port: false,
            stdin: false,
        }];
        service.essential = false;
        service.give_up = GiveUp {
            failures: 0,
            ..service.give_up
        };
        service.stop.timeout = Millis::from_secs(1);
        Some(service)
    }
}

/// Reads `listener`.
pub(super) fn read(value: &Value<'_>, problems: &mut Problems) -> Option<Listener> {
    let Some(mut table) = value.as_table() else {
        let address = place(value, problems)?;
        return Some(Listener {
            address,
            user: None,
        });
    };
    let at = table.required("at", problems);
    let user = table.take("user");
    let user = user.and_then(|user| Some(user.string(problems)?.to_owned()));
    table.finish(&[], problems);
    let address = place(&at?, problems)?;
    Some(Listener { address, user })
}

/// A port, an address with a port, or the path of a unix socket.
fn place(value: &Value<'_>, problems: &mut Problems) -> Option<ListenAddress> {
    let place = match value.as_integer() {
        Some(_) => value.integer(1..=u16::MAX, problems)?.to_string(),
        None => value.string(problems)?.to_owned(),
    };
    let address = ports::address(value, &place, problems)?;
    if matches!(address, ListenAddress::Udp(_) | ListenAddress::UdpPort(_)) {
        problems.add(
            value.span(),
            "`listener` speaks HTTP, which is not had over UDP",
        );
        return None;
    }
    Some(address)
}

/// As TOML.
pub(super) fn write(listener: &Listener) -> String {
    let at = quoted(&listener.address);
    match &listener.user {
        None => at,
        Some(user) => format!("{{ at = {at}, user = {} }}", quoted(user)),
    }
}
