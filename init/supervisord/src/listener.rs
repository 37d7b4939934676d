//! Event listeners: refused, each with what stands in for its events.

use crate::value;

/// An event, or the beginning of the names of several, and what stands in for
/// it. The first that fits holds.
const REPLACEMENTS: &[(&str, &str)] = &[
    (
        "PROCESS_STATE_FATAL",
        "`essential = true`: a service that is given up ends the box with its exit code",
    ),
    (
        "PROCESS_STATE_EXITED",
        "`essential = true` ends the box with a service; `/init events` tells of every end",
    ),
    (
        "PROCESS_STATE",
        "`/init events` tells of every change of a service's state",
    ),
    ("PROCESS_LOG", "`/init logs --follow` has every line"),
    (
        "PROCESS_COMMUNICATION",
        "sd_notify (`ready = \"notify\"`), or a line of the log",
    ),
    (
        "PROCESS_GROUP",
        "`/init events` tells what a reload has added and removed",
    ),
    (
        "PROCESS",
        "`/init events` tells of every change of a service's state",
    ),
    ("REMOTE_COMMUNICATION", "a client of the control socket"),
    (
        "SUPERVISOR_STATE_CHANGE",
        "a oneshot at the start (`type = \"oneshot\"`), `stop.command` at the end",
    ),
    ("TICK_5", "a job with `schedule = \"@every 5s\"`"),
    ("TICK_60", "a job with `schedule = \"@every 60s\"`"),
    ("TICK_3600", "a job with `schedule = \"@every 1h\"`"),
    ("TICK", "a job with a `schedule`"),
    ("EVENT", "`/init events`"),
];

/// Listeners that everybody uses, by a word of their command.
const WELL_KNOWN: &[(&str, &str)] = &[
    (
        "httpok",
        "`health = { http = \":80/\" }`, with `on_unhealthy = \"restart\"`",
    ),
    ("memmon", "`limits = { memory = \"200M\" }`"),
    (
        "fatalmailbatch",
        "`essential = true`, and whoever watches the box",
    ),
    ("crashmail", "`/init events`, and whoever watches the box"),
    ("crashsms", "`/init events`, and whoever watches the box"),
];

/// What stands in for a listener: one text each.
pub(crate) fn replacements(command: &str, events: &str) -> Vec<String> {
    let known = WELL_KNOWN.iter().find(|(word, _)| command.contains(word));
    if let Some((word, replacement)) = known {
        return vec![format!("{word}: {replacement}")];
    }
    let mut texts = Vec::new();
    for event in value::list(events) {
        let event = event.to_uppercase();
        let found = REPLACEMENTS
            .iter()
            .find(|(name, _)| event.starts_with(name));
        let text = found.map_or_else(
            || format!("{event}: supervisord does not know it"),
            |(_, replacement)| format!("{event}: {replacement}"),
        );
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    if texts.is_empty() {
        texts.push("it listens to no events".to_owned());
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_has_what_stands_in_for_it() {
        let texts = replacements("/usr/bin/listener", "PROCESS_STATE_FATAL,tick_60");
        assert!(texts[0].contains("essential = true"), "{texts:?}");
        assert!(texts[1].contains("@every 60s"), "{texts:?}");
        let texts = replacements("httpok -p web http://localhost/", "TICK_60");
        assert!(texts[0].contains("health"), "{texts:?}");
    }

    #[test]
    fn no_event_of_supervisord_is_without_one() {
        for event in [
            "EVENT",
            "PROCESS_STATE",
            "PROCESS_STATE_STOPPED",
            "PROCESS_STATE_STARTING",
            "PROCESS_STATE_STOPPING",
            "PROCESS_STATE_BACKOFF",
            "PROCESS_STATE_RUNNING",
            "PROCESS_STATE_UNKNOWN",
            "PROCESS_COMMUNICATION_STDOUT",
            "PROCESS_LOG_STDERR",
            "REMOTE_COMMUNICATION",
            "SUPERVISOR_STATE_CHANGE_RUNNING",
            "TICK",
            "TICK_3600",
            "PROCESS_GROUP_ADDED",
        ] {
            let texts = replacements("x", event);
            assert!(!texts[0].contains("does not know"), "{texts:?}");
        }
    }
}
