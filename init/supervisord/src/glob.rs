//! Files by a pattern: `*`, `?`, `[a-z]` and `[!a]`, as Python's `glob`, not
//! recursive; a name that begins with a dot fits only a pattern that does.

use crate::sources::{Files, join};

/// The files that an absolute pattern fits, in the order of their paths.
pub(crate) fn files(pattern: &str, files: &mut dyn Files) -> Vec<String> {
    let mut found = vec![String::from("/")];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        if part == "." || part == ".." {
            for path in &mut found {
                *path = join(path, part);
            }
            continue;
        }
        let mut next = Vec::new();
        for folder in &found {
            let mut names = files.names(folder);
            names.retain(|name| name.starts_with('.') <= part.starts_with('.') && fits(name, part));
            next.extend(names.into_iter().map(|name| join(folder, &name)));
        }
        found = next;
    }
    found.sort();
    found
}

/// Whether a name fits a pattern. Backtracks to the newest `*` only, which is
/// enough and never takes longer than the product of the two lengths.
pub(crate) fn fits(name: &str, pattern: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let pattern = tokens(pattern);
    let (mut at, mut token) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(token), name.get(at)) {
            (None, None) => return true,
            (Some(Token::Any), _) => {
                star = Some((token, at));
                token += 1;
                continue;
            }
            (Some(one), Some(letter)) if one.fits(*letter) => {
                (at, token) = (at + 1, token + 1);
                continue;
            }
            (Some(_) | None, Some(_)) | (Some(_), None) => {}
        }
        let Some((star_token, from)) = star.filter(|(_, from)| *from < name.len()) else {
            return false;
        };
        star = Some((star_token, from + 1));
        (at, token) = (from + 1, star_token + 1);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Any,
    One,
    Letter(char),
    /// Not these, or these.
    Class(bool, Vec<(char, char)>),
}

impl Token {
    fn fits(&self, letter: char) -> bool {
        match self {
            Self::Any => false,
            Self::One => true,
            Self::Letter(own) => *own == letter,
            Self::Class(not, ranges) => {
                let within = ranges
                    .iter()
                    .any(|(from, to)| (*from..=*to).contains(&letter));
                within != *not
            }
        }
    }
}

fn tokens(pattern: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = pattern;
    while let Some(letter) = rest.chars().next() {
        let after = rest.get(letter.len_utf8()..).unwrap_or("");
        rest = after;
        tokens.push(match letter {
            '*' => Token::Any,
            '?' => Token::One,
            '[' => match class(after) {
                Some((class, after)) => {
                    rest = after;
                    class
                }
                None => Token::Letter('['),
            },
            letter => Token::Letter(letter),
        });
    }
    tokens
}

/// A class from behind its `[`, and what follows it; none where it has no end.
fn class(text: &str) -> Option<(Token, &str)> {
    let (not, inner) = match text.strip_prefix('!') {
        Some(inner) => (true, inner),
        None => (false, text),
    };
    // A `]` that comes first is one of the letters.
    let first = inner.chars().next()?.len_utf8();
    let end = first + inner.get(first..)?.find(']')?;
    let (letters, after) = inner.split_at(end);
    let letters: Vec<char> = letters.chars().collect();
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some(from) = letters.get(at) {
        match (letters.get(at + 1), letters.get(at + 2)) {
            (Some('-'), Some(to)) => {
                ranges.push((*from, *to));
                at += 3;
            }
            _ => {
                ranges.push((*from, *from));
                at += 1;
            }
        }
    }
    Some((Token::Class(not, ranges), after.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_names_as_a_shell_has_it() {
        for (pattern, name) in [
            ("*.conf", "web.conf"),
            ("*.conf", ".conf"),
            ("?eb*", "web.conf"),
            ("[a-c]*", "b"),
            ("[!a-c]*", "d"),
            ("[]x]", "]"),
            ("a*b*c", "aXbYbZc"),
            ("[", "["),
        ] {
            assert!(fits(name, pattern), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*.conf", "web.con"),
            ("a?", "a"),
            ("[a-c]", "d"),
            ("", "a"),
        ] {
            assert!(!fits(name, pattern), "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_take_no_longer_than_their_product() {
        let name = "a".repeat(4000);
        assert!(!fits(&name, &format!("{}b", "*a".repeat(500))));
    }
}
