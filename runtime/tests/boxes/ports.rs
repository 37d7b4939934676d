//! Published ports.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use holdall_runtime::boxes::{BoxError, BoxId, BoxState, CreateOptions, Network};

use crate::tests;
use crate::world::{Content, World, chain, options};

tests![
    a_published_port_answers_on_ipv4_and_ipv6_and_outlives_the_monitor,
    a_published_port_answers_again_after_monitor_and_keeper_are_lost,
    a_port_of_another_program_is_refused,
    a_port_of_another_box_names_that_box,
    a_port_is_free_again_when_its_box_has_stopped,
    udp_is_refused_by_name,
    nothing_is_published_on_the_hosts_own_network,
    a_box_reaches_no_service_of_the_host,
];

const MONITOR: &str = "holdall-monitor";
const KEEPER: &str = "holdall-keeper";

/// A box with a web server on 8000.
fn web(world: &World, publish: &str) -> CreateOptions {
    let image = world.image(Content {
        files: &[("/www/index.html", "hello\n")],
        ..Content::default()
    });
    // It forks once it listens.
    let script = "httpd -p 8000 -h /www; echo ready; sleep 1000";
    let mut options = options(image, &["sh", "-c", script]);
    options.publish = vec![publish.parse().expect("a port")];
    options
}

fn ports(world: &World, id: &BoxId) -> Vec<SocketAddr> {
    match world.state(id) {
        BoxState::Running { ports, .. } => ports.iter().map(|port| port.host).collect(),
        BoxState::Created | BoxState::Exited { .. } => panic!("it runs"),
    }
}

fn fetch(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("set");
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

/// The loopback address of the same family.
fn local(address: SocketAddr) -> SocketAddr {
    let ip = if address.is_ipv4() {
        "127.0.0.1"
    } else {
        "::1"
    };
    SocketAddr::new(ip.parse().expect("an address"), address.port())
}

fn a_published_port_answers_on_ipv4_and_ipv6_and_outlives_the_monitor() {
    let world = World::new();
    let record = world.create(web(&world, "8000"));
    drop(world.start(&record.id));
    world.wait_for_line(&record.id, "ready");
    let ports = ports(&world, &record.id);
    assert_eq!(ports.len(), 2, "{ports:?}");
    for _ in 0..2 {
        for port in &ports {
            assert!(fetch(local(*port)).ends_with("hello\n"));
        }
        world.minder(KEEPER, &record.id);
        world.kill_minder(MONITOR, &record.id);
        // At once: the socket was never closed, so a client waits and is not
        // refused.
    }
    for port in &ports {
        assert!(fetch(local(*port)).ends_with("hello\n"));
    }
}

fn a_published_port_answers_again_after_monitor_and_keeper_are_lost() {
    let world = World::new();
    let record = world.create(web(&world, "127.0.0.1::8000"));
    drop(world.start(&record.id));
    world.wait_for_line(&record.id, "ready");
    let port = ports(&world, &record.id)[0];
    // A keeper that was started from within the box's network is as good.
    world.kill_minder(KEEPER, &record.id);
    world.minder(KEEPER, &record.id);
    world.kill_minder(MONITOR, &record.id);
    world.minder(MONITOR, &record.id);
    assert!(fetch(port).ends_with("hello\n"));
    crate::loss::kill_both(&world, &record.id);
    assert!(TcpStream::connect(port).is_err());
    assert_eq!(ports(&world, &record.id), [port]);
    assert!(fetch(port).ends_with("hello\n"));
}

fn a_port_of_another_program_is_refused() {
    let world = World::new();
    let other = TcpListener::bind("127.0.0.1:0").expect("bound");
    let taken = other.local_addr().expect("an address");
    let record = world.create(web(&world, &format!("{taken}:8000")));
    let error = world.boxes.start(&record.id).expect_err("in use");
    assert_eq!(
        error.to_string(),
        format!("cannot publish port {taken} of box shop: it is in use")
    );
    assert!(!world.dirs.run_boxes().join(record.id.as_str()).exists());
    assert_eq!(world.state(&record.id), BoxState::Created);
}

fn a_port_of_another_box_names_that_box() {
    let world = World::new();
    let first = world.create(web(&world, "8000"));
    drop(world.start(&first.id));
    let port = ports(&world, &first.id)[0].port();
    let second = world.create(web(&world, &format!("127.0.0.1:{port}:8000")));
    let error = world.boxes.start(&second.id).expect_err("in use");
    assert!(
        matches!(&error, BoxError::PortInUse { by: Some(by), .. } if *by == first.name),
        "{}",
        chain(&error)
    );
}

fn a_port_is_free_again_when_its_box_has_stopped() {
    let world = World::new();
    let record = world.create(web(&world, "127.0.0.1::8000"));
    drop(world.start(&record.id));
    let port = ports(&world, &record.id)[0];
    world
        .boxes
        .stop(&record.id, Some(holdall_protocol::Millis(0)))
        .expect("stopped");
    TcpListener::bind(port).expect("free");
}

fn udp_is_refused_by_name() {
    let world = World::new();
    let error = world
        .boxes
        .create(web(&world, "53:53/udp"))
        .expect_err("not built");
    assert_eq!(
        error.to_string(),
        "cannot publish 53:53/udp: UDP ports are not built yet"
    );
}

fn nothing_is_published_on_the_hosts_own_network() {
    let world = World::new();
    let mut options = web(&world, "8000");
    options.network = Network::Host;
    options.command = ["sh", "-c", "echo ready; sleep 1000"]
        .map(str::to_owned)
        .to_vec();
    let record = world.create(options);
    drop(world.start(&record.id));
    world.wait_for_line(&record.id, "ready");
    assert!(ports(&world, &record.id).is_empty());
}

fn a_box_reaches_no_service_of_the_host() {
    let world = World::new();
    let host = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = host.local_addr().expect("an address").port();
    let script = format!(
        "nc -w 2 127.0.0.1 {port} </dev/null 2>/dev/null && echo reached; ip addr | grep -c UP"
    );
    let record = world.create(world.script(&script));
    assert_eq!(world.start(&record.id).wait().expect("ended"), 0);
    // Its loopback is up, and it is its own.
    let lines = world.lines(&record.id);
    assert_eq!(lines.last().map(String::as_str), Some("1"), "{lines:?}");
    assert!(!lines.contains(&"reached".to_owned()));
}
