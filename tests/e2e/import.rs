//! `holdall import`: a supervisord.conf becomes a holdall.toml.

use std::path::Path;

use holdall_protocol::{Manifest, Reader};

use crate::env::Env;

fn example() -> &'static Path {
    Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/from-supervisord"
    ))
}

#[test]
fn the_example_is_what_import_makes_of_it() {
    let env = Env::new();
    let made = env.run([
        "import".as_ref(),
        example().join("supervisord.conf").as_os_str(),
    ]);
    let stdout = made.out.clone();
    // It has an event listener, which is refused.
    let stderr = made.fails(1);
    assert!(
        stderr.contains("[eventlistener:fatal] is refused"),
        "{stderr}"
    );
    assert!(stderr.contains("`essential = true`"), "{stderr}");
    let written = std::fs::read_to_string(example().join("holdall.toml")).expect("the example");
    assert_eq!(
        stdout, written,
        "write it again: holdall import supervisord.conf > holdall.toml"
    );
    let manifest = Manifest::from_toml(&written, Reader::Design).expect("well-formed");
    assert_eq!(manifest.services.len(), 5);
}

#[test]
fn an_import_writes_a_new_file_and_says_what_is_wrong_with_its_line() {
    let env = Env::new();
    let dir = env.project("imported", "");
    let conf = dir.join("s.conf");
    std::fs::write(
        &conf,
        "[supervisord]\n[program:web]\ncommand = web -p %(ENV_PORT)s\n",
    )
    .expect("write");
    let out = dir.join("made.toml");
    let import = |extra: &[&str]| {
        let words = [
            "import",
            "-o",
            out.to_str().expect("text"),
            conf.to_str().expect("text"),
        ];
        env.run(words.iter().chain(extra))
    };
    let missing = import(&[]);
    let stderr = missing.fails(1);
    assert!(
        stderr.contains("s.conf:3:11: %(ENV_PORT) stands for nothing here"),
        "{stderr}"
    );
    assert!(!out.exists());
    assert_eq!(import(&["-e", "PORT=80"]).ok(), "");
    let made = std::fs::read_to_string(&out).expect("it is there");
    assert!(made.contains(r#"command = ["web", "-p", "80"]"#), "{made}");
    // What is there is not written over.
    let again = import(&["-e", "PORT=80"]).fails(1);
    assert!(again.contains("made.toml"), "{again}");
}

#[test]
fn a_file_without_an_end_is_no_configuration() {
    let env = Env::new();
    let refused = env.run(["import", "/dev/zero"]).fails(1);
    assert!(refused.contains("cannot read /dev/zero"), "{refused}");
}
