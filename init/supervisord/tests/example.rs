//! examples/from-supervisord, before and after.

use std::{fs, io};

use holdall_protocol::{Manifest, Reader};
use holdall_supervisord::{Files, Surroundings, read, to_toml};

const EXAMPLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../examples/from-supervisord"
);

struct Disk;

impl Files for Disk {
    fn read(&mut self, path: &str) -> io::Result<String> {
        fs::read_to_string(path)
    }

    fn names(&mut self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.collect()
    }
}

fn made() -> String {
    let around = Surroundings {
        folder: "/".to_owned(),
        host: "box".to_owned(),
        ..Surroundings::default()
    };
    let example = fs::canonicalize(EXAMPLE).expect("the example");
    let path = example.join("supervisord.conf");
    let converted = read(path.to_str().expect("text"), &mut Disk, &around);
    let converted = converted.expect("well-formed");
    assert_eq!(converted.listeners.len(), 1);
    to_toml(&converted, "supervisord.conf")
}

#[test]
fn the_example_is_what_the_conversion_makes_of_it() {
    let written = fs::read_to_string(format!("{EXAMPLE}/holdall.toml")).expect("the example");
    assert!(
        made() == written,
        "write it again: cargo test -p holdall-supervisord --test example -- --ignored"
    );
    let manifest = Manifest::from_toml(&written, Reader::Design).expect("well-formed");
    assert_eq!(manifest.services.len(), 5);
}

#[test]
#[ignore = "it writes examples/from-supervisord/holdall.toml"]
fn write_the_example() {
    fs::write(format!("{EXAMPLE}/holdall.toml"), made()).expect("it can be written");
}
