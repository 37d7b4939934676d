//! Values of `[service.NAME]` with a grammar of their own.

use super::limits::LARGEST;
use crate::Millis;
use crate::decode::{Problems, Value};

/// A span of time above zero.
pub(super) fn positive(value: &Value<'_>, problems: &mut Problems) -> Option<Millis> {
    let span = value.duration(problems)?;
    if span == Millis::ZERO {
        problems.add(
            value.span(),
            format!("`{}` must be longer than nothing", value.key()),
        );
        return None;
    }
    Some(span)
}

/// What a shell would do something with, but a program gets as it is.
const OPERATORS: &[&str] = &["&&", "||", "|", "&", ">", ">>", "<", "2>&1", "2>"];

/// A command: a string that is split as a shell splits words, or an array that
/// is taken as it is.
pub(super) fn words(value: &Value<'_>, problems: &mut Problems) -> Option<Vec<String>> {
    let key = value.key();
    let words: Vec<String> = if value.as_array().is_some() {
        value
            .strings(problems)?
            .into_iter()
            .map(str::to_owned)
            .collect()
    } else if value.as_str().is_some() {
        let text = value.string(problems)?;
        let Ok(words) = shell_words::split(text) else {
            problems.add(
                value.span(),
                format!("`{key}` has a quote that is not closed"),
            );
            return None;
        };
        if let Some(operator) = words.iter().find(|word| OPERATORS.contains(&word.as_str())) {
            problems.add_help(
                value.span(),
                format!("`{key}` is not run by a shell, so `{operator}` has no meaning in it"),
                format!("write {key} = [\"sh\", \"-c\", \"…\"], or a list of words"),
            );
            return None;
        }
        words
    } else {
        value.wrong_type("a string or an array of strings", problems);
        return None;
    };
    if words.first().is_none_or(String::is_empty) {
        problems.add(value.span(), format!("`{key}` is empty"));
        return None;
    }
    Some(words)
}

/// A user or a group: a name or a number of the image. Whether it exists is
/// seen by the builder and the init, who have the files.
pub(super) fn account(value: &Value<'_>, problems: &mut Problems) -> Option<String> {
    let text = value.string(problems)?;
    let key = value.key();
    if text.contains(':') && key == "user" {
        problems.add_help(
            value.span(),
            format!("`user` has a ':' in {text:?}"),
            "write the group on its own: group = \"…\"",
        );
        return None;
    }
    let refused = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ':' | '/' | ',');
    if text.is_empty() || text.contains(refused) {
        problems.add(
            value.span(),
            format!(
                "{text:?} can't be the name of a {}",
                key.trim_end_matches('s')
            ),
        );
        return None;
    }
    Some(text.to_owned())
}

/// A number of bytes: `4096`, `"64K"`, `"512M"`, `"2G"` (each 1024 times the
/// one before).
pub(super) fn quantity(value: &Value<'_>, problems: &mut Problems) -> Option<u64> {
    if value.as_integer().is_some() {
        return value.integer(0..=LARGEST, problems);
    }
    let Some(text) = value.as_str() else {
        value.wrong_type("a number of bytes such as \"64M\"", problems);
        return None;
    };
    let plain = text.trim_end_matches(['B', 'b']);
    let plain = plain.strip_suffix(['i']).unwrap_or(plain);
    let scales = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];
    let scale = scales.into_iter().find_map(|(unit, bits)| {
        let digits = plain.strip_suffix([unit, unit.to_ascii_lowercase()])?;
        Some((digits, bits))
    });
    let (digits, bits) = scale.unwrap_or((plain, 0));
    let number = crate::millis::scaled(digits, 1 << bits);
    let number = number.filter(|bytes| *bytes <= LARGEST);
    if number.is_none() {
        let message = format!("`{}` can't be {text:?}", value.key());
        problems.add_help(
            value.span(),
            message,
            "write a size such as \"64M\" or \"2G\"",
        );
    }
    number
}

/// Thousandths of one: `2`, `1.5`, `"0.25"`.
pub(super) fn thousandths(value: &Value<'_>, problems: &mut Problems) -> Option<u32> {
    let Some(text) = value.as_decimal().or(value.as_str()) else {
        value.wrong_type("a number of processors such as 1.5", problems);
        return None;
    };
    let number = crate::millis::scaled(text, 1000).and_then(|number| u32::try_from(number).ok());
    if number.is_none() {
        let message = format!("`{}` can't be {text}", value.key());
        problems.add_help(
            value.span(),
            message,
            "write a number such as 2, 1.5 or 0.25",
        );
    }
    number
}

/// A file's mode: octal digits in a string, or an octal integer.
pub(super) fn mode(value: &Value<'_>, problems: &mut Problems) -> Option<u32> {
    octal(value, 0o7777, "write \"0644\" or 0o644", problems)
}

/// A file mode mask: octal digits in a string, or an octal integer.
pub(super) fn umask(value: &Value<'_>, problems: &mut Problems) -> Option<u32> {
    octal(value, 0o777, "write \"022\" or 0o022", problems)
}

fn octal(value: &Value<'_>, most: u32, help: &str, problems: &mut Problems) -> Option<u32> {
    let digits = |text: &str| {
        let octal = (1..=4).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
        if octal {
            u32::from_str_radix(text, 8).ok()
        } else {
            None
        }
    };
    let mask = match (value.as_str(), value.as_integer()) {
        (Some(text), _) => digits(text),
        (None, Some((mask, 8))) => u32::try_from(mask).ok(),
        (None, Some(_)) => None,
        (None, None) => {
            value.wrong_type("a string of octal digits", problems);
            return None;
        }
    };
    let mask = mask.filter(|mask| *mask <= most);
    if mask.is_none() {
        let digits = if most > 0o777 { "four" } else { "three" };
        let message = format!("`{}` must be {digits} octal digits", value.key());
        problems.add_help(value.span(), message, help);
    }
    mask
}

/// An absolute path without `.` and `..`, and without a slash at its end.
pub(super) fn absolute(value: &Value<'_>, problems: &mut Problems) -> Option<String> {
    let text = value.string(problems)?;
    let key = value.key();
    if !text.starts_with('/') {
        problems.add_help(
            value.span(),
            format!("`{key}` must be an absolute path, not {text:?}"),
            "write where it lies in the box, such as \"/data\"",
        );
        return None;
    }
    if text.split('/').any(|part| part == "." || part == "..") {
        problems.add(
            value.span(),
            format!("`{key}` must be a path without `.` and `..`"),
        );
        return None;
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
    Some(format!("/{}", parts.join("/")))
}

/// An owner: a user, or a user and a group, by name or number.
pub(super) fn owner(value: &Value<'_>, problems: &mut Problems) -> Option<String> {
    let text = value.string(problems)?;
    let part = |part: &str| {
        let refused = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ',');
        !part.is_empty() && !part.contains(refused)
    };
    let mut parts = text.split(':');
    let owned = parts.by_ref().take(2).all(part) && parts.next().is_none();
    if !owned {
        let message = format!("{text:?} can't be the owner of a file");
        problems.add_help(value.span(), message, "write \"user\" or \"user:group\"");
        return None;
    }
    Some(text.to_owned())
}

/// The elements of an array, none where there is none.
pub(super) fn elements<'t>(value: Option<Value<'t>>, problems: &mut Problems) -> Vec<Value<'t>> {
    value
        .and_then(|value| value.array(problems))
        .unwrap_or_default()
}

/// One value, or an array of them.
pub(super) fn one_or_more<'t>(value: &Value<'t>) -> Vec<Value<'t>> {
    value.as_array().unwrap_or_else(|| vec![value.clone()])
}
