//! Programs run to their end, and looked at while they live.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::clock;

/// Whether the program is there to be measured.
pub(crate) fn installed(program: &str) -> bool {
    ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin"]
        .iter()
        .any(|dir| Path::new(dir).join(program).exists())
}

/// Runs it to its end and returns the seconds that took. Its output goes to a
/// file, so that no reader of ours takes part.
pub(crate) fn timed(command: &mut Command, scratch: &Path) -> Result<f64> {
    let said = scratch.join("said");
    let file = fs::File::create(&said).with_context(|| format!("cannot create {said:?}"))?;
    command
        .stdin(Stdio::null())
        .stdout(file.try_clone().context("cannot share a file")?)
        .stderr(file);
    let start = clock::now();
    let status = command
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    let took = start.elapsed().as_secs_f64();
    if !status.success() {
        let text = fs::read_to_string(&said).unwrap_or_default();
        bail!("{command:?} ended with {status}:\n{text}");
    }
    Ok(took)
}

/// Runs it and returns what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} ended with {}:\n{text}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Every process of the pid namespace of `pid1` except those that run
/// `apart_from`.
pub(crate) fn of_namespace(pid1: i32, apart_from: &Path) -> Result<BTreeSet<i32>> {
    let wanted = fs::read_link(format!("/proc/{pid1}/ns/pid")).context("cannot see the init")?;
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").context("cannot read /proc")? {
        let entry = entry.context("cannot read /proc")?;
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        // A process may end while we look; then it is not one of them.
        let Ok(namespace) = fs::read_link(entry.path().join("ns/pid")) else {
            continue;
        };
        let runs = fs::read_link(entry.path().join("exe")).unwrap_or_default();
        if namespace == wanted && runs != apart_from {
            found.insert(pid);
        }
    }
    Ok(found)
}

/// The sum of one line of a file of `/proc/PID`, over processes; in its own unit.
pub(crate) fn sum(pids: &BTreeSet<i32>, file: &str, key: &str) -> Result<f64> {
    let mut total = 0.0;
    for pid in pids {
        let path = format!("/proc/{pid}/{file}");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.split_whitespace().next())
            .with_context(|| format!("{path} has no {key}"))?;
        total += value
            .parse::<f64>()
            .with_context(|| format!("{path}: {key}{value}"))?;
    }
    Ok(total)
}
