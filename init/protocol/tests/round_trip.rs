//! A manifest is the same after it was written and read.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use holdall_protocol::manifest::{
    Backoff, Condition, Dependency, Expose, GiveUp, Health, InitSettings, Kind, Listen,
    ListenAddress, OnUnhealthy, Probe, Profile, Protocol, Restart, Service, Stop,
};
use holdall_protocol::{Manifest, Millis, Reader, Signal, diagnostic};
use proptest::prelude::*;

fn spans() -> impl Strategy<Value = Millis> {
    let whole = (1_u64..1000).prop_map(|seconds| seconds * 1000);
    prop_oneof![Just(1_u64), 1_u64..100_000_000, whole].prop_map(Millis)
}

fn variables() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map("[^=\0]{1,8}", "[^\0]{0,12}", 0..4)
}

fn probes() -> impl Strategy<Value = Probe> {
    let targets = prop_oneof![
        Just(("127.0.0.1", "localhost")),
        Just(("127.0.0.1", "127.0.0.1")),
        Just(("10.1.2.3", "10.1.2.3")),
        Just(("[::1]", "[::1]")),
    ];
    let address =
        |ip: &str, port: u16| -> SocketAddr { format!("{ip}:{port}").parse().expect("an address") };
    prop_oneof![
        commands().prop_map(Probe::Exec),
        (targets.clone(), 1_u16..).prop_map(move |((ip, _), port)| Probe::Tcp(address(ip, port))),
        (targets, 1_u16.., "/[a-z0-9/?&=.~%\"\\\\]{0,10}").prop_map(
            move |((ip, host), port, path)| {
                let host = if port == 80 {
                    host.to_owned()
                } else {
                    format!("{host}:{port}")
                };
                Probe::Http {
                    address: address(ip, port),
                    host,
                    path,
                }
            }
        ),
    ]
}

fn commands() -> impl Strategy<Value = Vec<String>> {
    ("[^\0]{1,10}", prop::collection::vec("[^\0]{0,10}", 0..4)).prop_map(|(program, mut rest)| {
        rest.insert(0, program);
        rest
    })
}

fn healths() -> impl Strategy<Value = Health> {
    (probes(), spans(), spans(), 1_u32..=1000, spans()).prop_map(
        |(probe, interval, timeout, retries, start_period)| Health {
            probe,
            interval,
            timeout,
            retries,
            start_period,
        },
    )
}

prop_compose! {
    fn processes()(
        command in commands(),
        user in prop::option::of("[a-z0-9_.-]{1,8}"),
        group in prop::option::of("[a-z0-9_.-]{1,8}"),
        umask in 0_u32..=0o777,
        dir in "(/[a-z\"ä ]{1,4}){1,3}",
        env in variables(),
        volumes in prop::collection::btree_set("(/[a-z]{1,4}){1,3}", 0..3),
    ) -> Service {
        let mut service = Service::new("x".parse().expect("a name"), Kind::Daemon, command);
        (service.user, service.group, service.umask) = (user, group, umask);
        (service.dir, service.env) = (dir, env);
        service.volumes = volumes.into_iter().collect();
        service
    }
}

prop_compose! {
    fn services()(
        service in processes(),
        oneshot in any::<bool>(),
        health in prop::option::of(healths()),
        restart in prop_oneof![Just(Restart::Always), Just(Restart::OnFailure), Just(Restart::Never)],
        backoff in (spans(), spans()),
        give_up in (0_u32..=1000, spans()),
        flags in any::<(bool, bool, bool)>(),
        stop in (1_u8..=64, prop_oneof![Just(Millis::ZERO), spans()]),
        sockets in prop::collection::vec(0_u8..5, 0..4),
        needs in any::<u32>(),
    ) -> (Service, Vec<u8>, u32) {
        let mut service = service;
        service.health = health.filter(|_| !oneshot);
        service.restart = restart;
        if oneshot {
            service.kind = Kind::Oneshot;
            if restart == Restart::Always {
                service.restart = Restart::OnFailure;
            }
        }
        service.backoff = Backoff { initial: backoff.0.min(backoff.1), max: backoff.0.max(backoff.1) };
        service.give_up = GiveUp { failures: give_up.0, within: give_up.1 };
        service.essential = flags.0;
        service.on_unhealthy = if flags.1 { OnUnhealthy::Ignore } else { OnUnhealthy::Restart };
        if flags.2 {
            service.profiles = vec!["dev".to_owned(), "test".to_owned()];
        }
        let signal = Signal::from_number(stop.0).expect("in range");
        service.stop = Stop { signal, timeout: stop.1 };
        (service, sockets, needs)
    }
}

/// Gives a service sockets and ports that nobody else has.
fn add_sockets(service: &mut Service, kinds: &[u8], at: usize) {
    for (number, kind) in kinds.iter().enumerate() {
        let place = u16::try_from(1000 + 10 * at + number).expect("few");
        let address = match kind {
            0 => ListenAddress::Port(place),
            1 => ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], place))),
            2 => ListenAddress::Unix(format!("/run/{place} \"ä.sock")),
            kind => {
                let protocol = if *kind == 3 {
                    Protocol::Tcp
                } else {
                    Protocol::Udp
                };
                service.expose.push(Expose {
                    port: place,
                    protocol,
                });
                continue;
            }
        };
        service.listen.push(Listen {
            name: format!("s{place}"),
            address,
        });
    }
}

prop_compose! {
    fn manifests()(
        name in prop::option::of("[a-z0-9]{1,5}(/[a-z0-9]([a-z0-9._-]{0,4}[a-z0-9])?){0,1}"),
        stop_timeout in spans(),
        services in prop::collection::vec(services(), 0..6),
        profiles in prop::collection::btree_map(
            "[a-z0-9][a-z0-9._-]{0,5}",
            (variables(), prop::option::of(variables())),
            0..3,
        ),
    ) -> Manifest {
        let mut manifest = Manifest { name, init: InitSettings { stop_timeout }, ..Manifest::default() };
        for (at, (mut service, sockets, needs)) in services.into_iter().enumerate() {
            service.name = format!("s{at}.x-_").parse().expect("a name");
            add_sockets(&mut service, &sockets, at);
            for (bit, other) in manifest.services.iter().enumerate() {
                let condition = match ((needs >> (3 * bit)) & 7, other.kind) {
                    (0, _) => Condition::Ready,
                    (1, _) => Condition::Started,
                    (2, Kind::Oneshot) => Condition::Done,
                    _ => continue,
                };
                if other.profiles.is_empty() || !service.profiles.is_empty() {
                    service.depends_on.push(Dependency { service: other.name.clone(), condition });
                }
            }
            manifest.services.push(service);
        }
        for (profile, (env, own)) in profiles {
            let first = manifest.services.first().map(|service| service.name.clone());
            let service_env = first.zip(own).into_iter().collect();
            manifest.profiles.insert(profile, Profile { env, service_env });
        }
        manifest
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(manifest in manifests()) {
        let text = manifest.to_toml();
        let read = Manifest::from_toml(&text, Reader::Init)
            .map_err(|errors| TestCaseError::fail(diagnostic::render("written", &text, &errors)))?;
        prop_assert_eq!(&read, &manifest);
        prop_assert_eq!(read.to_toml(), text, "and written alike again");
    }

    #[test]
    fn soup_of_words_neither_panics_nor_lies_about_places(
        words in prop::collection::vec(
            prop_oneof![
                Just("[service.a]\n"), Just("[profile.p]\n"), Just("[init]\n"), Just("[[x]]\n"),
                Just("command = "), Just("health = "), Just("depends_on = "), Just("listen = "),
                Just("type = "), Just("env = "), Just("'a'"), Just("\"ä\\u0000\""), Just("['a', 'b']"),
                Just("{ tcp = 80 }"), Just("{ a = 'ready' }"), Just("5"), Just("true"), Just("\n"),
                Just("\r\n"), Just("."), Just("["), Just("}"), Just("'http=80'"), Just("\"\"\""),
            ],
            0..30,
        ),
    ) {
        let text: String = words.concat();
        if let Err(errors) = Manifest::from_toml(&text, Reader::Builder) {
            prop_assert!(!errors.is_empty());
            prop_assert!(errors.iter().all(|error| error.span.start <= text.len()));
            prop_assert!(errors.is_sorted_by_key(|error| error.span.start));
            let shown = diagnostic::render("f", &text, &errors);
            prop_assert!(errors.iter().take(50).all(|e| shown.contains(e.message.lines().next().unwrap_or(""))));
        }
    }
}
