//! What services say of themselves: what is heeded of a message is bounded,
//! and said again it is heeded the same.

use holdall_protocol::Millis;
use holdall_supervise::Notice;
use holdall_supervise::notice::{MAX_MESSAGE, Message};

pub(crate) fn run(data: &[u8]) {
    let Some(message) = Message::parse(data) else {
        assert!(
            data.len() > MAX_MESSAGE || data.contains(&0),
            "only what is too long or has a NUL is refused"
        );
        return;
    };
    assert!(data.len() <= MAX_MESSAGE + 1);
    assert!(message.notices.len() <= 6, "each thing once");
    for notice in &message.notices {
        match notice {
            Notice::Announced => panic!("no message says that"),
            Notice::Status(words) => {
                assert!(words.len() <= 256 && !words.contains(char::is_control));
            }
            Notice::MainPid(pid) => assert!(*pid > 1, "init itself is never a service's"),
            Notice::Ready
            | Notice::Reloading
            | Notice::Stopping
            | Notice::Alive
            | Notice::Stuck
            | Notice::WatchdogEvery(_)
            | Notice::Extend(_) => {}
        }
    }
    let names = message.store.iter().map(|store| &store.name);
    for name in names.chain(&message.remove) {
        assert!((1..=255).contains(&name.len()) && name.is_ascii());
        assert!(!name.contains(':'), "it would be two in LISTEN_FDNAMES");
    }
    let again = Message::parse(said(&message).as_bytes());
    assert_eq!(again, Some(message), "said again it is the same");
}

/// The message in the words of sd_notify(3).
fn said(message: &Message) -> String {
    let notice = |notice: &Notice| match notice {
        Notice::Ready => "READY=1".to_owned(),
        Notice::Announced => String::new(),
        Notice::Reloading => "RELOADING=1".to_owned(),
        Notice::Stopping => "STOPPING=1".to_owned(),
        Notice::Status(words) => format!("STATUS={words}"),
        Notice::Alive => "WATCHDOG=1".to_owned(),
        Notice::Stuck => "WATCHDOG=trigger".to_owned(),
        Notice::WatchdogEvery(span) => format!("WATCHDOG_USEC={}", micros(*span)),
        Notice::Extend(span) => format!("EXTEND_TIMEOUT_USEC={}", micros(*span)),
        Notice::MainPid(pid) => format!("MAINPID={pid}"),
    };
    let mut lines: Vec<String> = message.notices.iter().map(notice).collect();
    let name = message.remove.as_ref();
    if let Some(store) = &message.store {
        lines.push("FDSTORE=1".to_owned());
        if !store.polled {
            lines.push("FDPOLL=0".to_owned());
        }
        lines.push(format!("FDNAME={}", store.name));
    } else {
        lines.extend(name.map(|name| format!("FDNAME={name}")));
    }
    lines.extend(name.map(|_| "FDSTOREREMOVE=1".to_owned()));
    lines.join("\n")
}

/// Below the number that means "never".
fn micros(span: Millis) -> u64 {
    span.0.saturating_mul(1000).min(u64::MAX - 1)
}
