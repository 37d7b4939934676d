//! A bundle from `run` to the end of its process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::{Value, json};

use super::group;
use crate::measure::{Contestant, Group, OURS, Unit, in_turn};
use crate::process::{installed, output, timed};
use crate::world::World;

const METHOD: &str = "\
`run` of one bundle whose process is a static `true` (busybox), from the start of
the runtime's process to its end: create, start, wait, delete. The config.json is
the one that `runc spec` writes (pid, network, ipc, uts, mount and cgroup
namespaces, masked and read-only paths, read-only root) without a terminal and
with docker's seccomp profile as containers-common ships it.";

/// crun 1.8 wants every controller of /proc/cgroups mounted.
const HUGETLB: &str = "/sys/fs/cgroup/hugetlb";

pub(super) fn run(world: &World) -> Result<Group> {
    let dir = world.dir("bundle")?;
    let bundle = bundle(&dir)?;
    let _hugetlb = Hugetlb::mount()?;
    let (dir, bundle) = (&dir, &bundle);
    let runtimes: [(&str, PathBuf, Option<f64>); 3] = [
        (OURS, world.runtime.clone(), None),
        ("crun", "crun".into(), Some(0.4)),
        ("runc", "runc".into(), Some(0.15)),
    ];
    let contestants = runtimes
        .iter()
        .filter(|(who, ..)| *who == OURS || installed(who))
        .map(|(who, program, budget)| Contestant {
            who,
            budget: *budget,
            run: Box::new(move || {
                let mut command = Command::new(program);
                command
                    .arg("--root")
                    .arg(dir.join(who))
                    .args(["run", "--bundle"])
                    .arg(bundle)
                    .arg("holdall-bench");
                timed(&mut command, dir)
            }),
        })
        .collect();
    let row = in_turn("run of `true`", Unit::Seconds, 60, contestants)?;
    let commands = [
        (OURS, "holdall-runtime --root STATE run --bundle BUNDLE ID"),
        ("crun", "crun --root STATE run --bundle BUNDLE ID"),
        ("runc", "runc --root STATE run --bundle BUNDLE ID"),
    ];
    Ok(group(
        "A bundle run to its end",
        METHOD,
        &commands,
        vec![row],
    ))
}

/// The bundle that all of them run.
fn bundle(dir: &Path) -> Result<PathBuf> {
    let bundle = dir.join("bundle");
    let bin = bundle.join("rootfs/bin");
    fs::create_dir_all(&bin).with_context(|| format!("cannot create {bin:?}"))?;
    fs::copy("/bin/busybox", bin.join("true")).context("busybox-static is not installed")?;
    output(
        Command::new("runc")
            .arg("spec")
            .arg("--bundle")
            .arg(&bundle),
    )?;
    let path = bundle.join("config.json");
    let text = fs::read(&path).context("runc wrote no config.json")?;
    let mut config: Value = serde_json::from_slice(&text).context("cannot read config.json")?;
    let seccomp = profile(&config)?;
    set(&mut config, "/process/terminal", json!(false))?;
    set(&mut config, "/process/args", json!(["/bin/true"]))?;
    let linux = config
        .get_mut("linux")
        .and_then(Value::as_object_mut)
        .context("config.json has no linux")?;
    linux.insert("seccomp".to_owned(), seccomp);
    let text = serde_json::to_vec_pretty(&config).context("cannot write config.json")?;
    fs::write(&path, text).context("cannot write config.json")?;
    Ok(bundle)
}

fn set(config: &mut Value, pointer: &str, value: Value) -> Result<()> {
    *config
        .pointer_mut(pointer)
        .with_context(|| format!("config.json has no {pointer}"))? = value;
    Ok(())
}

/// docker's profile in the form of the runtime-spec, for the capabilities of
/// `config`: what an engine makes of it before it calls a runtime.
fn profile(config: &Value) -> Result<Value> {
    let path = "/usr/share/containers/seccomp.json";
    let text = fs::read(path).with_context(|| format!("cannot read {path}"))?;
    let profile: Value =
        serde_json::from_slice(&text).with_context(|| format!("cannot read {path}"))?;
    let held = strings(config.pointer("/process/capabilities/bounding"));
    let rules = profile.get("syscalls").and_then(Value::as_array);
    let rules = rules.context("the seccomp profile has no syscalls")?;
    let machine = ["amd64", "x86_64", "x86", "x32"];
    let applies = |rule: &&Value| {
        let includes = strings(rule.pointer("/includes/caps"));
        let excludes = strings(rule.pointer("/excludes/caps"));
        let arches = strings(rule.pointer("/includes/arches"));
        includes.iter().all(|cap| held.contains(cap))
            && !excludes.iter().any(|cap| held.contains(cap))
            && (arches.is_empty() || arches.iter().any(|arch| machine.contains(arch)))
    };
    let kept: Vec<Value> = rules
        .iter()
        .filter(applies)
        .map(|rule| {
            let mut rule = rule.clone();
            if let Some(rule) = rule.as_object_mut() {
                rule.retain(|key, value| {
                    ["names", "action", "args", "errnoRet"].contains(&key.as_str())
                        && !value.is_null()
                });
            }
            rule
        })
        .collect();
    Ok(json!({
        "defaultAction": profile.get("defaultAction"),
        "defaultErrnoRet": profile.get("defaultErrnoRet"),
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": kept,
    }))
}

fn strings(value: Option<&Value>) -> Vec<&str> {
    let list = value.and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// The hugetlb controller, mounted while this lives where the host had not.
pub(super) struct Hugetlb {
    ours: bool,
}

impl Hugetlb {
    pub(super) fn mount() -> Result<Self> {
        let controllers = fs::read_to_string("/proc/cgroups").unwrap_or_default();
        let mounted = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let v1 = fs::metadata("/sys/fs/cgroup/memory").is_ok();
        let known = controllers.lines().any(|line| line.starts_with("hugetlb"));
        if !v1 || !known || mounted.contains(&format!(" {HUGETLB} ")) {
            return Ok(Self { ours: false });
        }
        fs::create_dir_all(HUGETLB).with_context(|| format!("cannot create {HUGETLB}"))?;
        mount(
            Some("cgroup"),
            HUGETLB,
            Some("cgroup"),
            MsFlags::empty(),
            Some("hugetlb"),
        )
        .with_context(|| format!("cannot mount {HUGETLB}"))?;
        Ok(Self { ours: true })
    }
}

impl Drop for Hugetlb {
    fn drop(&mut self) {
        if self.ours {
            // Best effort: the next run finds it and uses it. A folder that
            // others have filled stays.
            umount2(HUGETLB, MntFlags::empty()).ok();
            fs::remove_dir(HUGETLB).ok();
        }
    }
}
