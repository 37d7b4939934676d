//! Under a steady load, a restart of a service with `listen` loses no request;
//! the same load on the same service without it does, or this proves nothing.

use std::net::{Ipv4Addr, SocketAddr};

use crate::env::{Env, free_port};
use crate::load::{under_load, until_good};
use crate::{shop, status};

/// Restarts app five times under load, on the port that the app itself serves.
fn restarts_under_load(env: &Env, image: &str) -> (u32, Vec<String>) {
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
    assert!(lost.is_empty(), "beside {good} answered: {lost:?}");
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
    assert!(!lost.is_empty(), "all {good} requests were answered");
}
