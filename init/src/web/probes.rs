//! `/healthz`, `/readyz` and `/livez`, as Kubernetes has them: 200 or 503, and
//! with `?verbose` a line for each service.

use holdall_protocol::control::{Exit, ServiceStatus, State};

use super::response::Content;
use super::upstream::Snapshot;

/// What `path` asks init, where it is one of the three.
pub(crate) fn verdict<'s>(path: &str, snapshot: &'s Snapshot) -> Option<&'s Result<(), String>> {
    match path {
        "/healthz" => Some(&snapshot.healthy),
        "/readyz" => Some(&snapshot.ready),
        "/livez" => Some(&snapshot.live),
        _ => None,
    }
}

/// The answer to a probe.
pub(crate) fn answer(
    path: &str,
    verdict: &Result<(), String>,
    services: &[ServiceStatus],
    verbose: bool,
) -> Content {
    let name = path.trim_start_matches('/');
    let status = if verdict.is_ok() { 200 } else { 503 };
    let last = match verdict {
        Ok(()) if !verbose => return Content::line(status, "ok"),
        Ok(()) => format!("{name} check passed"),
        Err(reason) => format!("{name} check failed: {reason}"),
    };
    let mut text = String::new();
    for service in services.iter().filter(|_| verbose) {
        let sign = if is_well(service) { "+" } else { "-" };
        text.push_str(&format!(
            "[{sign}]{} {}",
            service.name,
            service.state.word()
        ));
        if let Some(message) = service.message.as_ref().filter(|_| !is_well(service)) {
            text.push_str(&format!(": {}", one_line(message)));
        }
        text.push('\n');
    }
    Content::line(status, &format!("{text}{}", one_line(&last)))
}

/// Whether a service is as it should be.
pub(crate) fn is_well(service: &ServiceStatus) -> bool {
    match service.state {
        State::Ready | State::Scheduled | State::Listening => true,
        State::Exited => service.last_exit.is_some_and(Exit::success),
        State::Stopped
        | State::Waiting
        | State::Starting
        | State::Unhealthy
        | State::Stopping
        | State::Backoff
        | State::Fatal => false,
    }
}

/// What a service's probe said may have any characters in it.
fn one_line(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdall_protocol::Millis;
    use holdall_protocol::control::Counts;

    fn service(name: &str, state: State, message: Option<&str>) -> ServiceStatus {
        ServiceStatus {
            name: name.parse().expect("a name"),
            state,
            health: None,
            pid: None,
            since: Millis(1),
            restarts: 0,
            last_exit: None,
            out_of_memory: false,
            next_start: None,
            message: message.map(str::to_owned),
            status: None,
            waits_for: vec![],
            log_dropped: 0,
            counts: Counts::default(),
        }
    }

    fn text(content: &Content) -> String {
        String::from_utf8(content.body.to_vec()).expect("text")
    }

    #[test]
    fn a_probe_says_ok_or_why_not_and_with_verbose_of_each() {
        let services = [
            service("db", State::Ready, None),
            service("web", State::Backoff, Some("exit 3\n[+]forged ok")),
        ];
        let good = answer("/livez", &Ok(()), &services, false);
        assert_eq!((good.status, text(&good).as_str()), (200, "ok\n"));
        let bad = Err("`web` is waiting to be started again".to_owned());
        let brief = answer("/readyz", &bad, &services, false);
        let why = "readyz check failed: `web` is waiting to be started again\n";
        assert_eq!((brief.status, text(&brief).as_str()), (503, why));
        let whole = answer("/readyz", &bad, &services, true);
        let lines = "[+]db ready\n[-]web backoff: exit 3 [+]forged ok\n";
        assert_eq!(text(&whole), format!("{lines}{why}"));
        let whole = answer("/livez", &Ok(()), &services, true);
        assert_eq!(text(&whole), format!("{lines}livez check passed\n"));
    }
}
