//! The plan of a build: a list of steps, each with the key of everything that
//! can change its result. Pure: what it must know of the world is given to it.

use std::fmt;
use std::path::{Path, PathBuf};

use holdall_image::{Digest, Reference};
use holdall_protocol::manifest::Manifest;

use crate::cache::Key;
use crate::cache::key::{self, Inputs};
use crate::config;
use crate::context::Tree;
use crate::layer;
use crate::lock::Lock;
use crate::toml::{Base, Copy, Image};

/// What the image gets as its time where neither SOURCE_DATE_EPOCH nor a lock
/// says one: 1980-01-01, in seconds since 1970. Zip archives know no earlier
/// time, and so neither do some programs.
pub(crate) const EPOCH: i64 = 315_532_800;

/// Architecture of the images, as Go and Debian call it; the same word for
/// both that we run on.
pub(crate) const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    "amd64"
};

/// What is said of packages that no lock holds.
pub(crate) const UNLOCKED: &str =
    "packages upon a base come from its own mirror and are not locked";

/// What the words of a step of `run` are.
pub(crate) const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// A build as it would go, for people: a line a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What the image will be called.
    pub tags: Vec<Reference>,
    /// The file it is described in.
    pub file: PathBuf,
    /// The steps in order.
    pub steps: Vec<PlannedStep>,
    /// What else is to be known before it is run.
    pub notes: Vec<String>,
}

/// One step of a [`Plan`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStep {
    /// What it does.
    pub name: String,
    /// Whether its result is already there.
    pub cached: bool,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tags: Vec<String> = self.tags.iter().map(ToString::to_string).collect();
        writeln!(f, "{} from {}", tags.join(", "), self.file.display())?;
        for (at, PlannedStep { name, cached }) in self.steps.iter().enumerate() {
            let state = if *cached { "cached" } else { "run" };
            writeln!(f, "{:>3}  {state:<6}  {name}", at + 1)?;
        }
        self.notes
            .iter()
            .try_for_each(|note| writeln!(f, "note: {note}"))
    }
}

/// The steps of a build: those that make layers, bottom first, and at the end
/// what makes an image of them.
#[derive(Debug)]
pub(crate) struct Steps {
    /// Base, packages, copies, commands, init and services.
    pub(crate) layers: Vec<Step>,
    /// The image's configuration and the version of the checks.
    finish: Inputs,
}

/// What the last step is called: it checks the services and puts the image
/// together.
pub(crate) const FINISH: &str = "check and finish";

/// One step that makes a layer.
#[derive(Debug)]
pub(crate) struct Step {
    /// What it does, in a line.
    pub(crate) name: String,
    /// What is done.
    pub(crate) action: Action,
    /// What decides over its result; none for the base, which may be unknown
    /// yet.
    inputs: Option<Inputs>,
}

/// What a step does.
#[derive(Debug)]
pub(crate) enum Action {
    /// Takes the base.
    Base,
    /// Installs packages with the base's own apt.
    Packages(Vec<String>),
    /// Copies files of the context.
    Copy {
        /// As the file says.
        copy: Copy,
        /// What it takes.
        tree: Tree,
        /// The most layers it makes of that.
        parts: u64,
    },
    /// Runs a command.
    Run {
        /// Its words.
        argv: Vec<String>,
    },
    /// Writes /init.
    Init,
    /// Writes /etc/holdall.toml.
    Services(String),
}

/// The keys of the steps.
#[derive(Debug)]
pub(crate) struct Keys {
    /// Of each of [`Steps::layers`].
    pub(crate) layers: Vec<Key>,
    /// Of the image.
    pub(crate) image: Key,
}

/// The steps of a build. `trees` are what each `copy` takes, in order.
pub(crate) fn steps(image: &Image, manifest: &Manifest, trees: Vec<Tree>, init: &Digest) -> Steps {
    let mut layers = Vec::new();
    let mut push = |name: String, action: Action, inputs: Option<Inputs>| {
        layers.push(Step {
            name,
            action,
            inputs,
        });
    };
    push(base_name(image), Action::Base, None);
    let packages = image.package_names();
    if !matches!(image.from.value, Base::Bootstrap { .. }) && !packages.is_empty() {
        let name = format!("packages {}", packages.join(" "));
        push(
            name,
            Action::Packages(packages.clone()),
            Some(Inputs::Packages(packages)),
        );
    }
    let weight = |tree: &Tree| layer::weight(tree.entries.len(), tree.size());
    let weights: Vec<u64> = trees.iter().map(weight).collect();
    let parts = layer::most_parts(&weights);
    for ((copy, tree), parts) in image.copy.iter().zip(trees).zip(parts) {
        let inputs = Inputs::Copy {
            to: copy.to.value.clone(),
            owner: copy.owner.as_ref().map(|owner| owner.value.clone()),
            mode: copy.mode,
            tree: tree.digest,
            parts,
        };
        let name = format!("copy {} to {}", shown(&copy.from.value), copy.to.value);
        push(
            name,
            Action::Copy {
                copy: copy.clone(),
                tree,
                parts,
            },
            Some(inputs),
        );
    }
    let env: Vec<(String, String)> = image.env.clone().into_iter().collect();
    for command in &image.run {
        let words = SHELL.iter().copied().chain([command.value.as_str()]);
        let argv: Vec<String> = words.map(str::to_owned).collect();
        let inputs = Inputs::Run {
            argv: argv.clone(),
            env: env.clone(),
        };
        push(
            format!("run {}", short(&command.value)),
            Action::Run { argv },
            Some(inputs),
        );
    }
    push(
        "init".to_owned(),
        Action::Init,
        Some(Inputs::Init(init.to_string())),
    );
    let names = manifest
        .services
        .iter()
        .map(|service| service.name.as_str());
    let name = format!("services {}", names.collect::<Vec<_>>().join(" "));
    let text = manifest.to_toml();
    push(
        name.trim_end().to_owned(),
        Action::Services(text.clone()),
        Some(Inputs::Services(text)),
    );
    Steps {
        layers,
        finish: Inputs::Config(config::inputs(image, manifest)),
    }
}

impl Steps {
    /// The key of every step upon this base, for timestamps up to `epoch`.
    pub(crate) fn keys(&self, base: &Inputs, epoch: i64) -> Keys {
        let mut parent = None;
        let mut next = |inputs: &Inputs| {
            let key = key::key(parent, ARCHITECTURE, epoch, inputs);
            parent = Some(key);
            key
        };
        let layers = self
            .layers
            .iter()
            .map(|step| next(step.inputs.as_ref().unwrap_or(base)));
        let layers = layers.collect();
        Keys {
            layers,
            image: next(&self.finish),
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.names().count()
    }

    /// What each does, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.layers
            .iter()
            .map(|step| step.name.as_str())
            .chain([FINISH])
    }
}

/// What a lock makes of a base.
pub(crate) fn bootstrap_inputs(lock: &Lock) -> Inputs {
    Inputs::Bootstrap(lock.digest())
}

fn base_name(image: &Image) -> String {
    match &image.from.value {
        Base::Scratch => "from scratch".to_owned(),
        Base::Reference(reference) => format!("from {reference}"),
        Base::Layout { dir, tag: None } => format!("from oci:{}", dir.display()),
        Base::Layout {
            dir,
            tag: Some(tag),
        } => format!("from oci:{}:{tag}", dir.display()),
        Base::Archive(file) => format!("from docker-archive:{}", file.display()),
        Base::Bootstrap { suite } => format!(
            "bootstrap debian/{suite} {}",
            image.package_names().join(" ")
        )
        .trim_end()
        .to_owned(),
    }
}

fn shown(from: &Path) -> String {
    if from.as_os_str().is_empty() {
        ".".to_owned()
    } else {
        from.display().to_string()
    }
}

/// The first line of a command, or as much as fits beside the rest.
fn short(command: &str) -> String {
    const MAX: usize = 70;
    let mut lines = command.trim().lines();
    let first = lines.next().unwrap_or_default();
    let more = lines.next().is_some() || first.chars().count() > MAX;
    let shown: String = first
        .chars()
        .take(MAX)
        .filter(|c| !c.is_control())
        .collect();
    if more { format!("{shown} …") } else { shown }
}

#[cfg(test)]
mod tests;
