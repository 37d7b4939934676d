//! holdall.toml → [`Manifest`]: the file's own table, `[init]` and
//! `[profile.*]`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::{
    InitSettings, LISTENER, Manifest, Profile, check, listener, logging, service, unbuilt,
};
use crate::ServiceName;
use crate::decode::{self, Problems, Table, Value};
use crate::diagnostic::Diagnostic;

/// Who reads the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The builder, which decodes `[image]` itself: it is skipped.
    Builder,
    /// The init, from an image that is built: `[image]` is refused.
    Init,
    /// A test, or a tool that writes manifests: as the init, and also what no
    /// part of it is built for yet.
    Design,
}

/// What other tools, and older drafts, call keys of `[init]`.
const INIT_ELSEWHERE: &[(&str, &str)] = &[
    ("log_format", "log"),
    ("metrics", "listener"),
    ("stop_grace_period", "stop_timeout"),
];
const PROFILE_NOT_BUILT: &[&str] = &["env_file", "secrets"];

impl Manifest {
    /// Reads a holdall.toml and checks it.
    ///
    /// # Errors
    /// Everything that is wrong with the file, in its order. Where the syntax
    /// is wrong, that alone: the rest would be guesswork.
    pub fn from_toml(text: &str, reader: Reader) -> Result<Self, Vec<Diagnostic>> {
        let document = decode::parse(text)?;
        let mut problems = Problems::default();
        if reader != Reader::Design {
            unbuilt::refuse(&document.root(), reader, &mut problems);
        }
        let draft = Draft::read(document.root(), reader, &mut problems);
        check::all(&draft, &mut problems);
        if problems.is_empty() {
            Ok(draft.into_manifest())
        } else {
            Err(problems.sorted())
        }
    }
}

/// A manifest with the places of what is checked across tables.
#[derive(Debug, Default)]
pub(super) struct Draft<'t> {
    name: Option<String>,
    pub(super) init: InitSettings,
    pub(super) services: Vec<service::Draft>,
    /// Every key of `[service]`, also those that are no valid name, so that a
    /// dependency on one is not reported a second time.
    pub(super) service_keys: BTreeSet<&'t str>,
    profiles: BTreeMap<String, Profile>,
    /// Services named below a profile.
    pub(super) profiled: Vec<(ServiceName, Range<usize>)>,
}

impl<'t> Draft<'t> {
    fn read(mut root: Table<'t>, reader: Reader, problems: &mut Problems) -> Self {
        let mut draft = Self::default();
        if let Some(value) = root.take("name") {
            draft.name = image_name(&value, problems);
        }
        if let Some(image) = root.take("image")
            && reader != Reader::Builder
        {
            problems.add_help(
                image.key_span(),
                "`image` has no meaning here: it tells the builder how to make an image",
                "leave it out of the file that init reads",
            );
        }
        if let Some(table) = root.take("init").and_then(|value| value.table(problems)) {
            draft.init = init_settings(table, problems);
        }
        let services = root.take("service").and_then(|value| value.table(problems));
        for entry in services.map(Table::entries).unwrap_or_default() {
            draft.service_keys.insert(entry.key());
            if entry.key() == LISTENER {
                let message = format!("`{LISTENER}` is the name of init's own service");
                problems.add_help(entry.key_span(), message, "give it another name");
                continue;
            }
            draft.services.extend(service::read(&entry, problems));
        }
        let profiles = root.take("profile").and_then(|value| value.table(problems));
        for entry in profiles.map(Table::entries).unwrap_or_default() {
            draft.read_profile(&entry, problems);
        }
        root.finish(&["secret", "secrets"], problems);
        draft
    }

    fn read_profile(&mut self, entry: &Value<'t>, problems: &mut Problems) {
        profile_name(entry.key(), entry.key_span(), problems);
        let Some(mut table) = entry.table(problems) else {
            return;
        };
        let mut profile = Profile::default();
        if let Some(value) = table.take("env") {
            profile.env = environment(&value, problems);
        }
        let services = table
            .take("service")
            .and_then(|value| value.table(problems));
        for below in services.map(Table::entries).unwrap_or_default() {
            let Some(mut table) = below.table(problems) else {
                continue;
            };
            let Some(name) = service::service_name(&below, problems) else {
                continue;
            };
            self.profiled.push((name.clone(), below.key_span()));
            let known = self
                .services
                .iter()
                .find(|draft| draft.service.name == name);
            // One that isn't there is reported where all are known.
            let Some(known) = known else { continue };
            let overlay = service::overlay(&mut table, &known.service, problems);
            table.finish(unbuilt::UNREAD, problems);
            profile.services.insert(name, overlay);
        }
        table.finish(PROFILE_NOT_BUILT, problems);
        self.profiles.insert(entry.key().to_owned(), profile);
    }

    fn into_manifest(self) -> Manifest {
        let services = self
            .services
            .into_iter()
            .map(|draft| Arc::new(draft.service))
            .collect();
        Manifest {
            name: self.name,
            init: self.init,
            services,
            profiles: self.profiles,
        }
    }
}

fn init_settings(mut table: Table<'_>, problems: &mut Problems) -> InitSettings {
    let mut settings = InitSettings::default();
    if let Some(span) = table
        .take("stop_timeout")
        .and_then(|value| value.duration(problems))
    {
        settings.stop_timeout = span;
    }
    let keep = table.take("keep_running");
    if let Some(keep) = keep.and_then(|value| value.boolean(problems)) {
        settings.keep_running = keep;
    }
    if let Some(value) = table.take("log") {
        settings.log = logging::read_box(&value, problems);
    }
    if let Some(value) = table.take("listener") {
        settings.listener = listener::read(&value, problems);
    }
    table.elsewhere(INIT_ELSEWHERE);
    table.finish(&[], problems);
    settings
}

/// The image's name: one or more path components as in an image reference,
/// since that is what it becomes.
fn image_name(value: &Value<'_>, problems: &mut Problems) -> Option<String> {
    let text = value.string(problems)?;
    let component = |part: &str| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        part.starts_with(plain)
            && part.ends_with(plain)
            && part
                .chars()
                .all(|c| plain(c) || matches!(c, '-' | '_' | '.'))
    };
    if text.len() > 128 || !text.split('/').all(component) {
        problems.add_help(
            value.span(),
            format!("{text:?} can't be the name of an image"),
            "write lower-case letters, digits, '-', '_' and '.', such as \"shop\" or \"team/shop\"",
        );
        return None;
    }
    Some(text.to_owned())
}

/// Checks the name of a profile: it is a word of the command line.
pub(super) fn profile_name(name: &str, span: Range<usize>, problems: &mut Problems) {
    if let Err(error) = name.parse::<ServiceName>() {
        problems.add(span, format!("profile's {error}"));
    }
}

/// A table of variables.
pub(super) fn environment(value: &Value<'_>, problems: &mut Problems) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for entry in value
        .table(problems)
        .map(Table::entries)
        .unwrap_or_default()
    {
        let name = entry.key();
        if name.is_empty() || name.contains(['=', '\0']) {
            problems.add(
                entry.key_span(),
                format!("{name:?} can't be the name of a variable"),
            );
        } else if let Some(text) = entry.string(problems) {
            variables.insert(name.to_owned(), text.to_owned());
        }
    }
    variables
}
