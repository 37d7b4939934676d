//! What is checked across services: dependencies, profiles, sockets and ports.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;

use super::parse::Draft;
use super::{Condition, Kind, ListenAddress, Protocol, Service, graph};
use crate::decode::Problems;

/// Checks everything that needs more than one table.
pub(super) fn all(draft: &Draft<'_>, problems: &mut Problems) {
    let index = draft.services.iter().enumerate();
    let index: BTreeMap<&str, usize> = index
        .map(|(at, draft)| (draft.service.name.as_str(), at))
        .collect();
    let known = draft.service_keys.iter().copied();
    for (name, span) in &draft.profiled {
        if !draft.service_keys.contains(name.as_str()) {
            let message = format!("no service is named `{name}`");
            problems.add_unknown(span.clone(), message, name.as_str(), known.clone());
        }
    }
    let edges = dependencies(draft, &index, problems);
    for cycle in graph::cycles(&edges) {
        let name = |at: &usize| {
            draft
                .services
                .get(*at)
                .map(|draft| draft.service.name.as_str())
        };
        let path: Vec<&str> = cycle.path.iter().filter_map(name).collect();
        let closing = draft
            .services
            .get(cycle.from)
            .and_then(|d| d.depends_spans.get(cycle.entry));
        let message = format!("cycle in `depends_on`: {}", graph::shown(&path));
        problems.add_help(
            closing.cloned().unwrap_or(0..0),
            message,
            "none of them could ever start: take out the dependency that is not needed at start",
        );
    }
    sockets(draft, problems);
}

/// Checks each dependency, and gives for every service those that exist, as
/// (entry of `depends_on`, on whom).
fn dependencies(
    draft: &Draft<'_>,
    index: &BTreeMap<&str, usize>,
    problems: &mut Problems,
) -> Vec<Vec<(usize, usize)>> {
    let known = draft.service_keys.iter().copied();
    let mut edges = Vec::with_capacity(draft.services.len());
    for (at, from) in draft.services.iter().enumerate() {
        let service = &from.service;
        let mut found = Vec::with_capacity(service.depends_on.len());
        let entries = service
            .depends_on
            .iter()
            .zip(&from.depends_spans)
            .enumerate();
        for (entry, (dependency, span)) in entries {
            let name = dependency.service.as_str();
            let span = span.clone();
            let Some((&on, target)) = index
                .get(name)
                .and_then(|on| Some((on, &draft.services.get(*on)?.service)))
            else {
                if !draft.service_keys.contains(name) {
                    let message = format!("no service is named `{name}`");
                    problems.add_unknown(span, message, name, known.clone());
                }
                continue;
            };
            if on == at {
                problems.add(span, format!("service `{name}` depends on itself"));
                continue;
            }
            found.push((entry, on));
            if dependency.condition == Condition::Done && target.kind == Kind::Daemon {
                problems.add_help(
                    span.clone(),
                    format!("`{name}` is a daemon, which is never done"),
                    format!(
                        "wait for \"ready\" or \"started\", or give `{name}` type = \"oneshot\""
                    ),
                );
            }
            if let Some(absent) = absent(service, target) {
                problems.add_help(
                    span,
                    format!(
                        "`{}` needs `{name}`, which is absent {absent}",
                        service.name
                    ),
                    format!("give both the same `profiles`, or leave them out of `{name}`"),
                );
            }
        }
        let unnamed = from.unnamed.iter();
        for (name, span) in unnamed.filter(|(name, _)| !draft.service_keys.contains(name.as_str()))
        {
            let message = format!("no service is named `{name}`");
            problems.add_unknown(span.clone(), message, name, known.clone());
        }
        edges.push(found);
    }
    edges
}

/// Under which profile `service` is there without `target`, if there is one.
fn absent(service: &Service, target: &Service) -> Option<String> {
    if target.profiles.is_empty() {
        return None;
    }
    if service.profiles.is_empty() {
        return Some("without a profile".to_owned());
    }
    let missing = service
        .profiles
        .iter()
        .find(|profile| !target.profiles.contains(profile));
    missing.map(|profile| format!("under profile `{profile}`"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    V4,
    V6,
}

/// What two services can't both have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Claim<'t> {
    /// A port of every address of a family.
    Wildcard(Protocol, u16, Family),
    /// A port of one address.
    Address(Protocol, u16, IpAddr),
    /// A port, of whatever address: what a wildcard of its family clashes with.
    Somewhere(Protocol, u16, Family),
    /// A path.
    Path(&'t str),
    /// A name in LISTEN_FDNAMES.
    Name(&'t str),
}

/// Who holds what, by profile: services that are never there together may
/// claim the same.
#[derive(Debug, Default)]
struct Holders<'t> {
    always: Option<Holder<'t>>,
    anywhere: Option<Holder<'t>>,
    under: BTreeMap<&'t str, Holder<'t>>,
}

#[derive(Debug, Clone, Copy)]
struct Holder<'t> {
    service: &'t Service,
    /// `listens on` or `exposes`.
    verb: &'static str,
}

impl<'t> Holders<'t> {
    fn clash(&self, service: &Service) -> Option<Holder<'t>> {
        if service.profiles.is_empty() {
            return self.anywhere;
        }
        let under = || {
            service
                .profiles
                .iter()
                .find_map(|profile| self.under.get(profile.as_str()))
        };
        self.always.or_else(|| under().copied())
    }

    fn add(&mut self, holder: Holder<'t>) {
        self.anywhere.get_or_insert(holder);
        if holder.service.profiles.is_empty() {
            self.always.get_or_insert(holder);
        }
        for profile in &holder.service.profiles {
            self.under.entry(profile).or_insert(holder);
        }
    }
}

#[derive(Debug, Default)]
struct Claims<'t>(BTreeMap<Claim<'t>, Holders<'t>>);

impl<'t> Claims<'t> {
    /// Claims for `holder`, unless it clashes with one of `against`.
    fn claim(
        &mut self,
        holder: Holder<'t>,
        claims: &[Claim<'t>],
        against: &[Claim<'t>],
    ) -> Result<(), Holder<'t>> {
        let clash = against
            .iter()
            .find_map(|claim| self.0.get(claim)?.clash(holder.service));
        for claim in claims {
            self.0.entry(claim.clone()).or_default().add(holder);
        }
        clash.map_or(Ok(()), Err)
    }

    fn claim_one(&mut self, holder: Holder<'t>, claim: Claim<'t>) -> Result<(), Holder<'t>> {
        let one = std::slice::from_ref(&claim);
        self.claim(holder, one, one)
    }

    /// Init's own listener, which is the first and clashes with nobody.
    fn listener(&mut self, service: &'t Service) {
        let holder = Holder {
            service,
            verb: "listens on",
        };
        for listen in &service.listen {
            let _first = match &listen.address {
                ListenAddress::Unix(path) => self.claim_one(holder, Claim::Path(path)),
                ListenAddress::Port(port) | ListenAddress::UdpPort(port) => {
                    self.port(holder, Protocol::Tcp, *port, None)
                }
                ListenAddress::Tcp(address) | ListenAddress::Udp(address) => {
                    self.port(holder, Protocol::Tcp, address.port(), Some(address.ip()))
                }
            };
        }
    }

    fn port(
        &mut self,
        holder: Holder<'t>,
        protocol: Protocol,
        port: u16,
        ip: Option<IpAddr>,
    ) -> Result<(), Holder<'t>> {
        let families: &[Family] = match ip {
            None => &[Family::V4, Family::V6],
            Some(IpAddr::V4(_)) => &[Family::V4],
            Some(IpAddr::V6(_)) => &[Family::V6],
        };
        let of = |claim: fn(Protocol, u16, Family) -> Claim<'t>| {
            let claims = families.iter().map(|family| claim(protocol, port, *family));
            claims.collect::<Vec<_>>()
        };
        let (mut wildcards, mut somewhere) = (of(Claim::Wildcard), of(Claim::Somewhere));
        match ip.filter(|ip| !ip.is_unspecified()) {
            None => {
                wildcards.extend_from_slice(&somewhere);
                self.claim(holder, &wildcards, &somewhere)
            }
            Some(ip) => {
                let exact = Claim::Address(protocol, port, ip);
                somewhere.push(exact.clone());
                wildcards.push(exact);
                self.claim(holder, &somewhere, &wildcards)
            }
        }
    }
}

/// Checks that every socket, path and port is claimed once.
fn sockets(draft: &Draft<'_>, problems: &mut Problems) {
    let mut claims = Claims::default();
    let own = draft.init.listener_service();
    if let Some(service) = &own {
        claims.listener(service);
    }
    for from in &draft.services {
        let service = &from.service;
        let holder = Holder {
            service,
            verb: "listens on",
        };
        for (listen, span) in service.listen.iter().zip(&from.listen_spans) {
            let name = Claim::Name(&listen.name);
            if let Err(other) = claims.claim_one(holder, name) {
                let other = &other.service.name;
                let message = format!("socket name {:?} is taken by `{other}`", listen.name);
                problems.add_help(
                    span.clone(),
                    message,
                    "give each socket of the box its own name",
                );
            }
            let (protocol, port, ip) = match &listen.address {
                ListenAddress::Unix(path) => {
                    let claim = Claim::Path(path);
                    let claimed = claims.claim_one(holder, claim);
                    report(&format!("path {path:?}"), service, span, claimed, problems);
                    continue;
                }
                ListenAddress::Port(port) => (Protocol::Tcp, *port, None),
                ListenAddress::UdpPort(port) => (Protocol::Udp, *port, None),
                ListenAddress::Tcp(address) => (Protocol::Tcp, address.port(), Some(address.ip())),
                ListenAddress::Udp(address) => (Protocol::Udp, address.port(), Some(address.ip())),
            };
            let what = format!("port {port}/{protocol}");
            let claimed = claims.port(holder, protocol, port, ip);
            report(&what, service, span, claimed, problems);
        }
        let holder = Holder {
            service,
            verb: "exposes",
        };
        for (expose, span) in service.expose.iter().zip(&from.expose_spans) {
            let what = format!("port {}/{}", expose.port, expose.protocol);
            let claimed = claims.port(holder, expose.protocol, expose.port, None);
            report(&what, service, span, claimed, problems);
        }
    }
}

fn report(
    what: &str,
    service: &Service,
    span: &Range<usize>,
    claimed: Result<(), Holder<'_>>,
    problems: &mut Problems,
) {
    let Err(other) = claimed else { return };
    if other.service.name == service.name {
        let message = format!("{what} is claimed twice by `{}`", service.name);
        let help = "what is in `listen` is exposed as it is: name each port once";
        problems.add_help(span.clone(), message, help);
    } else {
        let Holder {
            service: other,
            verb,
        } = other;
        problems.add(
            span.clone(),
            format!("{what} is taken: `{}` {verb} it", other.name),
        );
    }
}
