//! Jobs on a schedule.

use std::sync::Arc;

use holdall_protocol::control::{Exit, State};
use holdall_protocol::manifest::{Condition, Kind, Restart, Schedule};
use holdall_protocol::{Manifest, Signal};
use holdall_supervise::{Action, Because, Command, Event, Note};

use super::{boot, is_note};
use crate::world::{Program, World, manifest};

/// A box with one job, `job`.
fn job(schedule: &str) -> Manifest {
    let mut manifest = manifest(&[("job", &[])]);
    let service = Arc::make_mut(&mut manifest.services[0]);
    let schedule: Schedule = schedule.parse().expect("a schedule");
    (service.kind, service.schedule) = (Kind::Job, Some(schedule));
    (service.restart, service.essential) = (Restart::Never, false);
    manifest
}

fn runs_for(span: u64, code: u8) -> Program {
    Program {
        ends: Some((span, Exit::Code(code))),
        ..Program::default()
    }
}

fn missed(world: &World) -> Vec<(u32, Because)> {
    let notes = world.said.iter().filter_map(|(_, action)| match action {
        Action::Note(Note::Missed { count, because, .. }) => Some((*count, *because)),
        _ => None,
    });
    notes.collect()
}

#[test]
fn a_job_runs_at_its_times_and_the_box_is_ready_meanwhile() {
    let mut world = boot(&job("@every 10s"), &[("job", runs_for(500, 0))]);
    assert_eq!(world.state("job"), State::Scheduled);
    world.run_until(35_000);
    assert_eq!(world.spawns("job"), [10_000, 20_000, 30_000]);
    assert!(missed(&world).is_empty());
    let ready = is_note(|note| matches!(note, Note::BoxReady { .. }));
    assert_eq!(world.times(ready).len(), 1);
    assert_eq!(world.exit, None, "a box does not end between two runs");
}

#[test]
fn a_run_that_takes_longer_than_its_schedule_is_not_overlapped_and_the_times_are_said() {
    let mut world = boot(&job("@every 10s"), &[("job", runs_for(25_000, 0))]);
    world.run_until(59_000);
    assert_eq!(world.spawns("job"), [10_000, 40_000]);
    assert_eq!(missed(&world), [(2, Because::ItRan)]);
}

#[test]
fn a_failed_run_waits_for_the_next_time_unless_it_is_to_be_tried_again() {
    let failing = [("job", runs_for(10, 3))];
    let mut world = boot(&job("@every 60s"), &failing);
    world.run_until(130_000);
    assert_eq!(world.spawns("job").len(), 2);
    assert_eq!(world.state("job"), State::Scheduled);
    let mut again = job("@every 60s");
    Arc::make_mut(&mut again.services[0]).restart = Restart::OnFailure;
    let mut world = boot(&again, &failing);
    world.run_until(62_500);
    assert_eq!(
        world.spawns("job").len(),
        2,
        "after the backoff of a second"
    );
}

#[test]
fn a_cron_job_goes_by_the_wall_clock() {
    let mut world = boot(&job("*/5 * * * *"), &[("job", runs_for(10, 0))]);
    // 2023-11-14T22:13:20Z.
    world.tell(Event::Clock {
        wall: 1_700_000_000_000,
    });
    world.run_until(900_000);
    // 22:15:00 is 100 s later.
    assert_eq!(world.spawns("job"), [100_000, 400_000, 700_000]);
}

#[test]
fn a_clock_that_is_set_forward_skips_times_and_says_so_and_one_set_back_repeats_them() {
    let mut world = boot(&job("0 * * * *"), &[("job", runs_for(10, 0))]);
    world.tell(Event::Clock { wall: 0 });
    world.run_until(1000);
    let hour = 3_600_000;
    world.tell(Event::Clock {
        wall: 5 * hour + 1000,
    });
    assert_eq!(missed(&world), [(5, Because::ClockWasSet)]);
    world.run_until(hour);
    assert_eq!(world.spawns("job").len(), 1, "at six");
    world.tell(Event::Clock {
        wall: 5 * hour + 1000,
    });
    world.run_until(2 * hour);
    assert_eq!(world.spawns("job").len(), 2, "at six again");
    assert_eq!(missed(&world).len(), 1);
}

#[test]
fn a_client_runs_a_job_now_and_is_answered_when_it_has_ended() {
    let mut world = boot(&job("@every 60s"), &[("job", runs_for(400, 0))]);
    world.run_until(1000);
    world.command(1, Command::Start, &["job"]);
    world.run_until(1300);
    assert!(world.replies[&1].is_empty());
    world.run_until(2000);
    assert_eq!(world.replies[&1], [Ok(())]);
    *world.program("job") = runs_for(400, 7);
    world.command(2, Command::Start, &["job"]);
    world.run_until(3000);
    let refusal = world.replies[&2][0].as_ref().expect_err("it failed");
    assert_eq!(refusal.message, "`job` ended (exit 7)");
    world.run_until(60_500);
    assert_eq!(world.spawns("job"), [1000, 2000, 60_000]);
}

#[test]
fn a_job_that_runs_is_stopped_with_the_box() {
    let mut world = boot(&job("@every 10s"), &[("job", runs_for(60_000, 0))]);
    world.run_until(11_000);
    world.tell(Event::Shutdown);
    world.run_for(1000);
    assert_eq!(world.exit.map(|(_, code)| code), Some(0));
}

#[test]
fn who_needs_a_job_done_waits_for_its_first_run() {
    let mut set = job("@every 10s");
    let mut web = manifest(&[("web", &["job"])]).services.remove(0);
    Arc::make_mut(&mut web).depends_on[0].condition = Condition::Done;
    set.services.push(web);
    let mut world = boot(&set, &[("job", runs_for(500, 0))]);
    world.run_until(9000);
    assert_eq!(world.state("web"), State::Waiting);
    world.run_until(11_000);
    assert_eq!(world.state("web"), State::Ready);
}

#[test]
fn who_needs_a_job_does_not_start_while_it_is_given_up() {
    let mut set = job("@every 10s");
    Arc::make_mut(&mut set.services[0]).restart = Restart::OnFailure;
    Arc::make_mut(&mut set.services[0]).give_up.failures = 1;
    set.services
        .extend(manifest(&[("web", &["job"]), ("other", &[])]).services);
    let mut world = boot(&set, &[("job", runs_for(10, 3))]);
    world.run_until(12_000);
    assert_eq!(world.state("job"), State::Fatal);
    world.kill("web", Signal::KILL);
    world.run_until(20_000);
    assert_eq!(world.state("web"), State::Waiting);
}
