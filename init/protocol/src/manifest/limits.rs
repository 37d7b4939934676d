//! `limits`: what a service may use.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::values::{quantity, thousandths};
use super::write::{quoted, table};
use crate::decode::{Problems, Table, Value};

/// `limits = { nofile = 4096, core = 0, nice = 5, memory = "512M", cpu = 1.5,
/// pids = 100 }`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// Those of setrlimit(2).
    pub resources: BTreeMap<Resource, Bounds>,
    /// -20 to 19; what init has where none.
    pub nice: Option<i8>,
    /// -1000 to 1000: how soon the kernel's out-of-memory killer takes it.
    pub oom_score_adj: Option<i16>,
    /// Memory of all its processes, in bytes (needs a cgroup).
    pub memory: Option<u64>,
    /// Processor time of all its processes, in thousandths of one processor
    /// (needs a cgroup).
    pub cpu: Option<u32>,
    /// The number of its processes and threads (needs a cgroup).
    pub pids: Option<u32>,
}

/// A resource of setrlimit(2). RLIMIT_LOCKS is none of them: by it init finds
/// a service's descendants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Address space, in bytes.
    AddressSpace,
    /// A core file, in bytes.
    Core,
    /// Processor time of one process, in seconds.
    CpuTime,
    /// The data segment, in bytes.
    Data,
    /// A file that is written, in bytes.
    FileSize,
    /// Locked memory, in bytes.
    Memlock,
    /// POSIX message queues, in bytes.
    MsgQueue,
    /// Open files.
    Nofile,
    /// Processes of the user.
    Nproc,
    /// Real-time priority.
    RtPriority,
    /// Queued signals.
    SigPending,
    /// The stack, in bytes.
    Stack,
}

impl Resource {
    /// Each, with its key, and whether it is counted in bytes.
    pub const ALL: [(Self, &'static str, bool); 12] = [
        (Self::AddressSpace, "address_space", true),
        (Self::Core, "core", true),
        (Self::CpuTime, "cpu_time", false),
        (Self::Data, "data", true),
        (Self::FileSize, "file_size", true),
        (Self::Memlock, "memlock", true),
        (Self::MsgQueue, "msgqueue", true),
        (Self::Nofile, "nofile", false),
        (Self::Nproc, "nproc", false),
        (Self::RtPriority, "rtprio", false),
        (Self::SigPending, "sigpending", false),
        (Self::Stack, "stack", true),
    ];
}

/// The soft and the hard limit; none is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// What holds.
    pub soft: Option<u64>,
    /// How far the service itself may raise it.
    pub hard: Option<u64>,
}

/// The largest number that TOML can write.
pub(super) const LARGEST: u64 = i64::MAX.unsigned_abs();

/// Other names for keys of this table.
const ELSEWHERE: &[(&str, &str)] = &[
    ("as", "address_space"),
    ("fsize", "file_size"),
    ("mem_limit", "memory"),
    ("cpus", "cpu"),
    ("pids_limit", "pids"),
    ("max_files", "nofile"),
    ("minfds", "nofile"),
    ("minprocs", "nproc"),
    ("oom_score_adjust", "oom_score_adj"),
];

/// Reads `limits` over those that hold already.
pub(super) fn read(mut table: Table<'_>, limits: &mut Limits, problems: &mut Problems) {
    table.elsewhere(ELSEWHERE);
    for (resource, name, bytes) in Resource::ALL {
        let found = table.take(name);
        let bounds = found.and_then(|value| bounds(&value, bytes, problems));
        limits
            .resources
            .extend(bounds.map(|bounds| (resource, bounds)));
    }
    let nice = table.take("nice");
    let nice = nice.and_then(|value| value.integer(-20..=19, problems));
    limits.nice = nice.or(limits.nice);
    let score = table.take("oom_score_adj");
    let score = score.and_then(|value| value.integer(-1000..=1000, problems));
    limits.oom_score_adj = score.or(limits.oom_score_adj);
    let memory = table.take("memory");
    let memory = memory.and_then(|value| at_least(&value, 1 << 20, "1M", quantity, problems));
    limits.memory = memory.or(limits.memory);
    let cpu = table.take("cpu");
    let cpu = cpu.and_then(|value| at_least(&value, 10, "0.01", thousandths, problems));
    limits.cpu = cpu.or(limits.cpu);
    let pids = table.take("pids");
    let pids = pids.and_then(|value| value.integer(1..=4_194_304, problems));
    limits.pids = pids.or(limits.pids);
    table.finish(&[], problems);
}

/// A quantity that is not so small that nothing could run.
fn at_least<T: PartialOrd>(
    value: &Value<'_>,
    least: T,
    written: &str,
    read: impl Fn(&Value<'_>, &mut Problems) -> Option<T>,
    problems: &mut Problems,
) -> Option<T> {
    let found = read(value, problems)?;
    if found < least {
        let message = format!("`{}` must be at least {written}", value.key());
        problems.add(value.span(), message);
        return None;
    }
    Some(found)
}

/// `4096`, `"64M"`, `"unlimited"` or `{ soft = …, hard = … }`.
fn bounds(value: &Value<'_>, bytes: bool, problems: &mut Problems) -> Option<Bounds> {
    let Some(mut table) = value.as_table() else {
        let both = bound(value, bytes, problems)?;
        return Some(Bounds {
            soft: both,
            hard: both,
        });
    };
    let soft = table.required("soft", problems);
    let hard = table.required("hard", problems);
    let span = hard.as_ref().map_or_else(|| value.span(), Value::span);
    let soft = soft.and_then(|value| bound(&value, bytes, problems));
    let hard = hard.and_then(|value| bound(&value, bytes, problems));
    table.finish(&[], problems);
    let (soft, hard) = (soft?, hard?);
    if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
        let key = value.key();
        problems.add(
            span,
            format!("the hard limit of `{key}` is below the soft one"),
        );
        return None;
    }
    Some(Bounds { soft, hard })
}

/// One limit; the inner none is no limit.
fn bound(value: &Value<'_>, bytes: bool, problems: &mut Problems) -> Option<Option<u64>> {
    if value.as_str() == Some("unlimited") {
        return Some(None);
    }
    let number = if bytes {
        quantity(value, problems)
    } else {
        value.integer(0..=LARGEST, problems)
    };
    number.map(Some)
}

/// As TOML; only what is not in `usual`.
pub(super) fn write(limits: &Limits, usual: &Limits) -> String {
    let resource = |(resource, name, _)| {
        let bounds = limits.resources.get(&resource)?;
        let changed = usual.resources.get(&resource) != Some(bounds);
        changed.then(|| format!("{name} = {}", written(*bounds)))
    };
    let resources = Resource::ALL.into_iter().filter_map(resource);
    let others = [
        number("nice", limits.nice, usual.nice),
        number("oom_score_adj", limits.oom_score_adj, usual.oom_score_adj),
        number("memory", limits.memory, usual.memory),
        limits.cpu.filter(|_| limits.cpu != usual.cpu).map(|cpu| {
            let (whole, part) = (cpu / 1000, cpu % 1000);
            format!("cpu = \"{whole}.{part:03}\"")
        }),
        number("pids", limits.pids, usual.pids),
    ];
    table(resources.chain(others.into_iter().flatten()))
}

fn number<T: Display + PartialEq>(key: &str, value: Option<T>, usual: Option<T>) -> Option<String> {
    let value = value.filter(|value| usual.as_ref() != Some(value))?;
    Some(format!("{key} = {value}"))
}

fn written(bounds: Bounds) -> String {
    let one = |limit: Option<u64>| limit.map_or_else(|| quoted("unlimited"), |n| n.to_string());
    let Bounds { soft, hard } = bounds;
    if soft == hard {
        one(soft)
    } else {
        format!("{{ soft = {}, hard = {} }}", one(soft), one(hard))
    }
}
