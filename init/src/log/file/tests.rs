//! Log files in a folder of their own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

fn plan(path: &Path, size: u64, count: u32) -> Plan {
    let mut wanted = Wanted::at(path.to_str().expect("text").to_owned());
    (wanted.size, wanted.count) = (size, count);
    Plan {
        wanted,
        group: None,
    }
}

fn write(file: &mut OpenFile, plan: &Plan, bytes: &[u8]) {
    file.write(plan, bytes, |error| panic!("{error}"))
        .expect("it is written");
}

/// A temporary folder without a link on its path.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().canonicalize().expect("it is there");
    (dir, path)
}

/// All that is kept, oldest first, and how many files it is in.
fn kept(path: &Path) -> (Vec<u8>, usize) {
    let old = |number: u32| PathBuf::from(format!("{}.{number}", path.display()));
    let numbers = (1..2000).take_while(|number| old(*number).exists());
    let mut files: Vec<PathBuf> = numbers.map(old).collect();
    files.reverse();
    files.push(path.to_owned());
    let bytes = files
        .iter()
        .flat_map(|file| fs::read(file).expect("a file"));
    (bytes.collect(), files.len())
}

#[test]
fn a_full_file_is_renamed_and_the_oldest_goes() {
    let (_dir, dir) = folder();
    let path = dir.join("log");
    let plan = plan(&path, 8, 2);
    let mut file = OpenFile::open(&plan).expect("a file");
    for line in ["one\n", "two\n", "three\n", "four\n", "five\n", "six\n"] {
        write(&mut file, &plan, line.as_bytes());
    }
    let text = |name: &str| fs::read_to_string(dir.join(name)).expect("a file");
    assert_eq!(text("log"), "six\n");
    assert_eq!(
        (text("log.1"), text("log.2")),
        ("five\n".into(), "four\n".into())
    );
    assert!(!dir.join("log.3").exists());
}

#[test]
fn without_old_ones_a_full_file_begins_anew() {
    let (_dir, dir) = folder();
    let path = dir.join("log");
    let plan = plan(&path, 8, 0);
    let mut file = OpenFile::open(&plan).expect("a file");
    write(&mut file, &plan, b"one\ntwo\nthree\n");
    assert_eq!(fs::read(&path).expect("a file"), b"three\n");
    assert_eq!(fs::read_dir(&dir).expect("a folder").count(), 1);
}

#[test]
fn a_file_goes_on_where_it_was_after_a_restart() {
    let (_dir, dir) = folder();
    let path = dir.join("log");
    let plan = plan(&path, 8, 5);
    for line in ["one\n", "two\n", "three\n"] {
        let mut file = OpenFile::open(&plan).expect("a file");
        write(&mut file, &plan, line.as_bytes());
    }
    assert_eq!(fs::read(&path).expect("a file"), b"three\n");
    assert_eq!(kept(&path), (b"one\ntwo\nthree\n".to_vec(), 2));
}

#[test]
fn a_file_that_somebody_emptied_is_not_full() {
    let (_dir, dir) = folder();
    let path = dir.join("log");
    let plan = plan(&path, 8, 5);
    let mut file = OpenFile::open(&plan).expect("a file");
    write(&mut file, &plan, b"one\ntwo\n");
    fs::write(&path, b"").expect("it is emptied");
    write(&mut file, &plan, b"three\n");
    assert_eq!(kept(&path), (b"three\n".to_vec(), 1));
}

#[test]
fn a_file_that_cannot_be_renamed_goes_on_and_says_so_once() {
    let (_dir, dir) = folder();
    let path = dir.join("log");
    let plan = plan(&path, 8, 1);
    let mut file = OpenFile::open(&plan).expect("a file");
    // A folder in the place of the old one can't be overwritten by a file.
    fs::create_dir_all(dir.join("log.1/full")).expect("a folder");
    let mut told = Vec::new();
    for line in ["one\n", "two\n", "three\n", "x\n"] {
        let written = file.write(&plan, line.as_bytes(), |error| told.push(error.to_string()));
        written.expect("it is written");
    }
    assert_eq!(fs::read(&path).expect("a file"), b"one\ntwo\nthree\nx\n");
    let [one] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert!(
        one.starts_with("cannot rename ") && one.contains("log: "),
        "{one}"
    );
}

#[test]
fn no_link_and_nothing_but_a_file_of_one_name_is_written_to() {
    let (_dir, dir) = folder();
    let other = dir.join("other");
    fs::write(&other, "dear").expect("write");
    fs::create_dir(dir.join("real")).expect("a folder");
    symlink("real", dir.join("linked")).expect("a link");
    symlink("other", dir.join("link")).expect("a link");
    symlink("nowhere", dir.join("dangling")).expect("a link");
    fs::hard_link(&other, dir.join("twin")).expect("a second name");
    unistd::mkfifo(&dir.join("fifo"), Mode::S_IRWXU).expect("a fifo");
    for (name, reason) in [
        ("linked/log", "a symbolic link is not followed"),
        ("link", "a symbolic link is not followed"),
        ("dangling", "a symbolic link is not followed"),
        ("twin", "it has a second name"),
        ("fifo", "it is no regular file"),
        ("real", "is a directory"),
        ("missing/log", "no such file"),
    ] {
        let error = OpenFile::open(&plan(&dir.join(name), 8, 1)).expect_err(name);
        assert!(error.to_string().contains(reason), "{name}: {error}");
    }
    assert_eq!(fs::read(&other).expect("a file"), b"dear");
    assert!(!dir.join("nowhere").exists());
}

#[test]
fn a_new_file_is_read_by_the_group_and_by_nobody_else() {
    let (_dir, dir) = folder();
    let path = dir.join("log");
    OpenFile::open(&plan(&path, 8, 1)).expect("a file");
    let mode = fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o137, 0, "{mode:o}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn rotation_never_loses_a_byte_and_never_cuts_a_line(
        writes in prop::collection::vec(prop::collection::vec(0_usize..40, 1..8), 1..20),
        size in 1_u64..100,
        reopen in any::<bool>(),
    ) {
        let (_dir, dir) = folder();
        let path = dir.join("log");
        let plan = plan(&path, size, 1000);
        let mut file = OpenFile::open(&plan).expect("a file");
        let mut all = Vec::new();
        for (number, lengths) in (0_u8..).zip(&writes) {
            let mut bytes = Vec::new();
            for length in lengths {
                bytes.extend(std::iter::repeat_n(b'a' + number, *length));
                bytes.push(b'\n');
            }
            write(&mut file, &plan, &bytes);
            all.extend(bytes);
            if reopen {
                file = OpenFile::open(&plan).expect("a file");
            }
        }
        let (bytes, files) = kept(&path);
        prop_assert_eq!(bytes, all);
        for number in 1..files {
            let old = fs::read(format!("{}.{number}", path.display())).expect("a file");
            prop_assert!(old.ends_with(b"\n"));
            let lines = old.iter().filter(|byte| **byte == b'\n').count();
            prop_assert!(u64::try_from(old.len()).expect("small") <= size || lines == 1);
        }
    }
}
