//! What `holdall-runtime --help` says. That of `holdall` and `/init` is held by
//! the pages in docs/.

use std::process::Command;

const VERBS: [&str; 11] = [
    "create", "start", "run", "exec", "kill", "delete", "state", "ps", "list", "spec", "features",
];

fn help(words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdall-runtime"));
    let output = command.args(words).arg("--help").output();
    let output = output.expect("holdall-runtime can be started");
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_runtime_has_one_help_for_all_its_verbs_and_it_is_known() {
    let all = help(&[]);
    for verb in VERBS {
        assert!(
            all.contains(&format!("\n  {verb} ")),
            "{verb} is not listed"
        );
        assert_eq!(help(&[verb]), all, "{verb}");
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!("runtime_help", all));
}
