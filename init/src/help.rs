//! What `--help` says.

const ALL: &str = "\
holdall-init: starts, checks, restarts and stops the services of a container

Usage: /init [run] [-- COMMAND …]     be the init
       /init VERB …                   ask the init that runs

  /init                               run the services of /etc/holdall.toml
  /init -- bash                       the same, a command in the foreground:
                                      the box ends with it, and with its code

Verbs:
  run       be the init (the default)
  ps        the services: state, health, restarts, last exit
  why       why a service is as it is             /init why web
  logs      the newest lines of the log           /init logs -f -n 20 web
  events    how services change their states      /init events --last 20
  start     bring services up                     /init start web
  stop      take services down                    /init stop web
  restart   stop and start again                  /init restart web
  reload    read the file of services again       /init reload --dry-run
  scale     another number of instances           /init scale web=3
  signal    send a signal to a main process       /init signal HUP web
  /init signal RTMIN+1 web app        a number does as well
  health    exit 0 if the box is healthy, else 1
  check     check a file of services              /init check holdall.toml
  version   versions

Options, before or after the verb:
  --config FILE     the services (default /etc/holdall.toml)
  --supervisord FILE  the services, from a supervisord.conf as it is
  --run-dir DIR     where the control socket lies (default: the first of
                    /run/holdall, /tmp/.holdall-UID, /dev/shm/.holdall-UID)
  --profile NAME    pick a profile of the file (or HOLDALL_PROFILE)
  --format FORMAT   of what a verb prints: table, or json (one document, or one
                    a line where it is a stream)
  -h, --help        this, or the help of a verb

Exit codes: 0, 1 when it could not be done or is not so, 2 for a command line
that makes no sense.
";

const RUN: &str = "\
Be the init: start the services in their order and keep them up.

Usage: /init run [--after-ready] [-- COMMAND …]

  /init run                           until TERM: then stop in order
  /init run -- python3 manage.py      with a command in the foreground
  /init run --after-ready -- ./test   start it only once the box is ready

  --after-ready     start the command only once every essential service is ready
  --rewrite S:R     send the command signal R in place of S; 0: send nothing
  --single-child    signals go to the command alone, not to its whole group

TERM, INT, QUIT and PWR stop the box in order; a second one at once. HUP reads
the file of services again, USR1 opens the log files anew, USR2 says in the log
how everything is. Other signals go to the command. The exit code is the
command's; else that of the essential service that was given up; else 0.
";

const PS: &str = "\
Show the services.

Usage: /init ps [--format table|json]

  /init ps                            a table
  /init ps --format json              all that is known, for programs
";

const LOGS: &str = "\
Show the newest lines of the log.

Usage: /init logs [-f] [-t] [-n LINES] [--since TIME] [--format table|json]
                  [SERVICE …]

  /init logs                          everything that is still known
  /init logs -f -n 20 web             the last 20 of web, and every new one
  /init logs -t --since 10m web       those of the last ten minutes, with times

  -f, --follow      go on with every new line
  -t, --timestamps  with the time of each
  -n, --tail LINES  only so many
  --since TIME      only since then: 10m ago, or 2026-11-22T21:00:00Z

The newest lines of every service are kept in memory, 256 KiB in all; a service
that says a lot pushes out its own lines only. Its log file, if it has one, has
more.
";

const EVENTS: &str = "\
Show how services change their states: when, from which to which, why, and how
the process ended.

Usage: /init events [-f] [-n COUNT] [--format table|json] [SERVICE …]

  /init events                        every change from now on
  /init events --last 20              the newest 20, and no more
  /init events -f -n 20 web           those of web, and every new one
  /init events --format json          one JSON object a line

  -f, --follow      go on with every new one (as without --last)
  -n, --last COUNT  first so many of the newest that init still knows

A reader that is too slow is told how many it has missed; services never wait
for one.
";

const COMMANDS: &str = "\
Start, stop or restart services; without a name, all of them. Returns when it is
done: ready, or no process left.

Usage: /init start|stop|restart [SERVICE …]

  /init stop web                      with what depends on it
  /init start web                     with what it depends on
  /init restart app                   just this one

Starting a service starts what it depends on. Stopping one stops its dependants
first. Restarting one leaves them up.
";

const RELOAD: &str = "\
Read the file of services again, and change what is not as it was: what is new
is started, what is gone is stopped, what runs otherwise is started again, and
the rest is not touched. HUP does the same.

Usage: /init reload [--dry-run] [--format table|json]
       /init reload SERVICE …

  /init reload --dry-run              only say what would change
  /init reload nginx                  make nginx read its files again, by its
                                      `reload`, or restart it
";

const SCALE: &str = "\
Set how many instances of a service there are, until the file says otherwise.
Those that stay are not touched.

Usage: /init scale [--format table|json] SERVICE=NUMBER …

  /init scale web=4 worker=0
";

const WHY: &str = "\
Say why a service is as it is: its state, what it waits for, how it ended last,
how it came to that, and its newest lines.

Usage: /init why SERVICE [--format table|json]

  /init why web
";

const SIGNAL: &str = "\
Send a signal to the main process of services.

Usage: /init signal SIGNAL SERVICE …

  /init signal HUP web
";

const HEALTH: &str = "\
Say whether the box is healthy: exit 0 or 1, with the reason.

Usage: /init health [--started|--ready|--live] [--format table|json]

  /init health --ready || echo not yet

  --started   have all essential services been ready once?
  --ready     are all essential services ready now?
  --live      does init answer, and is no essential service given up, or hung
              where on_unhealthy is ignore?

Without an option: --ready until the box was ready for the first time, --live
from then on, so that an engine that kills what is unhealthy does not fight a
restart.
";

const CHECK: &str = "\
Check a file of services: exit 0, or 1 with every mistake and its place.

Usage: /init check [--format table|json] [FILE]
       /init check [--format table|json] --supervisord FILE

  /init check holdall.toml
  /init check --supervisord /etc/supervisor/supervisord.conf

Of a supervisord.conf every key that has no effect here is listed, with its line
and why; the exit code is 1 only where init would not run the file.
";

const VERSION: &str = "\
Print the version of this program, and that of the init which runs.

Usage: /init version [--format table|json]

  /init version
";

/// The help of a verb, or of all.
pub(crate) fn of(verb: Option<&str>) -> &'static str {
    match verb {
        Some("run") => RUN,
        Some("ps") => PS,
        Some("logs") => LOGS,
        Some("events") => EVENTS,
        Some("version") => VERSION,
        Some("start" | "stop" | "restart") => COMMANDS,
        Some("reload") => RELOAD,
        Some("scale") => SCALE,
        Some("why") => WHY,
        Some("signal") => SIGNAL,
        Some("health") => HEALTH,
        Some("check") => CHECK,
        Some(_) | None => ALL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::VERBS;

    const PAGE_PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/commands-init.md");
    const PAGE_HEAD: &str = "\
# Commands of /init

What `/init --help` and `/init VERB --help` say. Written from them by
`cargo test -p holdall-init -- --ignored write_the_page`; a test holds it against
them.
";

    /// The page, as `--help` of every verb says it.
    fn page() -> String {
        let mut page = format!("{PAGE_HEAD}\n## /init\n\n```text\n{ALL}```\n");
        for verb in VERBS {
            let help = of(Some(verb));
            page.push_str(&format!("\n## /init {verb}\n\n```text\n{help}```\n"));
        }
        page
    }

    #[test]
    fn the_page_of_commands_is_what_help_says() {
        let written = std::fs::read_to_string(PAGE_PATH).expect("docs/commands-init.md");
        assert!(
            page() == written,
            "--help has changed: write the page again as its first lines say"
        );
    }

    #[test]
    #[ignore = "it writes docs/commands-init.md"]
    fn write_the_page_of_commands() {
        std::fs::write(PAGE_PATH, page()).expect("docs/commands-init.md can be written");
    }

    #[test]
    fn every_verb_is_listed_and_teaches_by_example() {
        for verb in VERBS {
            assert!(
                ALL.contains(&format!("\n  {verb} ")),
                "{verb} is not listed"
            );
            let help = of(Some(verb));
            let shown = format!("\n  /init {verb}");
            assert!(help != ALL && help.contains(&shown), "{verb}:\n{help}");
        }
    }

    #[test]
    fn no_line_is_wider_than_a_terminal() {
        for text in VERBS.map(|verb| of(Some(verb))).into_iter().chain([ALL]) {
            let wide = text.lines().find(|line| line.chars().count() > 80);
            assert_eq!(wide, None);
        }
    }
}
