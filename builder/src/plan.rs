//! The plan of a build: a list of steps, each with the key of everything that
//! can change its result. Pure: what it needs to know of the world is in
//! [`Facts`].

use std::fmt;
use std::path::{Path, PathBuf};

use holdall_image::{Digest, Reference};
use holdall_protocol::manifest::Manifest;

use crate::cache::Key;
use crate::cache::key::{self, Inputs};
use crate::config;
use crate::context::Tree;
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

/// What a plan must know beside the file.
#[derive(Debug)]
pub(crate) struct Facts {
    /// What the base is; none where its packages are yet to be chosen.
    pub(crate) base: Option<Inputs>,
    /// What each `copy` takes, in order.
    pub(crate) trees: Vec<Tree>,
    /// Digest of the init.
    pub(crate) init: Digest,
    /// Timestamps are at most this, in seconds since 1970.
    pub(crate) epoch: i64,
}

/// One step.
#[derive(Debug)]
pub(crate) struct Step {
    /// What it does, in a line.
    pub(crate) name: String,
    /// Its key; none where that of the base is not known yet.
    pub(crate) key: Option<Key>,
    /// What is done.
    pub(crate) action: Action,
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
    /// Writes the image's configuration, and checks the services.
    Finish,
}

/// The steps of a build.
pub(crate) fn steps(image: &Image, manifest: &Manifest, facts: Facts) -> Vec<Step> {
    let Facts {
        base,
        trees,
        init,
        epoch,
    } = facts;
    let mut chain = Chain {
        key: None,
        broken: false,
        epoch,
        steps: Vec::new(),
    };
    let bootstrap = matches!(image.from.value, Base::Bootstrap { .. });
    chain.push(base_name(image), Action::Base, base);
    let packages = image.package_names();
    if !bootstrap && !packages.is_empty() {
        let inputs = Inputs::Packages(packages.clone());
        chain.push(
            format!("packages {}", packages.join(" ")),
            Action::Packages(packages),
            Some(inputs),
        );
    }
    for (copy, tree) in image.copy.iter().zip(trees) {
        let inputs = Inputs::Copy {
            to: copy.to.value.clone(),
            owner: copy.owner.as_ref().map(|owner| owner.value.clone()),
            mode: copy.mode,
            tree: tree.digest,
        };
        let name = format!("copy {} to {}", shown(&copy.from.value), copy.to.value);
        chain.push(
            name,
            Action::Copy {
                copy: copy.clone(),
                tree,
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
        chain.push(
            format!("run {}", short(&command.value)),
            Action::Run { argv },
            Some(inputs),
        );
    }
    chain.push(
        "init".to_owned(),
        Action::Init,
        Some(Inputs::Init(init.to_string())),
    );
    let services: Vec<&str> = manifest
        .services
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    let text = manifest.to_toml();
    let inputs = Inputs::Services(text.clone());
    chain.push(
        format!("services {}", services.join(" ")),
        Action::Services(text),
        Some(inputs),
    );
    let inputs = Inputs::Config(config::inputs(image, manifest, epoch));
    chain.push("check and finish".to_owned(), Action::Finish, Some(inputs));
    chain.steps
}

struct Chain {
    key: Option<Key>,
    broken: bool,
    epoch: i64,
    steps: Vec<Step>,
}

impl Chain {
    fn push(&mut self, name: String, action: Action, inputs: Option<Inputs>) {
        self.broken |= inputs.is_none();
        let inputs = inputs.filter(|_| !self.broken);
        let key = inputs.map(|inputs| key::key(self.key, ARCHITECTURE, self.epoch, &inputs));
        self.key = key;
        self.steps.push(Step { name, key, action });
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
mod tests {
    use std::path::Path;

    use super::*;
    use crate::context::Context;
    use crate::stat_index::StatIndex;
    use crate::toml::Source;

    fn keys(dir: &Path, base: Option<Inputs>, epoch: i64) -> Vec<(String, Option<Key>)> {
        let source = Source::read(dir, None).unwrap();
        let context = Context::open(dir).unwrap();
        let mut index = StatIndex::default();
        let tree = |copy: &Copy| context.tree(&copy.from.value, &mut index).unwrap();
        let facts = Facts {
            base,
            trees: source.image.copy.iter().map(tree).collect(),
            init: Digest::of(b"init"),
            epoch,
        };
        let steps = steps(&source.image, &source.manifest, facts);
        steps
            .into_iter()
            .map(|step| (step.name, step.key))
            .collect()
    }

    fn project() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("app")).unwrap();
        std::fs::write(dir.path().join("app/main.py"), "print(1)").unwrap();
        std::fs::write(dir.path().join("nginx.conf"), "events {}").unwrap();
        let text = "name = \"shop\"\n\
            [image]\n\
            from = \"bootstrap:debian/bookworm\"\n\
            packages = [\"nginx-light\", \"redis-server\"]\n\
            copy = [{ from = \"app/\", to = \"/srv/app/\" }, { from = \"./nginx.conf\", to = \"/etc/nginx/\" }]\n\
            run = [\"useradd -r shop\", '''\nset -e\ntrue''']\n\
            [service.web]\n\
            command = \"nginx -g 'daemon off;'\"\n\
            [service.redis]\n\
            command = \"redis-server\"\n";
        std::fs::write(dir.path().join("holdall.toml"), text).unwrap();
        dir
    }

    #[test]
    fn a_plan_prints_a_line_a_step() {
        let dir = project();
        let steps = keys(dir.path(), Some(Inputs::Bootstrap("x".into())), EPOCH);
        let step = |(at, (name, _)): (usize, (String, _))| PlannedStep {
            name,
            cached: at < 2,
        };
        let plan = Plan {
            tags: vec!["shop".parse::<Reference>().unwrap().with_default_tag()],
            file: "holdall.toml".into(),
            steps: steps.into_iter().enumerate().map(step).collect(),
            notes: vec!["no holdall.lock yet".into()],
        };
        insta::assert_snapshot!(plan, @r#"
        shop:latest from holdall.toml
          1  cached  bootstrap debian/bookworm nginx-light redis-server
          2  cached  copy app to /srv/app/
          3  run     copy nginx.conf to /etc/nginx/
          4  run     run useradd -r shop
          5  run     run set -e …
          6  run     init
          7  run     services web redis
          8  run     check and finish
        note: no holdall.lock yet
        "#);
    }

    #[test]
    fn only_what_comes_after_a_change_is_run_again() {
        let dir = project();
        let base = || Some(Inputs::Bootstrap("x".into()));
        let before = keys(dir.path(), base(), EPOCH);
        assert_eq!(before, keys(dir.path(), base(), EPOCH));
        std::fs::write(dir.path().join("nginx.conf"), "events { }").unwrap();
        let after = keys(dir.path(), base(), EPOCH);
        let same: Vec<bool> = before.iter().zip(&after).map(|(a, b)| a == b).collect();
        assert_eq!(same, [true, true, false, false, false, false, false, false]);
        let all_differ =
            |other: &[(String, Option<Key>)]| before.iter().zip(other).all(|(a, b)| a.1 != b.1);
        assert!(all_differ(&keys(dir.path(), base(), EPOCH + 1)));
        assert!(all_differ(&keys(
            dir.path(),
            Some(Inputs::Bootstrap("y".into())),
            EPOCH
        )));
    }

    #[test]
    fn without_a_base_no_step_has_a_key() {
        let dir = project();
        assert!(
            keys(dir.path(), None, EPOCH)
                .iter()
                .all(|(_, key)| key.is_none())
        );
    }
}
