//! Names of services for those of processes.

use std::collections::BTreeSet;

use holdall_protocol::ServiceName;
use holdall_protocol::name::MAX_LEN;

/// The names that are given.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeSet<ServiceName>);

impl Names {
    /// The name of a process: its own in small letters, `group.process` where
    /// that is taken, and with a number behind it where that is, too.
    pub(crate) fn give(&mut self, group: &str, process: &str) -> ServiceName {
        let own = fitting(process);
        let both = fitting(&format!("{group}.{process}"));
        let numbered = (2_u32..).map(|number| {
            let tail = format!("-{number}");
            let most = MAX_LEN - tail.len();
            let head = both.get(..most.min(both.len())).unwrap_or("x");
            format!("{head}{tail}")
        });
        let mut candidates = [own, both.clone()].into_iter().chain(numbered);
        loop {
            let name = candidates
                .next()
                .and_then(|name| name.parse::<ServiceName>().ok());
            if let Some(name) = name.filter(|name| self.0.insert(name.clone())) {
                return name;
            }
        }
    }
}

/// The text with what a service's name can't have in it made what it can.
fn fitting(text: &str) -> String {
    let letter = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.') => c,
        _ => '-',
    };
    let name: String = text.chars().map(letter).take(MAX_LEN).collect();
    let name = name.trim_start_matches(['-', '_', '.']);
    if name.is_empty() {
        "x".to_owned()
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_processes_own_until_that_is_taken() {
        let mut names = Names::default();
        let mut give = |group, process| names.give(group, process).as_str().to_owned();
        assert_eq!(give("web", "web_00"), "web_00");
        assert_eq!(give("Mail", "Postfix@1"), "postfix-1");
        assert_eq!(give("a", "cron"), "cron");
        assert_eq!(give("b", "cron"), "b.cron");
        assert_eq!(give("b", "CRON"), "b.cron-2");
        assert_eq!(give("x", "_é"), "x");
        let long = "l".repeat(100);
        for _ in 0..3 {
            assert!(give("g", &long).len() <= MAX_LEN);
        }
    }
}
