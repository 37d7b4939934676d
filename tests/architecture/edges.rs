//! The pages that say by which test something is held name tests that are
//! there.

use crate::workspace::{Source, root, sources};

/// The edge cases of supervisors, each with a row.
const CASES: usize = 26;

/// The rows of the table with this heading, by their cells.
fn rows(page: &str, heading: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(root().join(page)).expect("a page");
    let mut lines = text.lines().skip_while(|line| *line != heading);
    assert!(lines.next().is_some(), "{page} has no table {heading:?}");
    let rows = lines.skip(1).map_while(|line| line.strip_prefix("| "));
    rows.map(|line| {
        let cells = line.trim_end_matches('|').split(" | ");
        cells.map(|cell| cell.trim().to_owned()).collect()
    })
    .collect()
}

/// A cell names tests between backticks, the file of each after them.
fn assert_named(sources: &[Source], case: &str, tests: &str) {
    let mut names = Vec::new();
    let mut found = 0;
    for word in tests.split('`').skip(1).step_by(2) {
        if !word.contains('/') {
            names.push(word);
            continue;
        }
        let source = sources.iter().find(|source| source.path == word);
        let source = source.unwrap_or_else(|| panic!("{case}: no file {word}"));
        for name in names.drain(..) {
            let is_there = source.text.contains(&format!("fn {name}("));
            assert!(is_there, "{case}: {word} has no test {name}");
            found += 1;
        }
    }
    assert!(
        found > 0 && names.is_empty(),
        "{case}: no file is named after {names:?}"
    );
}

#[test]
fn every_edge_case_names_a_test_that_is_there() {
    let rows = rows(
        "docs/edge-cases.md",
        "| case | tests | taken out | said then |",
    );
    assert_eq!(rows.len(), CASES, "a case has gone, or has come");
    let sources = sources();
    for row in rows {
        assert_eq!(
            row.len(),
            4,
            "{}: what was taken out, what was said",
            row[0]
        );
        assert_named(&sources, &row[0], &row[1]);
    }
}

#[test]
fn every_clause_of_the_service_model_names_a_test_that_is_there() {
    let rows = rows("docs/init-core.md", "| clause | tests |");
    assert!(!rows.is_empty());
    let sources = sources();
    for row in rows {
        assert_named(&sources, &row[0], &row[1]);
    }
}
