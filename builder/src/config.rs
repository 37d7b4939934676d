//! The configuration of the image: what engines read of it without unpacking
//! it. Pure.

use std::collections::BTreeMap;

use holdall_image::document::{Healthcheck, ImageConfig, RunConfig};
use holdall_protocol::Millis;
use holdall_protocol::control::LIMITS_LABEL;
use holdall_protocol::manifest::{Limits, ListenAddress, Manifest, Protocol, Service};

use crate::plan::ARCHITECTURE;
use crate::toml::Image;

/// What is run, on any base.
const ENTRYPOINT: [&str; 3] = ["/init", "run", "--"];

/// What is there where neither base nor file says it.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The names of the services, for those who look at the image only.
const LABEL_SERVICES: &str = "io.holdall.services";

/// How long an ordered stop takes at most, in whole seconds: what
/// `docker stop -t` and Kubernetes' grace period must be at least.
const LABEL_GRACE: &str = "io.holdall.grace";

/// The version of the checks of services: an image that was checked by less
/// is checked again.
const CHECKS: u32 = 2;

/// The engine gives an answer of `/init health` this long. It is one message
/// to a process that does nothing else for long.
const HEALTH_TIMEOUT: Millis = Millis::from_secs(5);

/// Between two questions of the engine: init looks at the services by
/// itself, as often as each says, so that this needs not be their interval.
const HEALTH_INTERVAL: Millis = Millis::from_secs(10);

/// What a start takes beside the services' own start periods.
const START_PERIOD: Millis = Millis::from_secs(30);

/// Failures in a row until the engine calls the box unhealthy. Init has
/// already counted each service's own.
const HEALTH_RETRIES: u64 = 3;

/// Everything of the file that the configuration is made of, as text. Base and
/// epoch are in the key by themselves.
pub(crate) fn inputs(image: &Image, manifest: &Manifest) -> String {
    let config = image_config(None, image, manifest, 0);
    // A document of ours always has a form in JSON; its debug form names the
    // same values.
    let text = serde_json::to_string(&config).unwrap_or_else(|_| format!("{config:?}"));
    format!("checks {CHECKS}\n{text}")
}

/// The configuration, but for the layers: `base`'s own with ours over it.
pub(crate) fn image_config(
    base: Option<&ImageConfig>,
    image: &Image,
    manifest: &Manifest,
    epoch: i64,
) -> ImageConfig {
    let below = base.map(|base| base.config.clone()).unwrap_or_default();
    let mut labels = below.labels;
    if let Some(name) = &manifest.name {
        labels.insert("org.opencontainers.image.title".to_owned(), name.clone());
    }
    let names: Vec<&str> = manifest
        .services
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    labels.insert(LABEL_SERVICES.to_owned(), names.join(","));
    let grace = manifest.init.stop_timeout.0.div_ceil(1000);
    labels.insert(LABEL_GRACE.to_owned(), grace.to_string());
    labels.insert(LIMITS_LABEL.to_owned(), controllers(manifest).join(","));
    labels.extend(image.labels.clone());
    let mut exposed_ports = below.exposed_ports;
    exposed_ports.extend(ports(manifest));
    let mut volumes = below.volumes;
    volumes.extend(
        manifest
            .services
            .iter()
            .flat_map(|service| service.volumes.clone()),
    );
    ImageConfig {
        created: Some(rfc3339(epoch)),
        author: base.and_then(|base| base.author.clone()),
        architecture: base
            .map_or(ARCHITECTURE, |base| &base.architecture)
            .to_owned(),
        variant: base.and_then(|base| base.variant.clone()),
        os: "linux".to_owned(),
        config: RunConfig {
            // Init starts as root and gives each service its own user.
            user: String::new(),
            exposed_ports,
            env: environment(&below.env, &image.env),
            entrypoint: ENTRYPOINT.map(str::to_owned).to_vec(),
            cmd: Vec::new(),
            volumes,
            working_dir: below.working_dir,
            labels,
            stop_signal: Some("SIGTERM".to_owned()),
            healthcheck: healthcheck(manifest),
        },
        ..ImageConfig::default()
    }
}

/// The controllers that `limits` of services need, in any profile.
fn controllers(manifest: &Manifest) -> Vec<&'static str> {
    let profiles = manifest.profiles.values();
    let overlaid = profiles.flat_map(|profile| profile.services.values());
    let overlaid = overlaid.map(|overlaid| &overlaid.service);
    let plain = manifest.services.iter().map(AsRef::as_ref);
    let services: Vec<&Service> = plain.chain(overlaid).collect();
    let needs = |limited: fn(&Limits) -> bool| {
        let mut services = services.iter();
        services.any(|service| limited(&service.limits))
    };
    let all = [
        ("cpu", needs(|limits| limits.cpu.is_some())),
        ("memory", needs(|limits| limits.memory.is_some())),
        ("pids", needs(|limits| limits.pids.is_some())),
    ];
    let needed = all.into_iter().filter(|(_, needed)| *needed);
    needed.map(|(name, _)| name).collect()
}

/// The base's variables, those of the file over them, and a PATH in any case.
pub(crate) fn environment(base: &[String], own: &BTreeMap<String, String>) -> Vec<String> {
    let mut variables: Vec<(String, String)> = Vec::new();
    let split = base.iter().filter_map(|variable| variable.split_once('='));
    let below = split.map(|(name, value)| (name.to_owned(), value.to_owned()));
    for (name, value) in below.chain(own.clone()) {
        match variables.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => variables.push((name, value)),
        }
    }
    if !variables.iter().any(|(name, _)| name == "PATH") {
        variables.insert(0, ("PATH".to_owned(), PATH.to_owned()));
    }
    variables
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

/// The ports that services bind and that init binds for them, but for those
/// that only the box itself can reach.
fn ports(manifest: &Manifest) -> impl Iterator<Item = String> {
    let exposed = manifest
        .services
        .iter()
        .flat_map(|service| &service.expose)
        .map(|expose| {
            let protocol = match expose.protocol {
                Protocol::Tcp => "tcp",
                Protocol::Udp => "udp",
            };
            format!("{}/{protocol}", expose.port)
        });
    let listening = manifest.services.iter().flat_map(|service| &service.listen);
    let listening = listening.filter_map(|listen| match &listen.address {
        ListenAddress::Port(port) => Some(format!("{port}/tcp")),
        ListenAddress::UdpPort(port) => Some(format!("{port}/udp")),
        ListenAddress::Tcp(address) if !address.ip().is_loopback() => {
            Some(format!("{}/tcp", address.port()))
        }
        ListenAddress::Udp(address) if !address.ip().is_loopback() => {
            Some(format!("{}/udp", address.port()))
        }
        ListenAddress::Tcp(_) | ListenAddress::Udp(_) | ListenAddress::Unix(_) => None,
    });
    exposed.chain(listening)
}

/// Docker's own field: `/init health` is healthy once the box is ready, and as
/// long as init answers from then on.
fn healthcheck(manifest: &Manifest) -> Option<Healthcheck> {
    if manifest.services.is_empty() {
        return None;
    }
    let nanos = |span: Millis| span.0.saturating_mul(1_000_000);
    // Services that depend on each other start one after the other, so their
    // periods add up.
    let periods = manifest
        .services
        .iter()
        .filter_map(|service| service.health.as_ref());
    let start = periods.fold(START_PERIOD.0, |sum, health| {
        sum.saturating_add(health.start_period.0)
    });
    Some(Healthcheck {
        test: ["CMD", "/init", "health"].map(str::to_owned).to_vec(),
        interval: nanos(HEALTH_INTERVAL),
        timeout: nanos(HEALTH_TIMEOUT),
        start_period: nanos(Millis(start)),
        retries: HEALTH_RETRIES,
    })
}

/// Seconds since 1970 in UTC, as RFC 3339 writes them.
pub(crate) fn rfc3339(epoch: i64) -> String {
    let days = epoch.div_euclid(86_400);
    let second = epoch.rem_euclid(86_400);
    // Days to a date of the proleptic Gregorian calendar, counted from the
    // first of March, so that the leap day is a year's last.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 {
        month_shifted + 3
    } else {
        month_shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use holdall_protocol::manifest::Reader;

    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339_has_them() {
        for (epoch, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (crate::plan::EPOCH, "1980-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(epoch), text);
        }
    }

    #[test]
    fn a_controller_is_needed_where_any_profile_limits_by_it() {
        let text = "[service.a]\ncommand = \"a\"\nlimits = { pids = 5, nofile = 10 }\n\
                    [profile.small]\nservice.a.limits = { memory = \"8M\" }\n";
        let manifest = Manifest::from_toml(text, Reader::Builder).expect("well-formed");
        assert_eq!(controllers(&manifest), ["memory", "pids"]);
        assert!(controllers(&Manifest::default()).is_empty());
    }

    #[test]
    fn the_files_variables_lie_over_those_of_the_base() {
        let base = ["A=1".to_owned(), "PATH=/bin".to_owned()];
        let own = [
            ("A".to_owned(), "2".to_owned()),
            ("B".to_owned(), "3=4".to_owned()),
        ];
        assert_eq!(
            environment(&base, &own.into()),
            ["A=2", "PATH=/bin", "B=3=4"]
        );
        assert_eq!(environment(&[], &BTreeMap::new()), [format!("PATH={PATH}")]);
    }
}
