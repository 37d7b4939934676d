//! `listen`: sockets that outlive their service.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::world::{Setup, program};

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// One question to the server: the number of the process that answered.
fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(b"?\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.is_empty() {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}

/// Asks without a pause while the service is restarted: who answered, and how
/// many questions were lost.
fn restart_under_load(config: &str, port: u16) -> (usize, usize) {
    let mut init = Setup::new(config).start();
    init.wait_for("serves");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let done = AtomicBool::new(false);
    let (answers, lost) = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let (mut answers, mut lost) = (std::collections::BTreeSet::new(), 0);
            while !done.load(Ordering::Relaxed) {
                match ask(address) {
                    Ok(answer) => drop(answers.insert(answer)),
                    Err(_) => lost += 1,
                }
            }
            (answers, lost)
        });
        let mut place = init.wait_from(0, "serves");
        for _ in 0..3 {
            init.ask_ok(&["restart", "app"]);
            place = init.wait_from(place, "serves");
        }
        done.store(true, Ordering::Relaxed);
        load.join().expect("no panic")
    });
    assert_eq!(init.stop(), Some(0));
    (answers.len(), lost)
}

#[test]
fn no_connection_is_lost_over_a_restart_and_without_listen_some_are() {
    let server = program("server.py");
    let port = free_port();
    let health = format!(r#"health = {{ tcp = {port}, interval = "50ms" }}"#);
    let held = format!(
        "[service.app]\ncommand = \"/usr/bin/python3 {server}\"\nlisten = [\"http={port}\"]\n{health}\n"
    );
    let (servers, lost) = restart_under_load(&held, port);
    assert!(servers >= 2, "the load did not go on over a restart");
    assert_eq!(lost, 0);
    let own = format!("[service.app]\ncommand = \"/usr/bin/python3 {server} {port}\"\n{health}\n");
    let (_, lost) = restart_under_load(&own, port);
    assert!(lost > 0, "the load was too thin to show anything");
}

#[test]
fn sockets_come_with_their_names_and_the_services_own_number() {
    let setup = Setup::without_config();
    let path = setup.path("api.sock");
    let (one, two) = (free_port(), free_port());
    std::fs::write(&path, "").expect("write");
    std::fs::remove_file(&path).expect("remove");
    let config = format!(
        r#"
        [service.app]
        command = "/usr/bin/python3 {}"
        listen = ["a={one}", "b=127.0.0.1:{two}", "c={path}"]
        "#,
        program("listening.py")
    );
    std::fs::write(setup.path("holdall.toml"), config).expect("write");
    let file = setup.path("holdall.toml");
    let mut init = setup.args(&["--config", &file]).start();
    init.wait_for("pid is own: True");
    init.wait_for("names a:b:c");
    init.wait_for(&format!("3 :: {one}"));
    init.wait_for(&format!("4 127.0.0.1 {two}"));
    init.wait_for(&format!("5 {path}"));
    init.wait_for("blocking: True True True");
    UnixStream::connect(&path).expect("anybody may connect");
    assert_eq!(init.stop(), Some(0));
    assert!(!std::path::Path::new(&path).exists());
}
