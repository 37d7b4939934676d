//! Classic BPF over `struct seccomp_data` (seccomp(2)).

use crate::oci::spec::SeccompOp;

/// One instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u16,
    /// How many to skip when the test holds, and when it doesn't.
    pub(super) yes: u8,
    pub(super) no: u8,
    pub(super) operand: u32,
}

/// Loads a word of the call's data.
pub(super) const LOAD: u16 = 0x20;
/// Skips always.
pub(super) const JUMP: u16 = 0x05;
/// Tests the accumulator.
pub(super) const EQUAL: u16 = 0x15;
pub(super) const GREATER: u16 = 0x25;
pub(super) const AT_LEAST: u16 = 0x35;
/// Masks the accumulator.
pub(super) const AND: u16 = 0x54;
/// Ends with an answer.
pub(super) const RETURN: u16 = 0x06;

/// Where things lie in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// What a range of calls gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Leaf {
    /// Always this.
    Answer(u32),
    /// The first alternative whose conditions all hold; else the last answer.
    Depends(Vec<(Vec<Condition>, u32)>, u32),
}

/// One test of a 64-bit argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) argument: u32,
    pub(super) op: SeccompOp,
    pub(super) value: u64,
    pub(super) value_two: u64,
}

impl Instruction {
    fn new(code: u16, operand: u32) -> Self {
        Self {
            code,
            yes: 0,
            no: 0,
            operand,
        }
    }

    /// As the kernel takes it.
    pub(super) fn raw(self) -> libc::sock_filter {
        libc::sock_filter {
            code: self.code,
            jt: self.yes,
            jf: self.no,
            k: self.operand,
        }
    }
}

/// Ends calls of another architecture, and leaves the number in the
/// accumulator.
pub(super) fn prologue(architecture: u32, x32: Option<u32>, refusal: u32) -> Vec<Instruction> {
    let mut code = vec![
        Instruction::new(LOAD, ARCHITECTURE),
        Instruction {
            yes: 1,
            ..Instruction::new(EQUAL, architecture)
        },
        Instruction::new(RETURN, libc::SECCOMP_RET_KILL_PROCESS),
        Instruction::new(LOAD, NUMBER),
    ];
    if let Some(bit) = x32 {
        code.push(Instruction {
            no: 1,
            ..Instruction::new(AT_LEAST, bit)
        });
        code.push(Instruction::new(RETURN, refusal));
    }
    code
}

/// Finds the range that the accumulator lies in, by halves. Every block of
/// code is self-contained: it jumps within itself and ends in an answer.
pub(super) fn tree(ranges: &[(u32, Leaf)]) -> Vec<Instruction> {
    let (low, high) = ranges.split_at(ranges.len() / 2);
    match (low, high) {
        ([], []) => Vec::new(),
        ([], [(_, leaf), ..]) => leaf_code(leaf),
        (_, [(start, _), ..]) => {
            let (left, right) = (tree(low), tree(high));
            let test = Instruction::new(AT_LEAST, *start);
            let mut code = match u8::try_from(left.len()) {
                Ok(distance) => vec![Instruction {
                    yes: distance,
                    ..test
                }],
                Err(_) => {
                    let distance = u32::try_from(left.len()).unwrap_or(u32::MAX);
                    vec![
                        Instruction { no: 1, ..test },
                        Instruction::new(JUMP, distance),
                    ]
                }
            };
            code.extend(left);
            code.extend(right);
            code
        }
        // split_at gives the larger half last.
        (_, []) => Vec::new(),
    }
}

fn leaf_code(leaf: &Leaf) -> Vec<Instruction> {
    match leaf {
        Leaf::Answer(answer) => vec![Instruction::new(RETURN, *answer)],
        Leaf::Depends(alternatives, default) => {
            let mut code = Vec::new();
            for (conditions, answer) in alternatives {
                code.extend(alternative(conditions, *answer));
            }
            code.push(Instruction::new(RETURN, *default));
            code
        }
    }
}

/// Where a test goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Next,
    /// The condition holds: to the one after it.
    Holds,
    /// It doesn't: out of the alternative.
    Fails,
}

/// Conditions that must all hold, and the answer if they do; otherwise falls
/// out at the end.
fn alternative(conditions: &[Condition], answer: u32) -> Vec<Instruction> {
    let mut code: Vec<(Instruction, To, To, usize)> = Vec::new();
    for condition in conditions {
        let tests = condition.code();
        let end = code.len() + tests.len();
        code.extend(
            tests
                .into_iter()
                .map(|(instruction, yes, no)| (instruction, yes, no, end)),
        );
    }
    let out = code.len() + 1;
    let mut done: Vec<Instruction> = code
        .iter()
        .enumerate()
        .map(|(at, (instruction, yes, no, end))| {
            // Six conditions of six instructions are the most there can be.
            let skip = |to: To| {
                let target = match to {
                    To::Next => at + 1,
                    To::Holds => *end,
                    To::Fails => out,
                };
                u8::try_from(target - at - 1).unwrap_or(u8::MAX)
            };
            Instruction {
                yes: skip(*yes),
                no: skip(*no),
                ..*instruction
            }
        })
        .collect();
    done.push(Instruction::new(RETURN, answer));
    done
}

fn high(value: u64) -> u32 {
    u32::try_from(value >> 32).unwrap_or(u32::MAX)
}

fn low(value: u64) -> u32 {
    u32::try_from(value & 0xffff_ffff).unwrap_or(u32::MAX)
}

impl Condition {
    /// The words of a little-endian argument are compared one by one, the
    /// high one first.
    fn code(&self) -> Vec<(Instruction, To, To)> {
        use To::{Fails, Holds, Next};
        let offset = ARGUMENTS + 8 * self.argument;
        let load_low = (Instruction::new(LOAD, offset), Next, Next);
        let load_high = (Instruction::new(LOAD, offset + 4), Next, Next);
        let test = |code, operand, yes, no| (Instruction::new(code, operand), yes, no);
        let (up, down) = (high(self.value), low(self.value));
        // Above, below and (in the low word) the last test.
        let ordered = |above, below, last, yes, no| {
            vec![
                load_high,
                test(GREATER, up, above, Next),
                test(EQUAL, up, Next, below),
                load_low,
                test(last, down, yes, no),
            ]
        };
        match self.op {
            SeccompOp::Equal => vec![
                load_high,
                test(EQUAL, up, Next, Fails),
                load_low,
                test(EQUAL, down, Next, Fails),
            ],
            SeccompOp::NotEqual => vec![
                load_high,
                test(EQUAL, up, Next, Holds),
                load_low,
                test(EQUAL, down, Fails, Next),
            ],
            SeccompOp::GreaterOrEqual => ordered(Holds, Fails, AT_LEAST, Next, Fails),
            SeccompOp::Greater => ordered(Holds, Fails, GREATER, Next, Fails),
            SeccompOp::Less => ordered(Fails, Holds, AT_LEAST, Fails, Next),
            SeccompOp::LessOrEqual => ordered(Fails, Holds, GREATER, Fails, Next),
            SeccompOp::MaskedEqual => {
                let wanted = self.value_two & self.value;
                vec![
                    load_high,
                    test(AND, up, Next, Next),
                    test(EQUAL, high(wanted), Next, Fails),
                    load_low,
                    test(AND, down, Next, Next),
                    test(EQUAL, low(wanted), Next, Fails),
                ]
            }
        }
    }
}
