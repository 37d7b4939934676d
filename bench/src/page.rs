//! `docs/benchmarks.md`, from every group that was ever measured here.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context as _, Result};

use crate::measure::{Entry, Group, OURS, Row};
use crate::world::World;
use crate::{groups, machine, plot};

const HEAD: &str = "\
# Benchmarks

Written by `make bench`, which measures and asserts nothing. Everyone does the
same work, in turn: each round starts with another one, after one round to warm
up, and what the last one wrote is on the disk. Each group has a new ext4 to itself:
for minutes ext4 looks past each inode that was freed, which made what followed up to
three times as slow. Tables show the median with minimum and maximum;
*ours ÷ it* compares the medians of the same run. A budget is what holdall wants to
reach; where it does not, or where a peer is better, the row says so. Bars are
medians, lines go from minimum to maximum.
";

/// Keeps a group's results for pages to come.
pub(crate) fn keep(world: &World, group: &Group) -> Result<()> {
    let path = world.results.join(format!("{}.json", group.slug));
    let json = serde_json::to_vec_pretty(group).context("cannot write results as JSON")?;
    fs::write(&path, json).with_context(|| format!("cannot write {path:?}"))
}

/// Writes the page and its pictures.
pub(crate) fn write(world: &World) -> Result<()> {
    let mut page = HEAD.to_owned();
    page.push_str(&format!("\n{}.\n\n", machine::hardware()?));
    let versions = machine::versions().join(", ");
    page.push_str(&format!("Peers: {versions}.\n"));
    for (slug, _) in groups::ALL {
        let path = world.results.join(format!("{slug}.json"));
        let Ok(text) = fs::read(&path) else {
            continue;
        };
        let group: Group =
            serde_json::from_slice(&text).with_context(|| format!("cannot read {path:?}"))?;
        section(&mut page, world, &group)?;
    }
    let missing = world.notes.join("not-measured.md");
    if let Ok(text) = fs::read_to_string(missing) {
        page.push('\n');
        page.push_str(&text);
    }
    let path = world.docs.join("benchmarks.md");
    fs::write(&path, page).with_context(|| format!("cannot write {path:?}"))
}

fn section(page: &mut String, world: &World, group: &Group) -> Result<()> {
    let picture = format!("bench-{}.svg", group.slug);
    let path = world.docs.join(&picture);
    fs::write(&path, plot::svg(group)).with_context(|| format!("cannot write {path:?}"))?;
    let Group { title, method, .. } = group;
    let (before, after) = &group.load;
    page.push_str(&format!(
        "\n## {title}\n\n![{title}]({picture})\n\n{}\n\nMeasured {} UTC with holdall at {}; load average {before} before, {after} after.\n",
        method.trim(),
        group.date,
        group.commit
    ));
    for row in &group.rows {
        table(page, row);
    }
    let notes = world.notes.join(format!("{}.md", group.slug));
    if let Ok(text) = fs::read_to_string(notes) {
        page.push('\n');
        page.push_str(text.trim());
        page.push('\n');
    }
    page.push_str("\n| who | what it ran |\n|---|---|\n");
    for (who, command) in &group.commands {
        page.push_str(&format!("| {who} | `{command}` |\n"));
    }
    Ok(())
}

fn table(page: &mut String, row: &Row) {
    let tail = if row.tail { " p99 |" } else { "" };
    let rule = if row.tail { "---|" } else { "" };
    let what = if row.tail { "events" } else { "runs" };
    let head = format!(
        "\n**{}**\n\n| who | median |{tail} min – max | {what} | ours ÷ it | budget | |\n|---|---|{rule}---|---|---|---|---|\n",
        row.title
    );
    page.push_str(&head);
    let ours = row
        .entries
        .iter()
        .find(|e| e.who == OURS)
        .map(Entry::median);
    for entry in &row.entries {
        page.push_str(&line(row, entry, ours));
    }
}

fn line(row: &Row, entry: &Entry, ours: Option<f64>) -> String {
    let unit = row.unit;
    let more = unit.more_is_better();
    let sign = if more { "≥" } else { "≤" };
    let kept = |value: f64, budget: f64| {
        if more {
            value >= budget
        } else {
            value <= budget
        }
    };
    let verdict = |value: f64, budget: f64| {
        if kept(value, budget) {
            "within"
        } else {
            "**misses its budget**"
        }
    };
    let mut cells = format!("| {} | {} |", entry.who, unit.show(entry.median()));
    // Writing to a String can't fail.
    if row.tail {
        write!(cells, " {} |", unit.show(entry.quantile(0.99))).ok();
    }
    let (from, to) = (entry.quantile(0.0), entry.quantile(1.0));
    write!(
        cells,
        " {} – {} | {} |",
        unit.show(from),
        unit.show(to),
        entry.samples.len()
    )
    .ok();
    if entry.who == OURS {
        match row.limit {
            Some(limit) => {
                let verdict = verdict(entry.median(), limit);
                write!(cells, " | {sign} {} | {verdict} |", unit.show(limit)).ok();
            }
            None => cells.push_str(" | | |"),
        }
    } else {
        let ratio = ours
            .map(|ours| ours / entry.median())
            .filter(|r| r.is_finite());
        let Some(ratio) = ratio else {
            return cells + " – | | |\n";
        };
        let digits = if ratio < 0.1 { 3 } else { 2 };
        write!(cells, " {ratio:.digits$} × |").ok();
        let behind = if kept(ratio, 1.0) {
            ""
        } else {
            "**behind it**"
        };
        match entry.budget {
            Some(budget) => {
                let judged = verdict(ratio, budget);
                let both = if behind.is_empty() {
                    judged.to_owned()
                } else {
                    format!("{judged}, {behind}")
                };
                write!(cells, " {sign} {budget} × | {both} |").ok();
            }
            None => write!(cells, " | {behind} |").ok().unwrap_or_default(),
        }
    }
    cells + "\n"
}
