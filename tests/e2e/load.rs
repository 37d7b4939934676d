//! A steady load, and what became of it.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use crate::eventually::{LONG, eventually};
use crate::http;

/// What the load saw.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    good: AtomicU32,
    lost: Mutex<Vec<String>>,
}

/// Requests one after another, each over a connection of its own, while
/// `disturb` runs, and a few on both sides of it: how many were answered, and
/// what became of each that was lost.
pub(crate) fn under_load(address: SocketAddr, disturb: impl FnOnce(&Tally)) -> (u32, Vec<String>) {
    let tally = Tally::default();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    match http::get(address, "/healthz") {
                        Ok(answer) if answer.status == 200 => {
                            tally.good.fetch_add(1, Ordering::Relaxed);
                        }
                        other => {
                            let mut lost = tally.lost.lock().expect("no client panics");
                            lost.push(format!("{other:?}"));
                        }
                    }
                }
            });
        }
        disturb(&tally);
        stop.store(true, Ordering::Relaxed);
    });
    let lost = tally.lost.into_inner().expect("no client panics");
    (tally.good.into_inner(), lost)
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
