//! Did you mean?

/// The candidate most like `wanted`, if one is so like it that it may have
/// been meant. The tag `latest` need not be written.
pub(crate) fn closest<'c>(
    wanted: &str,
    candidates: impl Iterator<Item = &'c str>,
) -> Option<&'c str> {
    let distance = |candidate: &str| {
        let short = candidate.strip_suffix(":latest").unwrap_or(candidate);
        edits(wanted, candidate).min(edits(wanted, short))
    };
    let bound = wanted.chars().count() / 3;
    candidates
        .map(|candidate| (distance(candidate), candidate))
        .filter(|(distance, _)| *distance <= bound.max(1))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from
/// one to the other.
fn edits(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for (line, a) in from.iter().enumerate() {
        let above = |back: usize, column: usize| {
            rows.len()
                .checked_sub(back)
                .and_then(|row| rows.get(row)?.get(column))
                .copied()
        };
        let mut row = vec![line + 1];
        for (column, b) in to.iter().enumerate() {
            let at = |found: Option<usize>| found.unwrap_or(usize::MAX / 2);
            let left = row.last().copied();
            let mut best = (at(above(1, column)) + usize::from(a != b))
                .min(at(left) + 1)
                .min(at(above(1, column + 1)) + 1);
            let swapped = line > 0
                && column > 0
                && from.get(line - 1) == Some(b)
                && to.get(column - 1) == Some(a);
            if swapped {
                best = best.min(at(above(2, column - 1)) + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows.last().and_then(|row| row.last()).copied().unwrap_or(0)
}
