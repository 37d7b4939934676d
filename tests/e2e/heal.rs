//! What crashes, hangs or is killed comes back; what is beyond help ends the
//! box and says why.

use std::fs;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::env::Env;
use crate::eventually::{LONG, eventually};
use crate::shop::Shop;
use crate::{small, status};

#[test]
fn each_service_killed_in_turn_comes_back_and_the_page_answers() {
    let env = Env::new();
    let shop = Shop::run(&env);
    let mut visits = shop.visits();
    for service in ["redis", "app", "web"] {
        let before = status::service(&env, "shop", service).expect("it runs")["pid"].as_u64();
        let target = format!("shop/{service}");
        let _name = env.run(["kill", "-s", "KILL", &target]).ok();
        let after = status::until_restarted(&env, "shop", service, 1);
        assert_ne!(Some(after), before, "{service} has a new process");
        let now = shop.visits();
        // redis writes its file at a stop, not at a SIGKILL.
        assert!(
            service == "redis" || now > visits,
            "{now} visits after {visits}"
        );
        visits = now;
    }
    // Init says how it ended.
    status::until_logged(&env, "shop/app", "SIGKILL");
}

#[test]
fn a_whole_service_group_killed_at_once_comes_back() {
    let env = Env::new();
    let shop = Shop::run(&env);
    // nginx is a master with workers: all of them, as an OOM killer would.
    let killed = env.run(["exec", "shop", "sh", "-c", "kill -9 $(pidof nginx)"]);
    if killed.code != 0 {
        let pid = status::service(&env, "shop", "web").expect("it runs")["pid"].as_u64();
        let group = format!("kill -9 -{}", pid.expect("web has a process"));
        let _out = env.run(["exec", "shop", "sh", "-c", &group]).ok();
    }
    status::until_restarted(&env, "shop", "web", 1);
    assert_eq!(shop.page().status, 200);
}

#[test]
fn a_killed_monitor_is_replaced_and_the_port_ps_logs_and_stop_still_work() {
    let env = Env::new();
    let shop = Shop::run(&env);
    let before = shop.visits();
    for round in 1..=2 {
        for pid in monitors(&env) {
            kill(Pid::from_raw(pid), Signal::SIGKILL).expect("a monitor that runs");
        }
        assert!(
            shop.visits() > before,
            "the published port answers after kill {round}"
        );
        assert!(env.run(["ps", "shop"]).ok().contains("redis"));
        assert!(
            env.run(["logs", "-n", "100", "shop"])
                .ok()
                .contains("redis")
        );
    }
    let _name = env.run(["stop", "shop"]).ok();
    let listed = env.run(["ps", "-a"]).ok();
    assert!(listed.contains("exited (0)"), "{listed}");
}

/// The monitors of this root's boxes, by the name they run under.
pub(crate) fn monitors(env: &Env) -> Vec<i32> {
    let ids = env.boxes();
    eventually("there is a monitor", LONG, || {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").expect("/proc can be read").flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            if line.starts_with("holdall-monitor") && ids.iter().any(|id| line.contains(id)) {
                found.extend(
                    entry
                        .file_name()
                        .to_str()
                        .and_then(|pid| pid.parse::<i32>().ok()),
                );
            }
        }
        if found.is_empty() {
            Err("none".to_owned())
        } else {
            Ok(found)
        }
    })
}

#[test]
fn a_stop_is_in_order_and_the_data_is_there_after_start() {
    let env = Env::new();
    let shop = Shop::run(&env);
    let before = shop.visits();
    let _name = env.run(["stop", "shop"]).ok();

    let log = env.run(["logs", "shop"]).ok();
    let at = |needle: &str| {
        let found = log.find(needle);
        found.unwrap_or_else(|| panic!("no {needle:?} in:\n{log}"))
    };
    // Each in its own words: nginx, our app, redis.
    let web = at("signal 15 (SIGTERM) received");
    let app = at("got TERM");
    let redis = at("Received SIGTERM");
    assert!(web < app && app < redis, "web, app, redis:\n{log}");

    let _name = env.run(["start", "shop"]).ok();
    status::until_ready(&env, "shop");
    assert!(shop.visits() > before, "redis kept its data");
}

#[test]
fn a_hung_app_turns_unhealthy_and_is_restarted() {
    let env = Env::new();
    let shop = Shop::run(&env);
    let before = shop.visits();
    let _name = env.run(["kill", "-s", "STOP", "shop/app"]).ok();
    status::until_restarted(&env, "shop", "app", 1);
    assert!(shop.visits() > before);
    status::until_logged(&env, "shop/app", "unhealthy");
}

#[test]
fn a_service_that_always_fails_ends_the_box_with_its_code_and_last_words() {
    let env = Env::new();
    small::build(
        &env,
        "doomed",
        r#"
        [service.steady]
        command = "sleep 1000"

        [service.broken]
        command = "sh -c 'echo cannot find my config; exit 7'"
        backoff = { initial = "10ms", max = "20ms" }
        give_up = { failures = 3, within = "60s" }
        "#,
    );
    let ran = env.run(["run", "--name", "doomed", "doomed"]);
    assert_eq!(ran.code, 7, "stdout:\n{}\nstderr:\n{}", ran.out, ran.err);
    let all = ran.out + &ran.err;
    let verdict = all
        .find("given up")
        .unwrap_or_else(|| panic!("no verdict in:\n{all}"));
    assert!(
        all[verdict..].contains("cannot find my config"),
        "the last words follow:\n{all}"
    );
    assert!(env.run(["ps", "-a"]).ok().contains("exited (7)"));
}

#[test]
fn a_grandchild_that_made_itself_a_daemon_is_gone_with_its_service() {
    let env = Env::new();
    small::build(
        &env,
        "escape",
        r#"
        [service.parent]
        command = "sh -c 'setsid sleep 4242 & exec sleep 1000'"

        [service.other]
        command = "sleep 1000"
        "#,
    );
    let _name = env.run(["run", "-d", "--name", "escape", "escape"]).ok();
    status::until_ready(&env, "escape");
    let running = || env.run(["exec", "escape", "ps", "-o", "args"]).ok();
    eventually("the grandchild runs", LONG, || {
        let list = running();
        if list.contains("sleep 4242") {
            Ok(())
        } else {
            Err(list)
        }
    });
    let _name = env.run(["stop", "escape/parent"]).ok();
    assert!(
        !running().contains("sleep 4242"),
        "nothing of the service is left"
    );
}

#[test]
fn five_thousand_orphans_are_reaped() {
    let env = Env::new();
    small::build(
        &env,
        "orphans",
        "[service.steady]\ncommand = \"sleep 1000\"",
    );
    let _name = env.run(["run", "-d", "--name", "orphans", "orphans"]).ok();
    status::until_ready(&env, "orphans");
    // Each inner shell dies at once and leaves a child that ends as an orphan.
    let script = "i=0; while [ $i -lt 5000 ]; do (true & ) ; i=$((i+1)); done";
    let mut exec = env.command(["exec", "orphans", "sh", "-c", script]);
    let done = exec
        .stdout(Stdio::null())
        .status()
        .expect("holdall can be started");
    assert!(done.success());
    eventually("no zombie is left", LONG, || {
        let list = env.run(["exec", "orphans", "ps", "-o", "stat"]).ok();
        let zombies = list
            .lines()
            .filter(|line| line.trim().starts_with('Z'))
            .count();
        if zombies == 0 {
            Ok(())
        } else {
            Err(format!("{zombies} zombies"))
        }
    });
    assert_eq!(
        status::of(&env, "orphans").expect("init answers")["ready"],
        true
    );
}
