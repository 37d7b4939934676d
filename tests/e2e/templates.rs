//! Templates of the context: the builder brings them along, looks into them,
//! and init finds them.

use std::fs;

use crate::env::Env;
use crate::{small, status};

const SERVICES: &str = r#"
[service.app]
command = "sh -c 'cat /tmp/app.conf; exec sleep 1000'"
env = { LEVEL = "info" }
templates = [{ from = "conf/app.tpl", to = "/tmp/app.conf" }]
"#;

#[test]
fn a_template_of_the_context_is_in_the_image_and_filled_in_at_the_start() {
    let env = Env::new();
    let dir = small::project(&env, "filled", SERVICES);
    fs::create_dir(dir.join("conf")).expect("a folder below the root");
    let template = dir.join("conf/app.tpl");
    let text = "level ${LEVEL} as ${HOLDALL_SERVICE} on ${PORT:-80}\n";
    fs::write(&template, text).expect("a file below the root");
    let build = ["build".as_ref(), "-q".as_ref(), dir.as_os_str()];
    let first = env.run(build).ok();
    let _name = env.run(["run", "-d", "--name", "filled", "filled"]).ok();
    status::until_ready(&env, "filled");
    status::until_logged(&env, "filled", "level info as app on 80");
    // The same files make the same image, another text another one.
    assert_eq!(env.run(build).ok(), first);
    fs::write(&template, "nothing to fill in\n").expect("a file below the root");
    assert_ne!(env.run(build).ok(), first);
}

#[test]
fn what_a_template_and_commands_lack_is_found_before_the_image_has_a_name() {
    let env = Env::new();
    let services = r#"
[service.app]
command = "sh -c 'exec sleep 1000'"
groups = ["nobodys"]
stop = { command = "no-such-stop" }
reload = { command = "/etc/passwd" }
templates = [{ from = "app.tpl", to = "/tmp/app.conf" }, { from = "/etc/none", to = "/tmp/x" }]
"#;
    let dir = small::project(&env, "lacking", services);
    let build = ["build".as_ref(), dir.as_os_str()];
    let missing = env.run(build).fails(1);
    assert!(missing.contains("app.tpl"), "{missing}");
    fs::write(dir.join("app.tpl"), "a\n  b ${NOT_SET}\n").expect("a file below the root");
    let found = env.run(build).fails(1);
    for words in [
        "app.tpl:2:5: nothing sets the variable NOT_SET",
        "the image has no template /etc/none",
        "nobodys",
        "no-such-stop",
        "/etc/passwd is not executable",
    ] {
        assert!(found.contains(words), "{words:?} in\n{found}");
    }
}
