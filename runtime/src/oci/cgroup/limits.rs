//! Limits as files of either version.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{CgroupError, Layout, Membership, failed};
use crate::oci::spec::Resources;

/// One file to write.
type Entry = (&'static str, String);

/// What one controller is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) controller: &'static str,
    v1: Vec<Entry>,
    v2: Vec<Entry>,
}

/// The limits that a configuration asks for.
pub(super) fn of(resources: Option<&Resources>) -> Vec<Limit> {
    let Some(resources) = resources else {
        return Vec::new();
    };
    [
        memory(resources),
        cpu(resources),
        cpuset(resources),
        pids(resources),
    ]
    .into_iter()
    .filter(|limit| !limit.v1.is_empty() || !limit.v2.is_empty())
    .collect()
}

/// -1 is "none" in the specification, `max` in version 2.
fn bound(value: i64) -> String {
    if value < 0 {
        "max".to_owned()
    } else {
        value.to_string()
    }
}

fn memory(resources: &Resources) -> Limit {
    let (mut v1, mut v2) = (Vec::new(), Vec::new());
    if let Some(memory) = &resources.memory {
        if let Some(limit) = memory.limit {
            v1.push(("memory.limit_in_bytes", limit.to_string()));
            v2.push(("memory.max", bound(limit)));
        }
        if let Some(reservation) = memory.reservation {
            v1.push(("memory.soft_limit_in_bytes", reservation.to_string()));
            v2.push(("memory.low", reservation.max(0).to_string()));
        }
        if let Some(both) = memory.swap.filter(|swap| *swap != 0) {
            v1.push(("memory.memsw.limit_in_bytes", both.to_string()));
            // Version 2 counts swap apart from memory.
            let limit = memory.limit.unwrap_or(0).max(0);
            let swap = if both < 0 {
                both
            } else {
                both.saturating_sub(limit).max(0)
            };
            v2.push(("memory.swap.max", bound(swap)));
        }
        if let Some(swappiness) = memory.swappiness {
            v1.push(("memory.swappiness", swappiness.to_string()));
        }
        if memory.disable_oom_killer == Some(true) {
            v1.push(("memory.oom_control", "1".to_owned()));
        }
    }
    Limit {
        controller: "memory",
        v1,
        v2,
    }
}

fn cpu(resources: &Resources) -> Limit {
    let (mut v1, mut v2) = (Vec::new(), Vec::new());
    if let Some(cpu) = &resources.cpu {
        if let Some(shares) = cpu.shares.filter(|shares| *shares != 0) {
            v1.push(("cpu.shares", shares.to_string()));
            // 2..=262144 onto 1..=10000, as every runtime does.
            let weight = 1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142;
            v2.push(("cpu.weight", weight.to_string()));
        }
        if let Some(period) = cpu.period.filter(|period| *period != 0) {
            v1.push(("cpu.cfs_period_us", period.to_string()));
        }
        if let Some(quota) = cpu.quota.filter(|quota| *quota != 0) {
            v1.push(("cpu.cfs_quota_us", quota.to_string()));
        }
        if cpu.quota.is_some_and(|quota| quota != 0) || cpu.period.is_some_and(|p| p != 0) {
            let quota = bound(cpu.quota.filter(|quota| *quota != 0).unwrap_or(-1));
            let period = cpu.period.filter(|period| *period != 0).unwrap_or(100_000);
            v2.push(("cpu.max", format!("{quota} {period}")));
        }
    }
    Limit {
        controller: "cpu",
        v1,
        v2,
    }
}

fn cpuset(resources: &Resources) -> Limit {
    let mut entries = Vec::new();
    if let Some(cpu) = &resources.cpu {
        let pairs = [("cpuset.cpus", &cpu.cpus), ("cpuset.mems", &cpu.mems)];
        for (file, value) in pairs {
            if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
                entries.push((file, value.clone()));
            }
        }
    }
    Limit {
        controller: "cpuset",
        v1: entries.clone(),
        v2: entries,
    }
}

fn pids(resources: &Resources) -> Limit {
    let mut entries = Vec::new();
    if let Some(pids) = &resources.pids {
        let value = if pids.limit > 0 { pids.limit } else { -1 };
        entries.push(("pids.max", bound(value)));
    }
    Limit {
        controller: "pids",
        v1: entries.clone(),
        v2: entries,
    }
}

/// Writes limits where their controllers are.
pub(super) fn write(
    limits: &[Limit],
    membership: &Membership,
    layout: &Layout,
) -> Result<(), CgroupError> {
    for limit in limits {
        let member = membership
            .v1
            .iter()
            .find(|m| m.controllers.iter().any(|c| c == limit.controller));
        let in_v2 = layout
            .v2
            .as_ref()
            .is_some_and(|v2| v2.controllers.iter().any(|c| c == limit.controller));
        let (path, entries) = match (member, &membership.v2) {
            (Some(member), _) => {
                if limit.controller == "cpuset" {
                    inherit_cpuset(&member.path)?;
                }
                (&member.path, &limit.v1)
            }
            (None, Some(v2)) if in_v2 => (v2, &limit.v2),
            // "No limit" is what a host without the controller has.
            (None, _) if limit.v2.iter().all(|(_, value)| value == "max") => continue,
            (None, _) => {
                return Err(CgroupError::NoController {
                    what: limit
                        .v2
                        .first()
                        .map_or(limit.controller, |(file, _)| file)
                        .to_owned(),
                    controller: limit.controller.to_owned(),
                });
            }
        };
        for (file, value) in entries {
            write_file(path, file, value)?;
        }
    }
    Ok(())
}

/// Writes files of version 2 as the user named them.
pub(super) fn write_unified(
    files: &BTreeMap<String, String>,
    membership: &Membership,
) -> Result<(), CgroupError> {
    for (file, value) in files {
        if file.contains('/') {
            return Err(CgroupError::Path(file.clone()));
        }
        let path = membership
            .v2
            .as_ref()
            .ok_or_else(|| CgroupError::NoController {
                what: file.clone(),
                controller: "version 2".to_owned(),
            })?;
        write_file(path, file, value)?;
    }
    Ok(())
}

fn write_file(cgroup: &Path, file: &str, value: &str) -> Result<(), CgroupError> {
    let path = cgroup.join(file);
    fs::write(&path, value).map_err(failed("write", &path))
}

/// A new cpuset of version 1 is empty and can't be joined until both of its
/// lists are set; what isn't asked for is the parent's.
fn inherit_cpuset(cgroup: &Path) -> Result<(), CgroupError> {
    let Some(parent) = cgroup.parent() else {
        return Ok(());
    };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let path = parent.join(file);
        let value = fs::read_to_string(&path).map_err(failed("read", &path))?;
        if value.trim().is_empty() {
            inherit_cpuset(parent)?;
        }
        let value = fs::read_to_string(&path).map_err(failed("read", &path))?;
        write_file(cgroup, file, value.trim())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::spec::{CpuLimits, MemoryLimits, PidsLimit};

    #[test]
    fn limits_are_told_to_both_versions_in_their_own_words() {
        let resources = Resources {
            memory: Some(MemoryLimits {
                limit: Some(64),
                swap: Some(96),
                ..MemoryLimits::default()
            }),
            cpu: Some(CpuLimits {
                shares: Some(1024),
                quota: Some(50_000),
                period: Some(100_000),
                ..CpuLimits::default()
            }),
            pids: Some(PidsLimit { limit: 0 }),
            ..Resources::default()
        };
        let limits = of(Some(&resources));
        let text = format!("{limits:?}");
        assert!(text.contains(r#"("memory.swap.max", "32")"#), "{text}");
        assert!(
            text.contains(r#"("memory.memsw.limit_in_bytes", "96")"#),
            "{text}"
        );
        assert!(text.contains(r#"("cpu.weight", "39")"#), "{text}");
        assert!(text.contains(r#"("cpu.max", "50000 100000")"#), "{text}");
        assert!(text.contains(r#"("pids.max", "max")"#), "{text}");
    }

    #[test]
    fn nothing_asked_for_is_nothing_written() {
        assert!(of(Some(&Resources::default())).is_empty());
    }
}
