//! `listen`: sockets that outlive their service.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::world::{Init, Setup, eventually, program};

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Where the test's server answers.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Tcp(u16),
    Udp(u16),
    Unix(String),
}

impl Place {
    fn loopback(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// As `listen` has it.
    pub(crate) fn listen(&self) -> String {
        match self {
            Self::Tcp(port) => format!("it={port}"),
            Self::Udp(port) => format!("it={port}/udp"),
            Self::Unix(path) => format!("it={path}"),
        }
    }

    /// As arguments of the server.
    fn own(&self) -> String {
        match self {
            Self::Tcp(port) => format!("tcp {port}"),
            Self::Udp(port) => format!("udp {port}"),
            Self::Unix(path) => format!("unix {path}"),
        }
    }

    /// One question to the server: the number of the process that answered.
    pub(crate) fn ask(&self, wait: Duration) -> std::io::Result<String> {
        let mut answer = String::new();
        match self {
            Self::Tcp(port) => {
                let mut stream = TcpStream::connect(Self::loopback(*port))?;
                stream.set_read_timeout(Some(wait))?;
                stream.write_all(b"?\n")?;
                stream.read_to_string(&mut answer)?;
            }
            Self::Unix(path) => {
                let mut stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(wait))?;
                stream.write_all(b"?\n")?;
                stream.read_to_string(&mut answer)?;
            }
            Self::Udp(port) => {
                let socket = UdpSocket::bind("127.0.0.1:0")?;
                socket.connect(Self::loopback(*port))?;
                socket.set_read_timeout(Some(wait))?;
                socket.send(b"?")?;
                let mut bytes = [0; 32];
                let count = socket.recv(&mut bytes)?;
                answer =
                    String::from_utf8_lossy(bytes.get(..count).unwrap_or_default()).into_owned();
            }
        }
        if answer.is_empty() {
            return Err(Error::from(ErrorKind::UnexpectedEof));
        }
        Ok(answer)
    }
}

/// Longer than an answer takes that comes at all.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// Asks without a pause while the service is restarted, each time until the new
/// one has answered: how many questions were lost.
fn lost_over_restarts(setup: Setup, config: &str, place: &Place, wait: Duration) -> usize {
    let mut init = begin(setup, config);
    init.wait_for("serves");
    let done = AtomicBool::new(false);
    let servers = Mutex::new(BTreeSet::new());
    let known = || servers.lock().expect("no panic").len();
    let lost = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut lost = 0;
            while !done.load(Ordering::Relaxed) {
                match place.ask(wait) {
                    Ok(answer) => drop(servers.lock().expect("no panic").insert(answer)),
                    Err(_) => lost += 1,
                }
            }
            lost
        });
        for round in 0..=3 {
            if round > 0 {
                init.ask_ok(&["restart", "app"]);
            }
            eventually("the new server answers", || (known() > round).then_some(()));
        }
        done.store(true, Ordering::Relaxed);
        load.join().expect("no panic")
    });
    assert_eq!(init.stop(), Some(0));
    lost
}

/// Starts an init with this file in the folder of a setup.
fn begin(setup: Setup, config: &str) -> Init {
    let path = setup.path("holdall.toml");
    fs::write(&path, config).expect("write");
    setup.args(&["--config", &path]).start()
}

fn nothing_is_lost(place: impl Fn(&Setup) -> Place) {
    let server = program("server.py");
    let setup = Setup::without_config();
    let at = place(&setup);
    let listen = at.listen();
    let held = format!(
        "[service.app]\ncommand = \"/usr/bin/python3 {server}\"\nlisten = [\"{listen}\"]\n"
    );
    assert_eq!(lost_over_restarts(setup, &held, &at, LONG), 0);
    let setup = Setup::without_config();
    let at = place(&setup);
    let own = at.own();
    let own = format!("[service.app]\ncommand = \"/usr/bin/python3 {server} {own}\"\n");
    let lost = lost_over_restarts(setup, &own, &at, Duration::from_secs(1));
    assert!(lost > 0, "the load was too thin to show anything");
}

#[test]
fn no_connection_is_lost_over_a_restart_and_without_listen_some_are() {
    nothing_is_lost(|_| Place::Tcp(free_port()));
}

#[test]
fn no_connection_to_a_unix_socket_is_lost_over_a_restart_and_without_listen_some_are() {
    nothing_is_lost(|setup| Place::Unix(setup.path("it.sock")));
}

#[test]
fn no_datagram_is_lost_over_a_restart_and_without_listen_some_are() {
    nothing_is_lost(|_| Place::Udp(free_port()));
}

#[test]
fn sockets_come_with_their_names_and_the_services_own_number() {
    let setup = Setup::without_config();
    let path = setup.path("api.sock");
    let (one, two, three) = (free_port(), free_port(), free_port());
    let config = format!(
        r#"
        [service.app]
        command = "/usr/bin/python3 {}"
        listen = ["a={one}", "b=127.0.0.1:{two}", "c={path}", "d={three}/udp"]
        "#,
        program("listening.py")
    );
    let mut init = begin(setup, &config);
    init.wait_for("pid is own: True");
    init.wait_for("names a:b:c:d");
    init.wait_for(&format!("3 :: {one}"));
    init.wait_for(&format!("4 127.0.0.1 {two}"));
    init.wait_for(&format!("5 {path}"));
    init.wait_for(&format!("6 :: {three}"));
    init.wait_for("6 is SOCK_DGRAM");
    init.wait_for("blocking: True True True True");
    UnixStream::connect(&path).expect("anybody may connect");
    assert_eq!(init.stop(), Some(0));
    assert!(!Path::new(&path).exists());
}

#[test]
fn one_port_can_be_a_socket_of_each_family() {
    let port = free_port();
    let config = format!(
        r#"
        [service.app]
        command = "/usr/bin/python3 {}"
        listen = ["four=0.0.0.0:{port}", "six=[::]:{port}", "u4=0.0.0.0:{port}/udp", "u6=[::]:{port}/udp"]
        "#,
        program("listening.py")
    );
    let mut init = Setup::new(&config).start();
    init.wait_for(&format!("3 0.0.0.0 {port}"));
    init.wait_for(&format!("4 :: {port}"));
    init.wait_for("blocking:");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_port_that_may_be_reused_can_be_another_programs_too() {
    for reuse in [true, false] {
        let port = free_port();
        let config = format!(
            "[service.app]\ncommand = \"sleep 1000\"\ngive_up = {{ failures = 1 }}\n\
             listen = [{{ name = \"it\", at = \"127.0.0.1:{port}\", reuse_port = {reuse} }}]\n"
        );
        let mut first = Setup::new(&config).start();
        first.wait_for("ready after");
        let mut second = Setup::new(&config).start();
        if reuse {
            second.wait_for("ready after");
            assert_eq!(second.stop(), Some(0));
        } else {
            let said = format!("cannot listen on 127.0.0.1:{port}: address already in use");
            second.wait_for(&said);
            assert_eq!(second.wait().0.code(), Some(125));
        }
        assert_eq!(first.stop(), Some(0));
    }
}

#[test]
fn the_file_of_a_unix_socket_has_the_mode_and_the_owner_of_the_manifest() {
    let setup = Setup::without_config();
    let (plain, said) = (setup.path("plain.sock"), setup.path("said.sock"));
    let config = format!(
        r#"
        [service.app]
        command = "sleep 1000"
        listen = ["plain={plain}", {{ name = "said", at = "{said}", mode = "0660", owner = "daemon:adm" }}]
        "#
    );
    let path = setup.path("holdall.toml");
    fs::write(&path, &config).expect("write");
    let setup = setup.by(&["sh", "-c", "umask 077; exec \"$@\"", "sh"]);
    let mut init = setup.args(&["--config", &path]).start();
    init.wait_for("ready after");
    let of = |path: &str| {
        let found = fs::symlink_metadata(path).expect("it is there");
        assert!(found.file_type().is_socket());
        (
            found.permissions().mode() & 0o7777,
            found.uid(),
            found.gid(),
        )
    };
    assert_eq!(of(&plain), (0o666, 0, 0));
    assert_eq!(of(&said), (0o660, 1, 4));
    // What is changed by a reload is changed, and the socket stays.
    let before = fs::symlink_metadata(&said).expect("it is there").ino();
    let config = config.replace("0660", "0606").replace("daemon:adm", "adm");
    fs::write(&path, config.replace("adm", "bin")).expect("write");
    init.ask_ok(&["reload"]);
    eventually("the service is there again", || {
        (of(&said) == (0o606, 2, 2)).then_some(())
    });
    assert_eq!(
        fs::symlink_metadata(&said).expect("it is there").ino(),
        before
    );
    assert_eq!(init.stop(), Some(0));
    assert!(!Path::new(&plain).exists() && !Path::new(&said).exists());
}

#[test]
fn an_owner_who_does_not_exist_is_said_and_nothing_is_left() {
    let setup = Setup::without_config();
    let path = setup.path("it.sock");
    let config = format!(
        "[service.app]\ncommand = \"sleep 1000\"\ngive_up = {{ failures = 1 }}\n\
         listen = [{{ name = \"it\", at = \"{path}\", owner = \"nobody-at-all\" }}]\n"
    );
    let mut init = begin(setup, &config);
    init.wait_for("cannot find user \"nobody-at-all\"");
    assert_eq!(init.wait().0.code(), Some(125));
    assert!(!Path::new(&path).exists());
}

#[test]
fn a_socket_file_whose_owner_is_dead_is_replaced_and_one_that_answers_is_an_error() {
    let setup = Setup::without_config();
    let (path, file) = (setup.path("it.sock"), setup.path("file"));
    let config = |path: &str| {
        format!(
            "[service.app]\ncommand = \"sleep 1000\"\ngive_up = {{ failures = 1 }}\n\
             listen = [\"it={path}\"]\n"
        )
    };
    // Its file stays when it is closed.
    drop(UnixListener::bind(&path).expect("bind"));
    let mut init = begin(setup, &config(&path));
    init.wait_for("ready after");
    UnixStream::connect(&path).expect("it is replaced");
    let mut other = begin(Setup::without_config(), &config(&path));
    other.wait_for(&format!(
        "cannot listen on {path}: another program answers there"
    ));
    assert_eq!(other.wait().0.code(), Some(125));
    UnixStream::connect(&path).expect("the first goes on");
    fs::write(&file, "precious").expect("write");
    let mut other = begin(Setup::without_config(), &config(&file));
    other.wait_for("a file that is no socket is in its place");
    assert_eq!(other.wait().0.code(), Some(125));
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "precious");
    // Somebody else's by now: it is not removed.
    fs::remove_file(&path).expect("remove");
    let mine = UnixListener::bind(&path).expect("bind");
    assert_eq!(init.stop(), Some(0));
    assert!(Path::new(&path).exists());
    drop(mine);
}

#[test]
fn as_many_connections_wait_as_the_backlog_says() {
    let setup = Setup::without_config();
    let (few, many) = (setup.path("few.sock"), setup.path("many.sock"));
    let config = format!(
        r#"
        [service.app]
        command = "sleep 1000"
        listen = [{{ name = "few", at = "{few}", backlog = 1 }}, "many={many}"]
        "#
    );
    let mut init = begin(setup, &config);
    init.wait_for("ready after");
    let taken = |path: &str| {
        let connect = || {
            use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
            let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
            let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None).expect("a socket");
            let address = UnixAddr::new(path).expect("an address");
            connect(std::os::fd::AsRawFd::as_raw_fd(&fd), &address).ok()?;
            Some(fd)
        };
        let open: Vec<_> = (0..50).map_while(|_| connect()).collect();
        open.len()
    };
    // The kernel takes one more than it is told.
    assert_eq!((taken(&few), taken(&many)), (2, 50));
    assert_eq!(init.stop(), Some(0));
}

/// The sockets that a service was given, as the kernel numbers them.
fn given(init: &Init, service: &str, count: usize) -> Vec<String> {
    let pid = init.pid_of(service).expect("it runs");
    let link = |fd: usize| fs::read_link(format!("/proc/{pid}/fd/{fd}")).expect("it is open");
    let links = (3..3 + count).map(link);
    links
        .map(|link| link.to_string_lossy().into_owned())
        .collect()
}

#[test]
fn a_reload_that_changes_one_socket_opens_and_closes_only_that() {
    let (one, two, three) = (free_port(), free_port(), free_port());
    let config = |sockets: &str| {
        format!(
            "[service.app]\ncommand = \"sleep 1000\"\nlisten = [{sockets}]\n\
             [service.other]\ncommand = \"sleep 1000\"\n"
        )
    };
    let old = config(&format!("\"a={one}\", \"b={two}\""));
    let mut init = Setup::new(&old).start();
    init.wait_for("app: ready after");
    let before = given(&init, "app", 2);
    // Somebody waits at the one that stays.
    let waiting = TcpStream::connect(("127.0.0.1", one)).expect("connect");
    let new = config(&format!(
        "{{ name = \"renamed\", at = {one}, backlog = 9 }}, \"b={three}\""
    ));
    fs::write(init.path("holdall.toml"), new).expect("write");
    let at = init.seen.len();
    init.ask_ok(&["reload"]);
    init.wait_from(at, "app: ready after");
    let after = given(&init, "app", 2);
    assert_eq!(before[0], after[0], "it is the same socket");
    assert_ne!(before[1], after[1]);
    TcpStream::connect(("127.0.0.1", two)).expect_err("it is closed");
    TcpStream::connect(("127.0.0.1", three)).expect("it is open");
    waiting.set_nonblocking(true).expect("a socket");
    let error = (&waiting).read(&mut [0; 1]).expect_err("it still waits");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_socket_goes_over_to_another_service_with_who_waits_at_it() {
    let port = free_port();
    let config = |with: &str, without: &str| {
        format!(
            "[service.{with}]\ncommand = \"/usr/bin/python3 {}\"\nlisten = [\"it={port}\"]\n\
             [service.{without}]\ncommand = \"sleep 1000\"\n",
            program("server.py")
        )
    };
    let mut init = Setup::new(&config("a", "b")).start();
    init.wait_for("serves");
    init.ask_ok(&["stop", "a"]);
    let place = Place::Tcp(port);
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| place.ask(LONG));
        fs::write(init.path("holdall.toml"), config("b", "a")).expect("write");
        init.ask_ok(&["reload"]);
        answer.join().expect("no panic").expect("it was answered");
    });
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn the_example_answers_over_a_restart_and_starts_what_is_rare_with_its_first_connection() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/sockets");
    let text = fs::read_to_string(format!("{example}/holdall.toml")).expect("it is there");
    let services = text.find("[service").expect("services");
    let setup = Setup::without_config();
    let (port, rare) = (free_port(), setup.path("rare.sock"));
    let text = text[services..]
        .replace("/srv/app", &format!("{example}/app"))
        .replace("/run/rare.sock", &rare)
        .replace("8000", &port.to_string())
        .replace("python3", "/usr/bin/python3 -B");
    let mut init = begin(setup, &text);
    init.wait_for_socket();
    let get = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(LONG))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer
            .split_once("\r\n\r\n")
            .ok_or(ErrorKind::InvalidData)?;
        Ok(body.to_owned())
    };
    let before = get().expect("an answer");
    assert!(before.starts_with("process "), "{before}");
    init.ask_ok(&["restart", "web"]);
    assert_ne!(get().expect("an answer"), before);
    assert_eq!(init.pid_of("rare"), None);
    let mut answer = String::new();
    let mut stream = UnixStream::connect(&rare).expect("it is open");
    stream.set_read_timeout(Some(LONG)).expect("a socket");
    stream.read_to_string(&mut answer).expect("an answer");
    assert_eq!(answer, "hello\n");
    assert!(init.pid_of("rare").is_some());
    assert_eq!(init.stop(), Some(0));
}
