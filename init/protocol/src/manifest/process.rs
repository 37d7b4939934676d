//! What the process of a service is given.

use super::files::{env_files, template};
use super::values::{absolute, account, elements, umask, words};
use super::{Service, limits, logging};
use crate::decode::{Problems, Table, Value};

/// Reads `command`.
pub(super) fn command(value: Option<Value<'_>>, service: &mut Service, problems: &mut Problems) {
    if let Some(words) = value.and_then(|value| words(&value, problems)) {
        service.command = words;
    }
}

/// Reads the rest but `env` over what holds already.
pub(super) fn read(table: &mut Table<'_>, service: &mut Service, problems: &mut Problems) {
    let user = table.take("user");
    if let Some(user) = user.and_then(|value| account(&value, problems)) {
        service.user = Some(user);
    }
    let group = table.take("group");
    if let Some(group) = group.and_then(|value| account(&value, problems)) {
        service.group = Some(group);
    }
    if let Some(value) = table.take("groups") {
        service.groups.clear();
        for value in elements(Some(value), problems) {
            let Some(group) = account(&value, problems) else {
                continue;
            };
            if service.groups.contains(&group) {
                problems.add(value.span(), format!("group {group:?} is listed twice"));
            } else {
                service.groups.push(group);
            }
        }
    }
    let mask = table.take("umask");
    if let Some(mask) = mask.and_then(|value| umask(&value, problems)) {
        service.umask = mask;
    }
    let dir = table.take("dir");
    if let Some(dir) = dir.and_then(|value| absolute(&value, problems)) {
        service.dir = dir;
    }
    if let Some(value) = table.take("env_file") {
        service.env_files = env_files(&value, problems);
    }
    if let Some(value) = table.take("templates") {
        service.templates.clear();
        for value in elements(Some(value), problems) {
            let template = template(&value, problems);
            service.templates.extend(template);
        }
    }
    let table_of_limits = table.take("limits");
    if let Some(inner) = table_of_limits.and_then(|value| value.table(problems)) {
        limits::read(inner, &mut service.limits, problems);
    }
    if let Some(value) = table.take("log") {
        logging::read(&value, &mut service.log, problems);
    }
}
