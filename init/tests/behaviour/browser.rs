//! The listener's page in a real browser.

use std::process::Command;

use crate::listener::{SERVICES, with_listener};
use crate::world::{eventually, said};

#[test]
fn chromium_shows_the_page_and_complains_of_nothing() {
    let (mut init, port) = with_listener(SERVICES);
    eventually("the ill one is given up", || {
        init.ask_ok(&["ps"]).contains("fatal").then_some(())
    });
    let profile = tempfile::tempdir().expect("a folder");
    let home = profile.path().to_str().expect("text");
    let browser = || {
        let mut command = Command::new("timeout");
        command.args(["-k", "5", "60", "chromium", "--headless"]);
        // As root there is no sandbox, and in a box hardly a /dev/shm.
        command.args(["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
        command.arg("--enable-logging=stderr");
        command
            .arg(format!("--user-data-dir={home}"))
            .env("HOME", home);
        command
            .arg("--dump-dom")
            .arg(format!("http://127.0.0.1:{port}/"));
        let output = command.output().expect("chromium is installed");
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        // What it says of its own surroundings is not about the page.
        let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{}", said(&output));
        (shown, complaints)
    };
    // The listener's answer may be a quarter of a second old.
    let (shown, complaints) = eventually("it shows what is now", || {
        Some(browser()).filter(|(shown, _)| shown.contains("fatal"))
    });
    for text in ["<td>app</td>", "<td>ill</td>", "ready</p>", "exit 3"] {
        assert!(shown.contains(text), "{text} in {shown}");
    }
    for word in ["Refused", "Content Security Policy", "CONSOLE", "net::ERR"] {
        assert!(!complaints.contains(word), "{complaints}");
    }
    assert_eq!(init.stop(), Some(0));
}
