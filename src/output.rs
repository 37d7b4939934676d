//! Tables and JSON on standard output, messages on standard error.

use std::io::{self, Write};

use serde::Serialize;

/// How a verb prints its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns for people.
    #[default]
    Table,
    /// JSON for programs.
    Json,
}

/// Rows under a heading, aligned.
#[derive(Debug)]
pub(crate) struct Table {
    heading: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(heading: &[&'static str]) -> Self {
        Self {
            heading: heading.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; an empty cell shows as `-`.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().map(|cell| {
            if cell.is_empty() {
                "-".to_owned()
            } else {
                cell
            }
        });
        self.rows.push(cells.collect());
    }

    /// The table as text; the last column is not padded.
    pub(crate) fn render(&self) -> String {
        let mut widths: Vec<usize> = self
            .heading
            .iter()
            .map(|cell| cell.chars().count())
            .collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        let heading = self.heading.iter().map(|cell| (*cell).to_owned()).collect();
        for row in std::iter::once(&heading).chain(&self.rows) {
            let mut line = String::new();
            for (width, cell) in widths.iter().zip(row) {
                line.push_str(cell);
                let pad = (width + 2).saturating_sub(cell.chars().count());
                line.extend(std::iter::repeat_n(' ', pad));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Writes data to standard output. A reader that went away (`| head`) is not
/// an error.
pub(crate) fn data(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes `value` as one JSON document.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<(), crate::report::Failure> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(data(&text)?)
}

/// Writes a message to standard error. Nothing can be done when that fails.
pub(crate) fn message(text: &str) {
    let mut err = io::stderr().lock();
    let _gone = err
        .write_all(text.as_bytes())
        .and_then(|()| err.write_all(b"\n"));
}

/// Bytes as people read them: `61 MB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)];
    for (unit, scale) in UNITS {
        if bytes >= scale {
            let whole = bytes / scale;
            let tenth = (bytes % scale) / (scale / 10);
            return if whole < 10 {
                format!("{whole}.{tenth} {unit}")
            } else {
                format!("{whole} {unit}")
            };
        }
    }
    format!("{bytes} B")
}

/// The part of a digest that people compare: twelve hex digits.
pub(crate) fn short_digest(digest: &holdall_image::Digest) -> String {
    digest
        .to_string()
        .trim_start_matches("sha256:")
        .chars()
        .take(12)
        .collect()
}

/// A span of time as people read it: `250ms`, `12s`, `3m`, `2h`, `5d`.
pub(crate) fn span(millis: u64) -> String {
    match millis {
        0..1000 => format!("{millis}ms"),
        1000..120_000 => format!("{}s", millis / 1000),
        120_000..7_200_000 => format!("{}m", millis / 60_000),
        7_200_000..172_800_000 => format!("{}h", millis / 3_600_000),
        _ => format!("{}d", millis / 86_400_000),
    }
}

/// Microseconds since 1970 as RFC 3339 in UTC, to the millisecond.
pub(crate) fn time(micros: u64) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_micros(micros);
    humantime::format_rfc3339_millis(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(1_709_210_096_789_000), "2024-02-29T12:34:56.789Z");
    }

    #[test]
    fn tables_align_and_mark_empty_cells() {
        let mut table = Table::new(&["BOX", "STATE"]);
        table.row(["shop".to_owned(), String::new()]);
        assert_eq!(table.render(), "BOX   STATE\nshop  -\n");
    }

    #[test]
    fn sizes_carry_a_decimal_below_ten() {
        assert_eq!(size(999), "999 B");
        assert_eq!(size(6_140_000), "6.1 MB");
        assert_eq!(size(61_900_000), "61 MB");
    }
}
