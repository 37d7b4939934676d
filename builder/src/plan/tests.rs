use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::context::Context;
use crate::stat_index::StatIndex;
use crate::toml::Source;

fn planned(dir: &Path) -> Steps {
    let source = Source::read(dir, None).unwrap();
    let context = Context::open(dir, None).unwrap();
    let mut index = StatIndex::default();
    let stop = AtomicBool::new(false);
    let tree = |copy: &Copy| context.tree(&copy.from.value, &mut index, &stop).unwrap();
    let trees = source.image.copy.iter().map(tree).collect();
    steps(&source.image, &source.manifest, trees, &Digest::of(b"init"))
}

fn keys(dir: &Path, base: &str, epoch: i64) -> Vec<(String, Key)> {
    let steps = planned(dir);
    let keys = steps.keys(&Inputs::Bootstrap(base.to_owned()), epoch);
    let keys = keys.layers.into_iter().chain([keys.image]);
    steps.names().map(str::to_owned).zip(keys).collect()
}

fn project() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("app")).unwrap();
    std::fs::write(dir.path().join("app/main.py"), "print(1)").unwrap();
    std::fs::write(dir.path().join("nginx.conf"), "events {}").unwrap();
    let text = "name = \"shop\"\n\
        [image]\n\
        from = \"bootstrap:debian/bookworm\"\n\
        packages = [\"nginx-light\", \"redis-server\"]\n\
        copy = [{ from = \"app/\", to = \"/srv/app/\" }, { from = \"./nginx.conf\", to = \"/etc/nginx/\" }]\n\
        run = [\"useradd -r shop\", '''\nset -e\ntrue''']\n\
        [service.web]\n\
        command = \"nginx -g 'daemon off;'\"\n\
        [service.redis]\n\
        command = \"redis-server\"\n";
    std::fs::write(dir.path().join("holdall.toml"), text).unwrap();
    dir
}

#[test]
fn a_plan_prints_a_line_a_step() {
    let dir = project();
    let steps = keys(dir.path(), "x", EPOCH);
    let step = |(at, (name, _)): (usize, (String, _))| PlannedStep {
        name,
        cached: at < 2,
    };
    let plan = Plan {
        tags: vec!["shop".parse::<Reference>().unwrap().with_default_tag()],
        file: "holdall.toml".into(),
        steps: steps.into_iter().enumerate().map(step).collect(),
        notes: vec!["no holdall.lock yet".into()],
    };
    insta::assert_snapshot!(plan, @r#"
    shop:latest from holdall.toml
      1  cached  bootstrap debian/bookworm nginx-light redis-server
      2  cached  copy app to /srv/app/
      3  run     copy nginx.conf to /etc/nginx/
      4  run     run useradd -r shop
      5  run     run set -e …
      6  run     init
      7  run     services web redis
      8  run     check and finish
    note: no holdall.lock yet
    "#);
}

#[test]
fn packages_upon_a_base_that_is_there_are_a_step_and_no_packages_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let named = |image: &str| {
        let text = format!("name = \"shop\"\n[image]\n{image}\n[service.a]\ncommand = \"a\"\n");
        std::fs::write(dir.path().join("holdall.toml"), text).unwrap();
        let steps = planned(dir.path());
        let names: Vec<String> = steps.names().map(str::to_owned).collect();
        assert_eq!(steps.count(), names.len());
        names
    };
    let rest = ["init", "services a", "check and finish"];
    let base = "from debian:12";
    assert_eq!(
        named("from = \"debian:12\""),
        [&[base], rest.as_slice()].concat()
    );
    assert_eq!(
        named("from = \"debian:12\"\npackages = [\"curl\", \"jq\"]"),
        [&[base, "packages curl jq"], rest.as_slice()].concat()
    );
    assert_eq!(
        named("from = \"bootstrap:debian/bookworm\"\npackages = [\"curl\"]"),
        [&["bootstrap debian/bookworm curl"], rest.as_slice()].concat()
    );
}

#[test]
fn a_command_is_named_by_its_first_line_up_to_seventy_characters() {
    let long = "ä".repeat(70);
    assert_eq!(short(&long), long);
    assert_eq!(short(&format!("{long}b")), format!("{long} …"));
    assert_eq!(short("\n a\tb \n"), "ab");
    assert_eq!(short("a\nb"), "a …");
}

#[test]
fn only_what_comes_after_a_change_is_run_again() {
    let dir = project();
    let before = keys(dir.path(), "x", EPOCH);
    assert_eq!(before, keys(dir.path(), "x", EPOCH));
    std::fs::write(dir.path().join("nginx.conf"), "events { }").unwrap();
    let after = keys(dir.path(), "x", EPOCH);
    let same: Vec<bool> = before.iter().zip(&after).map(|(a, b)| a == b).collect();
    assert_eq!(same, [true, true, false, false, false, false, false, false]);
    let all_differ = |other: &[(String, Key)]| before.iter().zip(other).all(|(a, b)| a.1 != b.1);
    assert!(all_differ(&keys(dir.path(), "x", EPOCH + 1)));
    assert!(all_differ(&keys(dir.path(), "y", EPOCH)));
}
