//! The command line itself: help that teaches, usage errors, `new`.

use crate::env::Env;
use crate::env::free_port;
use crate::eventually::{LONG, eventually};
use crate::{http, status};

#[test]
fn help_goes_to_standard_output_and_usage_errors_end_with_two() {
    let env = Env::new();
    let help = env.run(["--help"]).ok();
    assert!(
        help.contains("holdall new shop") && help.contains("Examples"),
        "{help}"
    );
    let err = env.run(["biuld"]).fails(2);
    assert!(err.contains("build"), "a did-you-mean: {err}");
    let err = env.run(["run", "-p", "eighty", "x"]).fails(2);
    assert!(err.contains("eighty"), "{err}");
    let err = env.run(["logs"]).fails(2);
    assert!(err.contains("BOX"), "{err}");
}

#[test]
fn a_new_project_builds_runs_and_answers_as_it_is() {
    let env = Env::new();
    let dir = env.root().join("projects/fresh");
    let _files = env.run(["new".as_ref(), dir.as_os_str()]).ok();
    let again = env.run(["new".as_ref(), dir.as_os_str()]).fails(1);
    assert!(
        again.contains("holdall.toml"),
        "it overwrites nothing: {again}"
    );
    let _built = env.run(["build".as_ref(), dir.as_os_str()]).ok();
    let port = free_port();
    let publish = format!("{port}:80");
    let _name = env
        .run(["run", "-d", "--name", "fresh", "-p", &publish, "fresh"])
        .ok();
    status::until_ready(&env, "fresh");
    let address = (std::net::Ipv4Addr::LOCALHOST, port).into();
    eventually("it answers", LONG, || match http::get(address, "/") {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(format!("{other:?}")),
    });
}
