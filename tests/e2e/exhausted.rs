//! A running box when the machine has no more of something: no room on the
//! disk, no descriptor for another connection. It runs on, says what was lost,
//! and is as before when there is some again.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use crate::env::{Env, free_port};
use crate::eventually::{LONG, eventually};
use crate::heal::monitors;
use crate::kills::is_whole;
use crate::{http, small, status};

/// The root of a story on a disk of its own, in memory. Dropped, it is gone
/// with all boxes.
struct Disk<'a>(&'a Env);

impl<'a> Disk<'a> {
    /// Of so many MiB.
    fn new(env: &'a Env, size: u32) -> Self {
        let options = format!("size={size}m,mode=700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "holdall-e2e"]);
        let mounted = mount.arg(env.root()).status().expect("mount");
        assert!(mounted.success());
        Self(env)
    }

    fn filler(&self) -> PathBuf {
        self.0.root().join("filler")
    }

    /// Until nothing more can be written.
    fn fill(&self) {
        let mut file = File::create(self.filler()).expect("a file");
        let block = vec![0; 64 * 1024];
        // By halves in the end, so that no page is left.
        let mut size = block.len();
        while size > 0 {
            if file.write(&block[..size]).is_err() {
                size /= 2;
            }
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.filler()).expect("it was filled");
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _there = fs::remove_file(self.filler());
        for id in self.0.boxes() {
            let _removed = self.0.run(["rm", "-f", &id]);
        }
        // What a box's end still holds is let go of in a moment.
        eventually("the disk is taken away", LONG, || {
            let umount = Command::new("umount").arg(self.0.root()).output();
            let umount = umount.expect("umount");
            let words = || String::from_utf8_lossy(&umount.stderr).into_owned();
            umount.status.success().then_some(()).ok_or_else(words)
        });
    }
}

/// The newest line of the service, from the ring of the init: that one needs
/// no disk.
fn newest(env: &Env) -> Result<u64, String> {
    let ran = env.run(["exec", "one", "/init", "logs", "-n", "1", "a"]);
    let number = ran.out.trim().rsplit(' ').next().map(str::parse);
    match number {
        Some(Ok(number)) => Ok(number),
        _ => Err(format!("{ran:?}")),
    }
}

/// Lines so long that the last page of the log is soon full, too.
fn counting() -> String {
    let padding = "x".repeat(1000);
    let script = "n=0; while :; do n=$((n+1)); echo $PADDING line $n; sleep 0.05 & wait $!; done";
    format!("[service.a]\ncommand = \"sh -c '{script}'\"\nenv = {{ PADDING = \"{padding}\" }}\n")
}

#[test]
fn a_full_disk_stops_no_box_and_what_the_log_lost_is_counted_and_said() {
    let env = Env::new();
    let disk = Disk::new(&env, 96);
    small::build(&env, "steady", &counting());
    let _name = env.run(["run", "-d", "--name", "one", "steady"]).ok();
    status::until_ready(&env, "one");
    let lines = || env.run(["logs", "one/a"]).ok().lines().count();
    eventually("it is logged", LONG, || {
        if lines() > 5 {
            Ok(())
        } else {
            Err(String::new())
        }
    });

    disk.fill();
    let full_at = newest(&env).expect("it runs");
    eventually("it runs on", LONG, || {
        let now = newest(&env)?;
        if now > full_at + 20 {
            Ok(())
        } else {
            Err(format!("line {now}"))
        }
    });
    let _name = env.run(["kill", "-s", "KILL", "one/a"]).ok();
    status::until_restarted(&env, "one", "a", 1);
    assert!(env.run(["ps"]).ok().contains("one"));
    // What needs room says so, and leaves nothing half-made.
    let dir = env.root().join("projects/steady");
    for refused in [
        &["build", "--no-cache", dir.to_str().expect("a path")][..],
        &["run", "--rm", "steady", "true"],
        &["run", "-d", "steady"],
        &["build", "-t", "other:1", dir.to_str().expect("a path")],
    ] {
        let ran = env.run(refused);
        assert_ne!(ran.code, 0, "{refused:?}: {ran:?}");
        assert!(ran.err.contains("error:"), "{refused:?}: {ran:?}");
        assert!(!ran.err.contains("panicked"), "{refused:?}: {ran:?}");
    }
    let whole = env.run(["fsck"]);
    assert!(whole.out.ends_with("whole\n"), "{whole:?}");

    disk.make_room();
    eventually("the loss is told", LONG, || {
        let log = env.run(["logs", "one"]).ok();
        let told = log
            .lines()
            .find(|line| line.contains("lines of the log are lost"));
        let after = log.lines().rev().take(3).any(|line| line.contains("line "));
        let last = || log.lines().last().unwrap_or_default().to_owned();
        (told.is_some() && after).then_some(()).ok_or_else(last)
    });
    let _built = env.run(["build".as_ref(), dir.as_os_str()]).ok();
    let _ran = env.run(["run", "--rm", "steady", "true"]).ok();
    is_whole(&env);
    assert_eq!(status::of(&env, "one").expect("it answers")["ready"], true);
    let _name = env.run(["stop", "one"]).ok();
    let _name = env.run(["rm", "one"]).ok();
    // Removing an image takes what nobody needs any more.
    let _gone = env.run(["rmi", "steady"]).ok();
    is_whole(&env);
    drop(disk);
}

#[test]
fn a_port_whose_monitor_has_no_descriptor_left_serves_again_when_it_has() {
    let env = Env::new();
    let service = "[service.web]\ncommand = \"httpd -f -p 80 -h /etc\"\nexpose = [80]\n";
    small::build(&env, "pages", service);
    let port = free_port();
    let publish = format!("{port}:80");
    let _name = env
        .run(["run", "-d", "--name", "one", "-p", &publish, "pages"])
        .ok();
    status::until_ready(&env, "one");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let page = || {
        let answer = http::get(address, "/passwd").map_err(|error| error.to_string())?;
        (answer.status == 200).then_some(()).ok_or(answer.body)
    };
    eventually("the page answers", LONG, page);

    let pid = monitors(&env)[0];
    let open = fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("it runs")
        .count();
    let limit = format!("--nofile={}:", open + 20);
    let mut prlimit = Command::new("prlimit");
    prlimit.args(["--pid", &pid.to_string(), &limit]);
    assert!(prlimit.status().expect("prlimit").success());
    // Ten times as many as there are descriptors for.
    let held: Vec<TcpStream> = (0..200)
        .map(|_| TcpStream::connect(address).expect("the kernel's queue"))
        .collect();
    // Those that were served hold all descriptors now; ps needs none of them.
    assert!(env.run(["ps", "one"]).ok().contains("web"));
    drop(held);
    eventually("the page answers again", LONG, page);
    assert_eq!(monitors(&env), [pid], "it is still the same monitor");
}
