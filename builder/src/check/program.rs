//! Whether a program can be started from the files of an image.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use holdall_image::Tree;
use holdall_image::root::Kind;
use holdall_image::tree::{Entry, TreeError};

use super::Problem;
use super::elf::{self, Elf};

/// The longest `#!` line that Linux reads, in bytes.
const MAX_SHEBANG: usize = 256;

/// A script of a script of a script: where Linux gives up.
const MAX_SCRIPTS: usize = 5;

/// The most libraries that are followed; a program has a few dozen.
const MAX_LIBRARIES: usize = 500;

/// The most of a program that is read, in bytes: the headers lie in front,
/// the names of libraries may lie behind everything else.
const MAX_PROGRAM: u64 = 256 * 1024 * 1024;

/// Where the loaders of glibc and musl look without being told.
const LIBRARY_FOLDERS: [&str; 10] = [
    "/lib",
    "/usr/lib",
    "/lib64",
    "/usr/lib64",
    "/usr/local/lib",
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/local/lib64",
];

/// What keeps the first of `words` from being started; none where nothing is
/// known to.
pub(super) fn check(
    tree: &Tree,
    path: &str,
    dir: &str,
    words: &[String],
) -> Result<Option<Problem>, TreeError> {
    let Some(name) = words.first() else {
        return Ok(None);
    };
    let mut program = match find(tree, path, dir, name)? {
        Ok(entry) => entry,
        Err(problem) => return Ok(Some(problem)),
    };
    let mut shown = name.clone();
    for _ in 0..MAX_SCRIPTS {
        let Some(head) = head(&program) else {
            return Ok(None);
        };
        let Some(interpreter) = shebang(&head) else {
            return libraries(tree, &shown, &program);
        };
        let path = Path::new(OsStr::from_bytes(interpreter));
        let asked = Path::new(dir).join(path);
        let Some(entry) = tree.lookup(&asked)? else {
            let path = path.display();
            return Ok(Some(Problem::new(format!(
                "{shown} can't be run: its first line names {path}, which the image doesn't have"
            ))));
        };
        shown = path.display().to_string();
        program = entry;
    }
    Ok(None)
}

/// Finds a program as `execvp` does.
fn find(
    tree: &Tree,
    path: &str,
    dir: &str,
    name: &str,
) -> Result<Result<Entry, Problem>, TreeError> {
    if name.contains('/') {
        let asked = Path::new(dir).join(name);
        return Ok(match tree.lookup(&asked)? {
            Some(entry) => executable(&asked, entry),
            None => Err(Problem::new(format!(
                "the image has no {}",
                asked.display()
            ))),
        });
    }
    let mut refused = None;
    for folder in path.split(':') {
        let folder = if folder.is_empty() { dir } else { folder };
        let asked = Path::new(dir).join(folder).join(name);
        let Some(entry) = tree.lookup(&asked)? else {
            continue;
        };
        match executable(&asked, entry) {
            Ok(entry) => return Ok(Ok(entry)),
            Err(problem) => refused = Some(problem),
        }
    }
    let unknown = || {
        Problem::new(format!("the image has no program {name:?} (in {path})"))
            .help("add its package to `packages`, or copy it there")
    };
    Ok(Err(refused.unwrap_or_else(unknown)))
}

fn executable(asked: &Path, entry: Entry) -> Result<Entry, Problem> {
    let shown = asked.display();
    if entry.metadata.kind != Kind::File {
        return Err(Problem::new(format!("{shown} is not a file")));
    }
    if entry.metadata.mode & 0o111 == 0 {
        return Err(Problem::new(format!("{shown} is not executable"))
            .help("chmod +x the file, or give `mode = \"0755\"` where it is copied"));
    }
    Ok(entry)
}

fn head(entry: &Entry) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    entry
        .open()
        .ok()?
        .take(MAX_SHEBANG as u64)
        .read_to_end(&mut head)
        .ok()?;
    Some(head)
}

/// The interpreter of a script.
fn shebang(head: &[u8]) -> Option<&[u8]> {
    let line = head.strip_prefix(b"#!")?;
    let line = line.split(|byte| *byte == b'\n').next()?.trim_ascii();
    line.split(|byte| matches!(byte, b' ' | b'\t'))
        .next()
        .filter(|path| !path.is_empty())
}

/// What is missing of the loader and the libraries of a program.
fn libraries(tree: &Tree, shown: &str, entry: &Entry) -> Result<Option<Problem>, TreeError> {
    let Some(program) = read(entry) else {
        return Ok(None);
    };
    let missing = |what: &str| {
        Problem::new(format!(
            "{shown} can't be run: it needs {what}, which the image doesn't have"
        ))
    };
    if let Some(loader) = &program.interpreter
        && tree.lookup(&Path::new("/").join(loader))?.is_none()
    {
        return Ok(Some(missing(&loader.display().to_string()).help(
            "the program is for another base: build it statically, or take the base it was built on",
        )));
    }
    if program.interpreter.is_none() {
        return Ok(None);
    }
    let mut folders = configured(tree)?;
    let mut seen = BTreeSet::new();
    let mut todo = VecDeque::from([(program, entry.path.clone())]);
    while let Some((object, path)) = todo.pop_front() {
        // A search path of a program serves its libraries too, unless it is of
        // the newer kind; that difference is not worth a false alarm.
        let origin = path.parent().unwrap_or(Path::new("/"));
        folders.extend(object.search.iter().map(|folder| expand(folder, origin)));
        for name in &object.needed {
            if seen.len() == MAX_LIBRARIES || !seen.insert(name.clone()) {
                continue;
            }
            match find_library(tree, name, &folders)? {
                Some(library) => {
                    if let Some(object) = read(&library) {
                        todo.push_back((object, library.path));
                    }
                }
                None => {
                    let by = if path == entry.path {
                        String::new()
                    } else {
                        format!(" (for {})", path.display())
                    };
                    return Ok(Some(missing(&format!("{}{by}", name.display()))));
                }
            }
        }
    }
    Ok(None)
}

fn read(entry: &Entry) -> Option<Elf> {
    if entry.metadata.size > MAX_PROGRAM {
        return None;
    }
    elf::read(&entry.open().ok()?)
}

/// A library where the loader looks for it. One without a cache looks in fewer
/// places, so that what is not found here is not found there.
fn find_library(tree: &Tree, name: &Path, folders: &[PathBuf]) -> Result<Option<Entry>, TreeError> {
    if name.is_absolute() {
        return tree.lookup(name);
    }
    let usual = LIBRARY_FOLDERS.iter().map(Path::new);
    for folder in folders.iter().map(PathBuf::as_path).chain(usual) {
        if let Some(entry) = tree.lookup(&folder.join(name))? {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

/// `$ORIGIN` in a search path is the folder of the object itself.
fn expand(folder: &str, origin: &Path) -> PathBuf {
    let origin = origin.display().to_string();
    PathBuf::from(
        folder
            .replace("${ORIGIN}", &origin)
            .replace("$ORIGIN", &origin),
    )
}

/// The folders that `/etc/ld.so.conf` and its parts add; musl's file too.
fn configured(tree: &Tree) -> Result<Vec<PathBuf>, TreeError> {
    const LIMIT: u64 = 64 * 1024;
    let mut files = vec![PathBuf::from("/etc/ld.so.conf")];
    let parts = Path::new("/etc/ld.so.conf.d");
    files.extend(
        tree.entries(parts)?
            .unwrap_or_default()
            .iter()
            .map(|name| parts.join(name)),
    );
    let mut folders = Vec::new();
    for file in files {
        let text = match tree.lookup(&file)? {
            Some(entry) if entry.metadata.kind == Kind::File && entry.metadata.size <= LIMIT => {
                tree.read(&file, LIMIT)?.unwrap_or_default()
            }
            Some(_) | None => continue,
        };
        let text = String::from_utf8_lossy(&text).into_owned();
        let words = text.split([':', '\n', ' ']).map(str::trim);
        folders.extend(
            words
                .filter(|word| word.starts_with('/'))
                .map(PathBuf::from),
        );
    }
    Ok(folders)
}
