//! What holds whatever happens. The world itself watches most of it: never
//! two processes of one service, no start before its conditions, no stop
//! before its dependants, no exit with a child left, no storm of actions.

use std::cell::Cell;
use std::collections::BTreeMap;

use holdall_protocol::control::{Exit, HealthKind, State};
use holdall_protocol::manifest::{
    Backoff, Condition, Dependency, Dialect, GiveUp, Health, Kind, OnUnhealthy, Probe, Ready,
    Reload, Restart, Schedule, Service, Start, Stop,
};
use holdall_protocol::{Manifest, Millis, Signal};
use holdall_supervise::{
    Action, Command, Event, Notice, Options, ServiceId, Supervisor, Timestamp,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::world::{Program, World};

fn exits() -> impl Strategy<Value = Exit> {
    prop_oneof![
        Just(Exit::Code(0)),
        (0_u8..=255).prop_map(Exit::Code),
        (1_u8..=31)
            .prop_filter_map("a signal", Signal::from_number)
            .prop_map(Exit::Signal),
    ]
}

/// Programs of every kind; `mortal` ones can at least be killed.
fn programs(mortal: bool) -> impl Strategy<Value = Program> {
    let times = || prop_oneof![Just(0_u64), 1_u64..50, 50_u64..5000];
    let dies = times().prop_map(|after| Some(after.min(200)));
    let dies = if mortal {
        dies.boxed()
    } else {
        prop_oneof![9 => dies, 1 => Just(None)].boxed()
    };
    (
        // Time must pass between a crash and the next.
        prop_oneof![Just(1_u64), times().prop_map(|takes| takes.max(1))],
        prop::option::weighted(0.1, 125_u8..=127),
        prop::option::weighted(0.5, (times(), exits())),
        prop::option::weighted(0.8, times()),
        dies,
        any::<bool>(),
        (times(), prop_oneof![Just(u64::MAX), times()]),
        times(),
        prop::collection::vec((times(), notices()), 0..4),
    )
        .prop_map(
            |(
                spawn_takes,
                spawn_fails,
                ends,
                obeys,
                dies,
                cleared_first,
                healthy,
                probe_takes,
                says,
            )| {
                Program {
                    spawn_takes,
                    spawn_fails,
                    ends,
                    obeys,
                    dies,
                    cleared_first,
                    healthy,
                    probe_takes,
                    commands_fail: spawn_takes % 3 == 2,
                    says,
                }
            },
        )
}

fn notices() -> impl Strategy<Value = Notice> {
    prop_oneof![
        4 => Just(Notice::Ready),
        1 => Just(Notice::Announced),
        1 => Just(Notice::Reloading),
        1 => Just(Notice::Stopping),
        1 => Just(Notice::Status("é".repeat(100))),
        2 => Just(Notice::Alive),
        1 => Just(Notice::Stuck),
        1 => spans().prop_map(Notice::WatchdogEvery),
        1 => spans().prop_map(Notice::Extend),
        1 => any::<u32>().prop_map(Notice::MainPid),
    ]
}

fn readies() -> impl Strategy<Value = Ready> {
    let by = prop_oneof![
        Just(Dialect::Notify),
        Just(Dialect::Fd(3)),
        Just(Dialect::Asked(Probe::File("/run/ok".to_owned()))),
    ];
    let timeout = prop::option::of((1_u64..20_000).prop_map(Millis));
    (by, timeout).prop_map(|(by, timeout)| Ready { by, timeout })
}

fn spans() -> impl Strategy<Value = Millis> {
    prop_oneof![Just(Millis::ZERO), (1_u64..20_000).prop_map(Millis)]
}

fn healths() -> impl Strategy<Value = Health> {
    (1_u64..5000, 1_u32..4, 1_u32..3, spans()).prop_map(
        |(interval, retries, successes, start_period)| Health {
            probe: Probe::Exec(vec!["ask".to_owned()]),
            interval: Millis(interval),
            timeout: Millis(1000),
            retries,
            successes,
            start_period,
        },
    )
}

fn schedules() -> impl Strategy<Value = Schedule> {
    let every = (1_u64..100_000).prop_map(|span| Schedule::Every(Millis(span)));
    let cron = prop_oneof![Just("* * * * *"), Just("*/3 * * * *"), Just("0 12 29 2 *")];
    let cron = cron.prop_map(|text| text.parse().expect("a schedule"));
    prop_oneof![every, cron]
}

prop_compose! {
    fn services()(
        kind in prop_oneof![5 => Just(Kind::Daemon), 2 => Just(Kind::Oneshot), 1 => Just(Kind::Job)],
        schedule in schedules(),
        start in prop_oneof![8 => Just(Start::Boot), 1 => Just(Start::Manual), 2 => Just(Start::OnDemand)],
        (stop_command, reloads) in (any::<bool>(), any::<bool>()),
        health in prop::option::of(healths()),
        (ready, watchdog) in (prop::option::weighted(0.3, readies()), prop::option::weighted(0.2, 1_u64..20_000)),
        restart in prop_oneof![Just(Restart::Always), Just(Restart::OnFailure), Just(Restart::Never)],
        backoff in (spans(), spans()),
        give_up in (0_u32..6, 1_u64..100_000),
        essential in any::<bool>(),
        ignore in any::<bool>(),
        stop in spans(),
        (retries, after, order) in (prop::option::of(0_u32..4), prop::option::of(1_u64..5000), -2_i32..3),
    ) -> Service {
        let mut service = Service::new("x".parse().expect("a name"), kind, vec!["run".to_owned()]);
        service.health = health.map(Box::new);
        service.watchdog = watchdog.map(Millis);
        service.restart = restart;
        service.backoff = Backoff { initial: backoff.0.min(backoff.1), max: backoff.0.max(backoff.1) };
        service.give_up = GiveUp { failures: give_up.0, within: Millis(give_up.1) };
        service.essential = essential;
        service.on_unhealthy = if ignore { OnUnhealthy::Ignore } else { OnUnhealthy::Restart };
        let command = stop_command.then(|| vec!["quit".to_owned()]);
        service.stop = Stop { signal: Signal::TERM, timeout: stop, command, group: true };
        service.start_retries = retries;
        let after = after.map(|span| Ready { by: Dialect::After(Millis(span)), timeout: None });
        service.ready = ready.or(after).map(Box::new);
        service.order = order;
        service.schedule = Some(schedule).filter(|_| kind == Kind::Job);
        // The manifest refuses it of what runs to its end.
        let may = kind == Kind::Daemon || start != Start::OnDemand;
        service.start = if may { start } else { Start::Boot };
        service.reload = reloads.then_some(Reload::Signal(Signal::HUP));
        service
    }
}

prop_compose! {
    /// Up to seven services, each needing some of those before it.
    fn manifests()(
        services in prop::collection::vec((services(), any::<u64>()), 0..7),
        bound in prop_oneof![Just(Millis::from_secs(9)), spans()],
    ) -> Manifest {
        let mut manifest = Manifest::default();
        manifest.init.stop_timeout = bound;
        for (at, (mut service, needs)) in services.into_iter().enumerate() {
            service.name = format!("s{at}").parse().expect("a name");
            for on in 0..at {
                let condition = match (needs >> (4 * on)) & 15 {
                    0..=2 => Condition::Ready,
                    3 => Condition::Started,
                    4 => Condition::Done,
                    _ => continue,
                };
                let service_name = format!("s{on}").parse().expect("a name");
                service.depends_on.push(Dependency { service: service_name, condition });
            }
            manifest.services.push(service.into());
        }
        manifest
    }
}

/// What is done to a box from outside.
#[derive(Debug, Clone)]
enum Deed {
    Ask(Command, Vec<usize>),
    Abandon(u64),
    Kill(usize),
    /// Somebody connects.
    Connect(usize),
    /// A new manifest: this much of the first one, with one change.
    Change(usize, usize, u8),
    /// The wall clock is set.
    Clock(u64),
    Shutdown,
}

/// A manifest that holds the first `keep` services of another, and changes one
/// of them.
fn changed(manifest: &Manifest, keep: usize, at: usize, how: u8) -> Manifest {
    let mut new = manifest.clone();
    new.services.truncate(keep);
    if let Some(service) = new.services_mut().nth(at) {
        match how {
            0 => service.command = vec!["other".to_owned()],
            1 => service.give_up.failures += 1,
            2 => service.depends_on.clear(),
            3 => service.kind = Kind::Oneshot,
            4 => service.health = None,
            5 => service.stop.timeout = Millis(1),
            6 => service.start = Start::Manual,
            7 if service.kind == Kind::Daemon => service.start = Start::OnDemand,
            8 => service.start = Start::Boot,
            _ => {}
        }
        if service.kind != Kind::Job {
            service.schedule = None;
        }
    }
    new
}

fn deeds() -> impl Strategy<Value = Deed> {
    let commands = prop_oneof![
        Just(Command::Start),
        Just(Command::Stop),
        Just(Command::Restart),
        Just(Command::Reload),
    ];
    prop_oneof![
        8 => (commands, prop::collection::vec(0_usize..8, 0..4))
            .prop_map(|(command, services)| Deed::Ask(command, services)),
        1 => (0_u64..10).prop_map(Deed::Abandon),
        4 => (0_usize..8).prop_map(Deed::Kill),
        4 => (0_usize..8).prop_map(Deed::Connect),
        3 => (0_usize..8, 0_usize..7, 0_u8..11)
            .prop_map(|(keep, at, how)| Deed::Change(keep, at, how)),
        1 => (0_u64..10_000_000).prop_map(Deed::Clock),
        1 => Just(Deed::Shutdown),
    ]
}

/// Runs a box through deeds, then shuts it down and waits for the bound.
fn live(
    manifest: &Manifest,
    programs: &[Program],
    options: Options,
    deeds: &[(u64, Deed)],
) -> World {
    let count = manifest.services.len();
    let mut programs = programs.to_vec();
    programs.truncate(count + 1);
    programs.resize(count + 1, Program::default());
    let mut world = World::new(manifest, programs, options);
    world.tell(Event::Boot);
    let mut request = 0;
    let mut abandoned = Vec::new();
    for (after, deed) in deeds {
        world.run_for(*after);
        if world.exit.is_some() {
            break;
        }
        match deed {
            Deed::Ask(command, services) => {
                // An eighth service is one that is not there.
                let names: Vec<String> = services.iter().map(|at| format!("s{at}")).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                world.command(request, *command, &names);
                request += 1;
            }
            Deed::Abandon(request) => {
                world.tell(Event::Abandoned { request: *request });
                abandoned.push(*request);
            }
            Deed::Kill(at) => {
                let name = format!("s{at}");
                if *at < count && world.alive(&name) {
                    world.kill(&name, Signal::KILL);
                }
            }
            Deed::Connect(at) => {
                let name = format!("s{at}");
                if *at < count && world.awaited(&name) {
                    world.connect(&name);
                    assert!(!world.awaited(&name), "who connected is answered");
                }
            }
            Deed::Change(keep, at, how) => {
                let new = changed(manifest, *keep, *at, *how);
                let stopping = world.supervisor.status(Timestamp(world.now)).stopping;
                let changes = world.reconfigure(&new);
                if !stopping {
                    assert!(changes.is_empty() || world.supervisor.changes(&new).is_empty());
                }
            }
            Deed::Clock(wall) => world.tell(Event::Clock { wall: *wall }),
            Deed::Shutdown => world.tell(Event::Shutdown),
        }
    }
    if world.exit.is_none() {
        world.tell(Event::Shutdown);
    }
    world.run_for(world.bound);
    assert!(world.exit.is_some(), "every stop ends by its bound");
    for (request, replies) in &world.replies {
        let answered = replies.len();
        let gone = abandoned.contains(request);
        assert!(
            answered == 1 || (gone && answered == 0),
            "{request}: {answered} replies"
        );
    }
    world
}

fn options() -> impl Strategy<Value = Options> {
    (any::<bool>(), any::<bool>(), any::<u64>()).prop_map(|(foreground, after_ready, seed)| {
        Options {
            foreground,
            after_ready,
            seed,
        }
    })
}

fn times() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..3, 0_u64..2000, 0_u64..60_000]
}

/// So many cases, or as many as PROPTEST_CASES says where that is more (`make
/// soak`).
fn cases(least: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig {
        cases: config.cases.max(least),
        ..config
    }
}

proptest! {
    #![proptest_config(cases(1500))]

    #[test]
    fn any_box_through_any_deeds_keeps_every_promise(
        manifest in manifests(),
        programs in prop::collection::vec(programs(false), 8),
        options in options(),
        deeds in prop::collection::vec((times(), deeds()), 0..12),
    ) {
        live(&manifest, &programs, options, &deeds);
    }

    #[test]
    fn a_box_whose_programs_can_be_killed_leaves_none_behind(
        manifest in manifests(),
        programs in prop::collection::vec(programs(true), 8),
        options in options(),
        deeds in prop::collection::vec((times(), deeds()), 0..12),
    ) {
        let mut manifest = manifest;
        manifest.init.stop_timeout = manifest.init.stop_timeout.max(Millis(2000));
        for service in manifest.services_mut() {
            // Being born may not take longer than the reserve either.
            service.stop.timeout = service.stop.timeout.min(Millis(5000));
        }
        let mut programs = programs;
        for program in &mut programs {
            program.spawn_takes = program.spawn_takes.min(100);
        }
        let world = live(&manifest, &programs, options, &deeds);
        let left = world.times(|action| {
            matches!(action, Action::Note(holdall_supervise::Note::LeftBehind { .. }))
        });
        prop_assert!(left.is_empty());
    }

    #[test]
    fn a_box_of_programs_that_behave_becomes_ready(
        manifest in manifests(),
        seed in any::<u64>(),
    ) {
        let mut manifest = manifest;
        let mut programs = vec![Program::default(); manifest.services.len() + 1];
        let kinds: BTreeMap<_, _> =
            manifest.services.iter().map(|s| (s.name.clone(), s.kind)).collect();
        for (service, program) in manifest.services_mut().zip(&mut programs) {
            if service.kind == Kind::Oneshot {
                program.ends = Some((30, Exit::Code(0)));
            }
            if service.kind == Kind::Daemon {
                program.says = match service.ready.as_ref().map(|ready| &ready.by) {
                    Some(Dialect::Notify) => vec![(0, Notice::Ready)],
                    Some(Dialect::Fd(_) | Dialect::Log(_)) => vec![(0, Notice::Announced)],
                    Some(Dialect::After(_) | Dialect::Asked(_)) | None => Vec::new(),
                };
                program.says.extend((0..40_000).step_by(100).map(|at| (at, Notice::Alive)));
            }
            if let Some(ready) = &mut service.ready {
                ready.timeout = ready.timeout.map(|timeout| timeout.max(Millis(100)));
            }
            service.watchdog = service.watchdog.map(|every| every.max(Millis(200)));
            service.start = Start::Boot;
            service.schedule = service.schedule.map(|_| Schedule::Every(Millis::from_secs(3600)));
            for dependency in &mut service.depends_on {
                if kinds[&dependency.service] != Kind::Oneshot {
                    dependency.condition = Condition::Ready;
                }
            }
        }
        let options = Options { foreground: true, after_ready: true, seed };
        let mut world = World::new(&manifest, programs, options);
        world.tell(Event::Boot);
        world.run_until(40_000);
        for service in &manifest.services {
            let state = world.state(service.name.as_str());
            let up = match service.kind {
                Kind::Daemon => State::Ready,
                Kind::Oneshot => State::Exited,
                Kind::Job => State::Scheduled,
            };
            prop_assert_eq!(state, up);
        }
        let status = world.supervisor.status(Timestamp(world.now));
        prop_assert!(status.ready && status.has_been_ready);
        prop_assert_eq!(world.times(|action| *action == Action::SpawnForeground).len(), 1);
    }

    #[test]
    fn the_same_events_make_the_same_decisions(
        manifest in manifests(),
        programs in prop::collection::vec(programs(false), 8),
        options in options(),
        deeds in prop::collection::vec((times(), deeds()), 0..8),
    ) {
        let first = live(&manifest, &programs, options, &deeds);
        let second = live(&manifest, &programs, options, &deeds);
        prop_assert_eq!(first.said, second.said);
    }
}

/// Any event at all, true or not.
fn nonsense() -> impl Strategy<Value = Event> {
    let services = || prop_oneof![9 => 0_u32..7, 1 => Just(u32::MAX)].prop_map(ServiceId);
    let names = prop::collection::vec((0_u32..9).prop_map(|n| format!("s{n}")), 0..4);
    let commands = prop_oneof![
        Just(Command::Start),
        Just(Command::Stop),
        Just(Command::Restart),
        Just(Command::Reload),
    ];
    prop_oneof![
        1 => Just(Event::Boot),
        4 => services().prop_map(|service| Event::Spawned { service, pid: 1 }),
        4 => services().prop_map(|service| Event::SpawnFailed {
            service,
            reason: "é".repeat(2000),
            code: 127,
        }),
        4 => (services(), exits(), 0..3_u64).prop_map(|(service, exit, oom_kills)| {
            Event::Exited { service, exit, oom_kills }
        }),
        4 => services().prop_map(|service| Event::Cleared { service }),
        4 => (services(), any::<bool>()).prop_map(|(service, good)| Event::Probed {
            service,
            outcome: if good { Ok(()) } else { Err("é".repeat(2000)) },
        }),
        3 => (services(), notices()).prop_map(|(service, notice)| Event::Notified {
            service,
            notice,
        }),
        1 => Just(Event::ForegroundSpawned { pid: 2 }),
        1 => Just(Event::ForegroundFailed { reason: String::new(), code: 126 }),
        1 => exits().prop_map(|exit| Event::ForegroundExited { exit }),
        1 => Just(Event::ForegroundCleared),
        1 => Just(Event::Shutdown),
        3 => (0_u64..20, commands, names).prop_map(|(request, command, names)| Event::Command {
            request,
            command,
            services: names.iter().map(|name| name.parse().expect("a name")).collect(),
        }),
        1 => (0_u64..20).prop_map(|request| Event::Abandoned { request }),
        4 => services().prop_map(|service| Event::Demanded { service }),
    ]
}

proptest! {
    #![proptest_config(cases(3000))]

    #[test]
    fn nonsense_in_any_order_neither_panics_nor_storms_nor_hangs(
        manifest in manifests(),
        options in options(),
        events in prop::collection::vec((times(), nonsense()), 0..80),
    ) {
        confuse(&manifest, options, &events);
    }
}

/// Tells a supervisor all of these: how often it was told something.
fn confuse(manifest: &Manifest, options: Options, events: &[(u64, Event)]) -> u64 {
    let mut supervisor = Supervisor::new(manifest, options);
    let mut now = Timestamp(0);
    let (mut told, mut exits) = (0, 0);
    let mut drain = |supervisor: &mut Supervisor| {
        told += 1;
        let mut count = 0;
        while let Some(action) = supervisor.poll_action() {
            count += 1;
            assert!(count < 200, "a storm: {action:?}");
            exits += usize::from(matches!(action, Action::Exit { .. }));
        }
    };
    for (after, event) in events {
        now = now + Millis(*after);
        for _ in 0..1000 {
            let Some(due) = supervisor.poll_timeout().filter(|at| *at <= now) else {
                break;
            };
            supervisor.handle_timeout(due);
            drain(&mut supervisor);
        }
        supervisor.handle(now, event.clone());
        drain(&mut supervisor);
        let status = supervisor.status(now);
        assert_eq!(status.services.len(), manifest.services.len());
        for kind in [HealthKind::Ready, HealthKind::Auto] {
            let healthy = supervisor.health(kind);
            assert!(healthy.is_ok() || healthy.is_err_and(|why| !why.is_empty()));
        }
    }
    supervisor.handle(now, Event::Shutdown);
    supervisor.handle_timeout(now + manifest.init.stop_timeout.max(Millis(500)));
    drain(&mut supervisor);
    assert_eq!(exits, 1, "it ends by its bound, once");
    assert_eq!(supervisor.poll_timeout(), None);
    told
}

/// What `make soak` goes on to.
const MANY: u64 = 10_000_000;

#[test]
#[ignore = "takes minutes: make soak"]
fn ten_million_random_events_break_no_promise() {
    let (sense, other) = (Cell::new(0), Cell::new(0));
    let mut boxes = 0;
    while sense.get() + other.get() < MANY {
        let any = (
            manifests(),
            prop::collection::vec(programs(false), 8),
            options(),
            prop::collection::vec((times(), deeds()), 0..12),
            prop::collection::vec((times(), nonsense()), 0..80),
        );
        let config = ProptestConfig {
            source_file: Some(file!()),
            ..cases(1000)
        };
        boxes += 2 * config.cases;
        let done =
            TestRunner::new(config).run(&any, |(manifest, programs, options, deeds, events)| {
                sense.set(sense.get() + live(&manifest, &programs, options, &deeds).told);
                other.set(other.get() + confuse(&manifest, options, &events));
                Ok(())
            });
        done.unwrap_or_else(|found| panic!("{found}"));
    }
    println!(
        "{} events that can be and {} that can not, in {boxes} boxes: no promise broken",
        sense.get(),
        other.get()
    );
}
