//! A system call filter's profile → program. The kernel would refuse a program
//! that jumps out of itself; one that answers what no rule says would be worse.

use std::collections::BTreeSet;

use holdall_runtime::fuzzing::{self, Instruction};
use holdall_runtime::oci::spec::{Seccomp, SeccompAction};

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const EQUAL: u16 = 0x15;
const GREATER: u16 = 0x25;
const AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// The kernel's bound on instructions.
const MAX_PROGRAM: usize = 4096;
const ENOSYS: u32 = 0x0005_0000 | 38;
const KILL_PROCESS: u32 = 0x8000_0000;
const ARCHITECTURES: [u32; 3] = [0xc000_003e, 0xc000_00b7, 0x4000_0003];

pub(crate) fn run(data: &[u8]) {
    let Ok(profile) = serde_json::from_slice::<Seccomp>(data) else {
        return;
    };
    let Ok(program) = fuzzing::filter(&profile) else {
        return;
    };
    assert!(program.len() <= MAX_PROGRAM);
    let allowed = answers(&profile);
    for architecture in ARCHITECTURES {
        for number in (0..470).chain([u32::MAX, 0x4000_0000, 0x3fff_ffff]) {
            for argument in [0, 1, 0x7e02_0000, u64::MAX] {
                let answer = answer(&program, architecture, number, argument);
                let known = answer == ENOSYS || answer == KILL_PROCESS;
                assert!(
                    known || allowed.contains(&(answer & 0xffff_0000)),
                    "{answer:#x} for call {number} is no answer of the profile"
                );
            }
        }
    }
    verify(&program);
}

/// The answers that the profile names, without their data.
fn answers(profile: &Seccomp) -> BTreeSet<u32> {
    let rules = profile.syscalls.iter().map(|rule| rule.action);
    rules
        .chain([profile.default_action])
        .map(|action| match action {
            SeccompAction::KillProcess => KILL_PROCESS,
            SeccompAction::KillThread => 0,
            SeccompAction::Trap => 0x0003_0000,
            SeccompAction::Errno => 0x0005_0000,
            SeccompAction::Trace => 0x7ff0_0000,
            SeccompAction::Log => 0x7ffc_0000,
            SeccompAction::Allow => 0x7fff_0000,
            SeccompAction::Notify => panic!("a filter with a listener is refused"),
        })
        .collect()
}

/// What the kernel's own check demands: known instructions, and every way
/// leads on to one that returns.
fn verify(program: &[Instruction]) {
    for (at, (code, yes, no, operand)) in program.iter().copied().enumerate() {
        let jumps: [usize; 2] = match code {
            RETURN => continue,
            LOAD => {
                assert!(operand % 4 == 0 && operand < 64, "beyond the call's data");
                [0, 0]
            }
            AND => [0, 0],
            JUMP => [usize::try_from(operand).expect("a small number"); 2],
            EQUAL | GREATER | AT_LEAST => [yes.into(), no.into()],
            other => panic!("instruction {other:#x} at {at}"),
        };
        for jump in jumps {
            assert!(
                at + 1 + jump < program.len(),
                "a jump out of the program at {at}"
            );
        }
    }
}

/// What the kernel would answer.
fn answer(program: &[Instruction], architecture: u32, number: u32, argument: u64) -> u32 {
    let (low, high) = ((argument & 0xffff_ffff) as u32, (argument >> 32) as u32);
    let (mut at, mut accumulator) = (0, 0_u32);
    loop {
        let (code, yes, no, operand) = *program.get(at).expect("within the program");
        at += 1;
        let test = |holds: bool| usize::from(if holds { yes } else { no });
        match code {
            LOAD => {
                accumulator = match operand {
                    0 => number,
                    4 => architecture,
                    8 | 12 => 0,
                    word if word % 8 == 0 => low,
                    _ => high,
                }
            }
            AND => accumulator &= operand,
            JUMP => at += usize::try_from(operand).expect("a small number"),
            EQUAL => at += test(accumulator == operand),
            GREATER => at += test(accumulator > operand),
            AT_LEAST => at += test(accumulator >= operand),
            RETURN => return operand,
            other => panic!("instruction {other:#x}"),
        }
    }
}
