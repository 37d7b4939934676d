//! The ini dialect of supervisord: Python's RawConfigParser with `;` and `#`
//! as inline comments, and not strict: of two keys the last holds.

use std::ops::Range;

/// Where something stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Which of the files that were read.
    pub(crate) file: usize,
    /// Which bytes of it.
    pub(crate) span: Range<usize>,
}

/// A key with its value, which is not expanded yet.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) place: Place,
}

/// `[name]`, of however many files.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) entries: Vec<Entry>,
}

impl Section {
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    fn set(&mut self, key: String, place: Place) -> usize {
        let entry = Entry {
            key,
            value: String::new(),
            place,
        };
        match self.entries.iter().position(|old| old.key == entry.key) {
            Some(at) => {
                if let Some(old) = self.entries.get_mut(at) {
                    *old = entry;
                }
                at
            }
            None => {
                self.entries.push(entry);
                self.entries.len() - 1
            }
        }
    }
}

/// Its keys are seen in every section.
const DEFAULTS: &str = "DEFAULT";

/// The folder of the file, in a value.
const HERE: &str = "%(here)s";

/// Everything that was read.
#[derive(Debug, Default)]
pub(crate) struct Ini {
    sections: Vec<Section>,
}

/// A line that is neither a section, a key nor the rest of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misfit {
    pub(crate) place: Place,
    pub(crate) message: &'static str,
}

impl Ini {
    /// The sections in the order of their first lines, the defaults excepted.
    pub(crate) fn sections(&self) -> impl Iterator<Item = &Section> {
        self.sections
            .iter()
            .filter(|section| section.name != DEFAULTS)
    }

    pub(crate) fn section(&self, name: &str) -> Option<&Section> {
        self.sections().find(|section| section.name == name)
    }

    /// A section's own entry, or that of the defaults.
    pub(crate) fn entry<'i>(&'i self, section: &'i Section, key: &str) -> Option<&'i Entry> {
        let defaults = || self.sections.iter().find(|s| s.name == DEFAULTS);
        section.entry(key).or_else(|| defaults()?.entry(key))
    }

    /// The keys of a section, and those of the defaults.
    #[cfg(test)]
    pub(crate) fn keys<'i>(&'i self, section: &'i Section) -> impl Iterator<Item = &'i str> {
        let defaults = self.sections.iter().filter(|s| s.name == DEFAULTS);
        let entries = section
            .entries
            .iter()
            .chain(defaults.flat_map(|s| &s.entries));
        entries.map(|entry| entry.key.as_str())
    }

    /// Fills in the folder of the file in everything that is read so far.
    pub(crate) fn fill_here(&mut self, here: &str) {
        for entry in self.sections.iter_mut().flat_map(|s| &mut s.entries) {
            if entry.value.contains(HERE) {
                entry.value = entry.value.replace(HERE, here);
            }
        }
    }

    /// Takes in a file.
    pub(crate) fn read(&mut self, file: usize, text: &str) -> Vec<Misfit> {
        let mut reader = Reader {
            ini: self,
            current: None,
            indent: 0,
            misfits: Vec::new(),
        };
        for (start, line) in lines(text) {
            if !reader.line(file, start, line) {
                break;
            }
        }
        let misfits = reader.misfits;
        for entry in self.sections.iter_mut().flat_map(|s| &mut s.entries) {
            let end = entry.value.trim_end_matches(is_space).len();
            entry.value.truncate(end);
        }
        misfits
    }
}

struct Reader<'i> {
    ini: &'i mut Ini,
    /// The section, and the key in it whose value may go on.
    current: Option<(usize, Option<usize>)>,
    /// How far the key was indented.
    indent: usize,
    misfits: Vec<Misfit>,
}

impl Reader<'_> {
    /// Takes in one line; false where nothing that follows has a meaning.
    fn line(&mut self, file: usize, start: usize, line: &str) -> bool {
        let comment = comment(line);
        let value = strip(line.get(..comment.unwrap_or(line.len())).unwrap_or(""));
        let from = value.as_ptr() as usize - line.as_ptr() as usize;
        let place = |text: &str| {
            let at = start + from + (text.as_ptr() as usize - value.as_ptr() as usize);
            let span = at..at + text.len();
            Place { file, span }
        };
        if value.is_empty() {
            // An empty line belongs to a value that goes on after it.
            if let (None, Some(entry)) = (comment, self.going_on()) {
                entry.value.push('\n');
            }
            return true;
        }
        let indent = line.chars().take_while(|c| is_space(*c)).count();
        if indent > self.indent
            && let Some(entry) = self.going_on()
        {
            entry.value.push('\n');
            entry.value.push_str(value);
            return true;
        }
        self.indent = indent;
        if let Some(name) = header(value) {
            let at = self.ini.sections.iter().position(|s| s.name == name);
            let at = at.unwrap_or_else(|| {
                self.ini.sections.push(Section {
                    name: name.to_owned(),
                    place: place(value),
                    entries: Vec::new(),
                });
                self.ini.sections.len() - 1
            });
            self.current = Some((at, None));
            return true;
        }
        let Some((section, _)) = self.current else {
            let message = "a key stands before the first [section]";
            let place = place(value);
            self.misfits.push(Misfit { place, message });
            return false;
        };
        let delimiter = value.find(['=', ':']);
        let parts = delimiter.map(|at| value.split_at(at));
        let key = parts.map(|(key, _)| strip(key).to_lowercase());
        let (Some((_, rest)), Some(key)) = (parts, key.filter(|key| !key.is_empty())) else {
            let message = "a line is neither [section] nor key = value";
            let place = place(value);
            self.misfits.push(Misfit { place, message });
            return true;
        };
        let text = strip(rest.get(1..).unwrap_or(""));
        let place = place(if text.is_empty() { value } else { text });
        if let Some(section_of) = self.ini.sections.get_mut(section) {
            let at = section_of.set(key, place);
            if let Some(entry) = section_of.entries.get_mut(at) {
                text.clone_into(&mut entry.value);
            }
            self.current = Some((section, Some(at)));
        }
        true
    }

    /// The entry whose value may go on.
    fn going_on(&mut self) -> Option<&mut Entry> {
        let (section, Some(entry)) = self.current? else {
            return None;
        };
        self.ini.sections.get_mut(section)?.entries.get_mut(entry)
    }
}

/// The lines of a text, however they end, with where they begin.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..).filter(|rest| !rest.is_empty())?;
        let start = at;
        let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        at += end
            + if after.starts_with("\r\n") {
                2
            } else {
                after.len().min(1)
            };
        Some((start, line))
    })
}

/// What Python's `str.isspace` holds for.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// Where the comment of a line begins: at `;` or `#`, at its beginning or after
/// a space. Both are looked for in rounds, the first of each, then the second,
/// as Python does: in `a;b ;c #d` it is the `#` that is found.
fn comment(line: &str) -> Option<usize> {
    if line.trim_start_matches(is_space).starts_with(['#', ';']) {
        return Some(0);
    }
    let mut rounds = [(';', Some(0)), ('#', Some(0))];
    loop {
        let mut found: Option<usize> = None;
        for (prefix, from) in &mut rounds {
            let Some(at) = from.and_then(|from| Some(from + line.get(from..)?.find(*prefix)?))
            else {
                *from = None;
                continue;
            };
            *from = Some(at + 1);
            let before = line.get(..at).and_then(|text| text.chars().next_back());
            if before.is_none_or(is_space) {
                found = Some(found.map_or(at, |other| other.min(at)));
            }
        }
        if found.is_some() || rounds.iter().all(|(_, from)| from.is_none()) {
            return found;
        }
    }
}

/// `[name]`: from the first bracket to the last.
fn header(value: &str) -> Option<&str> {
    let inner = value.strip_prefix('[')?;
    let end = inner.rfind(']')?;
    inner.get(..end).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Ini, Vec<Misfit>) {
        let mut ini = Ini::default();
        let misfits = ini.read(0, text);
        (ini, misfits)
    }

    #[track_caller]
    fn value(text: &str, key: &str) -> String {
        let (ini, misfits) = read(text);
        assert_eq!(misfits, []);
        let section = ini.section("a").expect("it is there");
        ini.entry(section, key).expect("it is there").value.clone()
    }

    #[test]
    fn a_comment_begins_at_a_semicolon_or_a_hash_after_a_space_even_within_quotes() {
        assert_eq!(value("[a]\nk = v ; c\n", "k"), "v");
        assert_eq!(value("[a]\nk = v;c#d\n", "k"), "v;c#d");
        assert_eq!(value("[a]\nk = 'v #c'\n", "k"), "'v");
        assert_eq!(value("[a]\n# c\n; c\nk = v\n", "k"), "v");
        assert_eq!(comment("a;b ;c #d"), Some(7), "as Python finds it");
        assert_eq!(comment("a;b ;c"), Some(4));
    }

    #[test]
    fn a_value_goes_on_in_lines_that_are_indented_further() {
        let text = "[a]\nk = one,\n  two\n\n  three\n# no end\n  four\nother: x\n";
        assert_eq!(value(text, "k"), "one,\ntwo\n\nthree\nfour");
        assert_eq!(value(text, "other"), "x");
    }

    #[test]
    fn keys_are_small_the_last_holds_and_defaults_stand_in() {
        let text = "[DEFAULT]\nd = 1\n[a]\nK = v\n[b]\n[a]\nk : w = x\n";
        assert_eq!(value(text, "k"), "w = x");
        assert_eq!(value(text, "d"), "1");
    }

    #[test]
    fn what_is_nothing_is_told_with_its_place() {
        let (_, misfits) = read("[a]\nnonsense\n");
        assert_eq!(misfits.len(), 1);
        assert_eq!(misfits[0].place.span, 4..12);
        let (_, misfits) = read("k = v\n[a]\n");
        assert!(misfits[0].message.contains("before the first"));
    }

    #[test]
    fn lines_end_as_they_like() {
        let text = "[a]\r\nk = v\rl = w\n";
        assert_eq!(
            (value(text, "k"), value(text, "l")),
            ("v".into(), "w".into())
        );
    }
}
