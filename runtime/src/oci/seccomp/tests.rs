//! The compiler against an interpreter of BPF and the rules read naively.

use proptest::prelude::*;

use super::code::{AND, AT_LEAST, EQUAL, GREATER, JUMP, LOAD, RETURN};
use super::*;
use crate::oci::spec::SeccompOp;

fn number_of(name: &str) -> Option<u32> {
    static NUMBERS: std::sync::OnceLock<BTreeMap<&'static str, u32>> = std::sync::OnceLock::new();
    NUMBERS.get_or_init(table::numbers).get(name).copied()
}

/// What the kernel's interpreter does with the instructions that we emit.
fn run(program: &[Instruction], arch: u32, number: u32, args: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend(number.to_le_bytes());
    data.extend(arch.to_le_bytes());
    data.extend(0u64.to_le_bytes());
    args.iter().for_each(|arg| data.extend(arg.to_le_bytes()));
    let (mut at, mut accumulator) = (0, 0u32);
    loop {
        let instruction = program[at];
        let operand = instruction.operand;
        at += 1;
        let jump = |holds: bool| {
            usize::from(if holds {
                instruction.yes
            } else {
                instruction.no
            })
        };
        match instruction.code {
            LOAD => {
                let start = operand as usize;
                accumulator = u32::from_le_bytes(data[start..start + 4].try_into().unwrap());
            }
            AND => accumulator &= operand,
            JUMP => at += operand as usize,
            EQUAL => at += jump(accumulator == operand),
            GREATER => at += jump(accumulator > operand),
            AT_LEAST => at += jump(accumulator >= operand),
            RETURN => return operand,
            other => panic!("unknown instruction {other:#x}"),
        }
    }
}

fn holds(arg: &SeccompArg, args: [u64; 6]) -> bool {
    let value = args[arg.index as usize];
    match arg.op {
        SeccompOp::NotEqual => value != arg.value,
        SeccompOp::Less => value < arg.value,
        SeccompOp::LessOrEqual => value <= arg.value,
        SeccompOp::Equal => value == arg.value,
        SeccompOp::GreaterOrEqual => value >= arg.value,
        SeccompOp::Greater => value > arg.value,
        SeccompOp::MaskedEqual => value & arg.value == arg.value_two & arg.value,
    }
}

/// The specification's rules, read one after the other.
fn naive(config: &Seccomp, number: u32, args: [u64; 6]) -> u32 {
    let known = config.syscalls.iter().flat_map(|rule| &rule.names);
    let newest = known.filter_map(|name| number_of(name)).max();
    for rule in &config.syscalls {
        if !rule
            .names
            .iter()
            .any(|name| number_of(name) == Some(number))
        {
            continue;
        }
        let repeated = rule
            .args
            .iter()
            .any(|a| rule.args.iter().filter(|b| a.index == b.index).count() > 1);
        let matched = if repeated {
            rule.args.iter().any(|arg| holds(arg, args))
        } else {
            rule.args.iter().all(|arg| holds(arg, args))
        };
        if matched {
            return answer(rule.action, rule.errno_ret).unwrap();
        }
    }
    let default = answer(config.default_action, config.default_errno_ret).unwrap();
    if newest.is_none_or(|newest| number > newest) {
        beyond(config, default)
    } else {
        default
    }
}

fn compiled(config: &Seccomp) -> Vec<Instruction> {
    Filter::compile(config).unwrap().program
}

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const EPERM: u32 = libc::SECCOMP_RET_ERRNO | 1;
const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | 38;

#[test]
fn docker_s_profile_answers_every_number_as_its_rules_read() {
    let config = profile::default();
    let program = compiled(&config);
    for number in 0..600 {
        for args in [
            [0; 6],
            [0x1000_0000, 0, 0, 0, 0, 0],
            [40; 6],
            [u64::MAX; 6],
            [13; 6],
        ] {
            let want = naive(&config, number, args);
            assert_eq!(
                run(&program, ARCHITECTURE, number, args),
                want,
                "{number} {args:?}"
            );
        }
    }
}

#[test]
fn docker_s_profile_stays_small() {
    let program = compiled(&profile::default());
    assert!(program.len() < 400, "{}", program.len());
}

#[test]
fn docker_s_profile_allows_and_refuses_what_docker_s_does() {
    let program = compiled(&profile::default());
    let call = |name: &str, first: u64| {
        run(
            &program,
            ARCHITECTURE,
            number_of(name).unwrap(),
            [first, 0, 0, 0, 0, 0],
        )
    };
    for name in [
        "read",
        "openat",
        "execve",
        "ptrace",
        "chroot",
        "statmount",
        "mseal",
    ] {
        assert_eq!(call(name, 0), ALLOW, "{name}");
    }
    for name in [
        "mount",
        "unshare",
        "bpf",
        "keyctl",
        "io_uring_setup",
        "userfaultfd",
        "reboot",
    ] {
        assert_eq!(call(name, 0), EPERM, "{name}");
    }
    assert_eq!(call("clone3", 0), ENOSYS);
    assert_eq!(call("clone", 0x11), ALLOW);
    // CLONE_NEWUSER
    assert_eq!(call("clone", 0x1000_0000), EPERM);
    assert_eq!(call("personality", 0xffff_ffff), ALLOW);
    // ADDR_NO_RANDOMIZE
    assert_eq!(call("personality", 0x4_0000), EPERM);
    assert_eq!(call("socket", 2), ALLOW);
    // AF_ALG, AF_VSOCK
    assert_eq!(call("socket", 38), EPERM);
    assert_eq!(call("socket", 40), EPERM);
}

#[test]
fn a_call_newer_than_the_rules_does_not_exist() {
    let program = compiled(&profile::default());
    assert_eq!(run(&program, ARCHITECTURE, 599, [0; 6]), ENOSYS);
}

#[test]
fn another_architecture_is_killed_and_x32_refused() {
    let program = compiled(&profile::default());
    assert_eq!(
        run(&program, 0x4000_0003, 1, [0; 6]),
        libc::SECCOMP_RET_KILL_PROCESS
    );
    if let Some(bit) = X32 {
        assert_eq!(run(&program, ARCHITECTURE, bit | 1, [0; 6]), ENOSYS);
    }
}

#[test]
fn what_can_t_be_compiled_is_an_error_that_names_it() {
    let notify = Seccomp {
        default_action: SeccompAction::Notify,
        ..Seccomp::default()
    };
    let error = Filter::compile(&notify).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot use the filter action Notify: it is not supported"
    );
    let flag = Seccomp {
        flags: vec!["X".into()],
        ..Seccomp::default()
    };
    let error = Filter::compile(&flag).unwrap_err();
    assert_eq!(error.to_string(), "cannot use the filter flag \"X\"");
    let rule = SeccompRule {
        args: vec![SeccompArg {
            index: 6,
            value: 0,
            value_two: 0,
            op: SeccompOp::Equal,
        }],
        ..SeccompRule::default()
    };
    let argument = Seccomp {
        syscalls: vec![rule],
        ..Seccomp::default()
    };
    let error = Filter::compile(&argument).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot look at argument 6: system calls have six"
    );
}

fn some_value() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..4u64,
        Just(u64::MAX),
        Just(1 << 32),
        Just((1 << 32) - 1),
        any::<u64>()
    ]
}

fn some_arg() -> impl Strategy<Value = SeccompArg> {
    let op = prop_oneof![
        Just(SeccompOp::NotEqual),
        Just(SeccompOp::Less),
        Just(SeccompOp::LessOrEqual),
        Just(SeccompOp::Equal),
        Just(SeccompOp::GreaterOrEqual),
        Just(SeccompOp::Greater),
        Just(SeccompOp::MaskedEqual),
    ];
    (0..6u32, some_value(), some_value(), op).prop_map(|(index, value, value_two, op)| SeccompArg {
        index,
        value,
        value_two,
        op,
    })
}

fn some_rule() -> impl Strategy<Value = SeccompRule> {
    let names: Vec<String> = table::all().map(|(name, _)| name.to_owned()).collect();
    let action = prop_oneof![
        Just(SeccompAction::Allow),
        Just(SeccompAction::Errno),
        Just(SeccompAction::KillProcess),
        Just(SeccompAction::Log),
    ];
    (
        proptest::sample::subsequence(names, 1..40),
        action,
        proptest::option::of(1..200u32),
        proptest::collection::vec(some_arg(), 0..4),
    )
        .prop_map(|(names, action, errno_ret, args)| SeccompRule {
            names,
            action,
            errno_ret,
            args,
        })
}

proptest! {
    #[test]
    fn any_rules_compile_to_what_they_say(
        syscalls in proptest::collection::vec(some_rule(), 0..12),
        numbers in proptest::collection::vec(0..500u32, 40),
        args in proptest::array::uniform6(some_value()),
    ) {
        let config = Seccomp {
            default_action: SeccompAction::Errno,
            syscalls,
            ..Seccomp::default()
        };
        let program = match Filter::compile(&config) {
            Ok(filter) => filter.program,
            // What the kernel would not take is refused, and only that.
            Err(SeccompError::TooLong(length)) => {
                prop_assert!(length > 4096);
                return Ok(());
            }
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        for number in numbers {
            prop_assert_eq!(
                run(&program, ARCHITECTURE, number, args),
                naive(&config, number, args)
            );
        }
    }
}
