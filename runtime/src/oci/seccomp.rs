//! System call filters: from the specification's rules to classic BPF.
//!
//! The kernel runs a filter once for every call number when it is loaded, to
//! know which need it at all; so its shape decides what loading costs. Calls
//! with one answer are merged to ranges, and the ranges are found by halves:
//! 25 µs for docker's profile where a list of comparisons takes 550.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use super::spec::{Seccomp, SeccompAction, SeccompArg, SeccompRule};
use crate::sys;

mod code;
pub mod profile;
mod table;
use code::{Condition, Instruction, Leaf};

/// Why a filter can't be made.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeccompError {
    /// An action that needs somebody on the other side.
    #[error("cannot use the filter action {0:?}: it is not supported")]
    Action(SeccompAction),
    /// A flag the kernel or we don't know.
    #[error("cannot use the filter flag {0:?}")]
    Flag(String),
    /// An argument beyond the sixth.
    #[error("cannot look at argument {0}: system calls have six")]
    Argument(u32),
    /// More instructions than the kernel takes.
    #[error("cannot load a filter of {0} instructions")]
    TooLong(usize),
}

/// AUDIT_ARCH_* of this machine.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
/// AUDIT_ARCH_* of this machine.
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Calls of the x32 form have this bit; none is ever allowed, since most
/// filters forget them.
#[cfg(target_arch = "x86_64")]
const X32: Option<u32> = Some(0x4000_0000);
/// Only x86-64 has a second form.
#[cfg(not(target_arch = "x86_64"))]
const X32: Option<u32> = None;

/// A compiled filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    program: Vec<Instruction>,
    flags: libc::c_ulong,
}

impl Filter {
    /// Compiles a configuration's filter.
    pub(crate) fn compile(config: &Seccomp) -> Result<Self, SeccompError> {
        let flags = flags(&config.flags)?;
        let default = answer(config.default_action, config.default_errno_ret)?;
        let numbers = table::numbers();
        let mut calls: BTreeMap<u32, Vec<(Vec<Condition>, u32)>> = BTreeMap::new();
        for rule in &config.syscalls {
            let verdict = answer(rule.action, rule.errno_ret)?;
            let alternatives = alternatives(rule)?;
            for number in rule
                .names
                .iter()
                .filter_map(|name| numbers.get(name.as_str()))
            {
                let list = calls.entry(*number).or_default();
                // What follows a rule without conditions is never reached.
                if list
                    .last()
                    .is_none_or(|(conditions, _)| !conditions.is_empty())
                {
                    list.extend(alternatives.iter().map(|one| (one.clone(), verdict)));
                }
            }
        }
        let ranges = ranges(calls, default, beyond(config, default));
        let mut program = code::prologue(ARCHITECTURE, X32, no_such_call());
        program.extend(code::tree(&ranges));
        if program.len() > usize::try_from(libc::BPF_MAXINSNS).unwrap_or(4096) {
            return Err(SeccompError::TooLong(program.len()));
        }
        Ok(Self { program, flags })
    }

    /// Loads it; with a listener's descriptor if a flag asks for one.
    pub(crate) fn load(&self) -> nix::Result<Option<OwnedFd>> {
        let program: Vec<libc::sock_filter> = self.instructions().collect();
        sys::load_filter(&program, self.flags)
    }

    /// As the kernel takes them.
    pub(crate) fn instructions(&self) -> impl Iterator<Item = libc::sock_filter> {
        self.program.iter().map(|instruction| instruction.raw())
    }
}

fn no_such_call() -> u32 {
    libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs()
}

/// A call newer than any the rules know gets ENOSYS where the others get
/// EPERM: the C library then falls back to an older one, instead of failing.
fn beyond(config: &Seccomp, default: u32) -> u32 {
    match config.default_action {
        SeccompAction::Errno => no_such_call(),
        _ => default,
    }
}

/// The kernel's answer for an action.
fn answer(action: SeccompAction, errno: Option<u32>) -> Result<u32, SeccompError> {
    let data = |default: i32| errno.unwrap_or(default.unsigned_abs()) & libc::SECCOMP_RET_DATA;
    Ok(match action {
        SeccompAction::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
        SeccompAction::KillThread => libc::SECCOMP_RET_KILL_THREAD,
        SeccompAction::Trap => libc::SECCOMP_RET_TRAP,
        SeccompAction::Errno => libc::SECCOMP_RET_ERRNO | data(libc::EPERM),
        SeccompAction::Trace => libc::SECCOMP_RET_TRACE | data(libc::EPERM),
        SeccompAction::Log => libc::SECCOMP_RET_LOG,
        SeccompAction::Allow => libc::SECCOMP_RET_ALLOW,
        SeccompAction::Notify => return Err(SeccompError::Action(action)),
    })
}

/// The sets of conditions under which a rule holds. Several conditions on one
/// argument are alternatives, as in runc (and so in docker's profiles);
/// otherwise all must hold.
fn alternatives(rule: &SeccompRule) -> Result<Vec<Vec<Condition>>, SeccompError> {
    let conditions = rule
        .args
        .iter()
        .map(condition)
        .collect::<Result<Vec<_>, _>>()?;
    let mut seen = [0u8; 6];
    let repeated = rule.args.iter().any(|arg| {
        let count = usize::try_from(arg.index)
            .ok()
            .and_then(|index| seen.get_mut(index));
        count.is_some_and(|count| {
            *count += 1;
            *count > 1
        })
    });
    if repeated {
        Ok(conditions.into_iter().map(|one| vec![one]).collect())
    } else {
        Ok(vec![conditions])
    }
}

fn condition(arg: &SeccompArg) -> Result<Condition, SeccompError> {
    if arg.index > 5 {
        return Err(SeccompError::Argument(arg.index));
    }
    Ok(Condition {
        argument: arg.index,
        op: arg.op,
        value: arg.value,
        value_two: arg.value_two,
    })
}

fn flags(names: &[String]) -> Result<libc::c_ulong, SeccompError> {
    names.iter().try_fold(0, |flags, name| {
        Ok(flags
            | match name.as_str() {
                // One thread has nobody to synchronise with.
                "SECCOMP_FILTER_FLAG_TSYNC" => 0,
                "SECCOMP_FILTER_FLAG_LOG" => libc::SECCOMP_FILTER_FLAG_LOG,
                "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
                other => return Err(SeccompError::Flag(other.to_owned())),
            })
    })
}

/// Merged ranges: each starts at its number and ends before the next.
fn ranges(
    calls: BTreeMap<u32, Vec<(Vec<Condition>, u32)>>,
    default: u32,
    beyond: u32,
) -> Vec<(u32, Leaf)> {
    let mut ranges: Vec<(u32, Leaf)> = Vec::new();
    let mut push = |start: u32, leaf: Leaf| {
        if ranges.last().is_none_or(|(_, last)| *last != leaf) {
            ranges.push((start, leaf));
        }
    };
    let mut next = 0;
    for (number, alternatives) in calls {
        if number > next {
            push(next, Leaf::Answer(default));
        }
        let leaf = match alternatives.as_slice() {
            [(conditions, verdict)] if conditions.is_empty() => Leaf::Answer(*verdict),
            _ => Leaf::Depends(alternatives, default),
        };
        push(number, leaf);
        next = number + 1;
    }
    push(next, Leaf::Answer(beyond));
    ranges
}

#[cfg(test)]
mod tests;
