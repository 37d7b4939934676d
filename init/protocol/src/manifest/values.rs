//! Values of `[service.NAME]` with a grammar of their own.

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
            format!("{text:?} can't be the name of a {key}"),
        );
        return None;
    }
    Some(text.to_owned())
}

/// A file mode mask: octal digits in a string, or an octal integer.
pub(super) fn umask(value: &Value<'_>, problems: &mut Problems) -> Option<u32> {
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
    let mask = mask.filter(|mask| *mask <= 0o777);
    if mask.is_none() {
        let message = "`umask` must be three octal digits";
        problems.add_help(value.span(), message, "write \"022\" or 0o022");
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
