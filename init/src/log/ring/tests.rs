use super::*;

const SERVICES: usize = 3;

fn origin(time: u64, service: Option<u32>) -> Origin {
    let stream = match service {
        Some(_) => Stream::Stdout,
        None => Stream::Init,
    };
    Origin {
        time,
        service: service.map(ServiceId),
        stream,
        partial: false,
    }
}

fn any(_: &Origin) -> bool {
    true
}

fn of(service: u32) -> impl Fn(&Origin) -> bool {
    move |origin| origin.service == Some(ServiceId(service))
}

fn texts(ring: &Ring, from: u64, wanted: impl Fn(&Origin) -> bool) -> Vec<String> {
    let lines = ring.lines(from, wanted);
    lines
        .map(|line| String::from_utf8_lossy(line.text).into_owned())
        .collect()
}

fn fill(ring: &mut Ring, service: u32, count: u64) {
    for number in 0..count {
        let line = format!("line {number}\n");
        ring.push(origin(number, Some(service)), Batch::whole(line.as_bytes()));
    }
}

#[test]
fn the_newest_lines_are_kept_and_keep_their_numbers() {
    let mut ring = Ring::new(SERVICES);
    fill(&mut ring, 0, 10_000);
    assert_eq!(ring.end(), 10_000);
    let kept: Vec<Line<'_>> = ring.lines(0, any).collect();
    assert!(kept.len() > 1000 && kept.len() < 3000, "{}", kept.len());
    assert!(ring.is_gone(0) && !ring.is_gone(kept[0].number));
    for line in &kept {
        assert_eq!(line.text, format!("line {}", line.number).as_bytes());
        assert_eq!(line.origin.time, line.number);
    }
    assert_eq!(kept.last().map(|line| line.number), Some(9_999));
    assert_eq!(texts(&ring, 10_000, any), [""; 0]);
}

#[test]
fn a_chatty_service_does_not_push_out_the_lines_of_a_quiet_one() {
    let mut ring = Ring::new(SERVICES);
    ring.push(origin(1, Some(1)), Batch::whole(b"rare\nand dear\n"));
    ring.push(origin(1, None), Batch::whole(b"init speaks\n"));
    fill(&mut ring, 0, 100_000);
    let long = [vec![b'x'; 60_000], b"\n".to_vec()].concat();
    let short = b"y\n".repeat(32_000);
    for _ in 0..100 {
        ring.push(origin(2, Some(2)), Batch::whole(&short));
        ring.push(origin(2, Some(2)), Batch::whole(&long));
    }
    assert_eq!(texts(&ring, 0, of(1)), ["rare", "and dear"]);
    assert_eq!(texts(&ring, 0, |o| o.service.is_none()), ["init speaks"]);
    // Those that say a lot share what there is.
    assert!(ring.held(0, of(0)) > 500, "{}", ring.held(0, of(0)));
}

#[test]
fn memory_is_bounded_whatever_is_said_by_whom() {
    let bound = BASE + SERVICES * PER_SERVICE;
    let mut ring = Ring::new(SERVICES);
    let lengths = [0, 1, 10, 100, 5000, 16 * 1024, 60_000];
    for (number, length) in (0..).zip(lengths.iter().cycle().take(3000)) {
        let text = [vec![b'x'; *length], b"\n".to_vec()].concat();
        let service = u32::try_from(number % 4).ok().filter(|id| *id < 3);
        ring.push(origin(number, service), Batch::whole(&text));
        assert!(ring.charge <= bound);
    }
    let kept: usize = ring.blocks.values().map(Block::charge).sum();
    assert_eq!(kept, ring.charge);
    let owned: usize = ring.owners.iter().map(|owner| owner.charge).sum();
    assert_eq!(owned, ring.charge);
    let numbers: usize = ring.owners.iter().map(|owner| owner.blocks.len()).sum();
    assert_eq!(numbers, ring.blocks.len());
}

#[test]
fn where_memory_runs_short_it_keeps_half_as_much_three_times() {
    let bound = BASE + SERVICES * PER_SERVICE;
    let mut ring = Ring::new(SERVICES);
    for kept in [bound, bound / 2, bound / 4, bound / 8] {
        fill(&mut ring, 0, 100_000);
        assert!(ring.charge <= kept, "{} of {kept}", ring.charge);
        assert!(ring.charge > kept / 2, "{} of {kept}", ring.charge);
        assert_eq!(ring.halve(), kept > bound / 8);
    }
    assert!(ring.charge > bound / 16, "{}", ring.charge);
}

#[test]
fn lines_that_came_together_are_counted_one_by_one() {
    let mut ring = Ring::new(SERVICES);
    let text = b"a\n\nc\n".repeat(20_000);
    ring.push(origin(1, Some(0)), Batch::whole(&text));
    assert_eq!(ring.end(), 60_000);
    assert_eq!(texts(&ring, 59_996, any), ["c", "a", "", "c"]);
    assert_eq!(ring.pushed(&[ServiceId(0)]), 60_000);
    assert_eq!(ring.pushed(&[ServiceId(1)]), 0);
    assert_eq!(ring.pushed(&[]), 60_000);
}

#[test]
fn a_piece_of_a_line_is_a_line_of_its_own() {
    let mut ring = Ring::new(SERVICES);
    let part = Origin {
        partial: true,
        ..origin(1, Some(0))
    };
    let piece = Batch {
        text: b"half",
        partial: true,
    };
    ring.push(part, piece);
    ring.push(origin(2, Some(0)), Batch::whole(b" and half\n"));
    let lines: Vec<_> = ring.lines(0, any).collect();
    let seen: Vec<_> = lines.iter().map(|l| (l.text, l.origin.partial)).collect();
    assert_eq!(seen, [(&b"half"[..], true), (b" and half", false)]);
}

#[test]
fn a_tail_counts_only_the_lines_that_are_wanted() {
    let mut ring = Ring::new(SERVICES);
    for number in 0..10 {
        let service = u32::try_from(number % 2).ok();
        ring.push(origin(number, service), Batch::whole(b"x\ny\n"));
    }
    assert_eq!(ring.tail(3, of(0)), 13);
    assert_eq!(texts(&ring, 13, of(0)), ["y", "x", "y"]);
    assert_eq!(ring.tail(100, any), 0);
    assert_eq!(ring.tail(0, any), 20);
    assert_eq!(ring.held(13, of(0)), 3);
    assert_eq!(ring.held(0, any), 20);
}
