//! Where an init may find itself: with no_new_privs, and all of it at once.

use std::process::Command;

use crate::world::{INIT, Setup};

const PAIR: &str = r#"
    [service.below]
    command = "sh -c 'grep NoNewPrivs /proc/self/status; exec sleep 1000'"
    [service.above]
    command = "sh -c 'echo above runs as $(id -u); exec sleep 1000'"
    user = "nobody"
    depends_on = ["below"]
"#;

#[test]
fn without_new_privileges_services_run_and_become_their_users() {
    let setup = Setup::new(PAIR).by(&["setpriv", "--no-new-privs"]);
    let mut init = setup.own_namespace().start();
    init.wait_for("above runs as 65534");
    let line = init.line_with("NoNewPrivs");
    assert!(line.ends_with('1'), "{line}");
    assert_eq!(init.stop(), Some(0));
}

/// A bare root: no /proc, no /dev, no /run, no /tmp, read-only, and no
/// descriptor open.
#[test]
fn on_an_empty_read_only_root_a_command_still_runs_and_ends_with_its_code() {
    let dir = tempfile::tempdir().expect("a folder");
    let root = dir.path().join("root");
    std::fs::create_dir(&root).expect("a folder");
    std::fs::copy(INIT, root.join("init")).expect("copy");
    std::fs::copy("/bin/busybox", root.join("busybox")).expect("busybox-static is installed");
    let root = root.to_str().expect("text");
    let script = format!(
        "mount --bind {root} {root} && mount -o remount,bind,ro {root} && \
         exec chroot --userspec=4321:4321 {root} /init -- /busybox sh -c 'exit 7' <&- >&- 2>&-"
    );
    let done = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "sh", "-c", &script])
        .status();
    assert_eq!(done.expect("start").code(), Some(7));
}
