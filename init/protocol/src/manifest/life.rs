//! How a service is started, watched, restarted and stopped.

use super::policy::{backoff, exit_codes, give_up, reload, stop};
use super::values::positive;
use super::{Dialect, Kind, OnUnhealthy, Restart, Service, Start, health, ready};
use crate::decode::{Problems, Table, Value};
use crate::name::MAX_INSTANCES;

/// Reads it over what holds already.
pub(super) fn read(table: &mut Table<'_>, service: &mut Service, problems: &mut Problems) {
    read_start(table, service, problems);
    read_health(table, service, problems);
    read_restart(table, service, problems);
    let table_of_stop = table.take("stop");
    if let Some(inner) = table_of_stop.and_then(|value| value.table(problems)) {
        service.stop = stop(inner, &service.stop, problems);
    }
    if let Some(value) = table.take("reload") {
        service.reload = reload(&value, problems).or(service.reload.take());
    }
    if let Some(value) = table.take("instances") {
        let count = value.integer(0..=MAX_INSTANCES, problems);
        service.instances = count.or(service.instances);
    }
}

fn read_start(table: &mut Table<'_>, service: &mut Service, problems: &mut Problems) {
    if let Some(value) = table.take("start") {
        match value.word(&Start::WORDS, problems) {
            Some(Start::OnDemand) if service.listen.is_empty() => problems.add_help(
                value.span(),
                "a service can start on demand only if it has sockets to wait at",
                "add listen = [\"http=8000\"], or write \"manual\"",
            ),
            Some(Start::OnDemand) if service.kind != Kind::Daemon => problems.add_help(
                value.span(),
                "only a daemon can start on demand",
                "leave it out: a oneshot is done when it ends, and a job has its schedule",
            ),
            Some(start) => service.start = start,
            None => {}
        }
    }
    let order = table.take("order");
    if let Some(order) = order.and_then(|value| value.integer(i32::MIN..=i32::MAX, problems)) {
        service.order = order;
    }
    if let Some(value) = table.take("ready") {
        let ready = ready::read(&value, problems).map(Box::new);
        service.ready = ready.or(service.ready.take());
        only_for_daemons(&value, service.kind, problems);
        if let Some(Dialect::Fd(fd)) = service.ready.as_ref().map(|ready| &ready.by)
            && usize::try_from(*fd).is_ok_and(|fd| fd < 3 + handed(service))
        {
            let taken = 2 + handed(service);
            let message = format!("descriptors 3 to {taken} are those of `listen`");
            problems.add_help(value.span(), message, format!("write fd = {}", taken + 1));
        }
    }
}

/// How many descriptors its sockets take: with `handoff` each may come from
/// the outside too.
fn handed(service: &Service) -> usize {
    let sockets = service.listen.iter().filter(|listen| !listen.stdin);
    sockets.count() * if service.handoff { 2 } else { 1 }
}

fn read_health(table: &mut Table<'_>, service: &mut Service, problems: &mut Problems) {
    if let Some(value) = table.take("health") {
        let health = health::read(&value, problems).map(Box::new);
        service.health = health.or(service.health.take());
        only_for_daemons(&value, service.kind, problems);
    }
    if let Some(value) = table.take("watchdog") {
        service.watchdog = positive(&value, problems).or(service.watchdog);
        only_for_daemons(&value, service.kind, problems);
    }
    if let Some(value) = table.take("on_unhealthy") {
        let word = value.word(&OnUnhealthy::WORDS, problems);
        service.on_unhealthy = word.unwrap_or(service.on_unhealthy);
    }
}

fn only_for_daemons(value: &Value<'_>, kind: Kind, problems: &mut Problems) {
    let what = match kind {
        Kind::Daemon => return,
        Kind::Oneshot => "oneshot",
        Kind::Job => "job",
    };
    let key = value.key();
    problems.add_help(
        value.key_span(),
        format!("a {what} has no `{key}`: it is done when it exits 0"),
        "leave it out, or make the service a daemon",
    );
}

fn read_restart(table: &mut Table<'_>, service: &mut Service, problems: &mut Problems) {
    if let Some(value) = table.take("restart") {
        let word = value.word(&Restart::WORDS, problems);
        match (word, service.kind) {
            (Some(Restart::Always), Kind::Oneshot) => problems.add_help(
                value.span(),
                "a oneshot that is always started again is never done",
                "write \"on-failure\" or \"never\"",
            ),
            (Some(Restart::Always), Kind::Job) => problems.add_help(
                value.span(),
                "a job is started again by its schedule",
                "write \"on-failure\" to try again before that, or \"never\"",
            ),
            (Some(restart), _) => service.restart = restart,
            (None, _) => {}
        }
    }
    let codes = table.take("success");
    if let Some(codes) = codes.and_then(|value| exit_codes(&value, problems)) {
        service.success = codes;
    }
    if let Some(value) = table.take("start_retries") {
        only_for_daemons(&value, service.kind, problems);
        let retries = value.integer(0..=1_000_000, problems);
        service.start_retries = retries.or(service.start_retries);
    }
    let inner = table.take("backoff");
    if let Some(inner) = inner.and_then(|value| value.table(problems)) {
        service.backoff = backoff(inner, service.backoff, problems);
    }
    let inner = table.take("give_up");
    if let Some(inner) = inner.and_then(|value| value.table(problems)) {
        service.give_up = give_up(inner, service.give_up, problems);
    }
    let truth = table.take("essential");
    if let Some(truth) = truth.and_then(|value| value.boolean(problems)) {
        service.essential = truth;
    }
}
