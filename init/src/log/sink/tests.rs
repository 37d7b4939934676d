//! Readers that are slow, stuck or gone.

use super::*;
use crate::log::episode::News;

fn say(sink: &mut Sink, line: &str) -> bool {
    sink.take(Timestamp(0), Room::Ordinary, |out, _| {
        out.extend_from_slice(line.as_bytes());
        true
    })
}

#[test]
fn a_full_disk_loses_lines_by_number_and_is_told_once() {
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .expect("a device");
    let mut sink = Sink::new(OwnedFd::from(full));
    for _ in 0..3 {
        assert!(say(&mut sink, "one\ntwo\n"));
        sink.flush(Timestamp(0));
    }
    assert_eq!((sink.waiting(), sink.take_lost()), (0, 6));
    let reason = "no space left on device".to_owned();
    assert_eq!(sink.episode.news(), [News::Fails(reason)]);
    assert!(!sink.has_room());
}

#[test]
fn a_reader_that_is_gone_and_one_that_comes_back_are_told_of() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("fifo");
    unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    let open = |write: bool| {
        let mut options = File::options();
        options
            .read(!write)
            .write(write)
            .custom_flags(libc::O_NONBLOCK);
        options.open(&path).expect("a fifo")
    };
    let reader = open(false);
    let mut sink = Sink::new(OwnedFd::from(open(true)));
    drop(reader);
    assert!(say(&mut sink, "one\n"));
    sink.flush(Timestamp(0));
    assert_eq!(sink.take_lost(), 1);
    let mut reader = open(false);
    assert!(say(&mut sink, "two\n"));
    sink.flush(Timestamp(0));
    let mut text = [0; 16];
    let read = std::io::Read::read(&mut reader, &mut text).expect("text");
    assert_eq!(text.get(..read), Some(&b"two\n"[..]));
    let reason = "broken pipe".to_owned();
    assert_eq!(sink.episode.news(), [News::Fails(reason), News::Works(1)]);
}

#[test]
fn a_stuck_reader_is_waited_for_and_then_not() {
    let (reader, writer) = unistd::pipe().expect("a pipe");
    let mut sink = Sink::new(writer);
    let line = format!("{}\n", "x".repeat(1023));
    let mut taken = 0;
    while say(&mut sink, &line) {
        taken += 1;
        sink.flush(Timestamp(5));
    }
    // It was not stuck, so what was read already has found room.
    assert!(sink.holds_back() && sink.is_full());
    assert!(taken * line.len() >= MAX + BURST);
    assert_eq!(sink.stuck_at(), Some(Timestamp(5) + STUCK_AFTER));
    sink.check_stuck(Timestamp(5) + STUCK_AFTER);
    assert!(
        !sink.holds_back() && sink.is_full(),
        "only who chose to waits"
    );
    assert!(!say(&mut sink, &line));
    // It reads again.
    let mut buffer = vec![0; 65_536];
    unistd::read(&reader, &mut buffer).expect("it is full");
    sink.made_room();
    sink.flush(Timestamp(6));
    assert!(sink.holds_back(), "it reads");
}
