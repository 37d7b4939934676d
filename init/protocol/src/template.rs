//! The text of a template: `${VAR}`, `${VAR:-default}` and `${VAR:?message}`
//! are places to fill in, and nothing else means anything. Init fills them in
//! at each start; the builder looks before the image has a name whether that
//! can be done.

use std::ops::Range;

/// One place of a template that is to be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place<'t> {
    /// Where, from `$` to `}`.
    pub span: Range<usize>,
    /// The variable.
    pub name: &'t str,
    /// What holds where it is not set.
    pub otherwise: Otherwise<'t>,
}

/// What holds where a variable is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Otherwise<'t> {
    /// `${VAR}`: that is an error.
    Nothing,
    /// `${VAR:-default}`: this.
    Default(&'t str),
    /// `${VAR:?message}`: an error with these words.
    Message(&'t str),
}

/// Why something is no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It does not end.
    #[error("`${{` is not closed")]
    Open,
    /// It is none of the three forms.
    #[error("`${{{0}}}` is neither ${{VAR}} nor ${{VAR:-default}} nor ${{VAR:?message}}")]
    Form(String),
}

/// The places of a template in order; what is no place with where it stands.
/// After a place that does not end there is no other.
pub fn places(text: &[u8]) -> impl Iterator<Item = Result<Place<'_>, (Range<usize>, Malformed)>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let rest = text.get(from..)?;
        let start = from + rest.windows(2).position(|two| two == b"${")?;
        let inside = text.get(start + 2..).unwrap_or(&[]);
        let Some(length) = inside.iter().position(|byte| *byte == b'}') else {
            from = text.len();
            return Some(Err((start..start + 2, Malformed::Open)));
        };
        let span = start..start + 2 + length + 1;
        from = span.end;
        let inside = inside.get(..length).unwrap_or(&[]);
        Some(match form(inside) {
            Some((name, otherwise)) => Ok(Place {
                span,
                name,
                otherwise,
            }),
            None => {
                let form = String::from_utf8_lossy(inside).into_owned();
                Err((span, Malformed::Form(form)))
            }
        })
    })
}

fn form(inside: &[u8]) -> Option<(&str, Otherwise<'_>)> {
    let inside = str::from_utf8(inside).ok()?;
    let (name, otherwise) = match inside.split_once(':') {
        None => (inside, Otherwise::Nothing),
        Some((name, rest)) => match (rest.strip_prefix('-'), rest.strip_prefix('?')) {
            (Some(default), _) => (name, Otherwise::Default(default)),
            (None, Some(message)) => (name, Otherwise::Message(message)),
            (None, None) => return None,
        },
    };
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let plain = name.bytes().all(letter) && !name.starts_with(|c: char| c.is_ascii_digit());
    (plain && !name.is_empty()).then_some((name, otherwise))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_forms_are_places_and_everything_else_is_text() {
        let text = b"listen ${PORT}; $host ${A:-a:-b}\n${B:?set it} $ { } $";
        let found: Vec<_> = places(text).map(|place| place.expect("a place")).collect();
        let of = |place: &Place<'_>| (place.name.to_owned(), text[place.span.clone()].to_vec());
        assert_eq!(
            found.iter().map(of).collect::<Vec<_>>(),
            [
                ("PORT".to_owned(), b"${PORT}".to_vec()),
                ("A".to_owned(), b"${A:-a:-b}".to_vec()),
                ("B".to_owned(), b"${B:?set it}".to_vec()),
            ]
        );
        let otherwise: Vec<_> = found.iter().map(|place| place.otherwise).collect();
        assert_eq!(
            otherwise,
            [
                Otherwise::Nothing,
                Otherwise::Default("a:-b"),
                Otherwise::Message("set it")
            ]
        );
    }

    #[test]
    fn what_is_no_place_is_told_with_where_it_stands() {
        for bad in ["${}", "${1}", "${a b}", "${PORT:x}", "${PORT:+x}"] {
            let text = format!("a {bad} ${{GOOD}}");
            let found: Vec<_> = places(text.as_bytes()).collect();
            assert_eq!(found.len(), 2, "{bad}");
            let inside = bad[2..bad.len() - 1].to_owned();
            let wrong = (2..2 + bad.len(), Malformed::Form(inside));
            assert_eq!(found[0], Err(wrong));
        }
        let found: Vec<_> = places(b"${PORT}${}").skip(1).collect();
        assert_eq!(found, [Err((7..10, Malformed::Form(String::new())))]);
        let open: Vec<_> = places(b"x = ${PORT ${A").collect();
        assert_eq!(open, [Err((4..6, Malformed::Open))]);
        let other = places(b"${\xff}")
            .next()
            .expect("one")
            .expect_err("no text");
        assert_eq!(
            other.1.to_string(),
            "`${\u{fffd}}` is neither ${VAR} nor ${VAR:-default} nor ${VAR:?message}"
        );
    }
}
