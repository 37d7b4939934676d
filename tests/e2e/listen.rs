//! Under a steady load, a restart of a service with `listen` loses no request;
//! the same load on the same service without it does, or this proves nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use crate::env::{Env, free_port};
use crate::eventually::{LONG, eventually};
use crate::{http, shop, status};

/// What the load saw.
#[derive(Debug, Default)]
struct Tally {
    good: AtomicU32,
    lost: AtomicU32,
}

/// Requests one after another, each over a connection of its own, while
/// `disturb` runs, and a few on both sides of it.
fn under_load(address: SocketAddr, disturb: impl FnOnce(&Tally)) -> (u32, u32) {
    let tally = Tally::default();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let good = http::get(address, "/healthz").is_ok_and(|a| a.status == 200);
                    let count = if good { &tally.good } else { &tally.lost };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        disturb(&tally);
        stop.store(true, Ordering::Relaxed);
    });
    (tally.good.into_inner(), tally.lost.into_inner())
}

fn until_good(tally: &Tally, more: u32) {
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

/// Restarts app five times under load, on the port that the app itself serves.
fn restarts_under_load(env: &Env, image: &str) -> (u32, u32) {
    let port = free_port();
    let publish = format!("{port}:8000");
    let _name = env
        .run(["run", "-d", "--name", image, "-p", &publish, image])
        .ok();
    status::until_ready(env, image);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let target = format!("{image}/app");
    under_load(address, |tally| {
        until_good(tally, 20);
        for _ in 0..5 {
            let _name = env.run(["restart", &target]).ok();
            until_good(tally, 20);
        }
    })
}

#[test]
fn a_restart_with_listen_loses_no_request() {
    let env = Env::new();
    shop::load(&env);
    let (good, lost) = restarts_under_load(&env, "shop");
    assert_eq!(lost, 0, "of {good} requests");
}

#[test]
fn the_same_load_without_listen_loses_some() {
    let env = Env::new();
    shop::load(&env);
    let dir = env.root().join("projects/bare");
    shop::copy_project(&dir);
    let toml = std::fs::read_to_string(dir.join("holdall.toml")).expect("the example");
    // The same image and services, but for the socket.
    let from = toml.find("[image]").expect("an [image]");
    let to = from + toml[from..].find("\n[service").expect("services");
    let bare = toml
        .replace(&toml[from..to], "[image]\nfrom = \"shop\"\n")
        .replace("name = \"shop\"", "name = \"bare\"")
        .lines()
        .filter(|line| !line.trim_start().starts_with("listen"))
        .collect::<Vec<_>>()
        .join("\n");
    std::fs::write(dir.join("holdall.toml"), bare).expect("a file below the root");
    let _built = env.run(["build".as_ref(), dir.as_os_str()]).ok();
    let (good, lost) = restarts_under_load(&env, "bare");
    assert!(lost > 0, "all {good} requests were answered");
}
