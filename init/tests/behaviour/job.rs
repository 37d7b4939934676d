//! Jobs on a schedule.

use crate::world::Setup;

#[test]
fn a_job_runs_at_its_times_and_when_a_client_says_so() {
    let mut init = Setup::new(
        r#"
        [service.tick]
        command = "sh -c 'echo ticked'"
        schedule = "@every 1s"
        [service.nightly]
        command = "sh -c 'echo it is night'"
        schedule = "0 3 * * *"
        "#,
    )
    .start();
    let at = init.wait_from(0, "ticked");
    init.wait_from(at, "ticked");
    assert!(init.ask_ok(&["ps"]).contains("scheduled"), "{}", init.seen);
    init.ask_ok(&["start", "nightly"]);
    init.wait_for("it is night");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_run_that_is_not_over_at_its_next_time_is_not_overlapped_and_that_is_said() {
    let mut init = Setup::new(
        r#"
        [service.slow]
        command = "sh -c 'echo begins; sleep 1.5; echo ends'"
        schedule = "@every 1s"
        "#,
    )
    .start();
    init.wait_for("missed one time: its last run had not ended");
    let begun = init.seen.matches("begins").count();
    let ended = init.seen.matches("ends").count();
    assert_eq!(begun, ended, "{}", init.seen);
    assert_eq!(init.stop(), Some(0));
}
