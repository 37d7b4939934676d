//! What `holdall ps BOX` says in a machine.

use serde_json::Value;

use crate::eventually::{LONG, eventually};
use crate::guest::holdall;

/// The status of a box.
pub(crate) fn of(name: &str) -> Result<Value, String> {
    let output = holdall(&["ps", name, "--format", "json"]).output();
    let output = output.expect("holdall can be started");
    let words = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&words).map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// One service of it.
pub(crate) fn service(status: &Value, name: &str) -> Value {
    let services = status["services"].as_array().expect("a list of services");
    let found = services.iter().find(|entry| entry["name"] == name);
    found.expect("a service of the box").clone()
}

/// Waits until the whole box is ready.
pub(crate) fn until_ready(name: &str) {
    eventually(&format!("{name} is ready"), LONG, || {
        let status = of(name)?;
        let ready = status["ready"] == true;
        ready.then_some(()).ok_or_else(|| status.to_string())
    });
}
