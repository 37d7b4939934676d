//! The clocks: read here and nowhere else.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use std::time::Duration;

use holdall_supervise::Timestamp;
use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::poll::{Poll, Token};

/// The monotonic clock since init began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the licensed home of the clock")]
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// Microseconds since 1970-01-01 UTC, for people to read in a log.
#[expect(clippy::disallowed_methods, reason = "the licensed home of the clock")]
pub(crate) fn wall_micros() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// So far ahead that it never comes: a year.
const NEVER: Duration = Duration::from_secs(366 * 86_400);

/// Wakes us when the wall clock is set, and not otherwise: a timer that never
/// ends, which the kernel cancels then (timerfd_create(2),
/// *TFD_TIMER_CANCEL_ON_SET*).
pub(crate) struct Watch {
    timer: TimerFd,
}

impl Watch {
    pub(crate) fn begin(poll: &Poll) -> Result<Self, Errno> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let watch = Self {
            timer: TimerFd::new(ClockId::CLOCK_REALTIME, flags)?,
        };
        watch.arm()?;
        poll.add(&watch.timer, Token::Clock, EpollFlags::EPOLLIN)?;
        Ok(watch)
    }

    fn arm(&self) -> Result<(), Errno> {
        let wall = Duration::from_micros(wall_micros());
        let flags =
            TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
        let at = Expiration::OneShot(TimeSpec::from_duration(wall + NEVER));
        self.timer.set(at, flags)
    }

    /// The clock was set, or a year has passed: goes on watching.
    pub(crate) fn again(&self) {
        // Reading takes the news away; ECANCELED is the news.
        let _ = self.timer.wait();
        let _ = self.arm();
    }
}
