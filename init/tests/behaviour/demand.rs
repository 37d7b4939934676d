//! `start = "on-demand"`: services that the first connection starts.

use std::fs;
use std::net::{TcpListener, TcpStream};

use holdall_protocol::control::State;

use crate::sockets::{LONG, Place, free_port};
use crate::world::{Init, Setup, eventually, program};

fn state(init: &Init) -> State {
    let services = init.status().services;
    services.first().expect("there is one").state
}

fn until(init: &Init, wanted: State) {
    eventually("its state has changed", || {
        (state(init) == wanted).then_some(())
    });
}

fn config(place: &Place, more: &str) -> String {
    format!(
        "[service.app]\ncommand = \"/usr/bin/python3 {}\"\nlisten = [\"{}\"]\n\
         start = \"on-demand\"\n{more}\n",
        program("server.py"),
        place.listen()
    )
}

/// How often a process was given a processor.
fn turns(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("it lives");
    let turns = stat.split_whitespace().nth(2).expect("three numbers");
    turns.parse().expect("a number")
}

#[test]
fn the_first_connection_or_datagram_starts_it_and_is_answered() {
    let setup = Setup::without_config();
    let path = setup.path("it.sock");
    for place in [
        Place::Tcp(free_port()),
        Place::Udp(free_port()),
        Place::Unix(path),
    ] {
        let mut init = Setup::new(&config(&place, "")).start();
        init.wait_for_socket();
        until(&init, State::Listening);
        assert!(init.ask(&["health", "--ready"]).status.success());
        let first = place.ask(LONG).expect("an answer");
        assert_eq!(state(&init), State::Ready);
        assert_eq!(place.ask(LONG).expect("an answer"), first, "it goes on");
        assert_eq!(init.stop(), Some(0));
    }
}

#[test]
fn one_that_ended_well_is_started_by_the_next_connection() {
    let place = Place::Tcp(free_port());
    let more = "env = { ANSWERS = \"1\" }\nbackoff = { initial = \"10ms\" }\n\
                give_up = { failures = 2 }";
    let mut init = Setup::new(&config(&place, more)).start();
    init.wait_for_socket();
    let mut servers = std::collections::BTreeSet::new();
    for _ in 0..5 {
        servers.insert(place.ask(LONG).expect("an answer"));
    }
    assert_eq!(servers.len(), 5, "each answered once");
    until(&init, State::Listening);
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn while_it_is_in_backoff_who_waits_wakes_nobody_up() {
    let port = free_port();
    let config = format!(
        "[service.app]\ncommand = \"false\"\nlisten = [\"it={port}\"]\nstart = \"on-demand\"\n\
         backoff = {{ initial = \"1h\", max = \"1h\" }}\n"
    );
    let mut init = Setup::new(&config).start();
    init.wait_for_socket();
    until(&init, State::Listening);
    let waiting = TcpStream::connect(("127.0.0.1", port)).expect("it is open");
    until(&init, State::Backoff);
    let pid = init.pid();
    // Once it is at rest after the last question, nothing stirs it.
    eventually("it has slept through two hundred looks at it", || {
        let before = turns(pid);
        for _ in 0..200 {
            let _ = nix::poll::poll(&mut [], nix::poll::PollTimeout::from(5_u8));
        }
        (turns(pid) == before).then_some(())
    });
    drop(waiting);
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_crash_loop_is_given_up_though_connections_wait() {
    let port = free_port();
    let config = format!(
        "[service.app]\ncommand = \"sh -c 'exit 9'\"\nlisten = [\"it={port}\"]\n\
         start = \"on-demand\"\nbackoff = {{ initial = \"10ms\" }}\ngive_up = {{ failures = 3 }}\n"
    );
    let mut init = Setup::new(&config).start();
    init.wait_for_socket();
    until(&init, State::Listening);
    let waiting = TcpStream::connect(("127.0.0.1", port)).expect("it is open");
    assert_eq!(init.wait().0.code(), Some(9));
    assert_eq!(
        init.seen.matches("ended with exit 9").count(),
        3,
        "{}",
        init.seen
    );
    drop(waiting);
}

#[test]
fn one_that_a_client_stopped_is_not_started_by_a_connection() {
    let place = Place::Tcp(free_port());
    let mut init = Setup::new(&config(&place, "")).start();
    init.wait_for_socket();
    let first = place.ask(LONG).expect("an answer");
    init.ask_ok(&["stop", "app"]);
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| place.ask(LONG));
        // Nothing says that it waits; but a start by it would show here.
        init.ask_ok(&["ps"]);
        assert_eq!(state(&init), State::Stopped);
        init.ask_ok(&["start", "app"]);
        let second = answer.join().expect("no panic").expect("an answer");
        assert_ne!(first, second);
    });
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_socket_that_can_not_be_opened_is_a_failed_start() {
    let taken = TcpListener::bind("[::]:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let more = "give_up = { failures = 1 }";
    let mut init = Setup::new(&config(&Place::Tcp(port), more)).start();
    init.wait_for(&format!(
        "cannot listen on port {port}: address already in use"
    ));
    assert_eq!(init.wait().0.code(), Some(125));
}

#[test]
fn after_a_reload_it_waits_at_the_sockets_that_it_has_now() {
    let port = free_port();
    // The kernel may give the same one again.
    let other = std::iter::repeat_with(free_port).find(|other| *other != port);
    let (old, new) = (Place::Tcp(port), Place::Tcp(other.expect("another")));
    let mut init = Setup::new(&config(&old, "")).start();
    init.wait_for_socket();
    until(&init, State::Listening);
    fs::write(init.path("holdall.toml"), config(&new, "")).expect("write");
    init.ask_ok(&["reload"]);
    assert_eq!(state(&init), State::Listening);
    old.ask(LONG).expect_err("it is closed");
    new.ask(LONG).expect("an answer");
    assert_eq!(init.stop(), Some(0));
}
