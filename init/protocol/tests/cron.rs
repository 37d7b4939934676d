//! Cron expressions, by hand and against `croner`.

use std::str::FromStr as _;

use chrono::{DateTime, Utc};
use croner::Cron;
use holdall_protocol::cron::Expression;
use proptest::prelude::*;

fn minutes(time: &str) -> u64 {
    let time: DateTime<Utc> = time.parse().expect("a time");
    u64::try_from(time.timestamp() / 60).expect("after 1970")
}

#[track_caller]
fn next(expression: &str, after: &str) -> String {
    let expression: Expression = expression.parse().expect(expression);
    let due = expression.next_after(minutes(after)).expect("it comes");
    let seconds = i64::try_from(due * 60).expect("in this age");
    let due = DateTime::from_timestamp(seconds, 0).expect("a time");
    due.format("%Y-%m-%dT%H:%MZ").to_string()
}

#[test]
fn the_next_time_is_the_one_that_a_calendar_says() {
    for (expression, after, due) in [
        ("*/15 * * * *", "2026-11-22T18:07:30Z", "2026-11-22T18:15Z"),
        ("0 3 * * *", "2026-11-22T03:00:00Z", "2026-11-23T03:00Z"),
        ("@monthly", "2026-12-31T23:59:00Z", "2027-01-01T00:00Z"),
        ("0 0 29 2 *", "2096-03-01T00:00:00Z", "2104-02-29T00:00Z"),
        // Either of two days suffices, unless one of them is a star.
        ("0 0 13 * fri", "2026-11-13T00:00:00Z", "2026-11-20T00:00Z"),
        ("0 0 */2 * fri", "2026-11-13T00:00:00Z", "2026-11-27T00:00Z"),
        (
            "30 8-9 * jan,jul mon-fri",
            "2026-11-22T00:00:00Z",
            "2027-01-01T08:30Z",
        ),
        // With a step one number is where it begins, as in Vixie's cron.
        ("5/10 * * * *", "2026-11-22T18:07:30Z", "2026-11-22T18:15Z"),
        ("0 12 * * 7", "2026-11-22T12:00:00Z", "2026-11-29T12:00Z"),
    ] {
        assert_eq!(next(expression, after), due, "{expression} after {after}");
    }
}

#[test]
fn a_field_that_holds_always_is_shown_as_a_star() {
    let expression: Expression = "0-59/1 0 * */1 *".parse().expect("well-formed");
    assert_eq!(expression.to_string(), "* 0 * * *");
}

#[test]
fn a_time_at_the_end_of_all_numbers_is_no_danger() {
    let expression: Expression = "* * * * *".parse().expect("well-formed");
    for minute in [u64::MAX, u64::MAX - 1, u64::MAX / 60, u64::MAX / 1440] {
        let _next = expression.next_after(minute);
    }
    assert_eq!(expression.count_between(0, u64::MAX, 7), 7);
}

fn field(from: u32, to: u32) -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just("*".to_owned()),
        3 => (from..=to).prop_map(|n| n.to_string()),
        1 => (1_u32..20).prop_map(|n| format!("*/{n}")),
        2 => (from..=to, from..=to).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        1 => prop::collection::vec(from..=to, 2..4)
            .prop_map(|list| list.iter().map(u32::to_string).collect::<Vec<_>>().join(",")),
    ]
}

proptest! {
    #[test]
    fn croner_says_the_same(
        minute in field(0, 59),
        hour in field(0, 23),
        day in prop_oneof![Just("*".to_owned()), (1_u32..=28).prop_map(|n| n.to_string())],
        month in field(1, 12),
        weekday in prop_oneof![Just("*".to_owned()), (0_u32..=6).prop_map(|n| n.to_string())],
        after in 0_u64..60_000_000,
    ) {
        let text = format!("{minute} {hour} {day} {month} {weekday}");
        let ours: Expression = text.parse().expect("well-formed");
        let theirs = Cron::from_str(&text).expect("well-formed");
        let mut at = after;
        for _ in 0..3 {
            let seconds = i64::try_from(at * 60).expect("in this age");
            let time = DateTime::from_timestamp(seconds, 0).expect("a time");
            let due = theirs.find_next_occurrence(&time, false).expect("it comes");
            at = ours.next_after(at).expect("it comes");
            prop_assert_eq!(at, u64::try_from(due.timestamp() / 60).expect("later"), "{}", text);
        }
    }

    #[test]
    fn an_expression_reads_back_as_it_is_shown(
        minute in field(0, 59),
        hour in field(0, 23),
        day in field(1, 28),
        month in field(1, 12),
        weekday in field(0, 7),
    ) {
        let text = format!("{minute} {hour} {day} {month} {weekday}");
        let expression: Expression = text.parse().expect("well-formed");
        let shown = expression.to_string();
        prop_assert_eq!(shown.parse::<Expression>(), Ok(expression), "{} as {}", text, shown);
    }
}
