//! A manifest is the same after it was written and read.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use holdall_protocol::manifest::{
    Backoff, Bounds, BoxLog, Condition, Dependency, Dialect, EnvFile, ExitCodes, Expose, GiveUp,
    Health, HttpProbe, HttpTarget, InitSettings, Kind, Limits, Listen, ListenAddress, Listener,
    LogFile, LogFormat, Logging, OnUnhealthy, Overlay, Probe, Profile, Protocol, Ready, Reload,
    Resource, Restart, Schedule, Service, Start, Stop, Template, WhenFull,
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
    let headers = prop::collection::btree_map("X-[A-Za-z]{1,4}", "[^\\p{Cc}]{0,6}", 0..2);
    let status = prop_oneof![Just((200, 399)), (100_u16..=300, 300_u16..=599)];
    let path = "/[a-z0-9/?&=.~%\"\\\\]{0,10}";
    prop_oneof![
        commands().prop_map(Probe::Exec),
        paths().prop_map(Probe::File),
        (targets.clone(), 1_u16..).prop_map(move |((ip, _), port)| Probe::Tcp(address(ip, port))),
        (
            targets,
            1_u16..,
            path,
            headers,
            status,
            prop::option::of(paths())
        )
            .prop_map(move |((ip, host), port, path, headers, status, unix)| {
                let host = if port == 80 {
                    host.to_owned()
                } else {
                    format!("{host}:{port}")
                };
                let to = unix.map_or(HttpTarget::Tcp(address(ip, port)), HttpTarget::Unix);
                Probe::Http(HttpProbe {
                    to,
                    host,
                    path,
                    headers,
                    status,
                })
            }),
    ]
}

fn paths() -> impl Strategy<Value = String> {
    "(/[a-z\"ä ]{1,4}){1,3}"
}

fn names() -> impl Strategy<Value = String> {
    "[a-z0-9_.-]{1,8}"
}

fn readies() -> impl Strategy<Value = Ready> {
    let by = prop_oneof![
        Just(Dialect::Notify),
        spans().prop_map(Dialect::After),
        (9_u32..=63).prop_map(Dialect::Fd),
        "[^\0\n]{1,9}".prop_map(Dialect::Log),
        probes().prop_map(Dialect::Asked),
    ];
    (by, prop::option::of(spans())).prop_map(|(by, timeout)| Ready { by, timeout })
}

fn schedules() -> impl Strategy<Value = Schedule> {
    let list = |from: u32, to: u32| {
        prop_oneof![
            3 => Just("*".to_owned()),
            2 => (from..=to).prop_map(|n| n.to_string()),
            1 => (2_u32..9).prop_map(|n| format!("*/{n}")),
            1 => (from..=to, from..=to).prop_map(|(a, b)| format!("{}-{},{a}", a.min(b), a.max(b))),
        ]
    };
    let cron = (
        list(0, 59),
        list(0, 23),
        list(1, 28),
        list(1, 12),
        list(0, 7),
    );
    let cron = cron.prop_map(|(minute, hour, day, month, weekday)| {
        let text = format!("{minute} {hour} {day} {month} {weekday}");
        text.parse().expect("a cron expression")
    });
    prop_oneof![
        cron,
        (1000_u64..9_999_999).prop_map(|span| Schedule::Every(Millis(span)))
    ]
}

prop_compose! {
    fn limits()(
        resources in prop::collection::btree_map(0_usize..12, (prop::option::of(0_u64..1 << 40), any::<bool>()), 0..4),
        nice in prop::option::of(-20_i8..=19),
        oom_score_adj in prop::option::of(-1000_i16..=1000),
        memory in prop::option::of(1_u64 << 20..1 << 50),
        cpu in prop::option::of(10_u32..99_999),
        pids in prop::option::of(1_u32..9999),
    ) -> Limits {
        let bounds = |(at, (soft, same)): (usize, (Option<u64>, bool))| {
            let hard = if same { soft } else { None };
            Some((Resource::ALL.get(at)?.0, Bounds { soft, hard }))
        };
        let resources = resources.into_iter().filter_map(bounds).collect();
        Limits { resources, nice, oom_score_adj, memory, cpu, pids }
    }
}

prop_compose! {
    fn logs()(
        format in prop::option::of(formats()),
        file in prop::option::of((paths(), 1_u64 << 16..1 << 40, 0_u32..=1000)),
        tee in any::<bool>(),
        blocks in any::<bool>(),
    ) -> Logging {
        let file = file.map(|(path, size, count)| LogFile { path, size, count });
        let tee = tee && file.is_some();
        Logging { format, file, tee, when_full: if blocks { WhenFull::Block } else { WhenFull::Drop } }
    }
}

fn formats() -> impl Strategy<Value = LogFormat> {
    prop_oneof![
        Just(LogFormat::Prefix),
        Just(LogFormat::Json),
        Just(LogFormat::Passthrough)
    ]
}

fn commands() -> impl Strategy<Value = Vec<String>> {
    ("[^\0]{1,10}", prop::collection::vec("[^\0]{0,10}", 0..4)).prop_map(|(program, mut rest)| {
        rest.insert(0, program);
        rest
    })
}

fn healths() -> impl Strategy<Value = Health> {
    (
        probes(),
        spans(),
        spans(),
        1_u32..=1000,
        1_u32..=1000,
        spans(),
    )
        .prop_map(
            |(probe, interval, timeout, retries, successes, start_period)| Health {
                probe,
                interval,
                timeout,
                retries,
                successes,
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
    /// What a process is given, of the newer keys.
    fn given()(
        groups in prop::collection::btree_set(names(), 0..3),
        env_files in prop::collection::vec((paths(), any::<bool>()), 0..3),
        templates in prop::collection::vec(
            (prop_oneof![paths(), "[a-z]{1,4}(/[a-z.]{1,3}x){0,2}"], paths(), 0_u32..=0o7777,
             prop::option::of((names(), prop::option::of(names())))),
            0..3,
        ),
        limits in limits(),
        log in logs(),
    ) -> Service {
        let mut service = Service::new("x".parse().expect("a name"), Kind::Daemon, Vec::new());
        service.groups = groups.into_iter().collect();
        service.env_files = env_files.into_iter().map(|(path, optional)| EnvFile { path, optional }).collect();
        let owned = |owner: Option<(String, Option<String>)>| owner.map(|(user, group)| match group {
            Some(group) => format!("{user}:{group}"),
            None => user,
        });
        service.templates = templates
            .into_iter()
            .map(|(from, to, mode, owner)| Template { from, to, mode, owner: owned(owner) })
            .collect();
        (service.limits, service.log) = (limits, log);
        service
    }
}

prop_compose! {
    /// How a service lives, of a kind.
    fn lives(kind: Kind)(
        service in given().boxed(),
        ready in prop::option::of(readies()).boxed(),
        health in prop::option::of(healths()).boxed(),
        watchdog in prop::option::of(spans()),
        restart in prop_oneof![Just(Restart::Always), Just(Restart::OnFailure), Just(Restart::Never)],
        backoff in (spans(), spans()),
        give_up in (0_u32..=1000, spans()),
        flags in any::<(bool, bool, bool)>(),
        stop in (1_u8..=64, prop_oneof![Just(Millis::ZERO), spans()], prop::option::of(commands())),
        reload in prop::option::of(prop_oneof![
            (1_u8..=64).prop_map(|n| Reload::Signal(Signal::from_number(n).expect("in range"))),
            commands().prop_map(Reload::Command),
        ]),
        instances in prop::option::of(0_u32..=1000),
        retried in (prop::collection::vec(any::<u8>(), 0..4), prop::option::of(0_u32..1000)),
        placed in (any::<i32>(), any::<bool>()),
    ) -> Service {
        let mut service = service;
        if kind == Kind::Daemon {
            (service.ready, service.health) = (ready.map(Box::new), health.map(Box::new));
            service.watchdog = watchdog;
        }
        service.restart = restart;
        if kind != Kind::Daemon && restart == Restart::Always {
            service.restart = Restart::OnFailure;
        }
        service.backoff = Backoff { initial: backoff.0.min(backoff.1), max: backoff.0.max(backoff.1) };
        service.give_up = GiveUp { failures: give_up.0, within: give_up.1 };
        service.essential = flags.0;
        service.on_unhealthy = if flags.1 { OnUnhealthy::Ignore } else { OnUnhealthy::Restart };
        service.start = if flags.2 { Start::Boot } else { Start::Manual };
        let signal = Signal::from_number(stop.0).expect("in range");
        service.stop = Stop { signal, timeout: stop.1, command: stop.2, group: placed.1 };
        service.order = placed.0;
        service.success = retried.0.into_iter().collect::<ExitCodes>();
        service.start_retries = retried.1.filter(|_| kind == Kind::Daemon);
        (service.reload, service.instances) = (reload, instances);
        service
    }
}

/// Lays what a profile may change over a service: all that is said.
fn laid_over(base: &Service, life: &Service, process: &Service) -> Service {
    let mut service = life.clone();
    (service.name, service.kind) = (base.name.clone(), base.kind);
    service.schedule = base.schedule;
    service.command.clone_from(&process.command);
    service.user = process.user.clone().or(base.user.clone());
    service.group = process.group.clone().or(base.group.clone());
    (service.umask, service.dir) = (process.umask, process.dir.clone());
    service.env.clone_from(&base.env);
    service.depends_on.clone_from(&base.depends_on);
    service.listen.clone_from(&base.listen);
    (service.handoff, service.expose) = (base.handoff, base.expose.clone());
    service.volumes.clone_from(&base.volumes);
    service.profiles.clone_from(&base.profiles);
    // What a profile does not say stays as it is: nothing takes a key away.
    service.ready = service.ready.or(base.ready.clone());
    service.health = service.health.or(base.health.clone());
    service.watchdog = service.watchdog.or(base.watchdog);
    service.reload = service.reload.or(base.reload.clone());
    service.start_retries = service.start_retries.or(base.start_retries);
    service.instances = service.instances.or(base.instances);
    service.stop.command = service.stop.command.or(base.stop.command.clone());
    service.log.format = service.log.format.or(base.log.format);
    service.log.file = service.log.file.or(base.log.file.clone());
    let (limits, below) = (&mut service.limits, &base.limits);
    for (resource, bounds) in &below.resources {
        limits.resources.entry(*resource).or_insert(*bounds);
    }
    limits.nice = limits.nice.or(below.nice);
    limits.oom_score_adj = limits.oom_score_adj.or(below.oom_score_adj);
    limits.memory = limits.memory.or(below.memory);
    limits.cpu = limits.cpu.or(below.cpu);
    limits.pids = limits.pids.or(below.pids);
    service
}

prop_compose! {
    fn services()(
        (life, schedule) in prop_oneof![
            3 => (lives(Kind::Daemon).boxed(), Just(None).boxed()),
            1 => (lives(Kind::Oneshot).boxed(), Just(None).boxed()),
            1 => (lives(Kind::Job).boxed(), schedules().prop_map(Some).boxed()),
        ],
        process in processes().boxed(),
        kind in 0_u8..5,
        profiled in any::<bool>(),
        sockets in prop::collection::vec(0_u8..8, 0..4),
        needs in any::<u32>(),
    ) -> (Service, Vec<u8>, u32) {
        let mut base = process.clone();
        (base.kind, base.schedule) = match schedule {
            Some(schedule) => (Kind::Job, Some(schedule)),
            None if kind == 0 && life.restart != Restart::Always && life.start_retries.is_none() && life.health.is_none()
                && life.ready.is_none() && life.watchdog.is_none() => (Kind::Oneshot, None),
            None => (Kind::Daemon, None),
        };
        if profiled {
            base.profiles = vec!["dev".to_owned(), "test".to_owned()];
        }
        (laid_over(&base, &life, &process), sockets, needs)
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
            3 => ListenAddress::UdpPort(place),
            4 => ListenAddress::Udp(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], place))),
            5 => {
                service.listen.push(Listen {
                    name: format!("s{place}"),
                    address: ListenAddress::Unix(format!("/run/{place}")),
                    backlog: Some(u32::from(place)),
                    mode: Some(0o600),
                    owner: Some("www-data:www-data".to_owned()),
                    reuse_port: false,
                    stdin: at.is_multiple_of(2) && number == 0,
                });
                service.handoff = true;
                continue;
            }
            kind => {
                let protocol = if *kind == 6 {
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
            backlog: None,
            mode: None,
            owner: None,
            reuse_port: *kind == 1,
            stdin: false,
        });
    }
}

prop_compose! {
    fn manifests()(
        name in prop::option::of("[a-z0-9]{1,5}(/[a-z0-9]([a-z0-9._-]{0,4}[a-z0-9])?){0,1}"),
        stop_timeout in spans(),
        services in prop::collection::vec(services().boxed(), 0..6),
        profiles in prop::collection::btree_map(
            "[a-z0-9][a-z0-9._-]{0,5}",
            (variables(), prop::option::of(variables()), lives(Kind::Daemon).boxed(), processes().boxed()),
            0..3,
        ),
        format in formats(),
        timestamps in any::<bool>(),
        listener in prop::option::of((1_u16.., prop::option::of("[a-z\"]{1,4}"))),
        keep_running in any::<bool>(),
    ) -> Manifest {
        let log = BoxLog { format, timestamps };
        let listener = listener.map(|(port, user)| Listener { address: ListenAddress::Port(port), user });
        let init = InitSettings { stop_timeout, keep_running, log, listener };
        let mut manifest = Manifest { name, init, ..Manifest::default() };
        for (at, (mut service, sockets, needs)) in services.into_iter().enumerate() {
            service.name = format!("s{at}.x-_").parse().expect("a name");
            add_sockets(&mut service, &sockets, at);
            for (bit, other) in manifest.services.iter().enumerate() {
                let condition = match ((needs >> (3 * bit)) & 7, other.kind) {
                    (0, _) => Condition::Ready,
                    (1, _) => Condition::Started,
                    (2, Kind::Oneshot | Kind::Job) => Condition::Done,
                    _ => continue,
                };
                if other.profiles.is_empty() || !service.profiles.is_empty() {
                    service.depends_on.push(Dependency { service: other.name.clone(), condition });
                }
            }
            manifest.services.push(service.into());
        }
        for (profile, (env, own, life, process)) in profiles {
            let daemons = |service: &&std::sync::Arc<Service>| service.kind == Kind::Daemon;
            let first = manifest.services.iter().find(daemons);
            let overlay = first.zip(own).map(|(base, env)| {
                let service = laid_over(base, &life, &process);
                (base.name.clone(), Overlay { service, env })
            });
            let services = overlay.into_iter().collect();
            manifest.profiles.insert(profile, Profile { env, services });
        }
        manifest
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(manifest in manifests()) {
        let text = manifest.to_toml();
        let read = Manifest::from_toml(&text, Reader::Design)
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
