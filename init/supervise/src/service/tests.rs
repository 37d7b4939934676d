//! The table above the code names every state and every event.

/// The rows of the table: state, event, becomes.
fn rows() -> Vec<[String; 3]> {
    let lines = include_str!("../service.rs").lines();
    let rows = lines.filter_map(|line| line.strip_prefix("//! | "));
    let mut state = String::new();
    let mut found = Vec::new();
    for row in rows.skip_while(|row| !row.starts_with("stopped")) {
        let mut cells = row.split('|').map(|cell| cell.trim().to_owned());
        let mut cell = || cells.next().unwrap_or_default();
        let (first, event, becomes) = (cell(), cell(), cell());
        if !first.is_empty() {
            state = first;
        }
        found.push([state.clone(), event, becomes]);
    }
    found
}

#[test]
fn the_table_has_a_row_for_each_state_and_each_event() {
    let rows = rows();
    let states = [
        "stopped",
        "waiting",
        "spawning",
        "starting, ready, unhealthy",
        "stopping",
        "killing",
        "unreaped",
        "clearing(next)",
        "backoff(until)",
        "scheduled(due)",
        "exited",
        "fatal",
    ];
    for state in states {
        assert!(rows.iter().any(|row| row[0] == state), "no row for {state}");
    }
    let events = [
        "up",
        "down",
        "anew",
        "now",
        "go",
        "halt",
        "kill",
        "timer",
        "clock",
        "spawned",
        "spawn failed",
        "exited",
        "cleared",
        "probed",
        "stop command",
    ];
    for event in events {
        let named = |row: &[String; 3]| row[1].contains(event);
        assert!(rows.iter().any(named), "no row names {event}");
    }
}
