//! The table of docs/from-supervisord.md is that of the code.

use std::fs;

use holdall_supervisord::keys::{Fate, KEYS};

const PAGE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/from-supervisord.md"
);
const BEGIN: &str = "<!-- table of keys: begin -->\n";
const END: &str = "<!-- table of keys: end -->\n";

fn table() -> String {
    let mut text = String::from("| section | key | default | becomes |\n|---|---|---|---|\n");
    let mut section = "";
    for key in KEYS {
        let header = key.of.header();
        let shown = if header == section { "" } else { header };
        section = header;
        let shown = if shown.is_empty() {
            String::new()
        } else {
            format!("`{shown}`")
        };
        let default = if key.default.is_empty() {
            "none"
        } else {
            key.default
        };
        let fate = match key.fate {
            Fate::Becomes(what) => what.to_owned(),
            Fate::Dropped(why) => format!("*nothing:* {why}"),
        };
        text.push_str(&format!(
            "| {shown} | `{}` | {default} | {fate} |\n",
            key.name
        ));
    }
    text
}

/// The page around its table.
fn around(page: &str) -> (&str, &str) {
    let (before, rest) = page.split_once(BEGIN).expect("the table begins");
    let (_, after) = rest.split_once(END).expect("the table ends");
    (before, after)
}

fn written(page: &str) -> String {
    let (before, after) = around(page);
    format!("{before}{BEGIN}{}{END}{after}", table())
}

#[test]
fn the_page_has_every_key_and_what_becomes_of_it() {
    let page = fs::read_to_string(PAGE).expect("the page");
    assert!(
        page == written(&page),
        "write it again: cargo test -p holdall-supervisord --test docs -- --ignored"
    );
}

#[test]
#[ignore = "it writes docs/from-supervisord.md"]
fn write_the_table() {
    let page = fs::read_to_string(PAGE).expect("the page");
    fs::write(PAGE, written(&page)).expect("it can be written");
}
