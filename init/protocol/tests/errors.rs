//! Every error text of a holdall.toml, as people see it.

use holdall_protocol::{Manifest, Reader, diagnostic};

/// The errors of each text, one after the other.
#[track_caller]
fn shown(texts: &[&str]) -> String {
    let shown = texts.iter().map(|text| {
        let errors = Manifest::from_toml(text, Reader::Builder).expect_err(text);
        diagnostic::render("holdall.toml", text, &errors)
    });
    shown.collect::<Vec<_>>().join("\n")
}

/// A service `a` with more keys.
#[track_caller]
fn service(lines: &[&str]) -> String {
    let texts: Vec<String> = lines
        .iter()
        .map(|line| format!("[service.a]\ncommand = \"a\"\n{line}\n"))
        .collect();
    shown(&texts.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Compares with the file of that name below snapshots/.
#[track_caller]
fn assert_shown(name: &str, shown: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!(name, shown));
}

#[test]
fn syntax() {
    assert_shown(
        "syntax",
        &shown(&[
            "name = \"shop",
            "[service.a]\ncommand = a\n",
            "[service.a\ncommand = 'a'\n",
            "[service.a]\ncommand = 'a'\ncommand = 'b'\n",
            "[service.a]\ncommand = 'a'\n[service.a]\ncommand = 'b'\n",
            "name = \"a\0b\"",
            "= 1\n= 2\nx\n",
        ]),
    );
}

#[test]
fn keys() {
    assert_shown(
        "keys",
        &shown(&[
            "nmae = 'shop'\n",
            "[services.a]\ncommand = 'a'\n",
            "[service.a]\ncomand = 'a'\n",
            "[service.a]\ncommand = 'a'\ncmd = 'b'\nhealt = {}\n",
            "[service.a]\ncommand = 'a'\nsecrets = []\n",
            "[service.a]\ncommand = 'a'\nports = [80]\nenvironment = {}\n",
            "[init]\nstop_timout = '9s'\nlog_format = 'json'\n",
            "[profile.production]\nservice.a.instances = 4\nservice.a.enviroment = {}\nenvs = {}\n[service.a]\ncommand = 'a'\n",
        ]),
    );
}

#[test]
fn not_built() {
    assert_shown(
        "not_built",
        &shown(&["[service.a]\ncommand = 'a'\nhandoff = true\nlisten = ['http=80']\n"]),
    );
}

#[test]
fn listener() {
    assert_shown(
        "listener",
        &shown(&[
            "[init]\nlistener = '80/udp'\n[service.a]\ncommand = 'a'\n",
            "[init]\nlistener = { user = 'a', port = 1 }\n[service.a]\ncommand = 'a'\n",
            "[init]\nlistener = 80\n[service.a]\ncommand = 'a'\nexpose = [80]\n",
            "[init]\nlistener = '/run/a'\n[service.a]\ncommand = 'a'\nlisten = ['b=/run/a']\n",
            "[service.holdall-listener]\ncommand = 'a'\n",
        ]),
    );
}

#[test]
fn types() {
    assert_shown(
        "types",
        &shown(&[
            "name = 5\ninit = 3\nservice = []\nprofile = 'x'\n",
            "[service]\na = 'nginx'\n",
            "[service.a]\ncommand = 7\n",
            "[service.a]\ncommand = ['a', 1, true]\n",
        ]),
    );
    assert_shown(
        "types_of_a_service",
        &service(&[
            "user = 1000",
            "umask = true",
            "umask = 2.5",
            "umask = 22",
            "umask = '0999'",
            "dir = []",
            "env = 'A=b'",
            "env = { A = 1, B = 2.5, C = false, D = 'ok' }",
            "depends_on = 'b'",
            "essential = 'yes'",
            "volumes = '/data'",
            "expose = 80",
            "expose = [true]",
            "backoff = '1s'",
            "give_up = { failures = '5' }",
            "health = 'redis-cli ping'",
        ]),
    );
}

#[test]
fn names() {
    assert_shown(
        "names",
        &shown(&[
            "name = 'Shop'",
            "name = ''",
            "name = 'a//b'",
            "[service.Web]\ncommand = 'a'\n",
            "[service.'']\ncommand = 'a'\n",
            "[service.\"a b\"]\ncommand = 'a'\n",
            "[profile.'a/b']\n",
            "[service.a234567890123456789012345678901234567890123456789012345678901234]\ncommand = 'a'\n",
        ]),
    );
}

#[test]
fn commands() {
    assert_shown(
        "commands",
        &shown(&[
            "[service.a]\n",
            "[service.a]\ncommand = ''\n",
            "[service.a]\ncommand = []\n",
            "[service.a]\ncommand = ['']\n",
            "[service.a]\ncommand = \"nginx -g 'daemon off;\"\n",
            "[service.a]\ncommand = 'prepare && serve'\n",
            "[service.a]\ncommand = 'serve > /dev/null 2>&1'\n",
            "[service.a]\ncommand = \"a\\u0000b\"\n",
        ]),
    );
}

#[test]
fn processes() {
    assert_shown(
        "processes",
        &service(&[
            "user = ''",
            "user = 'app:app'",
            "user = '../x'",
            "group = 'a b'",
            "umask = '22222'",
            "umask = 0o1000",
            "dir = 'srv'",
            "dir = '/srv/../etc'",
            "env = { '' = 'x', 'A=B' = 'y' }",
            "volumes = ['data', '/', '/data/.', '/data', '/data/']",
        ]),
    );
}

#[test]
fn words() {
    assert_shown(
        "words",
        &service(&[
            "type = 'deamon'",
            "type = 'job'",
            "restart = 'onfailure'",
            "restart = 'sometimes'",
            "on_unhealthy = 'kill'",
            "depends_on = { a = 'healthy' }",
            "type = 'oneshot'\nrestart = 'always'",
            "type = 'oneshot'\nhealth = { tcp = 80 }",
        ]),
    );
}

#[test]
fn durations_and_numbers() {
    assert_shown(
        "durations_and_numbers",
        &service(&[
            "stop = { timeout = 5 }",
            "stop = { timeout = '5' }",
            "stop = { timeout = 'soon', signal = 'TREM' }",
            "stop = { timeout = '9999999h' }",
            "stop = { after = '1s' }",
            "backoff = { initial = '10s', max = '5s' }",
            "backoff = { first = '10s' }",
            "give_up = { failures = -1, within = '0s' }",
            "give_up = { failures = 99999 }",
            "health = { tcp = 80, retries = 0, interval = '0s', timeout = '' }",
        ]),
    );
}

#[test]
fn probes() {
    assert_shown(
        "probes",
        &service(&[
            "health = { interval = '1s' }",
            "health = { exec = 'a', http = ':80' }",
            "health = { exec = '' }",
            "health = { exec = 'a | b' }",
            "health = { htpp = ':80' }",
            "health = { http = 'https://localhost/x' }",
            "health = { http = 'http://app.internal:80/x' }",
            "health = { http = '/healthz' }",
            "health = { http = ':0/healthz' }",
            "health = { http = 'http://user@localhost/x' }",
            "health = { http = \":80/a b\" }",
            "health = { tcp = 70000 }",
            "health = { tcp = 'redis:6379' }",
            "health = { tcp = '127.0.0.1' }",
            "health = { tcp = true }",
        ]),
    );
}

#[test]
fn sockets() {
    assert_shown(
        "sockets",
        &service(&[
            "listen = [8000]",
            "listen = ['8000']",
            "listen = ['http=']",
            "listen = ['http=0']",
            "listen = ['http=+80']",
            "listen = ['ht:tp=80']",
            "listen = ['holdall-control=80']",
            "listen = ['http=localhost:80']",
            "listen = ['http=run/api.sock']",
            "listen = ['http=/run/a234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789']",
            "expose = [0]",
            "expose = ['53/sctp']",
            "expose = ['http']",
        ]),
    );
}

#[test]
fn clashes() {
    assert_shown(
        "clashes",
        &shown(&[
            "[service.a]\ncommand = 'a'\nlisten = ['http=80']\nexpose = [80]\n",
            "[service.a]\ncommand = 'a'\nexpose = [80]\n[service.b]\ncommand = 'b'\nexpose = ['80/udp', 80]\n",
            "[service.a]\ncommand = 'a'\nlisten = ['http=80']\n[service.b]\ncommand = 'b'\nlisten = ['http=81', 'web=127.0.0.1:80']\n",
            "[service.a]\ncommand = 'a'\nlisten = ['x=127.0.0.1:80']\n[service.b]\ncommand = 'b'\nlisten = ['y=127.0.0.1:80', 'z=0.0.0.0:80']\n",
            "[service.a]\ncommand = 'a'\nlisten = ['x=/run/s']\n[service.b]\ncommand = 'b'\nlisten = ['y=/run/s']\n",
            "[service.a]\ncommand = 'a'\nexpose = [80]\nprofiles = ['dev', 'test']\n[service.b]\ncommand = 'b'\nexpose = [80]\nprofiles = ['test']\n",
        ]),
    );
}

#[test]
fn dependencies() {
    assert_shown(
        "dependencies",
        &shown(&[
            "[service.redis]\ncommand = 'r'\n[service.app]\ncommand = 'a'\ndepends_on = ['redsi']\n",
            "[service.app]\ncommand = 'a'\ndepends_on = { app = 'ready' }\n",
            "[service.redis]\ncommand = 'r'\n[service.app]\ncommand = 'a'\ndepends_on = { redis = 'done' }\n",
            "[service.redis]\ncommand = 'r'\n[service.app]\ncommand = 'a'\ndepends_on = ['redis', 'redis']\n",
            "[service.web]\ncommand = 'w'\ndepends_on = ['app']\n[service.app]\ncommand = 'a'\ndepends_on = ['web']\n",
            "[service.a]\ncommand = 'a'\ndepends_on = ['b']\n[service.b]\ncommand = 'b'\ndepends_on = ['c']\n[service.c]\ncommand = 'c'\ndepends_on = ['d', 'b']\n[service.d]\ncommand = 'd'\n",
            "[service.web]\ncommand = 'w'\n[service.app]\ncommand = 'a'\ndepends_on = ['Web']\n",
            "[service.Web]\ncommand = 'w'\n[service.app]\ncommand = 'a'\ndepends_on = ['Web']\n",
        ]),
    );
}

#[test]
fn profiles() {
    assert_shown(
        "profiles",
        &shown(&[
            "[service.debug]\ncommand = 'd'\nprofiles = ['dev']\n[service.app]\ncommand = 'a'\ndepends_on = ['debug']\n",
            "[service.debug]\ncommand = 'd'\nprofiles = ['dev']\n[service.app]\ncommand = 'a'\ndepends_on = ['debug']\nprofiles = ['dev', 'test']\n",
            "[service.app]\ncommand = 'a'\nprofiles = ['dev', 'dev', 'a b']\n",
            "[service.app]\ncommand = 'a'\n[profile.production.service.ap]\nenv = {}\n[profile.production.service.App]\n",
        ]),
    );
}

#[test]
fn all_errors_of_a_file_come_at_once_and_in_its_order() {
    assert_shown(
        "all_errors_of_a_file_come_at_once_and_in_its_order",
        &shown(&["
        name = \"Shop\"
        [init]
        stop_timeout = 9
        [service.redis]
        command = \"redis-server --dir '/data\"
        user = \"red is\"
        [service.app]
        comand = \"app\"
        depends_on = [\"redsi\"]
        stop = { timeout = \"3\" }
        listen = [\"http=8000\"]
        instances = 4
        [service.web]
        command = \"nginx\"
        expose = [8000]
        depends_on = { redis = \"done\", web = \"ready\" }
    "]),
    );
}

#[test]
fn the_init_refuses_what_is_the_builders() {
    let text = "[image]\nfrom = 'scratch'\n";
    let errors = Manifest::from_toml(text, Reader::Init).expect_err("it is the builder's");
    assert_shown(
        "the_init_refuses_what_is_the_builders",
        &diagnostic::render("/etc/holdall.toml", text, &errors),
    );
}

/// The errors of services with these keys, those of keys that are not built
/// yet too.
#[track_caller]
fn designed(lines: &[&str]) -> String {
    let shown = lines.iter().map(|line| {
        let text = format!("[service.a]\ncommand = \"a\"\n{line}\n");
        let errors = Manifest::from_toml(&text, Reader::Design).expect_err(&text);
        diagnostic::render("holdall.toml", &text, &errors)
    });
    shown.collect::<Vec<_>>().join("\n")
}

#[test]
fn schedules() {
    assert_shown(
        "schedules",
        &designed(&[
            "schedule = '* * * *'",
            "schedule = '60 * * * *'",
            "schedule = '* * * * mun'",
            "schedule = '*/0 * * * *'",
            "schedule = '5-1 * * * *'",
            "schedule = '0 0 30 2 *'",
            "schedule = '@sometimes'",
            "schedule = '@every 30'",
            "schedule = '@every 1ms'",
            "type = 'job'",
            "type = 'daemon'\nschedule = '@daily'",
            "schedule = '@daily'\nrestart = 'always'\nhealth = { tcp = 80 }",
        ]),
    );
}

#[test]
fn limits() {
    assert_shown(
        "limits",
        &designed(&[
            "limits.nofiles = 5",
            "limits.as = 5",
            "limits.nofile = '5'",
            "limits.nofile = -1",
            "limits.core = '5X'",
            "limits.core = { soft = 5 }",
            "limits.stack = { soft = 'unlimited', hard = '8M' }",
            "limits.nice = 20",
            "limits.oom_score_adj = 2000",
            "limits.memory = '4K'",
            "limits.cpu = 'one'",
            "limits.cpu = 0.001",
            "limits.pids = 0",
        ]),
    );
}

#[test]
fn readiness() {
    assert_shown(
        "readiness",
        &designed(&[
            "ready = 'http'",
            "ready = 5",
            "ready = { fd = 1 }",
            "listen = ['a=80', 'b=81']\nready = { fd = 4 }",
            "ready = { log = '' }",
            "ready = { notify = false }",
            "ready = { log = 'a', tcp = 80 }",
            "ready = { timeout = '0s', file = 'x' }",
            "health = { http = { url = ':80/', status = '500-200' } }",
            "health = { http = { url = ':80/', headers = { Host = 'a', 'a b' = 'c' } } }",
            "health = { http = { unix = '/run/a.sock' } }",
            "health = { tcp = 80, successes = 0 }",
            "type = 'oneshot'\nready = 'notify'\nwatchdog = '5s'",
        ]),
    );
}

#[test]
fn starts_and_stops() {
    assert_shown(
        "starts_and_stops",
        &designed(&[
            "start = 'never'",
            "start = 'on-demand'",
            "type = 'oneshot'\nlisten = ['a=80']\nstart = 'on-demand'",
            "listen = ['a=80', 'b=81']\nhandoff = true\nready = { fd = 6 }",
            "reload = 'SIGNOPE'",
            "reload = { signal = 'HUP', command = 'a' }",
            "reload = {}",
            "stop = { command = '' }",
            "instances = 1001",
            "handoff = true",
        ]),
    );
}

#[test]
fn files_and_logs() {
    assert_shown(
        "files_and_logs",
        &designed(&[
            "env_file = 'app.env'",
            "env_file = [{ path = '/a', must = true }]",
            "templates = [{ from = '../a', to = '/b' }]",
            "templates = [{ from = 'a', to = 'b', mode = '999' }]",
            "templates = [{ from = 'a', to = '/b', owner = 'a:b:c' }]",
            "log = 'xml'",
            "log = { size = '1M' }",
            "log = { file = '/var/log/a', size = '1K', when_full = 'wait' }",
            "listen = [{ name = 'a', at = 80, mode = '0600' }]",
            "listen = [{ name = 'a', at = '/run/a', reuse_port = true }]",
            "listen = ['a:b=80', \"a\\u0007=81\"]",
            "listen = [{ name = 'a', at = '80/sctp', backlog = 0 }]",
            "listen = [{ at = 80 }]",
            "groups = ['a', 'a', 'b c']",
        ]),
    );
}
