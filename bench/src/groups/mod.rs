//! The measurements, a group a file.

use anyhow::Result;

use crate::measure::{Group, Row};
use crate::world::World;

mod bundle;
mod dockerd;
mod images;
mod logs;
mod orphans;
mod respawn;
mod services;
mod supervisors;
mod unpack;

/// Measures one group.
pub(crate) type Run = fn(&World) -> Result<Group>;

/// Every group by its name, in the page's order.
pub(crate) const ALL: &[(&str, Run)] = &[
    ("orphans", orphans::run),
    ("bundle", bundle::run),
    ("image", images::run),
    ("services", services::run),
    ("scale", services::scale),
    ("respawn", respawn::run),
    ("logs", logs::run),
    ("rebuild", images::rebuild),
    ("unpack", unpack::run),
];

/// A group as its file knows it; who runs it adds when, and under what load.
fn group(title: &str, method: &str, commands: &[(&str, &str)], rows: Vec<Row>) -> Group {
    Group {
        slug: String::new(),
        title: title.to_owned(),
        method: method.to_owned(),
        commands: commands
            .iter()
            .map(|(who, command)| ((*who).to_owned(), (*command).to_owned()))
            .collect(),
        rows,
        load: (String::new(), String::new()),
        commit: String::new(),
        date: String::new(),
    }
}
