//! Files that are made to hurt: neither a panic nor a long wait.

use holdall_protocol::{Manifest, Reader, diagnostic};

/// Reads and renders, which must come to an end soon; the time is watched by
/// the test runner.
fn survives(text: &str) -> Result<Manifest, String> {
    let read = Manifest::from_toml(text, Reader::Builder);
    read.map_err(|errors| diagnostic::render("holdall.toml", text, &errors))
}

const MEGABYTE: usize = 1024 * 1024;

#[test]
fn a_megabyte_of_any_one_thing_is_read_or_refused() {
    for piece in [
        "a", "[", "{", "\"", "'", "a.", "[a.", "a=", "#", "\n", "]", "[[a]]\n", "=", ",", "ä",
        "\\", "a=[", "a={b=", "a = 1\n", "\"\"\"",
    ] {
        let text = piece.repeat(MEGABYTE / piece.len());
        let _either = survives(&text);
    }
}

#[test]
fn a_key_of_many_parts_does_not_end_the_stack() {
    for text in [
        format!("{}a = 1", "a.".repeat(500_000)),
        format!("[{}a]", "a.".repeat(500_000)),
        format!("x = {{ {}a = 1 }}", "a.".repeat(500_000)),
        format!("{}a = 1", "a . ".repeat(200_000)),
        format!("{}a = 1", "\"a\".".repeat(200_000)),
        format!("{}a = 1", "'=#'.".repeat(200_000)),
    ] {
        assert!(survives(&text).is_err());
    }
}

/// Many services, each with what `line` says of it.
fn services(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count)
        .map(|at| format!("[service.s{at}]\ncommand = 'a'\n{}\n", line(at)))
        .collect()
}

#[test]
fn ten_thousand_services_are_read_and_written() {
    let text = services(10_000, |at| match at {
        0 => String::new(),
        at => format!("depends_on = ['s{}']\nlisten = ['n{at}=/run/{at}']", at - 1),
    });
    let manifest = survives(&text).expect("nothing is wrong with it");
    assert_eq!(manifest.services.len(), 10_000);
    assert_eq!(survives(&manifest.to_toml()), Ok(manifest));
}

#[test]
fn ten_thousand_services_in_one_cycle_are_one_error() {
    let text = services(10_000, |at| {
        format!("depends_on = ['s{}']", (at + 1) % 10_000)
    });
    let shown = survives(&text).expect_err("a cycle");
    assert!(
        shown.contains("s0 -> s1 -> ") && shown.contains("9988 more"),
        "{shown}"
    );
    assert!(shown.len() < 1000);
}

#[test]
fn ten_thousand_mistakes_are_found_without_comparing_all_with_all() {
    for line in [
        |at: usize| format!("depends_on = ['x{at}yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy']"),
        |_: usize| "comand = 'b'".to_owned(),
        |_: usize| "expose = [80]".to_owned(),
        |at: usize| format!("profiles = ['p{at}']\ndepends_on = ['s9999']"),
        |_: usize| "user = ''".to_owned(),
    ] {
        let shown = survives(&services(10_000, line)).expect_err("mistakes");
        assert!(shown.contains("more errors"), "{}", shown.len());
        assert!(shown.len() < 30_000);
    }
}

#[test]
fn a_dense_graph_is_checked_once_an_edge() {
    let text = services(600, |at| {
        let needs: Vec<String> = (0..at).map(|on| format!("'s{on}'")).collect();
        format!("depends_on = [{}]", needs.join(","))
    });
    assert_eq!(
        survives(&text).map(|manifest| manifest.services.len()),
        Ok(600)
    );
}

#[test]
fn words_of_a_megabyte_are_not_repeated_in_the_message() {
    let long = "x".repeat(MEGABYTE);
    for text in [
        format!("{long} = 1"),
        format!("name = '{long} '"),
        format!("[service.a]\ncommand = 'a'\ntype = '{long}'"),
        format!("[service.a]\ncommand = 'a'\ndepends_on = ['{long}']"),
        format!("[service.a]\ncommand = 'a'\nlisten = ['{long}']"),
        format!("[service.a]\ncommand = 'a'\nstop = {{ timeout = '{long}', signal = '{long}' }}"),
        format!("[service.{long}]\ncommand = 'a'"),
    ] {
        let shown = survives(&text).expect_err("it is no name");
        assert!(shown.len() < 3000, "{} bytes", shown.len());
    }
}

#[test]
fn a_file_over_the_limit_is_refused_by_its_length() {
    let shown = survives(&"#".repeat(5 * MEGABYTE)).expect_err("too long");
    assert!(
        shown.starts_with("holdall.toml:1:1: file is longer than 4 MiB"),
        "{shown:.100}"
    );
}
