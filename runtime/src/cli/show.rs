//! What verbs print.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use nix::unistd::Pid;

use super::arguments::Arguments;
use super::verbs::VerbError;
use crate::oci::spec::{Spec, VERSION};
use crate::oci::state::State;

const HELP: &str = "\
An OCI runtime: makes containers from bundles, for docker, podman, containerd
and holdall.

usage: holdall-runtime [options] COMMAND [options] [arguments]

  create -b BUNDLE ID      make a container whose process waits for `start`
  start ID                 let it run
  run -b BUNDLE ID         create, start, wait, delete
  exec ID COMMAND...       run another program in it
  kill ID [SIGNAL]         send a signal (TERM)
  delete [--force] ID      remove what is left of it
  state ID                 print its state
  ps ID                    list its processes
  list [-q]                list containers
  spec [-b BUNDLE]         write a config.json to begin with
  features                 print what this runtime can do

  --root DIR               where containers are remembered
  --log FILE --log-format text|json --debug

example:
  mkdir -p demo/rootfs && holdall-runtime spec -b demo
  holdall-runtime run -b demo first
";

fn print(text: &str) -> Result<(), VerbError> {
    match std::io::stdout().write_all(text.as_bytes()) {
        // The reader has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(VerbError::Output),
    }
}

/// Any value as JSON.
pub(super) fn json(value: &impl serde::Serialize) -> Result<(), VerbError> {
    let text = serde_json::to_string_pretty(value).map_err(|e| VerbError::Output(e.into()))?;
    print(&format!("{text}\n"))
}

/// A container's processes: ids as numbers for machines, a table for people.
pub(super) fn processes(pids: &[Pid], as_json: bool) -> Result<(), VerbError> {
    if as_json {
        return json(&pids.iter().map(|pid| pid.as_raw()).collect::<Vec<_>>());
    }
    let mut text = format!("{:>8} {:>8} {:>8} COMMAND\n", "PID", "PPID", "UID");
    for pid in pids {
        let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let status = String::from_utf8_lossy(&read("status")).into_owned();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next())
                .unwrap_or("?")
                .to_owned()
        };
        let (parent, uid) = (field("PPid:"), field("Uid:"));
        let words = read("cmdline");
        let words = String::from_utf8_lossy(&words)
            .trim_end_matches('\0')
            .replace('\0', " ");
        let shown = if words.is_empty() {
            format!("[{}]", field("Name:"))
        } else {
            words
        };
        text.push_str(&format!(
            "{pid:>8} {parent:>8} {uid:>8} {}\n",
            shown.escape_debug()
        ));
    }
    print(&text)
}

/// All containers.
pub(super) fn containers(states: &[State], arguments: &Arguments) -> Result<(), VerbError> {
    if arguments.has("quiet") {
        let ids: String = states
            .iter()
            .map(|state| format!("{}\n", state.id))
            .collect();
        return print(&ids);
    }
    if arguments
        .value("format")
        .is_some_and(|format| format == "json")
    {
        return json(&states);
    }
    let mut text = format!(
        "{:<20} {:>8} {:<9} {:<31} BUNDLE\n",
        "ID", "PID", "STATUS", "CREATED"
    );
    for state in states {
        let State {
            id,
            pid,
            status,
            created,
            bundle,
            ..
        } = state;
        let status = status.to_string();
        text.push_str(&format!(
            "{id:<20} {pid:>8} {status:<9} {created:<31} {}\n",
            bundle.display()
        ));
    }
    print(&text)
}

/// Writes a configuration to begin with; an existing one is left alone.
pub(super) fn new_spec(bundle: &Path) -> Result<(), VerbError> {
    let path = bundle.join("config.json");
    let error = |source| VerbError::Write {
        path: path.clone(),
        source,
    };
    let spec: Spec = crate::oci::defaults::spec();
    let text = serde_json::to_string_pretty(&spec).map_err(|e| error(e.into()))?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(error)?;
    file.write_all(format!("{text}\n").as_bytes())
        .map_err(error)
}

/// How to use it.
pub(super) fn help() -> Result<(), VerbError> {
    print(HELP)
}

/// In runc's form, which engines parse.
pub(super) fn version() -> Result<(), VerbError> {
    print(&format!(
        "holdall-runtime version {}\nspec: {VERSION}\n",
        env!("CARGO_PKG_VERSION")
    ))
}
