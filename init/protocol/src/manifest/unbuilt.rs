//! Keys that are read and checked, but that nothing is done about yet. They are
//! refused by name, never ignored. **Whoever builds one takes its line out
//! here**; nothing else is to be done about it in this crate.

use super::parse::Reader;
use crate::decode::{Problems, Table, Value};

/// Below the file's own table; `*` is any key. `handoff` works where sockets
/// come in by LISTEN_FDS, but `holdall run` hands none over yet: an image that
/// counts on it is not built.
const UNBUILT: &[&[&str]] = &[&["service", "*", "handoff"]];

/// Keys of the design that this crate does not even read.
pub(super) const UNREAD: &[&str] = &["secrets"];

/// Refuses what is in the file and not built.
pub(super) fn refuse(root: &Table<'_>, reader: Reader, problems: &mut Problems) {
    if reader == Reader::Builder {
        for path in UNBUILT {
            descend(root, path, problems);
        }
    }
}

fn descend(table: &Table<'_>, path: &[&str], problems: &mut Problems) {
    let Some((key, rest)) = path.split_first() else {
        return;
    };
    let wanted = |value: &&Value<'_>| *key == "*" || value.key() == *key;
    for value in table.values().filter(wanted) {
        if rest.is_empty() {
            report(value, problems);
        } else if let Some(table) = value.as_table() {
            descend(&table, rest, problems);
        }
    }
}

fn report(value: &Value<'_>, problems: &mut Problems) {
    problems.add_help(
        value.key_span(),
        format!("key `{}` is not built yet", value.key()),
        "leave it out: this release does not know what to do with it",
    );
}
