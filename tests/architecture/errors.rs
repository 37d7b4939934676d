//! Every text of every error of the libraries, as it is written in the code:
//! a new one, or a changed one, shows in a snapshot. That it renders as it
//! reads is held by the crates' own tests and by [`no_argument_is_a_number`].

use crate::workspace::{crates, sources};

/// One `#[error(…)]`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Text {
    package: String,
    /// Name of the enum or the struct.
    error: String,
    /// Where among the others; not shown, for files are moved and split.
    place: (String, usize),
    /// Empty for a struct.
    variant: String,
    /// Inside of the attribute: a literal with its arguments, or `transparent`.
    format: String,
}

impl Text {
    /// The literal, without quotes and arguments; none of `transparent`.
    fn literal(&self) -> Option<&str> {
        let inside = self.format.strip_prefix('"')?;
        let mut escaped = false;
        let end = inside.find(|c| {
            let is_end = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            is_end
        });
        Some(&inside[..end.expect("the literal ends")])
    }

    fn arguments(&self) -> impl Iterator<Item = &str> {
        let quoted = self.literal().map_or(0, |literal| literal.len() + 2);
        let rest = self.format[quoted..].split(',').map(str::trim);
        rest.filter(|argument| !argument.is_empty() && *argument != "transparent")
    }

    fn name(&self) -> String {
        let all = [&self.package, &self.error, &self.variant];
        let named: Vec<&str> = all.into_iter().map(String::as_str).collect();
        named.join(" ").trim_end().to_owned()
    }
}

/// The length of what is inside a bracket whose first character is gone.
fn inside(text: &str) -> usize {
    let (mut depth, mut quoted, mut escaped) = (1_usize, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// What an attribute stands at: the first line after it that is neither an
/// attribute nor a comment.
fn item(after: &str) -> &str {
    let mut lines = after.lines().map(str::trim).skip(1);
    let item = lines.find(|line| !line.starts_with('#') && !line.starts_with("//"));
    item.unwrap_or_default()
}

fn word(text: &str) -> String {
    let is_part = |c: &char| c.is_alphanumeric() || *c == '_';
    text.trim().chars().take_while(is_part).collect()
}

fn texts() -> Vec<Text> {
    let crates = crates();
    // The longest folder that holds the file: init/protocol before init.
    let package_of = |path: &str| {
        let holds = |dir: &str| dir.is_empty() || path.starts_with(&format!("{dir}/"));
        let holders = crates.iter().filter(|one| holds(&one.dir));
        let longest = holders.max_by_key(|one| one.dir.len());
        longest.map_or_else(String::new, |one| one.name().to_owned())
    };
    let mut texts = Vec::new();
    for source in sources()
        .into_iter()
        .filter(crate::workspace::Source::is_product)
    {
        for (at, mark) in source.text.match_indices("#[error(") {
            let rest = &source.text[at + mark.len()..];
            let (format, after) = rest.split_at(inside(rest));
            let item = item(after);
            let (error, variant) = match item.split_once("struct ") {
                Some((_, name)) => (word(name), String::new()),
                None => {
                    let before = source.text[..at].rsplit_once("enum ");
                    let (_, name) = before.expect("a variant is in an enum");
                    (word(name), word(item))
                }
            };
            let format = format.split_whitespace().collect::<Vec<_>>().join(" ");
            texts.push(Text {
                package: package_of(&source.path),
                error,
                place: (source.path.clone(), at),
                variant,
                format: format.trim_end_matches(',').to_owned(),
            });
        }
    }
    texts.sort();
    assert!(texts.len() > 300, "only {} found", texts.len());
    texts
}

#[test]
fn every_error_text_is_known() {
    let line = |text: &Text| format!("{}: {}\n", text.name(), text.format);
    let shown: String = texts().iter().map(line).collect();
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!("errors", shown));
}

#[test]
fn every_error_text_is_a_fragment_in_lower_case() {
    for text in texts() {
        let Some(literal) = text.literal() else {
            continue;
        };
        let first = literal.chars().next();
        let is_upper = first.is_some_and(char::is_uppercase);
        // A name that is written so, or a system call's.
        let word = literal.split(' ').next().unwrap_or_default();
        let is_name = word.chars().skip(1).any(char::is_uppercase);
        assert!(!is_upper || is_name, "{}: {literal}", text.name());
        assert!(
            !literal.ends_with(['.', '!', ':', ' ', '\n']),
            "{}: {literal}",
            text.name()
        );
    }
}

/// `#[error("… {}", 0)]` prints a literal 0: the field is `{0}`, or `.0`.
#[test]
fn no_argument_is_a_number() {
    for text in texts() {
        for argument in text.arguments() {
            let is_number = argument.starts_with(|c: char| c.is_ascii_digit());
            assert!(!is_number, "{}: {}", text.name(), text.format);
        }
    }
}
