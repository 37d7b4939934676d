//! `run`: a command in the image, by the project's own runtime, on the host's
//! network. Names, proxies and certificates are the host's for as long as it
//! runs; they are not part of its key and not of its layer.

use std::collections::VecDeque;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use holdall_image::{PackedLayer, Tree};
use holdall_runtime::step::{self, Bind, Exit, StepError};

use super::{Executor, Made};
use crate::Progress;
use crate::bootstrap::VOLATILE;
use crate::diff;
use crate::error::BuildError;
use crate::lines::Lines;
use crate::plan::SHELL;
use crate::program::keep;

/// Where a step finds the host's certificates.
const CERTIFICATES: &str = "/run/holdall-certificates.crt";

/// Where most programs look for them in an image.
const OWN_CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The variables by which programs are told of certificates.
const CERTIFICATE_VARIABLES: [&str; 6] = [
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
];

/// Keeps packages from starting their services while they are installed.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs packages by the base's own apt, and takes away what apt leaves
/// different each time.
pub(super) fn apt_command(packages: &[String]) -> Vec<String> {
    // Names of packages are letters, digits, `+`, `-` and `.`.
    let names = packages.join(" ");
    // Of the list of a bootstrap, the files of apt, dpkg and ldconfig.
    let volatile = VOLATILE.iter().filter(|path| {
        [
            "var/log/",
            "var/cache/",
            "var/lib/apt/",
            "var/lib/dpkg/",
            "etc/*-",
            "etc/.pwd",
        ]
        .iter()
        .any(|prefix| path.starts_with(prefix))
    });
    let volatile: Vec<String> = volatile.map(|path| format!("/{path}")).collect();
    let script = format!(
        "set -e\nexport DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1\n\
         apt-get update -q\n\
         apt-get install -q -y --no-install-recommends {names}\n\
         rm -rf {}",
        volatile.join(" ")
    );
    SHELL
        .iter()
        .map(|word| (*word).to_owned())
        .chain([script])
        .collect()
}

/// Runs a command over the layers so far; none where it changed nothing.
pub(super) fn run(
    executor: &Executor<'_>,
    name: &str,
    argv: &[String],
    installs: bool,
    made: &Made,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<PackedLayer>, BuildError> {
    let folders = executor.folders(made)?;
    let below = Tree::open(&folders)?;
    let upper = executor.workspace.folder("upper")?;
    let work = executor.workspace.folder("work")?;
    let mut env = executor.variables(made);
    env.push(("SOURCE_DATE_EPOCH".to_owned(), executor.epoch.to_string()));
    for (name, value) in [("HOME", "/root"), ("TERM", "dumb")] {
        if !env.iter().any(|(known, _)| known == name) {
            env.push((name.to_owned(), value.to_owned()));
        }
    }
    env.extend(executor.prepared.host.proxies.clone());
    let binds = binds(executor, &below, installs, &mut env)?;

    let failed = |source| BuildError::WriteLayer {
        path: "/".into(),
        source,
    };
    let (mut reader, writer) = io::pipe().map_err(failed)?;
    let stop = executor.build.stop;
    let mut tail = VecDeque::new();
    let exit = std::thread::scope(|scope| {
        let (folders, upper, work, targets) = (&folders, &upper, &work, binds.clone());
        let worker = std::thread::Builder::new().spawn_scoped(scope, move || {
            let step = step::Step {
                layers: folders,
                upper,
                work,
                argv: argv.to_vec(),
                env,
                dir: PathBuf::from("/"),
                user: None,
                binds: targets,
                output: writer.as_fd(),
            };
            step::run(&step, stop)
        });
        let worker = match worker {
            Ok(worker) => worker,
            Err(error) => return Ok(Err(StepError::Wait(error))),
        };
        // The output ends with the last process of the step, and our own end
        // of it with the worker.
        let mut line = |line: &str| {
            keep(&mut tail, line);
            progress(Progress::Output {
                line: line.to_owned(),
            });
        };
        let read = pump(&mut reader, &mut line);
        let exit = worker
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        read.map_err(failed).map(|()| exit)
    })?;
    match exit {
        Ok(Exit::Code(0)) => {}
        Ok(Exit::Stopped) => return Err(BuildError::Stopped),
        Ok(Exit::Code(code)) => {
            return Err(BuildError::Failed {
                step: name.to_owned(),
                code,
                tail: tail.into(),
            });
        }
        Err(source) => {
            return Err(BuildError::Run {
                step: name.to_owned(),
                source: Box::new(source),
            });
        }
    }
    executor.workspace.clear(&work);
    let targets: Vec<&Path> = binds.iter().map(|bind| bind.target.as_path()).collect();
    let changed = diff::prune(&upper, &below, &targets).map_err(|source| BuildError::Changes {
        step: name.to_owned(),
        source,
    })?;
    if changed {
        return Ok(Some(executor.pack(&upper)?));
    }
    executor.workspace.clear(&upper);
    Ok(None)
}

fn pump(reader: &mut io::PipeReader, line: &mut dyn FnMut(&str)) -> io::Result<()> {
    let mut lines = Lines::default();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => {
                lines.finish(line);
                return Ok(());
            }
            Ok(count) => lines.push(buffer.get(..count).unwrap_or_default(), line),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// What of the host the step sees: copies of its names, so that nothing it
/// writes reaches the host, and its certificates.
fn binds(
    executor: &Executor<'_>,
    below: &Tree,
    installs: bool,
    env: &mut Vec<(String, String)>,
) -> Result<Vec<Bind>, BuildError> {
    let workspace = executor.workspace;
    let mut binds = Vec::new();
    for (host, name) in [("/etc/resolv.conf", "resolv.conf"), ("/etc/hosts", "hosts")] {
        // A host without one has nothing to give.
        let content = std::fs::read(host).unwrap_or_default();
        let source = workspace.file(name, &content)?;
        binds.push(Bind {
            source,
            target: host.into(),
            read_only: true,
        });
    }
    if installs {
        let source = workspace.file("policy-rc.d", b"#!/bin/sh\nexit 101\n")?;
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&source, executable).map_err(|error| BuildError::WriteLayer {
            path: POLICY.into(),
            source: error,
        })?;
        binds.push(Bind {
            source,
            target: POLICY.into(),
            read_only: true,
        });
    }
    if let Some(certificates) = &executor.prepared.host.certificates
        && (certificates.explicit || below.lookup(Path::new(OWN_CERTIFICATES))?.is_none())
    {
        let source = certificates.path.clone();
        binds.push(Bind {
            source,
            target: CERTIFICATES.into(),
            read_only: true,
        });
        for name in CERTIFICATE_VARIABLES {
            if !env.iter().any(|(known, _)| known == name) {
                env.push((name.to_owned(), CERTIFICATES.to_owned()));
            }
        }
    }
    Ok(binds)
}
