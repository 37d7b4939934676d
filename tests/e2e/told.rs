//! What a box tells of itself from outside: the stream of events on the host,
//! and the listener through a published port.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::Value;

use crate::env::{Env, free_port};
use crate::eventually::{LONG, eventually};
use crate::{http, small, status};

const SERVICES: &str = r#"
[init]
listener = 9100
[service.app]
command = "sleep 100000"
backoff = { initial = "1ms", max = "1ms" }
[service.other]
command = "sleep 100000"
"#;

#[test]
fn a_crash_is_told_on_the_host_and_by_the_published_listener() {
    let env = Env::new();
    small::build(&env, "told", SERVICES);
    let port = free_port();
    let publish = format!("{port}:9100");
    let _name = env
        .run(["run", "-d", "--name", "told", "-p", &publish, "told"])
        .ok();
    status::until_ready(&env, "told");
    let _done = env.run(["kill", "told/app"]).ok();
    let _pid = status::until_restarted(&env, "told", "app", 1);
    let args = ["events", "--last", "20", "--format", "json", "told/app"];
    let told = env.run(args).ok();
    let told: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let ended = told.iter().find(|event| event["to"] == "stopping");
    let ended = ended.expect("its end is told");
    assert_eq!(ended["exit"]["signal"], "KILL", "{ended}");
    assert!(told.iter().all(|event| event["service"] == "app"));
    let text = env.run(["events", "--last", "1", "told"]).ok();
    assert!(text.contains(" → "), "{text}");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    eventually("the listener tells of it", LONG, || {
        let answer = http::get(address, "/metrics").map_err(|error| error.to_string())?;
        let sample = "holdall_service_restarts_total{service=\"app\"} 1\n";
        if answer.body.contains(sample) {
            Ok(())
        } else {
            Err(answer.body)
        }
    });
    let unknown = env.run(["events", "--last", "1", "told/ap"]).fails(1);
    assert!(unknown.contains("app"), "{unknown}");
}
