//! Words and pairs, as Python's `shlex` splits them.

/// Why a text can't be split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WordsError {
    #[error("a quote is not closed")]
    OpenQuote,
    #[error("it ends with a backslash")]
    OpenEscape,
    #[error("it is not KEY=value, KEY=value …")]
    NoPair,
}

/// A command as words: `shlex.split`, which knows no comments.
pub(crate) fn split(text: &str) -> Result<Vec<String>, WordsError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next().ok_or(WordsError::OpenQuote)? {
                        '\'' => break,
                        letter => word.push(letter),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next().ok_or(WordsError::OpenQuote)? {
                        '"' => break,
                        '\\' => {
                            let next = letters.next().ok_or(WordsError::OpenEscape)?;
                            if !matches!(next, '"' | '\\') {
                                word.push('\\');
                            }
                            word.push(next);
                        }
                        letter => word.push(letter),
                    }
                }
            }
            '\\' => {
                let next = letters.next().ok_or(WordsError::OpenEscape)?;
                word.get_or_insert_default().push(next);
            }
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    Ok(words)
}

/// What a word of a pair may have in it: a `shlex` word's letters, and those
/// that supervisord adds.
fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "_/.+-():".contains(letter)
}

/// `KEY=value,KEY2="value 2"`, as supervisord reads it: the old, not the POSIX
/// kind of `shlex`. A quote at the beginning of a word makes it one up to the
/// closing quote, and every fourth token is a separator, whatever it is.
pub(crate) fn pairs(text: &str) -> Result<Vec<(String, String)>, WordsError> {
    let tokens = tokens(text)?;
    let mut pairs: Vec<(String, String)> = Vec::new();
    for entry in tokens.chunks(4) {
        let [key, equals, value, ..] = entry else {
            return Err(WordsError::NoPair);
        };
        if equals != "=" {
            return Err(WordsError::NoPair);
        }
        let value = value.trim_matches(['\'', '"']).to_owned();
        match pairs.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value,
            None => pairs.push((key.clone(), value)),
        }
    }
    Ok(pairs)
}

fn tokens(text: &str) -> Result<Vec<String>, WordsError> {
    let mut tokens = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let mut token = String::from(letter);
        match letter {
            ' ' | '\t' | '\r' | '\n' => continue,
            '#' => {
                letters.by_ref().find(|letter| *letter == '\n');
                continue;
            }
            '\'' | '"' => loop {
                let next = letters.next().ok_or(WordsError::OpenQuote)?;
                token.push(next);
                if next == letter {
                    break;
                }
            },
            letter if is_plain(letter) => {
                while let Some(&next) = letters.peek() {
                    match next {
                        // The rest of the line is a comment, and the word goes
                        // on after it.
                        '#' => drop(letters.by_ref().find(|letter| *letter == '\n')),
                        '\'' | '"' => token.extend(letters.next()),
                        next if is_plain(next) => token.extend(letters.next()),
                        _ => break,
                    }
                }
            }
            _ => {}
        }
        tokens.push(token);
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_split_as_a_shell_splits_words() {
        let split = |text| split(text).expect(text);
        assert_eq!(split("a 'b c' \"d e\" f\\ g"), ["a", "b c", "d e", "f g"]);
        assert_eq!(
            split(r#"sh -c "echo \$x \"y\" \\""#),
            ["sh", "-c", r#"echo \$x "y" \"#]
        );
        assert_eq!(split("a# b#c '' "), ["a#", "b#c", ""]);
        assert_eq!(split(" \n\t"), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_closed_is_told() {
        assert_eq!(split("a 'b"), Err(WordsError::OpenQuote));
        assert_eq!(split("a \\"), Err(WordsError::OpenEscape));
        assert_eq!(pairs("A='b"), Err(WordsError::OpenQuote));
    }

    #[test]
    fn pairs_are_split_as_supervisord_splits_them() {
        let all = |text| {
            let pairs = pairs(text).expect(text);
            let pairs = pairs.iter().map(|(key, value)| format!("{key}={value}"));
            pairs.collect::<Vec<_>>().join("|")
        };
        assert_eq!(all("A=1,B=\"x y\",C='it, is'"), "A=1|B=x y|C=it, is");
        assert_eq!(
            all("PATH=/usr/bin:/bin,URL=\"http://h/?a=b\""),
            "PATH=/usr/bin:/bin|URL=http://h/?a=b"
        );
        assert_eq!(all("A=1,\n  B=2,"), "A=1|B=2");
        assert_eq!(all("A=1,A=2"), "A=2");
        assert_eq!(all(""), "");
        assert_eq!(all("A=\"\""), "A=");
    }

    #[test]
    fn what_is_no_pair_is_told() {
        for text in ["A", "A=", "A 1", "A=1 B=2"] {
            assert_eq!(pairs(text), Err(WordsError::NoPair), "{text}");
        }
    }
}
