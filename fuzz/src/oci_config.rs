//! config.json of a bundle → plan. The order of the steps is the security of
//! the whole, so that is what is watched.

use std::path::Component;

use holdall_runtime::fuzzing::{self, Planned};

pub(crate) fn run(data: &[u8]) {
    let Some((how, config)) = data.split_first() else {
        return;
    };
    let Ok(plan) = fuzzing::plan(config, how & 1 != 0) else {
        return;
    };
    assert_eq!(plan.steps.last().map(String::as_str), Some("Execute"));
    for target in &plan.targets {
        let plain = target
            .components()
            .skip(1)
            .all(|part| matches!(part, Component::Normal(_)));
        assert!(target.is_absolute() && plain, "{}", target.display());
    }
    let pivot = only(&plan, "PivotRoot");
    let ends = only(&plan, "BecomeUser");
    assert!(last(&plan, "Mount").is_none_or(|mount| mount < pivot));
    assert!(last(&plan, "MakeDevices").is_none_or(|devices| devices < pivot));
    for privileged in [
        "SetSysctls",
        "SetHostname",
        "MaskPath",
        "ProtectPath",
        "MakeReadOnly",
    ] {
        let at = last(&plan, privileged);
        assert!(at.is_none_or(|at| pivot < at && at < ends), "{privileged}");
    }
    let process = plan.spec.process.as_ref().expect("a plan has a process");
    let linux = plan.spec.linux.as_ref().expect("a plan is for Linux");
    let count = |name: &str| plan.steps.iter().filter(|step| *step == name).count();
    assert_eq!(
        count("NoNewPrivileges"),
        usize::from(process.no_new_privileges)
    );
    assert_eq!(count("LoadFilter"), usize::from(linux.seccomp.is_some()));
    assert_eq!(
        count("MarkDescriptors"),
        1,
        "no descriptor of the host goes in"
    );
    assert_eq!(count("MaskPath"), linux.masked_paths.len());
    assert!(!plan.text.is_empty());
}

fn last(plan: &Planned, name: &str) -> Option<usize> {
    plan.steps.iter().rposition(|step| step == name)
}

fn only(plan: &Planned, name: &str) -> usize {
    let at = last(plan, name).unwrap_or_else(|| panic!("no step {name}"));
    let first = plan.steps.iter().position(|step| step == name);
    assert_eq!(first, Some(at), "{name} twice");
    at
}
