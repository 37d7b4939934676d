//! `%(name)s`, as Python's `%` operator fills it in from a table.

use std::collections::BTreeMap;

/// What stands for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Variable {
    Text(String),
    Number(i64),
}

impl From<&str> for Variable {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

pub(crate) type Variables = BTreeMap<String, Variable>;

/// Why a text can't be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ExpandError {
    #[error("%({0}) stands for nothing here")]
    Unknown(String),
    #[error("a % must be doubled, or begin %(name)s")]
    Malformed,
    #[error("%({0}) is a text, and only a number can be written so")]
    NoNumber(String),
}

/// The widest field, against a `%(x)999999999s`.
const MAX_WIDTH: usize = 1000;

/// Fills in a text.
pub(crate) fn expand(text: &str, variables: &Variables) -> Result<String, ExpandError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let after = after.get(1..).unwrap_or("");
        if let Some(after) = after.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let (field, after) = Field::read(after)?;
        out.push_str(&field.write(variables)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// One `%(name)[flags][width][.precision]conversion`.
struct Field<'t> {
    name: &'t str,
    left: bool,
    prefixed: bool,
    zeros: bool,
    plus: Option<char>,
    width: usize,
    precision: Option<usize>,
    conversion: char,
}

impl<'t> Field<'t> {
    /// Reads it from behind its `%`, and gives what follows it.
    fn read(text: &'t str) -> Result<(Self, &'t str), ExpandError> {
        let inner = text.strip_prefix('(').ok_or(ExpandError::Malformed)?;
        let mut depth = 1;
        let end = inner.find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth == 0
        });
        let (name, rest) = inner.split_at(end.ok_or(ExpandError::Malformed)?);
        let mut rest = rest.get(1..).unwrap_or("");
        let flags = rest.len() - rest.trim_start_matches(['#', '0', '-', ' ', '+']).len();
        let (flags, after) = rest.split_at(flags);
        rest = after;
        let number = |of: &mut &'t str| -> Result<Option<usize>, ExpandError> {
            let count = of.len() - of.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (digits, after) = of.split_at(count);
            *of = after;
            if digits.is_empty() {
                return Ok(None);
            }
            let number = digits.parse().ok().filter(|n| *n <= MAX_WIDTH);
            number.map(Some).ok_or(ExpandError::Malformed)
        };
        let width = number(&mut rest)?.unwrap_or(0);
        let mut precision = None;
        if let Some(after) = rest.strip_prefix('.') {
            rest = after;
            precision = Some(number(&mut rest)?.unwrap_or(0));
        }
        rest = rest.strip_prefix(['h', 'l', 'L']).unwrap_or(rest);
        let conversion = rest.chars().next().ok_or(ExpandError::Malformed)?;
        let field = Self {
            name,
            left: flags.contains('-'),
            prefixed: flags.contains('#'),
            zeros: flags.contains('0'),
            plus: ['+', ' '].into_iter().find(|sign| flags.contains(*sign)),
            width,
            precision,
            conversion,
        };
        Ok((field, rest.get(conversion.len_utf8()..).unwrap_or("")))
    }

    fn write(&self, variables: &Variables) -> Result<String, ExpandError> {
        let unknown = || ExpandError::Unknown(self.name.to_owned());
        let variable = variables.get(self.name).ok_or_else(unknown)?;
        let (sign, body) = match (self.conversion, variable) {
            ('s', Variable::Text(text)) => (String::new(), self.cut(text)),
            ('s', Variable::Number(number)) => (String::new(), self.cut(&number.to_string())),
            ('d' | 'i' | 'u' | 'x' | 'X' | 'o', Variable::Number(number)) => {
                let digits = match self.conversion {
                    'x' => format!("{:x}", number.unsigned_abs()),
                    'X' => format!("{:X}", number.unsigned_abs()),
                    'o' => format!("{:o}", number.unsigned_abs()),
                    _ => number.unsigned_abs().to_string(),
                };
                let sign = match (*number < 0, self.plus) {
                    (true, _) => "-",
                    (false, Some('+')) => "+",
                    (false, Some(_)) => " ",
                    (false, None) => "",
                };
                let prefix = match self.conversion {
                    'x' if self.prefixed => "0x",
                    'X' if self.prefixed => "0X",
                    'o' if self.prefixed => "0o",
                    _ => "",
                };
                let least = self.precision.unwrap_or(0);
                (format!("{sign}{prefix}"), format!("{digits:0>least$}"))
            }
            ('d' | 'i' | 'u' | 'x' | 'X' | 'o', Variable::Text(_)) => {
                return Err(ExpandError::NoNumber(self.name.to_owned()));
            }
            _ => return Err(ExpandError::Malformed),
        };
        let width = self.width.saturating_sub(sign.len());
        Ok(match (self.left, self.zeros && self.conversion != 's') {
            (true, _) => format!("{sign}{body:<width$}"),
            (false, true) => format!("{sign}{body:0>width$}"),
            (false, false) => format!("{:>1$}", format!("{sign}{body}"), self.width),
        })
    }

    fn cut(&self, text: &str) -> String {
        match self.precision {
            Some(most) => text.chars().take(most).collect(),
            None => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        let number = |n| Variable::Number(n);
        [
            ("process_num", number(7)),
            ("below", number(-7)),
            ("program_name", "web".into()),
        ]
        .into_iter()
        .map(|(name, variable)| (name.to_owned(), variable))
        .collect()
    }

    #[test]
    fn names_are_filled_in_as_python_does() {
        for (text, filled) in [
            ("%(program_name)s-%(process_num)02d", "web-07"),
            ("100%% of %(process_num)s", "100% of 7"),
            ("[%(program_name)5s][%(program_name)-5s]", "[  web][web  ]"),
            ("%(process_num)x %(process_num)+d %(below)03d", "7 +7 -07"),
            ("%(process_num)5d|%(process_num)-3d|", "    7|7  |"),
            ("%(program_name).2s", "we"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(expand(text, &variables()).as_deref(), Ok(filled), "{text}");
        }
    }

    #[test]
    fn what_can_not_be_filled_in_is_told() {
        let error = |text: &str| expand(text, &variables()).expect_err(text).to_string();
        assert_eq!(error("%(nobody)s"), "%(nobody) stands for nothing here");
        for malformed in ["date +%Y", "100%", "%(process_num", "%(process_num)", "%s"] {
            assert!(error(malformed).starts_with("a % must"), "{malformed}");
        }
        assert!(error("%(program_name)d").contains("only a number"));
    }
}
