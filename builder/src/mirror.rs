//! Where Debian's packages come from. The image always names Debian's own
//! mirror; the build uses that of the host where the host has one.

use std::path::PathBuf;

/// Debian's own, behind a content network.
const ARCHIVE: &str = "http://deb.debian.org/debian";
const SECURITY: &str = "http://deb.debian.org/debian-security";

/// Files of more than this hold no sources that we would want.
const MAX_FILE: u64 = 1024 * 1024;

/// The addresses of an archive and of its security updates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mirror {
    archive: String,
    security: String,
}

impl Mirror {
    /// Debian's own.
    pub(crate) fn official() -> Self {
        Self {
            archive: ARCHIVE.to_owned(),
            security: SECURITY.to_owned(),
        }
    }

    /// What the host's apt uses for this release, or else Debian's own.
    pub(crate) fn of_host(suite: &str) -> Self {
        let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
        let parts = std::fs::read_dir("/etc/apt/sources.list.d");
        files.extend(
            parts
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path()),
        );
        files.sort();
        let small = |path: &PathBuf| path.metadata().is_ok_and(|found| found.len() <= MAX_FILE);
        let texts = files
            .iter()
            .filter(|path| small(path))
            .filter_map(|path| std::fs::read_to_string(path).ok());
        let sources: Vec<(String, String)> = texts.flat_map(|text| sources_of(&text)).collect();
        let find = |suite: &str, official: &str| {
            let found = sources.iter().find(|(_, name)| name == suite);
            found
                .map_or(official, |(address, _)| address.trim_end_matches('/'))
                .to_owned()
        };
        Self {
            archive: find(suite, ARCHIVE),
            security: find(&format!("{suite}-security"), SECURITY),
        }
    }

    /// A sources.list of a release with its updates.
    pub(crate) fn sources(&self, suite: &str, keyring: Option<&str>) -> String {
        let signed = keyring
            .map(|path| format!("[signed-by={path}] "))
            .unwrap_or_default();
        let Self { archive, security } = self;
        let mut text = format!("deb {signed}{archive} {suite} main\n");
        // Releases that never end have their updates in themselves.
        if !matches!(suite, "sid" | "unstable" | "experimental") {
            text.push_str(&format!("deb {signed}{archive} {suite}-updates main\n"));
            text.push_str(&format!("deb {signed}{security} {suite}-security main\n"));
        }
        text
    }
}

/// Address and release of every enabled source for packages, in either of
/// apt's two formats.
pub(crate) fn sources_of(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for line in text.lines() {
        // As apt splits it: at a vertical tab too.
        let mut words = line.split_whitespace().peekable();
        if words.next() != Some("deb") {
            continue;
        }
        if words.peek().is_some_and(|word| word.starts_with('[')) {
            for word in words.by_ref() {
                if word.ends_with(']') {
                    break;
                }
            }
        }
        if let (Some(address), Some(suite)) = (words.next(), words.next()) {
            found.push((address.to_owned(), suite.to_owned()));
        }
    }
    let joined: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    for paragraph in joined.join("\n").split("\n\n") {
        let field = |name: &str| {
            paragraph
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap_or_default()
        };
        if field("Enabled:").trim() == "no"
            || !field("Types:").split_whitespace().any(|word| word == "deb")
        {
            continue;
        }
        for address in field("URIs:").split_whitespace() {
            let suites = field("Suites:").split_whitespace();
            found.extend(suites.map(|suite| (address.to_owned(), suite.to_owned())));
        }
    }
    found.retain(|(address, _)| address.starts_with("http://") || address.starts_with("https://"));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vertical_tab_ends_a_word_as_it_does_for_apt() {
        // Found by fuzzing.
        let found = sources_of("deb http://one\u{b}bookworm main\n");
        assert_eq!(found, [("http://one".to_owned(), "bookworm".to_owned())]);
    }

    #[test]
    fn both_formats_of_apt_are_read() {
        let text = "# deb http://no/ x main\n\
            deb [arch=amd64 signed-by=/k] http://one/debian bookworm main contrib\n\
            deb-src http://two/debian bookworm main\n\
            deb file:/srv bookworm main\n\
            \n\
            Types: deb deb-src\n\
            # a remark\n\
            URIs: https://three/debian\n\
            Suites: trixie trixie-updates\n\
            Components: main\n\
            \n\
            Enabled: no\n\
            Types: deb\n\
            URIs: http://four/\n\
            Suites: sid\n";
        let found: Vec<String> = sources_of(text)
            .into_iter()
            .map(|(a, s)| format!("{a} {s}"))
            .collect();
        assert_eq!(
            found,
            [
                "http://one/debian bookworm",
                "https://three/debian trixie",
                "https://three/debian trixie-updates"
            ]
        );
    }

    #[test]
    fn a_release_comes_with_its_updates() {
        insta::assert_snapshot!(Mirror::official().sources("bookworm", None), @r#"
        deb http://deb.debian.org/debian bookworm main
        deb http://deb.debian.org/debian bookworm-updates main
        deb http://deb.debian.org/debian-security bookworm-security main
        "#);
        assert_eq!(Mirror::official().sources("sid", None).lines().count(), 1);
    }
}
