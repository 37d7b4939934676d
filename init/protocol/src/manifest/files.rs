//! Files that init reads for a service at each start: `env_file` and
//! `templates`.

use super::values::{absolute, mode, one_or_more, owner};
use super::write::quoted;
use crate::decode::{Problems, Value};

/// `env_file`: a file of `NAME=value` lines.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EnvFile {
    /// Where, an absolute path in the box.
    pub path: String,
    /// It may be missing.
    pub optional: bool,
}

/// `templates`: a file made from another, with `${VAR}`, `${VAR:-default}` and
/// `${VAR:?message}` filled in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Template {
    /// From where: absolute, or relative to the folder of this very file.
    pub from: String,
    /// To where, an absolute path in the box.
    pub to: String,
    /// The mode of what is made; 0644 unless said.
    pub mode: u32,
    /// Its owner, `user` or `user:group`; the service's where none.
    pub owner: Option<String>,
}

/// Reads `env_file`: one or more paths, or `{ path, optional }`.
pub(super) fn env_files(value: &Value<'_>, problems: &mut Problems) -> Vec<EnvFile> {
    let mut files = Vec::new();
    for value in one_or_more(value) {
        let Some(mut table) = value.as_table() else {
            let path = absolute(&value, problems);
            files.extend(path.map(|path| EnvFile {
                path,
                optional: false,
            }));
            continue;
        };
        let path = table.required("path", problems);
        let path = path.and_then(|value| absolute(&value, problems));
        let optional = table.take("optional");
        let optional = optional.and_then(|value| value.boolean(problems));
        table.finish(&[], problems);
        files.extend(path.map(|path| EnvFile {
            path,
            optional: optional.unwrap_or(false),
        }));
    }
    files
}

/// As TOML, one entry.
pub(super) fn write_env_file(file: &EnvFile) -> String {
    let path = quoted(&file.path);
    if file.optional {
        format!("{{ path = {path}, optional = true }}")
    } else {
        path
    }
}

/// What a template's result has unless said.
const MODE: u32 = 0o644;

/// Reads one entry of `templates`.
pub(super) fn template(value: &Value<'_>, problems: &mut Problems) -> Option<Template> {
    let mut table = value.table(problems)?;
    let from = table.required("from", problems);
    let from = from.and_then(|value| source(&value, problems));
    let to = table.required("to", problems);
    let to = to.and_then(|value| absolute(&value, problems));
    let mode_value = table.take("mode");
    let mode = mode_value.and_then(|value| mode(&value, problems));
    let owner_value = table.take("owner");
    let owner = owner_value.and_then(|value| owner(&value, problems));
    table.finish(&[], problems);
    Some(Template {
        from: from?,
        to: to?,
        mode: mode.unwrap_or(MODE),
        owner,
    })
}

/// A path that stays in its folder, or an absolute one.
fn source(value: &Value<'_>, problems: &mut Problems) -> Option<String> {
    let text = value.string(problems)?;
    if text.starts_with('/') {
        return absolute(value, problems);
    }
    let plain = |part: &str| !part.is_empty() && part != "..";
    if text.is_empty() || !text.split('/').all(plain) {
        let message = format!("`{}` must be a path without `..`", value.key());
        problems.add(value.span(), message);
        return None;
    }
    Some(text.to_owned())
}

/// As TOML, one entry.
pub(super) fn write_template(template: &Template) -> String {
    let Template {
        from,
        to,
        mode,
        owner,
    } = template;
    let mut more = String::new();
    if *mode != MODE {
        more.push_str(&format!(", mode = \"{mode:04o}\""));
    }
    if let Some(owner) = owner {
        more.push_str(&format!(", owner = {}", quoted(owner)));
    }
    format!("{{ from = {}, to = {}{more} }}", quoted(from), quoted(to))
}
