//! The command line, checked: nothing past this file sees raw input.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use holdall_protocol::Millis;

use crate::report::Failure;
use crate::{commands, exit};

const EXAMPLES: &str = "\
Examples:
  holdall new shop && cd shop            write a commented holdall.toml
  holdall build                          build the image it describes
  holdall run -d -p 8080:80 shop         run it, port 8080 of the host is its 80
  holdall ps shop                        its services: state, health, restarts
  holdall logs -f shop/web               one service's log
  holdall restart shop/app               restart one service, the others stay up
  holdall exec -it shop sh               a shell inside
  holdall stop shop && holdall rm shop   stop it in order, remove it

Everything lies under /var/lib/holdall and /run/holdall, or under one folder
of your own with --root or HOLDALL_ROOT. HOLDALL_LOG=debug says more.";

/// Several services in one container: build the image, run it, keep it well
#[derive(Debug, Parser)]
#[command(
    name = "holdall",
    version,
    about,
    after_help = EXAMPLES,
    disable_help_subcommand = true,
    propagate_version = false,
    max_term_width = 100
)]
pub(crate) struct Cli {
    /// Put images, boxes and all other state under this folder
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// One verb, one file below `commands/`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    New(commands::new::Args),
    Check(commands::check::Args),
    Build(commands::build::Args),
    Images(commands::images::Args),
    Import(commands::import::Args),
    Run(commands::run::Args),
    Ps(commands::ps::Args),
    Logs(commands::logs::Args),
    Events(commands::events::Args),
    Exec(commands::exec::Args),
    Stop(commands::stop::Args),
    Start(commands::start::Args),
    Restart(commands::restart::Args),
    Kill(commands::kill::Args),
    Rm(commands::rm::Args),
    Rmi(commands::rmi::Args),
    Inspect(commands::inspect::Args),
    Save(commands::save::Args),
    Load(commands::load::Args),
    Fsck(commands::fsck::Args),
}

/// `BOX` or `BOX/SERVICE`, as every verb that takes a service reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The box, by name or by the beginning of its id.
    pub(crate) name: String,
    /// One of its services.
    pub(crate) service: Option<holdall_protocol::ServiceName>,
}

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, service) = match text.split_once('/') {
            None => (text, None),
            Some((name, service)) => {
                let service = service
                    .parse()
                    .map_err(|error| format!("service {error}"))?;
                (name, Some(service))
            }
        };
        if name.is_empty() {
            return Err("the name of a box is missing".to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            service,
        })
    }
}

/// How long an ordered stop of boxes may take.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Grace {
    /// Seconds until what is left of a box is killed; the image's own unless given
    #[arg(short, long, value_name = "SECONDS")]
    time: Option<u32>,
}

impl Grace {
    /// For these targets. A service's own `stop.timeout` can't be changed from
    /// outside, and is not silently taken for it.
    pub(crate) fn of(&self, targets: &[Target]) -> Result<Option<Millis>, Failure> {
        let single = targets.iter().find_map(|target| target.service.as_ref());
        match (self.time, single) {
            (Some(_), Some(service)) => Err(Failure::text(format!(
                "cannot give service {service} another grace period"
            ))
            .help("-t is for whole boxes; a service has `stop = { timeout = \"3s\" }`")
            .code(exit::USAGE)),
            (time, _) => Ok(time.map(|seconds| Millis::from_secs(seconds.into()))),
        }
    }
}

/// `NAME=value`, or `NAME` alone for the value that it has here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EnvArg {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
}

impl std::str::FromStr for EnvArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        if name.is_empty() || name.contains('\0') {
            return Err("the name of the variable is missing: write NAME=value".to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            value,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_grace_period_is_for_boxes_and_refused_for_a_service() {
        let targets = |all: &[&str]| -> Vec<Target> {
            let parsed = all.iter().map(|text| text.parse());
            parsed.collect::<Result<_, _>>().expect("well-formed")
        };
        let given = Grace { time: Some(3) };
        let of_boxes = given.of(&targets(&["shop", "blog"]));
        assert_eq!(of_boxes.expect("boxes"), Some(Millis::from_secs(3)));
        let refused = given.of(&targets(&["blog", "shop/app"]));
        let refused = refused.expect_err("a service");
        assert_eq!(refused.exit_code(), exit::USAGE);
        assert!(refused.render().contains("service app"));
        let none = Grace { time: None };
        assert_eq!(none.of(&targets(&["shop/app"])).expect("its own"), None);
    }

    /// The page, as `--help` of every verb says it.
    fn page() -> String {
        let mut page = String::from(PAGE_HEAD);
        let mut cli = Cli::command().term_width(PAGE_WIDTH);
        cli.build();
        let mut add = |command: &mut clap::Command| {
            let name = command.get_bin_name().unwrap_or("holdall").to_owned();
            let help = command.render_long_help().to_string();
            let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
            page.push_str(&format!(
                "\n## {name}\n\n```text\n{}\n```\n",
                lines.join("\n")
            ));
        };
        add(&mut cli.clone());
        for verb in cli.get_subcommands_mut() {
            add(verb);
        }
        page
    }

    const PAGE_WIDTH: usize = 100;
    const PAGE_PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/commands.md");
    const PAGE_HEAD: &str = "\
# Commands

What `holdall --help` and `holdall VERB --help` say. Written from them by
`cargo test -p holdall --bin holdall -- --ignored`; a test holds it against them.
";

    #[test]
    fn the_page_of_commands_is_what_help_says() {
        let written = std::fs::read_to_string(PAGE_PATH).expect("docs/commands.md");
        assert!(
            page() == written,
            "--help has changed: write the page again as its first lines say"
        );
    }

    #[test]
    #[ignore = "it writes docs/commands.md"]
    fn write_the_page_of_commands() {
        std::fs::write(PAGE_PATH, page()).expect("docs/commands.md can be written");
    }

    #[test]
    fn every_verb_teaches_by_example() {
        for verb in Cli::command().get_subcommands_mut() {
            let help = verb.render_long_help().to_string();
            assert!(
                help.contains("Example"),
                "`holdall {} --help` has no example",
                verb.get_name()
            );
        }
    }

    #[test]
    fn a_target_is_a_box_or_a_service_of_it() {
        let target: Target = "shop/app".parse().expect("well-formed");
        assert_eq!(target.name, "shop");
        assert_eq!(
            target.service.map(|s| s.to_string()),
            Some("app".to_owned())
        );
        for bad in ["", "/app", "shop/", "shop/a/b", "shop/App"] {
            assert!(bad.parse::<Target>().is_err(), "{bad:?}");
        }
    }
}
