//! What was measured, and runs in turn.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// Our name in every row; ratios are ours over the others'.
pub(crate) const OURS: &str = "holdall";

/// What a sample counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unit {
    /// Less is better.
    Seconds,
    /// Less is better.
    Bytes,
    /// Less is better.
    Count,
    /// More is better.
    BytesPerSecond,
}

impl Unit {
    /// Whether a bigger number is the better one.
    pub(crate) fn more_is_better(self) -> bool {
        self == Self::BytesPerSecond
    }

    /// The number with the unit that reads best.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Seconds if value >= 1.0 => format!("{value:.2} s"),
            Self::Seconds if value >= 0.001 => format!("{} ms", digits(value * 1e3)),
            Self::Seconds => format!("{} µs", digits(value * 1e6)),
            Self::Bytes if value >= 1e6 => format!("{} MB", digits(value / 1e6)),
            Self::Bytes => format!("{:.0} kB", value / 1e3),
            Self::Count => format!("{value:.0}"),
            Self::BytesPerSecond => format!("{:.0} MB/s", value / 1e6),
        }
    }
}

/// Three digits, no more: the rest is noise.
fn digits(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// One contestant's samples in a row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// `holdall`, or the peer.
    pub(crate) who: String,
    /// The budget of the design for ours over this peer's.
    pub(crate) budget: Option<f64>,
    /// Every run.
    pub(crate) samples: Vec<f64>,
}

impl Entry {
    /// The value at `part` (0 to 1) of the sorted samples.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index into at most thousands of samples"
        )]
        let index = (part * last as f64).round() as usize;
        sorted.get(index).copied().unwrap_or(f64::NAN)
    }

    /// The middle one.
    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }
}

/// The same work done by each.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    /// What the work is.
    pub(crate) title: String,
    /// What a sample counts.
    pub(crate) unit: Unit,
    /// The design's absolute limit for ours.
    pub(crate) limit: Option<f64>,
    /// Ours first.
    pub(crate) entries: Vec<Entry>,
    /// Show the 99th percentile: the samples are single events, not runs.
    pub(crate) tail: bool,
}

/// Rows of one kind: one plot, one section of the page.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Group {
    /// The name on the command line and in file names.
    pub(crate) slug: String,
    /// The section's title.
    pub(crate) title: String,
    /// What exactly is measured, and how it is fair.
    pub(crate) method: String,
    /// What each contestant ran.
    pub(crate) commands: Vec<(String, String)>,
    /// The measurements.
    pub(crate) rows: Vec<Row>,
    /// `/proc/loadavg`'s first three numbers, before and after.
    pub(crate) load: (String, String),
    /// Of which holdall.
    pub(crate) commit: String,
    /// When, `YYYY-MM-DD HH:MM` UTC.
    pub(crate) date: String,
}

/// One who does the work.
pub(crate) struct Contestant<'a> {
    /// The name.
    pub(crate) who: &'static str,
    /// The budget of the design for ours over this peer's.
    pub(crate) budget: Option<f64>,
    /// Does it once and returns one sample.
    pub(crate) run: Box<dyn FnMut() -> Result<f64> + 'a>,
}

/// Everyone once to warm up, then `runs` rounds in which everyone has one turn;
/// each round starts with another, so that nobody always follows the same one.
pub(crate) fn in_turn(
    title: &str,
    unit: Unit,
    runs: usize,
    mut contestants: Vec<Contestant<'_>>,
) -> Result<Row> {
    let mut entries: Vec<Entry> = contestants
        .iter()
        .map(|c| Entry {
            who: c.who.to_owned(),
            budget: c.budget,
            samples: Vec::with_capacity(runs),
        })
        .collect();
    let count = contestants.len();
    for round in 0..=runs {
        for turn in 0..count {
            let index = (round + turn) % count;
            let (Some(contestant), Some(entry)) =
                (contestants.get_mut(index), entries.get_mut(index))
            else {
                continue;
            };
            // Who syncs what it wrote would wait for what others wrote, too.
            nix::unistd::sync();
            let sample =
                (contestant.run)().with_context(|| format!("{}: {title}", contestant.who))?;
            if round > 0 {
                entry.samples.push(sample);
            }
        }
    }
    Ok(Row {
        title: title.to_owned(),
        unit,
        limit: None,
        entries,
        tail: false,
    })
}
