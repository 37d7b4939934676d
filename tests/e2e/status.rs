//! What `holdall ps BOX --format json` says, and `holdall logs`.

use serde_json::Value;

use crate::env::Env;
use crate::eventually::{LONG, eventually};

/// The status of a box.
pub(crate) fn of(env: &Env, name: &str) -> Result<Value, String> {
    let ran = env.run(["ps", name, "--format", "json"]);
    if ran.code != 0 {
        return Err(ran.err);
    }
    serde_json::from_str(&ran.out).map_err(|error| format!("{error}: {}", ran.out))
}

/// One service of it.
pub(crate) fn service(env: &Env, name: &str, service: &str) -> Result<Value, String> {
    let status = of(env, name)?;
    let services = status["services"].as_array().ok_or("no services")?;
    let found = services.iter().find(|entry| entry["name"] == service);
    found
        .cloned()
        .ok_or_else(|| format!("no {service} in {status}"))
}

/// Waits until the whole box is ready.
pub(crate) fn until_ready(env: &Env, name: &str) {
    eventually(&format!("{name} is ready"), LONG, || {
        let status = of(env, name)?;
        if status["ready"] == true {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
}

/// Waits until the log of a box, or of a service of it, has the words: that a
/// service is ready says nothing of how far its lines have come.
pub(crate) fn until_logged(env: &Env, target: &str, words: &str) {
    eventually(&format!("{target} logs {words:?}"), LONG, || {
        let log = env.run(["logs", target]).ok();
        log.contains(words).then_some(()).ok_or(log)
    });
}

/// Waits until the service is ready after at least `restarts`; its process.
pub(crate) fn until_restarted(env: &Env, name: &str, which: &str, restarts: u64) -> u64 {
    eventually(&format!("{name}/{which} is ready again"), LONG, || {
        let found = service(env, name, which)?;
        let again = found["restarts"].as_u64().unwrap_or(0) >= restarts;
        let pid = found["pid"]
            .as_u64()
            .filter(|_| again && found["state"] == "ready");
        pid.ok_or_else(|| found.to_string())
    })
}
