//! Entrances to what is private here, for the workspace's `fuzz/`. Not built
//! otherwise.

use std::path::{Path, PathBuf};

use holdall_protocol::log::Stream;

use crate::boxes::WallTime;
use crate::boxes::lines::Source;
use crate::oci::config::Config;
use crate::oci::plan::{self, Step, Surroundings};
use crate::oci::seccomp::{Filter, SeccompError};
use crate::oci::spec::{NamespaceType, Seccomp, Spec};

/// A container's set-up, as far as it can be told without making it.
#[derive(Debug)]
pub struct Planned {
    /// What it was made from.
    pub spec: Spec,
    /// Every mount point.
    pub targets: Vec<PathBuf>,
    /// The names of the steps, in order.
    pub steps: Vec<String>,
    /// All of it in words.
    pub text: String,
}

/// `config.json` → plan.
///
/// # Errors
/// It is none, or asks for what can't be.
pub fn plan(config: &[u8], can_mknod: bool) -> Result<Planned, String> {
    let config = Config::parse(Path::new("config.json"), config.to_vec());
    let config = config.map_err(|error| error.to_string())?;
    let around = Surroundings {
        can_mknod,
        ..Surroundings::default()
    };
    let plan = plan::plan(&config.spec, &around).map_err(|error| error.to_string())?;
    if let Some(process) = &config.spec.process {
        let userns = config.spec.namespace(NamespaceType::User).is_some();
        let _printed = plan::exec(process, userns, true).to_string();
    }
    let targets = plan.steps.iter().filter_map(|step| match step {
        Step::Mount(mount) => Some(mount.target.clone()),
        _ => None,
    });
    let name = |step: &Step| {
        let text = format!("{step:?}");
        let end = text.find(|c: char| !c.is_ascii_alphanumeric());
        text.get(..end.unwrap_or(text.len()))
            .unwrap_or_default()
            .to_owned()
    };
    Ok(Planned {
        targets: targets.collect(),
        steps: plan.steps.iter().map(name).collect(),
        text: plan.to_string(),
        spec: config.spec,
    })
}

/// One instruction of a filter: code, jump if true, jump if false, operand.
pub type Instruction = (u16, u8, u8, u32);

/// A profile as the kernel gets it.
///
/// # Errors
/// It can't be made.
pub fn filter(profile: &Seccomp) -> Result<Vec<Instruction>, SeccompError> {
    let filter = Filter::compile(profile)?;
    let raw = |instruction: libc::sock_filter| {
        (
            instruction.code,
            instruction.jt,
            instruction.jf,
            instruction.k,
        )
    };
    Ok(filter.instructions().map(raw).collect())
}

/// What a foreign image's program writes, in pieces of this size → records.
#[must_use]
pub fn raw_lines(bytes: &[u8], piece: usize) -> Vec<u8> {
    pass(Source::Raw(Stream::Stdout), bytes, piece)
}

/// What an image's init writes, in pieces of this size → lines of the log.
#[must_use]
pub fn record_lines(bytes: &[u8], piece: usize) -> Vec<u8> {
    pass(Source::Records, bytes, piece)
}

/// What is no line yet waits where it is, as it does in a FIFO.
fn pass(source: Source, bytes: &[u8], piece: usize) -> Vec<u8> {
    let (mut waiting, mut out) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(piece.max(1)) {
        waiting.extend_from_slice(piece);
        let taken = source.take(&waiting, WallTime(7), &mut out);
        waiting.drain(..taken);
    }
    source.finish(&waiting, WallTime(7), &mut out);
    out
}
