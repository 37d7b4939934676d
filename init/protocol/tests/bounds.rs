//! The bounds of what a file may say: what lies just within is read, what lies
//! just past is refused.

use holdall_protocol::decode::MAX_TEXT;
use holdall_protocol::{Manifest, Reader, diagnostic};

fn read(text: &str) -> Result<Manifest, String> {
    let read = Manifest::from_toml(text, Reader::Builder);
    read.map_err(|errors| diagnostic::render("holdall.toml", text, &errors))
}

/// A daemon with one more line.
fn daemon(line: &str) -> String {
    format!("[service.a]\ncommand = 'a'\n{line}\n")
}

/// The text that `write` makes of `within` is read, and that of `past` refused.
#[track_caller]
fn bound<T: std::fmt::Debug>(write: impl Fn(&T) -> String, within: &[T], past: &[T]) {
    for value in within {
        if let Err(shown) = read(&write(value)) {
            panic!("{value:?}: {shown}");
        }
    }
    for value in past {
        assert!(read(&write(value)).is_err(), "{value:?} is read");
    }
}

#[test]
fn the_name_of_an_image() {
    let long = |length| "a".repeat(length);
    bound(
        |name: &String| format!("name = '{name}'\n"),
        &[long(128), "a-b_c.d/0".into()],
        &[
            long(129),
            "-a".into(),
            "a-".into(),
            "a/".into(),
            "a:b".into(),
        ],
    );
}

#[test]
fn the_name_of_a_socket() {
    let long = |length| "a".repeat(length);
    bound(
        |name: &String| daemon(&format!("listen = ['{name}=8000']")),
        &[long(63), "A-b_c.0".into()],
        &[long(64), String::new(), "a b".into(), "ä".into()],
    );
}

#[test]
fn the_path_of_a_socket() {
    let path = |length: usize| format!("/{}", "a".repeat(length - 1));
    for write in [
        |path: &String| daemon(&format!("listen = ['a={path}']")),
        |path: &String| {
            daemon(&format!(
                "health = {{ http = {{ url = ':80/', unix = '{path}' }} }}"
            ))
        },
    ] {
        bound(write, &[path(107)], &[path(108)]);
    }
    bound(
        |path: &&str| daemon(&format!("listen = [\"a={path}\"]")),
        &["/a"],
        &["/a\\u0000b"],
    );
}

#[test]
fn the_owner_of_a_socket() {
    bound(
        |owner: &&str| {
            daemon(&format!(
                "listen = [{{ name = 'a', at = '/run/a', owner = \"{owner}\" }}]"
            ))
        },
        &["a", "a:b", "0:0", "www-data"],
        &[
            "", ":", "a:", ":b", "a:b:c", "a b", "a\\u0007", "a/b", "a,b",
        ],
    );
}

#[test]
fn the_pattern_of_a_ready_line() {
    let long = |length| "a".repeat(length);
    bound(
        |pattern: &String| daemon(&format!("ready = {{ log = \"{pattern}\" }}")),
        &[long(1024)],
        &[long(1025), String::new(), "a\\nb".into()],
    );
}

#[test]
fn the_descriptor_of_readiness_lies_past_those_of_the_sockets() {
    bound(
        |fd: &u32| daemon(&format!("listen = ['a=1', 'b=2']\nready = {{ fd = {fd} }}")),
        &[5, 63],
        &[2, 3, 4, 64],
    );
}

#[test]
fn a_umask_has_one_to_four_octal_digits() {
    bound(
        |umask: &&str| daemon(&format!("umask = '{umask}'")),
        &["0", "22", "0777"],
        &["", "00022", "8", "1777", "+22"],
    );
}

#[test]
fn a_hard_limit_is_no_lower_than_the_soft_one() {
    bound(
        |(soft, hard): &(&str, &str)| {
            daemon(&format!(
                "limits = {{ nofile = {{ soft = {soft}, hard = {hard} }} }}"
            ))
        },
        &[
            ("64", "64"),
            ("64", "65"),
            ("64", "'unlimited'"),
            ("'unlimited'", "'unlimited'"),
        ],
        &[("65", "64"), ("'unlimited'", "64")],
    );
}

#[test]
fn the_least_of_memory_and_of_a_processor() {
    bound(
        |limit: &&str| daemon(&format!("limits = {{ {limit} }}")),
        &["memory = '1M'", "cpu = 0.01", "cpu = 1", "cpu = '1.5'"],
        &[
            "memory = 1048575",
            "memory = '+4M'",
            "memory = '4.+4M'",
            "cpu = 0.009",
            "cpu = 0x1",
        ],
    );
}

#[test]
fn the_least_size_of_a_log_file() {
    bound(
        |size: &u32| daemon(&format!("log = {{ file = '/a', size = {size} }}")),
        &[65_536],
        &[65_535],
    );
}

#[test]
fn the_shortest_schedule() {
    bound(
        |when: &&str| format!("[service.a]\ntype = 'job'\ncommand = 'a'\nschedule = '{when}'\n"),
        &["@every 1s", "5/10 * * * *", "05 * * * *"],
        &["@every 999ms", "005 * * * *", "+5 * * * *"],
    );
}

#[test]
fn the_length_of_a_file() {
    let long = |length: usize| {
        let text = daemon("");
        format!("{text}#{}", "x".repeat(length - text.len() - 1))
    };
    bound(|length: &usize| long(*length), &[MAX_TEXT], &[MAX_TEXT + 1]);
    let refused = read(&long(MAX_TEXT + 1)).expect_err("too long");
    assert!(refused.contains("longer than 4 MiB"), "{refused}");
}
