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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_further_program_joins_the_container_and_then_becomes_its_user() {
        let process = Process::default();
        assert_eq!(
            exec(&process, false, false).to_string(),
            "clone with flags 0x0
hide from other processes
join the cgroups
hear from the runtime
join the container
start a session
make a session keyring
reopen /dev/null
mark descriptors to close
become the user
find the program
wait for the start
execute the program
"
        );
    }

    #[test]
    fn a_terminal_takes_the_place_of_dev_null_and_is_not_shown_as_the_console() {
        let streams = |terminal| {
            let process = Process {
                terminal,
                ..Process::default()
            };
            let mut steps = exec(&process, false, false).steps;
            steps.retain(|step| matches!(step, Step::OpenConsole { .. } | Step::ReopenNull));
            steps
        };
        assert_eq!(streams(true), [Step::OpenConsole { show: false }]);
        assert_eq!(streams(false), [Step::ReopenNull]);
    }

    #[test]
    fn a_user_namespace_has_a_root_to_become_as_soon_as_it_is_joined() {
        let process = Process::default();
        let steps = exec(&process, true, false).steps;
        let joined = steps.iter().position(|step| *step == Step::JoinRunning);
        assert_eq!(steps[joined.unwrap() + 1], Step::BecomeRoot);
        let steps = exec(&process, false, false).steps;
        assert!(!steps.contains(&Step::BecomeRoot));
    }
}
