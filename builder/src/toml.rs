//! The `holdall.toml` front end: text to a checked description of the image.
//! Pure, but for reading the one file.

mod image;
mod places;
mod templates;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use holdall_protocol::manifest::{Manifest, Reader};
use holdall_protocol::{decode, diagnostic};

pub(crate) use self::image::{Base, Copy, Image};
pub(crate) use self::places::Places;
pub(crate) use self::templates::{FOLDER, under_each_profile};
use crate::error::BuildError;

/// What the file is called where nobody says otherwise.
pub(crate) const NAME: &str = "holdall.toml";

/// A holdall.toml, read and checked.
#[derive(Debug)]
pub(crate) struct Source {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its text, for the line and the caret of a later error.
    pub(crate) text: String,
    /// `[image]`.
    pub(crate) image: Image,
    /// Everything else.
    pub(crate) manifest: Manifest,
    /// Where the services' values stand.
    pub(crate) places: Places,
}

impl Source {
    /// Reads `file`, or `context`/holdall.toml.
    pub(crate) fn read(context: &Path, file: Option<&Path>) -> Result<Self, BuildError> {
        let path = file.map_or_else(|| context.join(NAME), Path::to_owned);
        let text = match read_bounded(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && file.is_none() => {
                return Err(missing(context));
            }
            Err(source) => return Err(BuildError::ReadFile { path, source }),
        };
        let Described {
            image,
            manifest,
            places,
        } = describe(&text, &context.join("Dockerfile"))
            .map_err(|found| BuildError::invalid(&path, &text, &found))?;
        Ok(Self {
            path,
            text,
            image,
            manifest,
            places,
        })
    }
}

fn missing(context: &Path) -> BuildError {
    let dockerfile = context.join("Dockerfile");
    if dockerfile.is_file() {
        return BuildError::Dockerfile { path: dockerfile };
    }
    if context.is_dir() {
        BuildError::NoFile {
            context: context.to_owned(),
        }
    } else {
        BuildError::NoContext {
            context: context.to_owned(),
        }
    }
}

/// A file of text, up to what the parser reads anyway.
fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let limit = u64::try_from(decode::MAX_TEXT)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    File::open(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}

/// What a text describes.
#[derive(Debug)]
pub(crate) struct Described {
    image: Image,
    pub(crate) manifest: Manifest,
    places: Places,
}

/// Reads a text: every error of both readers, in the order of the file.
pub(crate) fn describe(
    text: &str,
    dockerfile: &Path,
) -> Result<Described, Vec<diagnostic::Diagnostic>> {
    let document = decode::parse(text)?;
    let mut problems = decode::Problems::default();
    let mut root = document.root();
    let image = match root.take("image") {
        Some(value) => value
            .table(&mut problems)
            .and_then(|table| Image::read(table, &mut problems)),
        None => {
            let mut help =
                String::from("write `[image]` and below it `from = \"bootstrap:debian/bookworm\"`");
            if dockerfile.is_file() {
                help.push_str(": the Dockerfile beside it can't be used yet");
            }
            problems.add_help(0..0, "missing table `[image]`", help);
            None
        }
    };
    let places = root
        .take("service")
        .and_then(|value| value.as_table())
        .map(Places::read);
    let mut found = problems.sorted();
    let manifest = Manifest::from_toml(text, Reader::Builder);
    match (image, manifest) {
        (Some(mut image), Ok(manifest)) if found.is_empty() => {
            let places = places.unwrap_or_default();
            image.copy.extend(templates::copies(&manifest, &places));
            Ok(Described {
                image,
                manifest,
                places,
            })
        }
        (_, manifest) => {
            found.extend(manifest.err().into_iter().flatten());
            found.sort_by_key(|diagnostic| diagnostic.span.start);
            Err(found)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> String {
        describe(text, Path::new("/nowhere")).map_or_else(
            |found| diagnostic::render("holdall.toml", text, &found),
            |described| format!("{:#?}", described.image),
        )
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once_with_its_place() {
        insta::assert_snapshot!(errors(
            "name = \"shop\"\n\
             [image]\n\
             frm = \"scratch\"\n\
             packages = [\"nginx-light\", \"-y\", \"Redis\"]\n\
             copy = [{ from = \"../app\", to = \"srv/app\" }, { form = \"x\", to = \"/x\", mode = \"9\" }]\n\
             run = \"useradd\"\n\
             env = { \"A=B\" = \"c\" }\n\
             [service.web]\n\
             comand = \"nginx\"\n"
        ), @r#"
        holdall.toml:2:2: missing key `from`
          |
        2 | [image]
          |  ^^^^^
        holdall.toml:3:1: unknown key `frm`
          |
        3 | frm = "scratch"
          | ^^^
          = help: did you mean `from`?
        holdall.toml:4:28: "-y" is no name of a package
          |
        4 | packages = ["nginx-light", "-y", "Redis"]
          |                            ^^^^
        holdall.toml:4:34: "Redis" is no name of a package
          |
        4 | packages = ["nginx-light", "-y", "Redis"]
          |                                  ^^^^^^^
        holdall.toml:5:18: `from` may not leave the context: "../app"
          |
        5 | copy = [{ from = "../app", to = "srv/app" }, { form = "x", to = "/x", mode = "9" }]
          |                  ^^^^^^^^
          = help: a build reads only files below the folder it is given
        holdall.toml:5:33: `to` must be an absolute path, not "srv/app"
          |
        5 | copy = [{ from = "../app", to = "srv/app" }, { form = "x", to = "/x", mode = "9" }]
          |                                 ^^^^^^^^^
          = help: write "/srv/app"
        holdall.toml:5:46: missing key `from`
          |
        5 | copy = [{ from = "../app", to = "srv/app" }, { form = "x", to = "/x", mode = "9" }]
          |                                              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        holdall.toml:5:48: unknown key `form`
          |
        5 | copy = [{ from = "../app", to = "srv/app" }, { form = "x", to = "/x", mode = "9" }]
          |                                                ^^^^
          = help: did you mean `from`?
        holdall.toml:5:78: `mode` must be octal, like "0644"
          |
        5 | copy = [{ from = "../app", to = "srv/app" }, { form = "x", to = "/x", mode = "9" }]
          |                                                                              ^^^
        holdall.toml:6:7: `run` must be an array, not a string
          |
        6 | run = "useradd"
          |       ^^^^^^^^^
        holdall.toml:7:9: "A=B" can't be a name here
          |
        7 | env = { "A=B" = "c" }
          |         ^^^^^
        holdall.toml:8:10: missing key `command`
          |
        8 | [service.web]
          |          ^^^
        holdall.toml:9:1: unknown key `comand`
          |
        9 | comand = "nginx"
          | ^^^^^^
          = help: did you mean `command`?
        "#);
    }

    #[test]
    fn a_base_is_one_of_five_kinds() {
        let from = |from: &str| {
            let text = format!("[image]\nfrom = \"{from}\"\n[service.a]\ncommand = \"a\"\n");
            match describe(&text, Path::new("/nowhere")) {
                Ok(described) => format!("{:?}", described.image.from.value),
                Err(found) => found.iter().map(|found| found.message.clone()).collect(),
            }
        };
        let all: Vec<_> = [
            "scratch",
            "bootstrap:debian/bookworm",
            "bootstrap:debian",
            "bootstrap:fedora/40",
            "bootstrap:debian/book worm",
            "oci:images/base:v1",
            "oci:",
            "docker-archive:base.tar",
            "docker://debian",
            "Debian:12",
        ]
        .iter()
        .map(|text| from(text))
        .collect();
        insta::assert_snapshot!(all.join("\n"), @r#"
        Scratch
        Bootstrap { suite: "bookworm" }
        can't bootstrap "debian": only Debian is known
        can't bootstrap "fedora/40": only Debian is known
        "book worm" is no release of Debian
        Layout { dir: "images/base", tag: Some("v1") }
        "oci:" names no folder
        Archive("base.tar")
        bases from a registry are not built yet
        image name "Debian:12" has upper-case letters
        "#);
    }

    #[test]
    fn packages_need_a_base_with_apt() {
        insta::assert_snapshot!(errors(
            "[image]\nfrom = \"scratch\"\npackages = [\"nginx\"]\n[service.a]\ncommand = \"a\"\n"
        ), @r#"
        holdall.toml:3:13: `packages` need a base with apt, and `from` is scratch
          |
        3 | packages = ["nginx"]
          |             ^^^^^^^
          = help: write `from = "bootstrap:debian/bookworm"`
        "#);
    }

    #[test]
    fn a_file_without_an_image_is_told_what_to_write() {
        insta::assert_snapshot!(errors("[service.a]\ncommand = \"a\"\n"), @r#"
        holdall.toml:1:1: missing table `[image]`
          |
        1 | [service.a]
          | ^
          = help: write `[image]` and below it `from = "bootstrap:debian/bookworm"`
        "#);
    }

    #[test]
    fn a_folder_without_a_file_says_what_it_has_instead() {
        let dir = tempfile::tempdir().unwrap();
        let error = || Source::read(dir.path(), None).unwrap_err();
        assert!(matches!(error(), BuildError::NoFile { .. }));
        std::fs::write(dir.path().join("Dockerfile"), "FROM debian").unwrap();
        assert!(matches!(error(), BuildError::Dockerfile { .. }));
        let gone = dir.path().join("gone");
        assert!(matches!(
            Source::read(&gone, None),
            Err(BuildError::NoContext { .. })
        ));
        let named = Source::read(dir.path(), Some(&gone));
        assert!(matches!(named, Err(BuildError::ReadFile { .. })));
    }
}
