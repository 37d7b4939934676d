//! Sockets that init is handed from outside, by LISTEN_FDS.

use crate::sockets::free_port;
use crate::world::{Init, Setup, program};

/// An init that was handed sockets, with two services: `app` takes those of the
/// outside, and `other` does not.
fn handed(outer: &[&str], env: &[(&str, &str)]) -> (Init, [u16; 3]) {
    let ports = [free_port(), free_port(), free_port()];
    let [one, two, three] = ports;
    let config = format!(
        r#"
        [service.app]
        command = "/usr/bin/python3 {program}"
        listen = ["a={one}", "b={two}"]
        handoff = true
        [service.other]
        command = "/usr/bin/python3 {program}"
        listen = ["c={three}"]
        "#,
        program = program("listening.py")
    );
    let outside = program("outside.py");
    let mut words = vec!["/usr/bin/python3", outside.as_str()];
    words.extend(outer);
    let mut setup = Setup::new(&config).by(&words);
    for (name, value) in env {
        setup = setup.env(name, value);
    }
    (setup.start(), ports)
}

#[test]
fn a_service_that_asks_for_them_gets_them_beside_its_own_under_the_same_names() {
    let outer = free_port();
    let (mut init, [one, two, three]) = handed(&[&format!("b={outer}")], &[]);
    init.wait_for("app   | names a:b:b");
    init.wait_for(&format!("app   | 3 :: {one}"));
    init.wait_for(&format!("app   | 4 :: {two}"));
    init.wait_for(&format!("app   | 5 127.0.0.1 {outer}"));
    init.wait_for(&format!("other | 3 :: {three}"));
    let at = init.seen.len();
    init.ask_ok(&["restart", "app"]);
    init.wait_from(at, "names a:b:b");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn those_without_names_are_taken_in_the_order_of_the_manifest() {
    let (first, second) = (free_port(), free_port());
    let outer = [format!("x={first}"), format!("y={second}")];
    let outer: Vec<&str> = outer.iter().map(String::as_str).collect();
    let (mut init, _) = handed(&outer, &[("LISTEN_FDNAMES", "unknown:")]);
    init.wait_for("names a:b:a:b");
    init.wait_for(&format!("5 127.0.0.1 {first}"));
    init.wait_for(&format!("6 127.0.0.1 {second}"));
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn one_that_no_service_asks_for_is_said_and_closed() {
    let outer = free_port();
    let (mut init, _) = handed(&[&format!("c={outer}")], &[]);
    init.wait_for("no service has both `handoff` and a socket named \"c\"");
    init.wait_for("app   | names a:b\n");
    init.wait_for("other | names c\n");
    std::net::TcpStream::connect(("127.0.0.1", outer)).expect_err("nobody would answer");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn those_that_are_for_another_process_are_refused_and_said() {
    let outer = free_port();
    let (mut init, _) = handed(&[&format!("a={outer}")], &[("LISTEN_PID", "1")]);
    init.wait_for("cannot take the sockets of LISTEN_FDS: they are for process 1, and this is ");
    init.wait_for("app   | names a:b\n");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_number_that_is_not_open_refuses_them_all() {
    let outer = free_port();
    let (mut init, _) = handed(&[&format!("a={outer}"), "b=-"], &[]);
    init.wait_for("cannot take the sockets of LISTEN_FDS: descriptor 4 is not open");
    init.wait_for("app   | names a:b\n");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_name_that_could_forge_a_line_is_refused() {
    let outer = free_port();
    let (mut init, _) = handed(&[&format!("a={outer}")], &[("LISTEN_FDNAMES", "a\nforged")]);
    init.wait_for(r#"LISTEN_FDS: "a\nforged" can't be the name of one"#);
    init.wait_for("app   | names a:b\n");
    assert_eq!(init.stop(), Some(0));
}
