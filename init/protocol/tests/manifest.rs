//! Reading holdall.toml: what is read, and that it reads back.

use holdall_protocol::control::Exit;
use holdall_protocol::manifest::{
    Backoff, Condition, ExitCodes, Expose, GiveUp, HttpProbe, HttpTarget, Kind, Listen,
    ListenAddress, LogFile, OnUnhealthy, Probe, Protocol, Restart, Service, Start, Stop,
};
use holdall_protocol::{Manifest, Millis, Reader, ServiceName, Signal, diagnostic};

fn http_probe(address: &str, host: &str, path: &str) -> Probe {
    Probe::Http(HttpProbe {
        to: HttpTarget::Tcp(address.parse().expect("an address")),
        host: host.into(),
        path: path.into(),
        headers: std::collections::BTreeMap::new(),
        status: (200, 399),
    })
}

/// Reads also what no part of init is built for yet.
fn read_design(text: &str) -> Manifest {
    Manifest::from_toml(text, Reader::Design)
        .unwrap_or_else(|errors| panic!("{}", diagnostic::render("holdall.toml", text, &errors)))
}

fn read(text: &str) -> Manifest {
    Manifest::from_toml(text, Reader::Builder)
        .unwrap_or_else(|errors| panic!("{}", diagnostic::render("holdall.toml", text, &errors)))
}

fn only(manifest: &Manifest) -> &Service {
    let [service] = manifest.services.as_slice() else {
        panic!("one service: {manifest:?}")
    };
    service
}

/// The example of the design, with what this release builds.
const SHOP: &str = r#"
#:schema ./holdall.schema.json
name = "shop"

[image]
from     = "bootstrap:debian/bookworm"
packages = ["nginx-light", "redis-server", "python3"]

[init]
stop_timeout = "8s"

[service.redis]
command = "redis-server --dir /data"
user    = "redis"
volumes = ["/data"]
health  = { exec = "redis-cli ping", interval = "2s" }

[service.migrate]
type       = "oneshot"
command    = "python3 /srv/app/migrate.py"
depends_on = ["redis"]

[service.app]
command    = "python3 /srv/app/main.py"
depends_on = { redis = "ready", migrate = "done" }
listen     = ["http=8000"]
health     = { http = ":8000/healthz", interval = "1s", retries = 3 }
stop       = { signal = "TERM", timeout = "3s" }

[service.web]
command    = "nginx -g 'daemon off;'"
depends_on = ["app"]
expose     = [80]

[profile.production]
env = { LOG_LEVEL = "warning" }
service.app.env = { WORKERS = "4" }
"#;

#[test]
fn the_example_of_the_design_is_read_as_it_says() {
    let shop = read(SHOP);
    assert_eq!(shop.name.as_deref(), Some("shop"));
    assert_eq!(shop.init.stop_timeout, Millis::from_secs(8));
    let names: Vec<&str> = shop.services.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(
        names,
        ["redis", "migrate", "app", "web"],
        "in the order of the file"
    );

    let [redis, migrate, app, web] = shop.services.as_slice() else {
        panic!()
    };
    assert_eq!(redis.command, ["redis-server", "--dir", "/data"]);
    assert_eq!(redis.user.as_deref(), Some("redis"));
    assert_eq!(redis.volumes, ["/data"]);
    let health = redis.health.as_ref().expect("given");
    assert_eq!(
        health.probe,
        Probe::Exec(vec!["redis-cli".into(), "ping".into()])
    );
    assert_eq!(
        (health.interval, health.timeout, health.retries),
        (Millis(2000), Millis(3000), 3)
    );

    assert_eq!(
        (migrate.kind, migrate.restart),
        (Kind::Oneshot, Restart::OnFailure)
    );
    assert_eq!(migrate.depends_on[0].condition, Condition::Ready);

    let conditions: Vec<_> = app
        .depends_on
        .iter()
        .map(|d| (d.service.as_str(), d.condition))
        .collect();
    assert_eq!(
        conditions,
        [("redis", Condition::Ready), ("migrate", Condition::Done)]
    );
    let http = Listen {
        name: "http".into(),
        address: ListenAddress::Port(8000),
        backlog: None,
        mode: None,
        owner: None,
        reuse_port: false,
        stdin: false,
    };
    assert_eq!(app.listen, [http]);
    let asked = http_probe("127.0.0.1:8000", "localhost:8000", "/healthz");
    assert_eq!(app.health.as_ref().expect("given").probe, asked);
    assert_eq!(
        app.stop,
        Stop {
            signal: Signal::TERM,
            timeout: Millis(3000),
            command: None,
            group: true,
        }
    );

    assert_eq!(web.command, ["nginx", "-g", "daemon off;"]);
    assert_eq!(
        web.expose,
        [Expose {
            port: 80,
            protocol: Protocol::Tcp
        }]
    );
}

#[test]
fn what_is_not_said_is_as_the_reference_says() {
    let manifest = read("[service.web]\ncommand = 'nginx'");
    assert_eq!(manifest.init.stop_timeout, Millis::from_secs(9));
    let web = only(&manifest);
    assert_eq!((web.kind, web.restart), (Kind::Daemon, Restart::Always));
    assert_eq!((web.umask, web.dir.as_str()), (0o022, "/"));
    assert_eq!(
        web.backoff,
        Backoff {
            initial: Millis(1000),
            max: Millis(30_000)
        }
    );
    assert_eq!(
        web.give_up,
        GiveUp {
            failures: 5,
            within: Millis(60_000)
        }
    );
    assert!(web.essential && web.health.is_none() && web.profiles.is_empty());
    assert_eq!(web.on_unhealthy, OnUnhealthy::Restart);
    assert_eq!(
        web.stop,
        Stop {
            signal: Signal::TERM,
            timeout: Millis(5000),
            command: None,
            group: true,
        }
    );
}

#[test]
fn a_file_without_services_is_an_empty_manifest() {
    assert_eq!(read(""), Manifest::default());
}

#[test]
fn the_init_is_not_given_what_the_builder_keeps() {
    let built = read(SHOP).to_toml();
    assert!(!built.contains("image"), "{built}");
    let again = Manifest::from_toml(&built, Reader::Init).expect("init reads it");
    assert_eq!(again, read(SHOP));
    assert!(Manifest::from_toml(SHOP, Reader::Init).is_err());
}

#[test]
fn every_way_to_write_a_probe_target_is_read() {
    let probe = |health: &str| {
        let text = format!("[service.a]\ncommand = 'a'\nhealth = {{ {health} }}");
        only(&read(&text)).health.clone().expect("given").probe
    };
    let http = http_probe;
    for (written, meant) in [
        (
            "http = ':8000/healthz'",
            http("127.0.0.1:8000", "localhost:8000", "/healthz"),
        ),
        (
            "http = ':8000'",
            http("127.0.0.1:8000", "localhost:8000", "/"),
        ),
        (
            "http = '127.0.0.1:8000/x?y=1'",
            http("127.0.0.1:8000", "127.0.0.1:8000", "/x?y=1"),
        ),
        (
            "http = 'localhost:80/x'",
            http("127.0.0.1:80", "localhost", "/x"),
        ),
        (
            "http = 'http://localhost/x'",
            http("127.0.0.1:80", "localhost", "/x"),
        ),
        (
            "http = 'http://10.0.0.1:81'",
            http("10.0.0.1:81", "10.0.0.1:81", "/"),
        ),
        (
            "http = 'http://[::1]:8000/x'",
            http("[::1]:8000", "[::1]:8000", "/x"),
        ),
        ("http = '[::1]/x'", http("[::1]:80", "[::1]", "/x")),
        (
            "tcp = 6379",
            Probe::Tcp("127.0.0.1:6379".parse().expect("an address")),
        ),
        (
            "tcp = '6379'",
            Probe::Tcp("127.0.0.1:6379".parse().expect("an address")),
        ),
        (
            "tcp = ':6379'",
            Probe::Tcp("127.0.0.1:6379".parse().expect("an address")),
        ),
        (
            "tcp = 'localhost:6379'",
            Probe::Tcp("127.0.0.1:6379".parse().expect("an address")),
        ),
        (
            "tcp = '[::1]:6379'",
            Probe::Tcp("[::1]:6379".parse().expect("an address")),
        ),
        (
            "exec = ['redis-cli', 'ping']",
            Probe::Exec(vec!["redis-cli".into(), "ping".into()]),
        ),
    ] {
        assert_eq!(probe(written), meant, "{written}");
    }
}

#[test]
fn services_that_are_never_there_together_may_claim_the_same_port() {
    let text = "
        [service.dev]
        command = 'a'
        expose = [80]
        profiles = ['dev']
        [service.prod]
        command = 'b'
        listen = ['http=80']
        profiles = ['prod']
    ";
    assert_eq!(read(text).services.len(), 2);
}

#[test]
fn addresses_that_do_not_overlap_may_share_a_port() {
    let text = "
        [service.a]
        command = 'a'
        listen = ['one=127.0.0.1:80', 'two=127.0.0.2:80']
        expose = ['80/udp']
    ";
    assert_eq!(only(&read(text)).listen.len(), 2);
}

#[test]
fn a_profile_drops_what_is_not_under_it_and_lays_its_variables_over() {
    let text = "
        [service.app]
        command = 'app'
        env = { LEVEL = 'info', KEPT = 'yes' }
        [service.debugger]
        command = 'gdb'
        profiles = ['dev']
        [profile.production]
        env = { LEVEL = 'warning', ALL = '1' }
        service.app.env = { ALL = '2' }
    ";
    let manifest = read(text);
    let names = |m: &Manifest| {
        m.services
            .iter()
            .map(|s| s.name.to_string())
            .collect::<Vec<_>>()
    };
    let bare = manifest
        .for_profile(None)
        .expect("no profile is always there");
    assert_eq!(names(&bare), ["app"]);
    assert_eq!(bare.services[0].env["LEVEL"], "info");
    let production = manifest.for_profile(Some("production")).expect("declared");
    let env: Vec<_> = production.services[0].env.iter().collect();
    let pairs: Vec<(&str, &str)> = env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(pairs, [("ALL", "2"), ("KEPT", "yes"), ("LEVEL", "warning")]);
    assert_eq!(
        names(&manifest.for_profile(Some("dev")).expect("listed")),
        ["app", "debugger"]
    );
    let unknown = manifest
        .for_profile(Some("prodution"))
        .expect_err("no such profile");
    assert_eq!(
        unknown.to_string(),
        "no profile is named `prodution`: did you mean `production`?"
    );
}

#[test]
fn instances_are_services_of_their_own_and_who_depends_on_one_depends_on_each() {
    let manifest = read_design(
        r#"
        [service.app]
        command = "app --id ${INSTANCE} ${OTHER}"
        env = { NAME = "app${INSTANCE}" }
        log = { file = "/var/log/app-${INSTANCE}.log" }
        health = { exec = "ask ${INSTANCE}" }
        instances = 2
        [service.web]
        command = "web ${INSTANCE}"
        depends_on = { app = "started" }
        [service.none]
        command = "none"
        instances = 0
        "#,
    )
    .expanded();
    let names: Vec<&str> = manifest.services.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["app@1", "app@2", "web"]);
    let [_, second, web] = manifest.services.as_slice() else {
        panic!("three services")
    };
    assert_eq!(second.command, ["app", "--id", "2", "${OTHER}"]);
    assert_eq!(second.env["NAME"], "app2");
    let file = second.log.file.as_ref().expect("given");
    assert_eq!(file.path, "/var/log/app-2.log");
    let asked = Probe::Exec(vec!["ask".to_owned(), "2".to_owned()]);
    assert_eq!(second.health.as_ref().expect("given").probe, asked);
    assert_eq!(web.command, ["web", "${INSTANCE}"], "it has none");
    let needs: Vec<_> = web
        .depends_on
        .iter()
        .map(|d| (d.service.as_str(), d.condition))
        .collect();
    assert_eq!(
        needs,
        [("app@1", Condition::Started), ("app@2", Condition::Started)]
    );
}

#[test]
fn a_profile_changes_any_key_that_binds_its_service_to_no_other() {
    let manifest = read_design(
        r#"
        [service.app]
        command = "app"
        env = { A = "service", B = "service", C = "service" }
        limits = { nofile = 100, nice = 5 }
        stop = { signal = "INT", timeout = "1s" }
        [profile.production]
        env = { B = "profile", C = "profile" }
        [profile.production.service.app]
        command = "app --fast"
        env = { C = "both" }
        limits = { nofile = 200 }
        stop = { timeout = "3s" }
        instances = 4
        "#,
    );
    let chosen = manifest
        .for_profile(Some("production"))
        .expect("it is there");
    let [app] = chosen.services.as_slice() else {
        panic!("one service")
    };
    assert_eq!(app.command, ["app", "--fast"]);
    assert_eq!(
        app.env.values().collect::<Vec<_>>(),
        ["service", "profile", "both"]
    );
    assert_eq!((app.limits.nice, app.limits.resources.len()), (Some(5), 1));
    assert_eq!(
        (app.stop.signal, app.stop.timeout),
        (Signal::INT, Millis(3000))
    );
    assert_eq!(app.instances, Some(4));
    let plain = manifest.for_profile(None).expect("always there");
    assert_eq!(only(&plain).command, ["app"]);
}

#[test]
fn a_daemon_with_sockets_may_start_on_demand() {
    let manifest = read("[service.a]\ncommand = 'a'\nlisten = ['b=80']\nstart = 'on-demand'\n");
    assert_eq!(only(&manifest).start, Start::OnDemand);
}

#[test]
fn a_chosen_profile_leaves_no_profiles() {
    let manifest = read("[service.a]\ncommand = 'a'\n[profile.b]\nenv = { C = 'd' }\n");
    let chosen = manifest.for_profile(Some("b")).expect("it is there");
    assert_eq!((manifest.profiles.len(), chosen.profiles.len()), (1, 0));
}

#[test]
fn a_set_of_exit_codes_has_those_that_it_was_given() {
    let given = [0, 1, 63, 64, 100, 128, 200, 255];
    let set: ExitCodes = given.into_iter().collect();
    let has: Vec<u8> = (0..=255)
        .filter(|code| set.has(Exit::Code(*code)))
        .collect();
    assert_eq!(has, given);
}

#[test]
fn the_listener_is_tried_for_ever_and_the_box_does_not_end_for_it() {
    let manifest = read("[init]\nlistener = 9100\n[service.a]\ncommand = 'a'\n");
    let listener = manifest.init.listener_service().expect("there is one");
    assert_eq!((listener.give_up.failures, listener.essential), (0, false));
}

#[test]
fn a_log_file_is_begun_anew_at_ten_mebibytes() {
    let manifest = read("[service.a]\ncommand = 'a'\nlog = { file = '/a' }\n");
    let file = only(&manifest).log.file.as_ref().expect("given");
    assert_eq!(*file, LogFile::at("/a".into()));
    assert_eq!((file.size, file.count), (10_485_760, 5));
}

#[test]
fn what_has_a_short_form_is_written_in_it() {
    let text = r#"[service.a]
env = { "A.B" = "1", A_B-2 = "3" }
command = ["a"]
log = "json"
ready = "notify"

[service.b]
command = ["b"]
log = { format = "json", file = "/b", size = 10485760, count = 6 }
ready = { notify = true, timeout = "5s" }
health = { http = "http://localhost/", interval = "1s", timeout = "3s", retries = 3, start_period = "0s" }
"#;
    assert_eq!(read(text).to_toml(), text);
}

#[test]
fn a_name_says_which_instance_it_is_in_one_way_only() {
    let name: ServiceName = "web@12".parse().expect("an instance");
    assert_eq!((name.service(), name.number()), ("web", Some(12)));
    assert_eq!(name.instance(3).as_str(), "web@3");
    for bad in [
        "web@", "web@0", "web@01", "web@1001", "web@x", "web@1@2", "@1",
    ] {
        assert!(bad.parse::<ServiceName>().is_err(), "{bad}");
    }
    let text = "[service.'web@1']\ncommand = 'a'";
    assert!(Manifest::from_toml(text, Reader::Init).is_err());
}
