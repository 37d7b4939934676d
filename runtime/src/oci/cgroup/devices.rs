//! Which devices a container may open.

use std::fs;

use super::{CgroupError, Membership, failed};
use crate::oci::spec::DeviceRule;

/// What every container may use whatever its rules: the default nodes, its
/// terminals, and making nodes (which grants nothing).
const ALWAYS: [&str; 10] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

/// Restricts a container to its rules.
pub(super) fn restrict(rules: &[DeviceRule], membership: &Membership) -> Result<(), CgroupError> {
    let v1 = membership
        .v1
        .iter()
        .find(|m| m.controllers.iter().any(|c| c == "devices"));
    let Some(member) = v1 else {
        log::warn!("cannot restrict devices: the host has no devices controller of version 1");
        return Ok(());
    };
    let lines = rules
        .iter()
        .map(|rule| (rule.allow, line(rule)))
        .chain(ALWAYS.iter().map(|line| (true, (*line).to_owned())));
    for (allow, line) in lines {
        let file = member.path.join(if allow {
            "devices.allow"
        } else {
            "devices.deny"
        });
        fs::write(&file, line).map_err(failed("write", &file))?;
    }
    Ok(())
}

/// A rule in the words of version 1.
fn line(rule: &DeviceRule) -> String {
    let number = |value: Option<i64>| match value {
        Some(value) if value >= 0 => value.to_string(),
        Some(_) | None => "*".to_owned(),
    };
    let kind = match rule.kind.as_deref() {
        None | Some("" | "a") => "a",
        Some(kind) => kind,
    };
    let access = rule
        .access
        .as_deref()
        .filter(|access| !access.is_empty())
        .unwrap_or("rwm");
    format!(
        "{kind} {}:{} {access}",
        number(rule.major),
        number(rule.minor)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_without_numbers_means_all() {
        let rule = DeviceRule {
            allow: false,
            kind: None,
            major: None,
            minor: Some(-1),
            access: None,
        };
        assert_eq!(line(&rule), "a *:* rwm");
        let rule = DeviceRule {
            allow: true,
            kind: Some("c".into()),
            major: Some(10),
            minor: Some(229),
            access: Some("rw".into()),
        };
        assert_eq!(line(&rule), "c 10:229 rw");
    }
}
