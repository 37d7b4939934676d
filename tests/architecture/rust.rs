//! Rust text without what is not code: enough of a lexer to look for words.

/// `text` with comments and the insides of literals blanked; every line stays
/// where it was.
pub(crate) fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (skipped, shown) = token(rest, code.chars().next_back());
        let (this, after) = rest.split_at(skipped);
        if shown {
            code.push_str(this);
        } else {
            let blank = |c| if c == '\n' { '\n' } else { ' ' };
            code.extend(this.chars().map(blank));
        }
        rest = after;
    }
    code
}

/// The words of `code`, each with the number of its line.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_separator = |c: char| !(c.is_alphanumeric() || c == '_');
    code.lines()
        .zip(1..)
        .flat_map(move |(line, number)| line.split(is_separator).map(move |word| (number, word)))
        .filter(|(_, word)| !word.is_empty())
}

/// The length of the token that `rest` begins with, and whether it is code.
/// `before` is the last character in front of it.
fn token(rest: &str, before: Option<char>) -> (usize, bool) {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let first = rest.chars().next().map_or(1, char::len_utf8);
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), false);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), false);
    }
    if rest.starts_with('"') {
        return (quoted(rest, '"'), false);
    }
    if rest.starts_with('\'') {
        // 'a' and '\n' are characters; 'a without a second quote is a lifetime.
        let mut chars = rest.char_indices().skip(1);
        let escaped = chars.next().is_some_and(|(_, c)| c == '\\');
        let closed = chars.next().is_some_and(|(_, c)| c == '\'');
        return match escaped || closed {
            true => (quoted(rest, '\''), false),
            false => (1, true),
        };
    }
    let raw = rest.strip_prefix('b').unwrap_or(rest).strip_prefix('r');
    if let Some(raw) = raw.filter(|_| !in_word) {
        let hashes = raw.bytes().take_while(|byte| *byte == b'#').count();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let inside = &raw[hashes + 1..];
            let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
            return (rest.len() - inside.len() + length, false);
        }
    }
    (first, true)
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

#[test]
fn only_code_is_left_and_every_line_stays() {
    let text = r####"a "unsafe" b // unsafe
/* unsafe /* unsafe */ unsafe */ c 'u' '\'' &'d e r#"unsafe " "# f br"\" "x" g
"one \" two
three" h for"####;
    let code = code(text);
    assert_eq!(code.lines().count(), 4);
    let found: Vec<&str> = words(&code).map(|(_, word)| word).collect();
    assert_eq!(found, ["a", "b", "c", "d", "e", "f", "g", "h", "for"]);
    assert_eq!(words(&code).last(), Some((4, "for")));
}
