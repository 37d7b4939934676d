//! The table above the code and the one in docs/init-core.md, held against the
//! machine: every event is let happen to every state that a service can be in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use holdall_protocol::Millis;
use holdall_protocol::control::Exit;
use holdall_protocol::manifest::{
    Backoff, Dialect, GiveUp, Health, Kind, OnUnhealthy, Probe, Ready, Restart, Schedule, Service,
    Start,
};

use crate::instance::{Input, Instance, Turn};
use crate::job::Calendar;
use crate::notice::Notice;
use crate::state::{Live, Stage, State};
use crate::{ServiceId, Timestamp};

/// In the order of the tables.
const STATES: [&str; 15] = [
    "stopped",
    "waiting",
    "spawning",
    "starting",
    "ready",
    "unhealthy",
    "stopping",
    "killing",
    "unreaped",
    "clearing",
    "backoff",
    "scheduled",
    "listening",
    "exited",
    "fatal",
];

/// Where a service is once no process of it is left: what *rest* and *verdict*
/// stand for.
const AT_REST: [&str; 7] = [
    "stopped",
    "waiting",
    "backoff",
    "scheduled",
    "listening",
    "exited",
    "fatal",
];

fn name(state: &State) -> &'static str {
    match state {
        State::Stopped => "stopped",
        State::Waiting => "waiting",
        State::Spawning => "spawning",
        State::Live(Live { stage, .. }) => match stage {
            Stage::Starting => "starting",
            Stage::Ready { .. } => "ready",
            Stage::Unhealthy { .. } => "unhealthy",
        },
        State::Stopping { .. } => "stopping",
        State::Killing { .. } => "killing",
        State::Unreaped { .. } => "unreaped",
        State::Clearing { .. } => "clearing",
        State::Backoff { .. } => "backoff",
        State::Scheduled { .. } => "scheduled",
        State::Listening => "listening",
        State::Exited { .. } => "exited",
        State::Fatal { .. } => "fatal",
    }
}

/// Every kind of event by its name in the tables, with all that can be told
/// apart of it: an event without its line here does not compile.
macro_rules! events {
    ($($pattern:pat => $name:literal: [$($sample:expr),+],)+) => {
        fn event_name(input: &Input) -> &'static str {
            match input {
                $($pattern => $name,)+
            }
        }

        fn events() -> Vec<Input> {
            vec![$($($sample,)+)+]
        }
    };
}

events! {
    Input::Up => "up": [Input::Up],
    Input::Down => "down": [Input::Down],
    Input::Anew => "anew": [Input::Anew],
    Input::Now => "now": [Input::Now],
    Input::Go => "go": [Input::Go],
    Input::Halt { .. } => "halt": [
        Input::Halt { timeout: Millis::ZERO },
        Input::Halt { timeout: Millis(1000) }
    ],
    Input::Kill => "kill": [Input::Kill],
    Input::Timer => "timer": [Input::Timer],
    Input::Clock { .. } => "clock": [Input::Clock { before: Calendar::default() }],
    Input::Spawned { .. } => "spawned": [Input::Spawned { pid: 7 }],
    Input::SpawnFailed { .. } => "spawn failed": [
        Input::SpawnFailed { reason: String::new(), code: 127 }
    ],
    Input::Exited { .. } => "exited": [
        Input::Exited { exit: Exit::Code(0), oom_kills: 0 },
        Input::Exited { exit: Exit::Code(1), oom_kills: 0 }
    ],
    Input::Cleared => "cleared": [Input::Cleared],
    Input::Probed { .. } => "probed": [
        Input::Probed { outcome: Ok(()) },
        Input::Probed { outcome: Err(String::new()) }
    ],
    Input::StopCommand { .. } => "stop command": [
        Input::StopCommand { outcome: Ok(()) },
        Input::StopCommand { outcome: Err(String::new()) }
    ],
    Input::Demand => "demand": [Input::Demand],
    Input::Notified { .. } => "notified": [
        Input::Notified { notice: Notice::Ready },
        Input::Notified { notice: Notice::Announced },
        Input::Notified { notice: Notice::Stopping },
        Input::Notified { notice: Notice::Alive },
        Input::Notified { notice: Notice::Stuck },
        Input::Notified { notice: Notice::WatchdogEvery(Millis::ZERO) },
        Input::Notified { notice: Notice::Extend(Millis(1000)) }
        // Not those that only people see, nor that any service may make
        // itself one with a watchdog: the same again, for minutes.
    ],
}

/// In the order of the tables.
fn event_names() -> Vec<&'static str> {
    let mut names: Vec<_> = events().iter().map(event_name).collect();
    names.dedup();
    names
}

/// Services that differ in all that decides what becomes of one.
fn services() -> Vec<Service> {
    let mut services = Vec::new();
    for kind in [Kind::Daemon, Kind::Oneshot, Kind::Job] {
        for restart in [Restart::Always, Restart::OnFailure, Restart::Never] {
            for (failures, wait) in [(0, 0), (0, 500), (1, 500)] {
                for (on_unhealthy, retries) in [
                    (OnUnhealthy::Restart, 0),
                    (OnUnhealthy::Restart, 1),
                    (OnUnhealthy::Restart, 2),
                    (OnUnhealthy::Ignore, 1),
                ] {
                    for timeout in [Millis::ZERO, Millis(1000)] {
                        let name = "x".parse().expect("a name");
                        let mut service = Service::new(name, kind, vec!["run".to_owned()]);
                        service.restart = restart;
                        service.give_up = GiveUp {
                            failures,
                            within: Millis(60_000),
                        };
                        service.backoff = Backoff {
                            initial: Millis(wait),
                            max: Millis(wait),
                        };
                        service.on_unhealthy = on_unhealthy;
                        service.health = (retries > 0).then(|| {
                            Box::new(Health {
                                probe: Probe::Exec(vec!["ask".to_owned()]),
                                interval: Millis(1000),
                                timeout: Millis(500),
                                retries,
                                successes: 1,
                                start_period: Millis::ZERO,
                            })
                        });
                        service.stop.timeout = timeout;
                        service.schedule =
                            (kind == Kind::Job).then_some(Schedule::Every(Millis(10_000)));
                        if kind == Kind::Daemon {
                            let mut on_demand = service.clone();
                            on_demand.start = Start::OnDemand;
                            services.push(on_demand);
                        }
                        services.push(service);
                    }
                }
            }
        }
    }
    let like_supervisord = services
        .iter()
        .filter(|service| service.kind == Kind::Daemon && service.give_up.failures == 1);
    let mut like_supervisord: Vec<Service> = like_supervisord.cloned().collect();
    for (service, retries) in like_supervisord.iter_mut().zip([0, 1].into_iter().cycle()) {
        service.start_retries = Some(retries);
        service.ready = Some(Box::new(Ready {
            by: Dialect::After(Millis(1000)),
            timeout: None,
        }));
    }
    services.extend(like_supervisord);
    // How it is started again is decided alike however it became ready.
    let usual = |service: &&Service| {
        let waits = service.give_up.failures == 0 && service.backoff.initial > Millis::ZERO;
        service.kind == Kind::Daemon && service.restart == Restart::Always && waits
    };
    let spoken = services.iter().filter(usual);
    let spoken: Vec<Service> = spoken.flat_map(spoken_for).collect();
    services.extend(spoken);
    services
}

/// The same, but that it says itself when it is ready, or is asked; and has a
/// watchdog.
fn spoken_for(service: &Service) -> Vec<Service> {
    let file = Probe::File("/run/ok".to_owned());
    let ways = [Dialect::Notify, Dialect::Fd(3), Dialect::Asked(file)];
    let with = |by| {
        let mut service = service.clone();
        let timeout = Some(Millis(5000));
        service.ready = Some(Box::new(Ready { by, timeout }));
        service.watchdog = Some(Millis(1000));
        service
    };
    ways.into_iter().map(with).collect()
}

/// What became of each state by each event.
type Outcomes = BTreeMap<(&'static str, &'static str), BTreeSet<&'static str>>;

/// Longer than any time that the services here wait for.
const LONG: Millis = Millis(86_400_000);

/// Lets everything happen to one service, at once and after a long time, and
/// again to whatever comes of it that is not known yet.
fn explore(service: &Service, outcomes: &mut Outcomes) {
    // Times and numbers apart, two that print alike are alike.
    let key = |instance: &Instance| {
        let mut text = format!("{:?} {} {}", instance.state, instance.wanted, instance.anew);
        text.retain(|letter| !letter.is_ascii_digit());
        text
    };
    let begin = Instance::new(ServiceId(0), service, 1);
    let mut known = BTreeSet::from([key(&begin)]);
    let mut queue = VecDeque::from([(Timestamp(0), begin)]);
    while let Some((then, instance)) = queue.pop_front() {
        for now in [then, then + LONG] {
            for input in events() {
                let (from, event) = (name(&instance.state), event_name(&input));
                let mut next = instance.clone();
                let mut turn = Turn {
                    now,
                    calendar: Calendar::default(),
                    actions: &mut VecDeque::new(),
                };
                next.step(&mut turn, input);
                let becomes = name(&next.state);
                outcomes.entry((from, event)).or_default().insert(becomes);
                if known.insert(key(&next)) {
                    queue.push_back((now, next));
                }
            }
        }
    }
}

fn outcomes() -> Outcomes {
    let mut outcomes = Outcomes::new();
    for service in services() {
        explore(&service, &mut outcomes);
    }
    let states: BTreeSet<_> = outcomes.keys().map(|(state, _)| *state).collect();
    assert_eq!(states, BTreeSet::from(STATES), "a state is never reached");
    assert_eq!(outcomes.len(), STATES.len() * event_names().len());
    outcomes
}

/// The rows of the table in docs/init-core.md: a state, the events that change
/// it and what it becomes, the events that do not.
fn rows_of_the_page(outcomes: &Outcomes) -> String {
    let mut text = String::new();
    for state in STATES {
        let (mut changes, mut rest) = (Vec::new(), Vec::new());
        for event in event_names() {
            let of = &outcomes[&(state, event)];
            if of.iter().eq([&state]) {
                rest.push(event);
                continue;
            }
            let becomes: Vec<_> = STATES.into_iter().filter(|s| of.contains(s)).collect();
            changes.push(format!("{event} → {}", becomes.join(" or ")));
        }
        text.push_str(&format!(
            "| {state} | {} | {} |\n",
            changes.join("; "),
            rest.join(", ")
        ));
    }
    text
}

#[test]
fn the_page_says_what_each_event_makes_of_each_state() {
    let page = include_str!("../../../../docs/init-core.md");
    let rows = rows_of_the_page(&outcomes());
    assert!(
        page.contains(&rows),
        "the table in docs/init-core.md is to have these rows:\n{rows}"
    );
}

/// One row of the table above the code: the states, the events and what comes
/// of them.
#[derive(Debug)]
struct Row {
    states: Vec<&'static str>,
    events: Vec<&'static str>,
    /// None of them where it stays the same.
    becomes: Vec<&'static str>,
    /// One of them, as *verdict* or *rest* has it.
    at_rest: bool,
}

/// The one of `names` that `text` begins with.
fn leading(text: &str, names: &[&'static str]) -> Option<&'static str> {
    let fits = names.iter().filter(|name| text.starts_with(**name));
    fits.max_by_key(|name| name.len()).copied()
}

/// Without what is in parentheses.
fn plain(text: &str) -> String {
    let mut depth = 0_u32;
    let mut kept = text.to_owned();
    kept.retain(|letter| {
        depth += u32::from(letter == '(');
        let keep = depth == 0;
        depth -= u32::from(letter == ')');
        keep
    });
    kept
}

fn rows_above_the_code() -> Vec<Row> {
    let lines = include_str!("../service.rs").lines();
    let lines = lines.filter_map(|line| line.strip_prefix("//! | "));
    let (mut states, mut events) = (Vec::new(), Vec::new());
    let mut rows = Vec::new();
    for line in lines.skip_while(|line| !line.starts_with("stopped")) {
        let cells: Vec<_> = line.split('|').map(|cell| plain(cell.trim())).collect();
        let pieces = |cell: &str| -> Vec<String> {
            cell.split([',', ';'])
                .map(|piece| piece.trim().to_owned())
                .collect()
        };
        let named = |cell: &str, names: &[&'static str]| -> Vec<&'static str> {
            pieces(cell)
                .iter()
                .filter_map(|piece| leading(piece, names))
                .collect()
        };
        let of = named(&cells[0], &STATES);
        if !of.is_empty() {
            states = of;
        }
        let by = named(&cells[1], &event_names());
        // "… and so" is about the event of the row before.
        if !cells[1].starts_with('…') {
            assert!(!by.is_empty(), "{line:?} names no event");
            events = by;
        }
        let (mut becomes, mut at_rest) = (Vec::new(), false);
        for piece in pieces(&cells[2]) {
            match leading(&piece, &STATES) {
                Some(state) => becomes.push(state),
                None if ["*verdict*", "*rest*"].contains(&piece.as_str()) => {
                    becomes.extend(AT_REST);
                    at_rest = true;
                }
                None => assert_eq!(piece, "same", "in {line:?}"),
            }
        }
        rows.push(Row {
            states: states.clone(),
            events: events.clone(),
            becomes,
            at_rest,
        });
    }
    rows
}

#[test]
fn the_table_above_the_code_names_all_that_happens_and_nothing_else() {
    let outcomes = outcomes();
    let mut named = Outcomes::new();
    for row in rows_above_the_code() {
        for event in &row.events {
            let happens = |to: &&str| {
                let mut states = row.states.iter();
                states.any(|state| outcomes[&(*state, *event)].contains(*to))
            };
            let all = match row.at_rest {
                true => row.becomes.iter().any(&happens),
                false => row.becomes.iter().all(happens),
            };
            assert!(all, "this never comes of {event}: {row:?}");
            for state in &row.states {
                let of = named.entry((*state, *event)).or_default();
                of.extend(row.becomes.iter().copied());
            }
        }
    }
    for (pair, becomes) in &outcomes {
        for to in becomes.iter().filter(|to| **to != pair.0) {
            let told = named.get(pair).is_some_and(|named| named.contains(to));
            assert!(
                told,
                "no row says that {} becomes {to} by {}",
                pair.0, pair.1
            );
        }
    }
}
