//! `limits.memory`, `limits.cpu` and `limits.pids` as the kernel's files want
//! them.

use super::dir::Group;
use super::{CgroupError, Limits};

/// What holds a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Controller {
    Cpu,
    Memory,
    Pids,
}

impl Controller {
    pub(super) const ALL: [Self; 3] = [Self::Cpu, Self::Memory, Self::Pids];

    /// Its name in the kernel's files, which is that of the key too.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }
}

/// The time in which a service may use its share of processors, in
/// microseconds: the kernel's own default.
const PERIOD: u32 = 100_000;

/// A limit of a service.
#[derive(Debug)]
pub(super) struct Limit {
    pub(super) controller: Controller,
    /// Bytes, thousandths of a processor, or processes.
    value: u64,
}

/// Those of a service.
pub(super) fn of(limits: &Limits) -> Vec<Limit> {
    let of = |controller, value: Option<u64>| value.map(|value| Limit { controller, value });
    let all = [
        of(Controller::Cpu, limits.cpu.map(u64::from)),
        of(Controller::Memory, limits.memory),
        of(Controller::Pids, limits.pids.map(u64::from)),
    ];
    all.into_iter().flatten().collect()
}

impl Limit {
    /// Holds it in a group.
    pub(super) fn hold(&self, group: &Group, unified: bool) -> Result<(), CgroupError> {
        for (file, value, needed) in self.files(unified) {
            let written = group.write(file, &value);
            if needed {
                written?;
            }
        }
        Ok(())
    }

    /// What is written where, in this order, and whether it goes without.
    fn files(&self, unified: bool) -> Vec<(&'static str, String, bool)> {
        let value = self.value.to_string();
        // Thousandths of a processor, in microseconds of the period.
        let quota = self.value * u64::from(PERIOD) / 1000;
        match (self.controller, unified) {
            (Controller::Cpu, true) => vec![("cpu.max", format!("{quota} {PERIOD}"), true)],
            (Controller::Cpu, false) => vec![
                ("cpu.cfs_period_us", PERIOD.to_string(), true),
                ("cpu.cfs_quota_us", quota.to_string(), true),
            ],
            // Swap is no way around it, where the kernel accounts for it.
            (Controller::Memory, true) => vec![
                ("memory.max", value, true),
                ("memory.swap.max", "0".to_owned(), false),
            ],
            (Controller::Memory, false) => vec![
                ("memory.limit_in_bytes", value.clone(), true),
                ("memory.memsw.limit_in_bytes", value, false),
            ],
            (Controller::Pids, true | false) => vec![("pids.max", value, true)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(limits: &Limits, unified: bool) -> Vec<String> {
        let files = of(limits)
            .into_iter()
            .flat_map(|limit| limit.files(unified));
        files
            .map(|(file, value, _)| format!("{file}={value}"))
            .collect()
    }

    #[test]
    fn each_version_is_told_in_its_own_units() {
        let limits = Limits {
            memory: Some(64 << 20),
            cpu: Some(1500),
            pids: Some(20),
            ..Limits::default()
        };
        assert_eq!(
            written(&limits, true),
            [
                "cpu.max=150000 100000",
                "memory.max=67108864",
                "memory.swap.max=0",
                "pids.max=20"
            ]
        );
        assert_eq!(
            written(&limits, false),
            [
                "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=150000",
                "memory.limit_in_bytes=67108864",
                "memory.memsw.limit_in_bytes=67108864",
                "pids.max=20"
            ]
        );
        assert!(written(&Limits::default(), true).is_empty());
    }
}
