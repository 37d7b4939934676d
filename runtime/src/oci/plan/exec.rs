//! The plan of a further program in a running container: the second half of a
//! container's own, after joining what is there.

use super::{Plan, Step};
use crate::oci::spec::Process;

/// Plans a program. `userns`: the container has a user namespace of its own.
pub(crate) fn exec(process: &Process, userns: bool, filtered: bool) -> Plan {
    let mut steps = vec![
        Step::HideFromOthers,
        Step::JoinCgroups,
        Step::AwaitParent,
        Step::JoinRunning,
    ];
    let mut when = |wanted: bool, step: Step| {
        if wanted {
            steps.push(step);
        }
    };
    when(userns, Step::BecomeRoot);
    when(true, Step::NewSession);
    when(true, Step::NewKeyring);
    when(process.terminal, Step::OpenConsole { show: false });
    when(!process.terminal, Step::ReopenNull);
    when(process.no_new_privileges, Step::NoNewPrivileges);
    when(filtered && !process.no_new_privileges, Step::LoadFilter);
    when(true, Step::MarkDescriptors);
    when(true, Step::BecomeUser);
    when(true, Step::FindProgram);
    when(true, Step::AwaitStart);
    when(filtered && process.no_new_privileges, Step::LoadFilter);
    when(true, Step::Execute);
    Plan {
        clone_flags: 0,
        join: Vec::new(),
        steps,
    }
}
