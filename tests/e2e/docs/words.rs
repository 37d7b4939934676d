//! Printed text against text of a page, which another machine printed at
//! another time.

/// Whether `printed` is what the page shows: word by word, where ids, times,
/// spans and sizes only have to be such. `[..]` stands for any words of a
/// line, a line `...` for any lines.
pub(super) fn match_text(shown: &str, printed: &str) -> bool {
    let lines = |text: &str| -> Vec<Vec<String>> {
        let lines = text.lines().map(words);
        lines.filter(|line| !line.is_empty()).collect()
    };
    let any_lines = vec!["...".to_owned()];
    matches(
        &lines(shown),
        &lines(printed),
        &any_lines,
        &|shown, printed| {
            matches(shown, printed, &"[..]".to_owned(), &|one, other| {
                one == other
            })
        },
    )
}

/// Items against items, where `any` stands for any number of them.
fn matches<T: PartialEq>(
    shown: &[T],
    printed: &[T],
    any: &T,
    same: &dyn Fn(&T, &T) -> bool,
) -> bool {
    match (shown, printed) {
        ([], printed) => printed.is_empty(),
        ([first, rest @ ..], _) if first == any => {
            (0..=printed.len()).any(|skipped| matches(rest, &printed[skipped..], any, same))
        }
        ([first, rest @ ..], [found, others @ ..]) => {
            same(first, found) && matches(rest, others, any, same)
        }
        ([_, ..], []) => false,
    }
}

/// The words of a line; what differs between two runs becomes its kind.
fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in line.split_whitespace() {
        let bare = word.trim_end_matches([',', ';', ':', ')']);
        let end = &word[bare.len()..];
        let unit = unit(bare).filter(|_| words.last().is_some_and(|word| is_number(word)));
        if unit.is_some() {
            words.pop();
        }
        let word = unit.or_else(|| kind(bare)).unwrap_or(bare);
        words.push(format!("{word}{end}"));
    }
    words
}

fn is_number(word: &str) -> bool {
    word.parse::<f64>().is_ok()
}

/// What a number in front of this unit is.
fn unit(word: &str) -> Option<&'static str> {
    match word {
        "ms" | "s" | "m" | "h" | "d" => Some("[span]"),
        "B" | "kB" | "MB" | "GB" => Some("[size]"),
        _ => None,
    }
}

fn kind(word: &str) -> Option<&'static str> {
    let hex = word.strip_prefix("sha256:").unwrap_or(word);
    if hex.len() >= 12 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some("[id]");
    }
    let like = |pattern: &str| {
        let fits = |(c, p): (char, char)| if p == '0' { c.is_ascii_digit() } else { c == p };
        word.len() == pattern.len() && word.chars().zip(pattern.chars()).all(fits)
    };
    if like("0000-00-00T00:00:00Z") {
        return Some("[time]");
    }
    let number = word.trim_end_matches(|c: char| c.is_ascii_lowercase());
    unit(&word[number.len()..]).filter(|_| number.parse::<f64>().is_ok())
}

#[test]
fn what_differs_between_two_runs_does_not_matter_and_the_rest_does() {
    for (shown, printed, fits) in [
        ("a  b\n", "a b", true),
        ("a b", "a c", false),
        ("up 473ms", "up 2m", true),
        ("up 473ms", "up", false),
        ("after 51 ms", "after 1.2 s", true),
        ("b861f57dc7de x", "0123456789ab x", true),
        ("sha256:b861f57dc7de, x", "sha256:0123456789ab, x", true),
        ("48 MB, 6 run", "1.5 kB, 6 run", true),
        ("48 MB, 6 run", "48 MB, 5 run", false),
        ("2026-11-19T21:02:23Z", "2027-01-01T00:00:00Z", true),
        ("exit 0", "exit 1", false),
        ("a [..] d", "a b c d", true),
        ("a [..] d", "a b c", false),
        ("a\n...\nd", "a\nb\nc\nd", true),
        ("a\n...\nd", "a\nb", false),
        ("a", "a\nb", false),
        ("", "", true),
        ("", "a", false),
    ] {
        assert_eq!(match_text(shown, printed), fits, "{shown:?} {printed:?}");
    }
}
