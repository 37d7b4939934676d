//! Which devices a container may open: a list in version 1, a program that the
//! kernel runs at each open and mknod in version 2.

use std::fs;
use std::os::fd::AsFd as _;
use std::path::Path;

use super::{CgroupError, Membership, failed};
use crate::oci::spec::DeviceRule;
use crate::sys::{self, BpfInstruction};

/// What every container may use whatever its rules: making nodes (which grants
/// nothing), the default nodes, its terminals.
const ALWAYS: [(&str, Option<i64>, Option<i64>, &str); 10] = [
    ("c", None, None, "m"),
    ("b", None, None, "m"),
    ("c", Some(1), Some(3), "rwm"),
    ("c", Some(1), Some(5), "rwm"),
    ("c", Some(1), Some(7), "rwm"),
    ("c", Some(1), Some(8), "rwm"),
    ("c", Some(1), Some(9), "rwm"),
    ("c", Some(5), Some(0), "rwm"),
    ("c", Some(5), Some(2), "rwm"),
    ("c", Some(136), None, "rwm"),
];

/// Restricts a container to its rules.
pub(super) fn restrict(rules: &[DeviceRule], membership: &Membership) -> Result<(), CgroupError> {
    let always = ALWAYS
        .iter()
        .map(|(kind, major, minor, access)| DeviceRule {
            allow: true,
            kind: Some((*kind).to_owned()),
            major: *major,
            minor: *minor,
            access: Some((*access).to_owned()),
        });
    let rules: Vec<DeviceRule> = rules.iter().cloned().chain(always).collect();
    let v1 = membership
        .v1
        .iter()
        .find(|m| m.controllers.iter().any(|c| c == "devices"));
    match (v1, &membership.v2) {
        (Some(member), _) => write_list(&rules, &member.path),
        (None, Some(path)) => attach(&rules, path),
        (None, None) => Err(CgroupError::NoController {
            what: "devices".to_owned(),
            controller: "devices".to_owned(),
        }),
    }
}

fn write_list(rules: &[DeviceRule], cgroup: &Path) -> Result<(), CgroupError> {
    for rule in rules {
        let file = cgroup.join(if rule.allow {
            "devices.allow"
        } else {
            "devices.deny"
        });
        fs::write(&file, line(rule)).map_err(failed("write", &file))?;
    }
    Ok(())
}

/// Absent and -1 both mean all.
fn number(value: Option<i64>) -> Option<i64> {
    value.filter(|value| *value >= 0)
}

fn kind(rule: &DeviceRule) -> &str {
    rule.kind
        .as_deref()
        .filter(|kind| !kind.is_empty())
        .unwrap_or("a")
}

fn access(rule: &DeviceRule) -> &str {
    rule.access
        .as_deref()
        .filter(|access| !access.is_empty())
        .unwrap_or("rwm")
}

/// A rule in the words of version 1.
fn line(rule: &DeviceRule) -> String {
    let text = |value| number(value).map_or_else(|| "*".to_owned(), |value| value.to_string());
    format!(
        "{} {}:{} {}",
        kind(rule),
        text(rule.major),
        text(rule.minor),
        access(rule)
    )
}

fn attach(rules: &[DeviceRule], cgroup: &Path) -> Result<(), CgroupError> {
    let directory = fs::File::open(cgroup).map_err(failed("open", cgroup))?;
    sys::attach_device_program(&program(rules), directory.as_fd()).map_err(CgroupError::Devices)
}

/// The registers that the program keeps its facts in.
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const ANSWER: u8 = 0;

/// Instructions of eBPF (RFC 9669) that this needs.
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xbf;
const MOVE_NUMBER: u8 = 0xb7;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP_UNLESS_EQUAL: u8 = 0x55;
const JUMP_UNLESS_SAME: u8 = 0x5d;
const JUMP_IF_EQUAL: u8 = 0x15;
const EXIT: u8 = 0x95;

fn instruction(code: u8, to: u8, from: u8, offset: i16, operand: i32) -> BpfInstruction {
    BpfInstruction {
        code,
        registers: to | from << 4,
        offset,
        operand,
    }
}

/// `struct bpf_cgroup_dev_ctx`: type and access in one word, major, minor. The
/// last rule that matches wins, so they are tried from the last; without any,
/// what the parent allows is allowed.
fn program(rules: &[DeviceRule]) -> Vec<BpfInstruction> {
    let mut code = vec![
        instruction(LOAD_WORD, KIND, CONTEXT, 0, 0),
        instruction(MOVE, ACCESS, KIND, 0, 0),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        instruction(AND, KIND, 0, 0, 0xffff),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.iter().rev() {
        code.extend(rule_code(rule));
    }
    code.push(instruction(MOVE_NUMBER, ANSWER, 0, 0, 1));
    code.push(instruction(EXIT, 0, 0, 0, 0));
    code
}

fn rule_code(rule: &DeviceRule) -> Vec<BpfInstruction> {
    // The jumps' distances are filled in at the end: all lead past the rule.
    let mut code = Vec::new();
    let mut unless = |register, value| {
        code.push(instruction(JUMP_UNLESS_EQUAL, register, 0, 0, value));
    };
    match kind(rule) {
        "b" => unless(KIND, 1),
        "a" => {}
        _ => unless(KIND, 2),
    }
    // Beyond 31 bits there is no device, and the rule never matches.
    let operand = |value| i32::try_from(value).unwrap_or(-1);
    if kind(rule) != "a" {
        if let Some(major) = number(rule.major) {
            unless(MAJOR, operand(major));
        }
        if let Some(minor) = number(rule.minor) {
            unless(MINOR, operand(minor));
        }
    }
    let mask = access(rule).chars().fold(0, |mask, letter| {
        mask | match letter {
            'm' => 1,
            'r' => 2,
            'w' => 4,
            _ => 0,
        }
    });
    // What is allowed must cover all that is asked for; one refused part
    // refuses all. The context isn't needed any more.
    code.push(instruction(MOVE, CONTEXT, ACCESS, 0, 0));
    code.push(instruction(AND, CONTEXT, 0, 0, mask));
    code.push(if rule.allow {
        instruction(JUMP_UNLESS_SAME, CONTEXT, ACCESS, 0, 0)
    } else {
        instruction(JUMP_IF_EQUAL, CONTEXT, 0, 0, 0)
    });
    code.push(instruction(
        MOVE_NUMBER,
        ANSWER,
        0,
        0,
        i32::from(rule.allow),
    ));
    code.push(instruction(EXIT, 0, 0, 0, 0));
    let end = code.len();
    for (at, instruction) in code.iter_mut().enumerate() {
        let jumps = [JUMP_UNLESS_EQUAL, JUMP_UNLESS_SAME, JUMP_IF_EQUAL];
        if jumps.contains(&instruction.code) {
            instruction.offset = i16::try_from(end - at - 1).unwrap_or(0);
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::cgroup::Layout;

    fn rule(allow: bool, kind: &str, major: i64, minor: i64, access: &str) -> DeviceRule {
        DeviceRule {
            allow,
            kind: Some(kind.into()),
            major: Some(major),
            minor: Some(minor),
            access: Some(access.into()),
        }
    }

    #[test]
    fn a_rule_without_numbers_means_all() {
        let all = DeviceRule {
            allow: false,
            kind: None,
            major: None,
            minor: Some(-1),
            access: None,
        };
        assert_eq!(line(&all), "a *:* rwm");
        assert_eq!(line(&rule(true, "c", 10, 229, "rw")), "c 10:229 rw");
    }

    /// Runs a shell in a version 2 cgroup with these rules; what it printed.
    fn opened(name: &str, rules: &[DeviceRule]) -> Option<String> {
        let v2 = Layout::detect().unwrap().v2?;
        let path = v2
            .mount
            .join(format!("holdall-devices-{name}-{}", std::process::id()));
        let membership = Membership {
            v2: Some(path.clone()),
            v1: Vec::new(),
            ..Membership::default()
        };
        fs::create_dir(&path).unwrap();
        let done = restrict(rules, &membership);
        let script = format!(
            "echo $$ >{}/cgroup.procs; for f in null zero full kmsg; do \
               (: </dev/$f) 2>/dev/null && echo r $f; (: >/dev/$f) 2>/dev/null && echo w $f; done",
            path.display()
        );
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .output()
            .unwrap();
        membership.remove().unwrap();
        done.unwrap();
        Some(String::from_utf8(output.stdout).unwrap())
    }

    #[test]
    fn the_kernel_s_program_refuses_what_the_rules_refuse() {
        let none = rule(false, "a", -1, -1, "rwm");
        let Some(text) = opened("none", std::slice::from_ref(&none)) else {
            return;
        };
        assert_eq!(text, "r null\nw null\nr zero\nw zero\nr full\nw full\n");
        let kmsg = rule(true, "c", 1, 11, "r");
        assert_eq!(
            opened("kmsg", &[none.clone(), kmsg]).unwrap(),
            "r null\nw null\nr zero\nw zero\nr full\nw full\nr kmsg\n"
        );
        // The last rule that matches wins; a refused part refuses all.
        let text = opened("order", &[rule(true, "c", 1, -1, "rw"), none]).unwrap();
        assert!(!text.contains("kmsg"), "{text}");
    }
}
