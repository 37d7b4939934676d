//! Markdown, as far as its blocks and links go.

/// A fenced block.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// Of its fence.
    pub(super) line: usize,
    pub(super) language: String,
    /// Where it is to be written.
    pub(super) file: Option<String>,
    /// Why it is not run.
    pub(super) reason: Option<String>,
    pub(super) text: String,
}

/// Something to type, and what must be printed then, if that is said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) typed: String,
    pub(super) printed: Option<String>,
}

impl Block {
    pub(super) fn is_typed(&self) -> bool {
        ["console", "sh"].contains(&self.language.as_str())
    }

    /// What is to be typed, in order.
    pub(super) fn steps(&self) -> Vec<Step> {
        match self.language.as_str() {
            "sh" => vec![Step {
                typed: format!("(\nset -e\n{})\n", self.text),
                printed: None,
            }],
            "console" => transcript(&self.text),
            _ => Vec::new(),
        }
    }
}

fn transcript(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in text.lines() {
        if let Some(typed) = line.strip_prefix("$ ") {
            steps.push(Step {
                typed: format!("{typed}\n"),
                printed: Some(String::new()),
            });
            continue;
        }
        let step = steps.last_mut().expect("a transcript begins with `$ `");
        let printed = step.printed.get_or_insert_default();
        match line.strip_prefix("> ").filter(|_| printed.is_empty()) {
            Some(more) => step.typed.push_str(&format!("{more}\n")),
            None => printed.push_str(&format!("{line}\n")),
        }
    }
    steps
}

/// Every fenced block of a page.
pub(super) fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (line, number) in page.lines().zip(1..) {
        match (line.strip_prefix("```"), open.as_mut()) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(fence), None) => {
                open = Some(Block {
                    line: number,
                    language: fence.split(' ').next().unwrap_or_default().to_owned(),
                    file: attribute(fence, "file"),
                    reason: attribute(fence, "norun"),
                    text: String::new(),
                });
            }
            (None, Some(block)) => block.text.push_str(&format!("{line}\n")),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// `name="value"` of a fence.
fn attribute(fence: &str, name: &str) -> Option<String> {
    let (_, value) = fence.split_once(&format!(" {name}=\""))?;
    let (value, _) = value.split_once('"').expect("the value is closed");
    Some(value.to_owned())
}

/// Targets of links that lead to a file of the repository or into the page.
pub(super) fn links(page: &str) -> Vec<String> {
    let text = page.split("](").skip(1);
    let targets = text.filter_map(|rest| rest.split_once(')'));
    targets
        .map(|(target, _)| target.to_owned())
        .filter(|target| !target.contains("://"))
        .collect()
}

/// The names by which a page's headings are linked to, as GitHub makes them.
pub(super) fn anchors(page: &str) -> impl Iterator<Item = String> {
    let headings = page.lines().filter_map(|line| {
        let title = line.trim_start_matches('#');
        (title.len() < line.len()).then_some(title)
    });
    headings.map(|title| {
        let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
        let lower = title.trim().to_lowercase();
        lower
            .chars()
            .filter(kept)
            .collect::<String>()
            .replace(' ', "-")
    })
}

/// A key of holdall.toml, in a table below a heading like `## [section]`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) section: String,
    pub(super) key: String,
    /// The row says that it does not work yet.
    pub(super) not_built: bool,
}

/// Every key of the tables of a page.
pub(super) fn keys(page: &str) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut section = None;
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            let name = heading.strip_prefix('[');
            section = name.and_then(|name| name.strip_suffix(']'));
        }
        let cell = line
            .strip_prefix("| `")
            .and_then(|row| row.split(" |").next());
        let (Some(section), Some(cell)) = (section, cell) else {
            continue;
        };
        keys.extend(cell.split(", ").map(|key| Key {
            section: section.to_owned(),
            key: key.trim_matches('`').to_owned(),
            not_built: line.to_lowercase().contains("not built yet"),
        }));
    }
    keys
}

#[test]
fn a_page_is_taken_apart() {
    let page = "# A `b`: c\n[x](y.md#z)\n```console\n$ one \\\n> two\nout\n$ three\n```\n\
                ```sh norun=\"needs a terminal\"\nlater\n```\n```toml file=\"a/b\"\nx = 1\n```\n";
    let all = blocks(page);
    let step = |typed: &str, printed: &str| Step {
        typed: typed.to_owned(),
        printed: Some(printed.to_owned()),
    };
    assert_eq!(
        all[0].steps(),
        [step("one \\\ntwo\n", "out\n"), step("three\n", "")]
    );
    assert_eq!(all[1].reason.as_deref(), Some("needs a terminal"));
    assert_eq!(all[1].line, 9);
    assert_eq!(all[2].file.as_deref(), Some("a/b"));
    assert_eq!(all[2].text, "x = 1\n");
    let table = "## [init]\n| key | x |\n|---|---|\n| `a`, `b` | `c` |\n";
    let key = |key: &str| Key {
        section: "init".to_owned(),
        key: key.to_owned(),
        not_built: false,
    };
    assert_eq!(keys(table), [key("a"), key("b")]);
    assert_eq!(links(page), ["y.md#z"]);
    assert_eq!(anchors(page).collect::<Vec<_>>(), ["a-b-c"]);
}
