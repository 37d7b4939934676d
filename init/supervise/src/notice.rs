//! What a service says of itself: messages of `sd_notify(3)`, read from bytes.

use holdall_protocol::Millis;

/// The longest message, in bytes: systemd's own bound. A longer one is refused
/// whole, as what is missing of it might be what matters.
pub const MAX_MESSAGE: usize = 4096;

/// The longest STATUS that is kept, in bytes: one line of a table.
const MAX_STATUS: usize = 256;

/// The longest FDNAME, in bytes (sd_pid_notify_with_fds(3)).
const MAX_NAME: usize = 255;

/// One thing that a service said.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Notice {
    /// `READY=1`: it is ready, or has read its files again.
    Ready,
    /// It has announced itself otherwise: by a line at its descriptor, or in
    /// its log. No message says this.
    Announced,
    /// `RELOADING=1`: it reads its files again, until [`Notice::Ready`].
    Reloading,
    /// `STOPPING=1`: it is about to end by itself.
    Stopping,
    /// `STATUS=…`: words for people, one line; empty takes them back.
    Status(String),
    /// `WATCHDOG=1`: it is alive.
    Alive,
    /// `WATCHDOG=trigger`: it has found out itself that it is not well.
    Stuck,
    /// `WATCHDOG_USEC=…`: it will say that it is alive so often from now on;
    /// zero: no more.
    WatchdogEvery(Millis),
    /// `EXTEND_TIMEOUT_USEC=…`: its start or its stop takes so long from now.
    Extend(Millis),
    /// `MAINPID=…`: this is its main process now. Whether that is one of its
    /// own is for the shell to see before the supervisor is told.
    MainPid(u32),
}

/// One message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// What it says, each thing once however often it is in there, in the
    /// order in which it is to be heeded.
    pub notices: Vec<Notice>,
    /// `FDSTOREREMOVE=1`: descriptors stored under this name are to be closed.
    pub remove: Option<String>,
    /// `FDSTORE=1`: the descriptors that came along are to be kept. Otherwise
    /// they are to be closed, and when all that was said before is heeded
    /// (`BARRIER=1`).
    pub store: Option<Store>,
}

/// How descriptors are to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// `FDNAME=…`; `stored` where nothing is said.
    pub name: String,
    /// Until their other end hangs up; `FDPOLL=0`: even then.
    pub polled: bool,
}

impl Message {
    /// Reads a datagram. None where it is none of `sd_notify`: too long, or
    /// with a NUL inside. Lines that say nothing known are passed over (ERRNO,
    /// EXIT_STATUS, MONOTONIC_USEC and what others make up).
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
        if bytes.len() > MAX_MESSAGE || bytes.contains(&0) {
            return None;
        }
        let text = String::from_utf8_lossy(bytes);
        let mut said = Said::default();
        for line in text.split('\n') {
            if let Some((key, value)) = line.split_once('=') {
                said.take(key, value);
            }
        }
        Some(said.message())
    }
}

/// What was in the lines so far; of one key the last.
#[derive(Debug, Default)]
struct Said<'m> {
    main: Option<u32>,
    status: Option<&'m str>,
    extend: Option<Millis>,
    every: Option<Millis>,
    change: Option<Notice>,
    watchdog: Option<Notice>,
    store: bool,
    remove: bool,
    unpolled: bool,
    name: Option<&'m str>,
}

impl<'m> Said<'m> {
    fn take(&mut self, key: &str, value: &'m str) {
        match (key, value) {
            ("READY", "1") => self.change = Some(Notice::Ready),
            ("RELOADING", "1") => self.change = Some(Notice::Reloading),
            ("STOPPING", "1") => self.change = Some(Notice::Stopping),
            ("STATUS", words) => self.status = Some(words),
            ("WATCHDOG", "1") => self.watchdog = Some(Notice::Alive),
            ("WATCHDOG", "trigger") => self.watchdog = Some(Notice::Stuck),
            ("WATCHDOG_USEC", micros) => self.every = span(micros).or(self.every),
            ("EXTEND_TIMEOUT_USEC", micros) => self.extend = span(micros).or(self.extend),
            ("MAINPID", number) => {
                let pid = number.parse().ok().filter(|pid| *pid > 1);
                self.main = pid.or(self.main);
            }
            ("FDSTORE", "1") => self.store = true,
            ("FDSTOREREMOVE", "1") => self.remove = true,
            ("FDPOLL", "0") => self.unpolled = true,
            ("FDNAME", name) if can_be_named(name) => self.name = Some(name),
            (_, _) => {}
        }
    }

    fn message(self) -> Message {
        let notices = [
            self.main.map(Notice::MainPid),
            self.status.map(|words| Notice::Status(one_line(words))),
            self.extend.map(Notice::Extend),
            self.every.map(Notice::WatchdogEvery),
            self.change,
            self.watchdog,
        ];
        let name = |default: Option<&str>| self.name.or(default).map(str::to_owned);
        Message {
            notices: notices.into_iter().flatten().collect(),
            // Without a name, none is meant: not all of them.
            remove: name(None).filter(|_| self.remove),
            store: name(Some("stored"))
                .filter(|_| self.store)
                .map(|name| Store {
                    name,
                    polled: !self.unpolled,
                }),
        }
    }
}

/// Microseconds, rounded up. What systemd takes for "never" is zero here.
fn span(micros: &str) -> Option<Millis> {
    match micros.parse::<u64>().ok()? {
        u64::MAX => Some(Millis::ZERO),
        micros => Some(Millis(micros.div_ceil(1000))),
    }
}

/// As sd_notify(3) has it: ASCII without control characters and colons, which
/// divide the names in LISTEN_FDNAMES.
fn can_be_named(name: &str) -> bool {
    let fine = |byte: u8| byte != b':' && (byte.is_ascii_graphic() || byte == b' ');
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(fine)
}

fn one_line(words: &str) -> String {
    let cut = words.floor_char_boundary(MAX_STATUS);
    let words = words.get(..cut).unwrap_or(words);
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    words.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notices(text: &str) -> Vec<Notice> {
        Message::parse(text.as_bytes()).expect("a message").notices
    }

    #[test]
    fn each_thing_is_heeded_once_and_in_its_order() {
        let said = "WATCHDOG=1\nREADY=1\nSTATUS=a\nSTATUS=b\tc\nMAINPID=7\nREADY=1\n\
                    WATCHDOG_USEC=1500\nEXTEND_TIMEOUT_USEC=2000000";
        let heeded = [
            Notice::MainPid(7),
            Notice::Status("b c".to_owned()),
            Notice::Extend(Millis(2000)),
            Notice::WatchdogEvery(Millis(2)),
            Notice::Ready,
            Notice::Alive,
        ];
        assert_eq!(notices(said), heeded);
    }

    #[test]
    fn what_is_not_known_or_makes_no_sense_is_passed_over() {
        let said = "X=1\nREADY=0\nREADY\n=\n\nMAINPID=-3\nMAINPID=1\nMAINPID=0\nERRNO=2\n\
                    EXIT_STATUS=1\nMONOTONIC_USEC=5\nWATCHDOG=2\nWATCHDOG_USEC=x\nBARRIER=1";
        assert_eq!(notices(said), []);
        assert_eq!(notices(""), []);
    }

    #[test]
    fn reloading_stopping_and_the_watchdog_are_heard() {
        assert_eq!(
            notices("RELOADING=1\nMONOTONIC_USEC=123"),
            [Notice::Reloading]
        );
        assert_eq!(notices("STOPPING=1"), [Notice::Stopping]);
        assert_eq!(notices("WATCHDOG=trigger"), [Notice::Stuck]);
        let never = format!("WATCHDOG_USEC={}", u64::MAX);
        assert_eq!(notices(&never), [Notice::WatchdogEvery(Millis::ZERO)]);
        assert_eq!(
            notices("WATCHDOG_USEC=0"),
            [Notice::WatchdogEvery(Millis::ZERO)]
        );
    }

    #[test]
    fn descriptors_are_stored_under_a_name_that_can_be_one() {
        let parse = |text: &str| Message::parse(text.as_bytes()).expect("a message");
        let store = |text: &str| parse(text).store.map(|store| (store.name, store.polled));
        assert_eq!(store("FDSTORE=1"), Some(("stored".to_owned(), true)));
        assert_eq!(
            store("FDSTORE=1\nFDNAME=db\nFDPOLL=0"),
            Some(("db".to_owned(), false))
        );
        assert_eq!(
            store("FDSTORE=1\nFDNAME=a:b"),
            Some(("stored".to_owned(), true))
        );
        assert_eq!(
            store("FDSTORE=1\nFDNAME=a b"),
            Some(("a b".to_owned(), true))
        );
        assert_eq!(
            store("FDSTORE=1\nFDNAME=a\tb"),
            Some(("stored".to_owned(), true))
        );
        assert_eq!(store("FDNAME=db"), None);
        assert_eq!(
            parse("FDSTOREREMOVE=1\nFDNAME=db").remove.as_deref(),
            Some("db")
        );
        assert_eq!(parse("FDSTOREREMOVE=1").remove, None, "never all of them");
    }

    #[test]
    fn a_message_is_bounded_and_has_no_nul_inside() {
        assert_eq!(notices("READY=1\0"), [Notice::Ready]);
        assert_eq!(Message::parse(b"READY=1\0X=2"), None);
        assert!(Message::parse(&[b'x'; MAX_MESSAGE]).is_some());
        assert_eq!(Message::parse(&[b'x'; MAX_MESSAGE + 1]), None);
        let long = format!("STATUS={}", "é".repeat(1000));
        let [Notice::Status(words)] = &notices(&long)[..] else {
            panic!("a status")
        };
        assert_eq!(words.len(), MAX_STATUS);
        let bytes = Message::parse(b"STATUS=\xff").expect("a message");
        assert_eq!(bytes.notices, [Notice::Status("\u{fffd}".to_owned())]);
    }
}
