//! Keys that are read and checked, but that no part of init does anything about
//! yet. They are refused by name, never ignored. **Whoever builds one takes its
//! line out here**; nothing else is to be done about it in this crate.

use super::parse::Reader;
use crate::decode::{Problems, Table, Value};

/// Below the file's own table: keys and, behind `=`, the word of a value (`*`
/// before it: what it ends with). `*` is any key, and what is said of a service
/// holds below a profile too.
const UNBUILT: &[&str] = &[
    "service.*.health.file",
    "service.*.health.http.headers",
    "service.*.health.http.status",
    "service.*.health.http.unix",
    "service.*.health.successes",
    "service.*.ready=notify",
    "service.*.ready.exec",
    "service.*.ready.fd",
    "service.*.ready.file",
    "service.*.ready.http",
    "service.*.ready.log",
    "service.*.ready.notify",
    "service.*.ready.tcp",
    "service.*.ready.timeout",
    "service.*.watchdog",
];

/// Works where sockets come in by LISTEN_FDS, but `holdall run` hands none over
/// yet: an image that counts on it is not built.
const HANDOFF: &str = "service.*.handoff";

/// Keys of the design that this crate does not even read.
pub(super) const UNREAD: &[&str] = &["secrets"];

/// Refuses what is in the file and not built.
pub(super) fn refuse(root: &Table<'_>, reader: Reader, problems: &mut Problems) {
    let for_images = (reader == Reader::Builder).then_some(&HANDOFF);
    for pattern in UNBUILT.iter().chain(for_images) {
        let (path, word) = match pattern.split_once('=') {
            Some((path, word)) => (path, Some(word)),
            None => (*pattern, None),
        };
        let path: Vec<&str> = path.split('.').collect();
        descend(root, &path, word, problems);
        if path.first() == Some(&"service") {
            let below: Vec<&str> = ["profile", "*"].into_iter().chain(path).collect();
            descend(root, &below, word, problems);
        }
    }
}

fn descend(table: &Table<'_>, path: &[&str], word: Option<&str>, problems: &mut Problems) {
    let Some((key, rest)) = path.split_first() else {
        return;
    };
    let wanted = |value: &&Value<'_>| *key == "*" || value.key() == *key;
    for value in table.values().filter(wanted) {
        match (rest, word) {
            ([], None) => report(value, None, problems),
            ([], Some(word)) => {
                for element in super::values::one_or_more(value) {
                    if element.as_str().is_some_and(|text| fits(text, word)) {
                        report(&element, element.as_str(), problems);
                    }
                }
            }
            (rest, word) => {
                for element in super::values::one_or_more(value) {
                    if let Some(table) = element.as_table() {
                        descend(&table, rest, word, problems);
                    }
                }
            }
        }
    }
}

fn fits(text: &str, word: &str) -> bool {
    match word.strip_prefix('*') {
        Some(end) => text.ends_with(end),
        None => text == word,
    }
}

fn report(value: &Value<'_>, word: Option<&str>, problems: &mut Problems) {
    let (span, what) = match word {
        Some(word) => (value.span(), format!("{word:?} of key `{}`", value.key())),
        None => (value.key_span(), format!("key `{}`", value.key())),
    };
    problems.add_help(
        span,
        format!("{what} is not built yet"),
        "leave it out: this release does not know what to do with it",
    );
}
