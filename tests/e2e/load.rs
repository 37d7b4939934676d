//! A steady load, and what became of it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use crate::eventually::{LONG, eventually};
use crate::http;

/// What the load saw.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    good: AtomicU32,
    lost: AtomicU32,
}

/// Requests one after another, each over a connection of its own, while
/// `disturb` runs, and a few on both sides of it: how many were answered, and
/// how many were lost.
pub(crate) fn under_load(address: SocketAddr, disturb: impl FnOnce(&Tally)) -> (u32, u32) {
    let tally = Tally::default();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let count = match http::get(address, "/healthz") {
                        Ok(answer) if answer.status == 200 => &tally.good,
                        // Read where a loss was not to be.
                        other => {
                            eprintln!("lost: {other:?}");
                            &tally.lost
                        }
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        disturb(&tally);
        stop.store(true, Ordering::Relaxed);
    });
    (tally.good.into_inner(), tally.lost.into_inner())
}

/// Waits until `more` requests have been answered.
pub(crate) fn until_good(tally: &Tally, more: u32) {
    let from = tally.good.load(Ordering::Relaxed);
    eventually("requests are answered", LONG, || {
        let now = tally.good.load(Ordering::Relaxed);
        if now >= from + more {
            Ok(())
        } else {
            Err(format!("{} of {more}", now - from))
        }
    });
}
