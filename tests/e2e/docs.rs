//! The pages for users hold: what they show is typed, and must answer so.
//!
//! A `console` block is a transcript: lines that begin with `$ ` are typed
//! (`> ` goes on with one), the others must be what is printed. An `sh` block
//! is only typed, and must end well. A block with `file=PATH` in its fence is
//! written to that file. A page is one shell in one empty folder, from top to
//! bottom. A block that can't be run says why in its fence: `norun="REASON"`.

mod page;
mod shell;
mod words;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use holdall_protocol::{Manifest, Reader};

use crate::env::Env;
use page::Block;
use shell::Shell;

/// Pages with something to type, each with a story below.
const TYPED: [&str; 8] = [
    "README.md",
    "docs/tutorial.md",
    "examples/instances/README.md",
    "examples/jobs/README.md",
    "examples/listener/README.md",
    "examples/logs/README.md",
    "examples/postgres/README.md",
    "examples/readiness/README.md",
];

/// Blocks of all pages that are not run. Another one is another promise that
/// no test holds: it needs a change here.
const NOT_RUN: usize = 4;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn blocks(page: &str) -> Vec<Block> {
    let text = std::fs::read_to_string(root().join(page)).expect("a page");
    page::blocks(&text)
}

/// Every page in Markdown, below the root.
fn pages() -> Vec<String> {
    let mut found = Vec::new();
    let mut left: Vec<PathBuf> = vec![root().to_owned()];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(dir).expect("a folder of the repository") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    left.push(path);
                }
            } else if name.ends_with(".md") {
                let page = path.strip_prefix(root()).expect("below the root");
                found.push(page.to_string_lossy().into_owned());
            }
        }
    }
    found
}

/// Types the page into a shell of its own. One of an example has the other
/// files of its folder beside it.
fn follow(env: &Env, page: &str) {
    let folder = page.trim_end_matches("/README.md").replace('/', "-");
    let mut shell = Shell::new(env, &folder);
    if page.starts_with("examples/") {
        let beside = root().join(page).with_file_name(".");
        shell.copy(&beside);
    }
    for block in blocks(page) {
        let place = format!("{page}:{}", block.line);
        if block.reason.is_some() {
            continue;
        }
        if let Some(path) = &block.file {
            shell.write(path, &block.text);
            continue;
        }
        for step in block.steps() {
            shell.step(&place, &step);
        }
    }
}

#[test]
fn the_readme_does_what_it_says() {
    follow(&Env::new(), "README.md");
}

#[test]
fn the_tutorial_does_what_it_says() {
    follow(&Env::new(), "docs/tutorial.md");
}

#[test]
fn the_example_of_postgres_does_what_it_says() {
    follow(&Env::kept("examples"), "examples/postgres/README.md");
}

/// They stand on one base, which is made once on a machine.
#[test]
fn the_small_examples_do_what_they_say() {
    let env = Env::kept("examples");
    for name in ["instances", "jobs", "listener", "logs", "readiness"] {
        follow(&env, &format!("examples/{name}/README.md"));
    }
}

#[test]
fn every_page_with_something_to_type_is_followed() {
    let is_typed = |page: &String| {
        let typed = |block: &Block| block.is_typed() && block.reason.is_none();
        blocks(page).iter().any(typed)
    };
    let found: BTreeSet<String> = pages().into_iter().filter(is_typed).collect();
    assert_eq!(found, TYPED.map(str::to_owned).into());
}

#[test]
fn a_block_that_is_not_run_has_a_reason_and_was_counted() {
    let mut not_run = Vec::new();
    for page in pages() {
        for block in blocks(&page) {
            if let Some(reason) = block.reason {
                assert!(reason.len() > 10, "{page}:{}: why?", block.line);
                not_run.push(format!("{page}:{}: {reason}", block.line));
            }
        }
    }
    assert_eq!(not_run.len(), NOT_RUN, "{}", not_run.join("\n"));
}

#[test]
fn the_holdall_toml_of_the_readme_is_one() {
    let env = Env::new();
    let shown = blocks("README.md").into_iter();
    let mut shown = shown.filter(|block| block.language == "toml");
    let toml = shown.next().expect("an example");
    assert!(shown.next().is_none(), "each needs its own files");
    let dir = env.project("shown", &toml.text);
    std::fs::create_dir(dir.join("app")).expect("a folder below the root");
    std::fs::write(dir.join("app/main.py"), "").expect("a file below the root");
    let checked = env.run(["check".as_ref(), dir.as_os_str()]).ok();
    assert_eq!(checked, "ok\n");
}

#[test]
fn every_key_in_the_reference_of_holdall_toml_is_as_it_says() {
    let text = std::fs::read_to_string(root().join("docs/holdall-toml.md")).expect("a page");
    let mut known = 0;
    for row in page::keys(&text) {
        // The builder's own, which the stories of the builder use.
        if !["init", "service.NAME", "profile.NAME"].contains(&row.section.as_str()) {
            continue;
        }
        let section = row.section.replace("NAME", "a");
        let key = row.key.replace("NAME", "a").replace("KEY", "env");
        let toml = match (section.as_str(), key.as_str()) {
            ("service.a", "command") => "[service.a]\ncommand = 0\n".to_owned(),
            ("service.a", key) => format!("[service.a]\ncommand = 'a'\n{key} = 0\n"),
            (section, key) => format!("[service.a]\ncommand = 'a'\n[{section}]\n{key} = 0\n"),
        };
        let problems = Manifest::from_toml(&toml, Reader::Builder).err();
        for problem in problems.unwrap_or_default() {
            let says = |words| problem.message.contains(words);
            let is_true = !says("unknown key") && (row.not_built || !says("not built"));
            assert!(is_true, "[{section}] {key}: {}", problem.message);
        }
        known += 1;
    }
    assert!(known >= 20, "the tables are not where they were: {known}");
}

#[test]
fn links_within_the_repository_lead_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = std::fs::read_to_string(root().join(&page)).expect("a page");
        let folder = root().join(&page);
        let folder = folder.parent().expect("a page lies in a folder");
        for target in page::links(&text) {
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let path = match file {
                "" => root().join(&page),
                file => folder.join(file),
            };
            let leads = match std::fs::read_to_string(&path) {
                Ok(text) => anchor.is_empty() || page::anchors(&text).any(|one| one == anchor),
                Err(_) => anchor.is_empty() && path.exists(),
            };
            if !leads {
                broken.push(format!("{page}: {target}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
