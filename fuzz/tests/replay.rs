//! Every input that the fuzzer found worth keeping, through the function it
//! was found for.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use holdall_fuzz::TARGETS;

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn replay(name: &str) {
    let run = holdall_fuzz::named(name);
    let mut files: Vec<PathBuf> = fs::read_dir(corpus().join(name))
        .expect("the target has a corpus")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{name} has no input");
    for file in files {
        let bytes = fs::read(&file).expect("an input");
        let outcome = catch_unwind(AssertUnwindSafe(|| run(&bytes)));
        assert!(outcome.is_ok(), "{} breaks {name}", file.display());
    }
}

/// One test a target, so that they run beside each other.
macro_rules! replay {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*

        const REPLAYED: &[&str] = &[$(stringify!($name)),*];
    };
}

replay! {
    accounts archive documents elf entries frames holdall_toml http_request init_log layer
    layout logs notices oci_config packages reference seccomp supervise supervisord
}

#[test]
fn every_target_is_replayed_and_fuzzed() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|t| t.name.to_owned()).collect();
    let replayed = REPLAYED.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(targets, replayed);
    let names = |dir: PathBuf| -> BTreeSet<String> {
        fs::read_dir(dir)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
            .map(|path| {
                path.file_stem()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned()
            })
            .collect()
    };
    assert_eq!(targets, names(corpus()));
    let fuzzed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("libfuzzer/fuzz_targets");
    assert_eq!(targets, names(fuzzed));
}
