//! The command line itself: help that teaches, usage errors, `new`.

use crate::env::Env;

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
fn a_new_project_is_checked_and_never_written_over() {
    let env = Env::new();
    let dir = env.root().join("projects/fresh");
    let _files = env.run(["new".as_ref(), dir.as_os_str()]).ok();
    let again = env.run(["new".as_ref(), dir.as_os_str()]).fails(1);
    assert!(again.contains("holdall.toml"), "{again}");
    // That it builds, runs and answers is the README's story: docs.rs.
    assert_eq!(env.run(["check".as_ref(), dir.as_os_str()]).ok(), "ok\n");
}
