//! `copy`, bases, and the cache.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use holdall_image::root::Kind;

use crate::world::{INIT, World, chain, edit, write};

pub(crate) const ALL: &[(&str, fn())] = &[
    (
        "an_image_from_scratch_has_what_was_copied_and_the_init",
        scratch,
    ),
    (
        "an_unchanged_build_runs_nothing_and_a_changed_file_only_what_follows",
        cached,
    ),
    ("a_copy_keeps_what_the_folders_below_it_are", parents),
    ("links_are_stored_as_links_and_never_lead_out", links),
    ("a_base_from_the_store_gives_its_layers_and_settings", base),
    ("an_archive_and_a_layout_are_bases", imported),
    ("what_cant_be_copied_is_said_with_its_place", refused),
    ("a_dry_run_touches_nothing", dry_run),
];

const STATIC: &str = "name = \"tiny\"\n\
    [image]\n\
    from = \"scratch\"\n\
    env = { COLOUR = \"blue\" }\n\
    labels = { \"org.example.team\" = \"shop\" }\n\
    copy = [\n\
      { from = \"run.sh\", to = \"/bin/\" },\n\
      { from = \"data\", to = \"/srv/data\", owner = \"7:8\", mode = \"0640\" },\n\
    ]\n\
    [service.a]\n\
    command = \"/bin/sh\"\n\
    expose = [80]\n\
    listen = [\"http=8000\", \"own=127.0.0.1:9\"]\n\
    volumes = [\"/data\"]\n";

fn tiny(world: &World) -> std::path::PathBuf {
    let files = [
        ("holdall.toml", STATIC),
        ("run.sh", "#!/bin/run.sh\n"),
        ("data/a/b", "content"),
        ("data/c", "more"),
    ];
    let dir = world.project("tiny", &files);
    edit(&dir, "\"/bin/sh\"", "\"/bin/run.sh\"");
    dir
}

fn scratch() {
    let world = World::new();
    let built = world.build(&tiny(&world)).built();
    let tree = world.tree(&built);
    let at = |path: &str| {
        let entry = tree
            .lookup(Path::new(path))
            .unwrap()
            .unwrap_or_else(|| panic!("{path}"));
        let found = entry.metadata;
        (found.kind, found.mode, found.uid, found.gid, found.mtime)
    };
    let epoch = 315_532_800;
    assert_eq!(at("/bin/run.sh"), (Kind::File, 0o755, 0, 0, epoch));
    assert_eq!(at("/srv"), (Kind::Directory, 0o755, 7, 8, epoch));
    assert_eq!(at("/srv/data/a"), (Kind::Directory, 0o755, 7, 8, epoch));
    assert_eq!(at("/srv/data/a/b"), (Kind::File, 0o640, 7, 8, epoch));
    assert_eq!(at("/init"), (Kind::File, 0o755, 0, 0, epoch));
    assert_eq!(at("/etc/holdall.toml"), (Kind::File, 0o644, 0, 0, epoch));
    assert_eq!(tree.read(Path::new("/init"), 100).unwrap().unwrap(), INIT);

    let config = &built.image.config;
    assert_eq!(config.created.as_deref(), Some("1980-01-01T00:00:00Z"));
    let run = &config.config;
    assert_eq!(run.entrypoint, ["/init", "run", "--"]);
    assert!(run.env.contains(&"COLOUR=blue".to_owned()), "{:?}", run.env);
    assert!(run.env.iter().any(|variable| variable.starts_with("PATH=")));
    assert!(
        run.exposed_ports.iter().eq(["80/tcp", "8000/tcp"]),
        "{:?}",
        run.exposed_ports
    );
    assert!(run.volumes.iter().eq(["/data"]));
    assert_eq!(run.stop_signal.as_deref(), Some("SIGTERM"));
    assert_eq!(
        run.healthcheck.as_ref().unwrap().test,
        ["CMD", "/init", "health"]
    );
    for (label, value) in [
        ("org.opencontainers.image.title", "tiny"),
        ("io.holdall.services", "a"),
        ("io.holdall.grace", "9"),
        ("io.holdall.limits", ""),
        ("org.example.team", "shop"),
    ] {
        assert_eq!(run.labels.get(label).map(String::as_str), Some(value));
    }
    assert_eq!(
        world
            .names()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["tiny:latest"]
    );
}

fn cached() {
    let world = World::new();
    let dir = tiny(&world);
    let first = world.build(&dir).built();
    assert_eq!((first.ran, first.cached), (6, 0));
    let again = world.build(&dir).built();
    assert_eq!((again.ran, again.cached), (0, 6));
    assert_eq!(again.image.digest, first.image.digest);

    write(&dir.join("data/c"), b"MORE");
    let changed = world.build(&dir).built();
    assert_eq!(
        (changed.ran, changed.cached),
        (4, 2),
        "scratch and the first copy stay"
    );
    assert_ne!(changed.image.digest, first.image.digest);
    write(&dir.join("data/c"), b"more");
    assert_eq!(
        world.build(&dir).built().ran,
        0,
        "what was built before is still known"
    );
    assert_eq!(world.build(&dir).built().image.digest, first.image.digest);

    let stop = AtomicBool::new(false);
    let mut request = world.request(&dir, &stop);
    request.no_cache = true;
    let fresh = holdall_builder::build(&request, &mut |_| {}).unwrap();
    assert_eq!((fresh.ran, fresh.cached), (6, 0));
    assert_eq!(fresh.image.digest, first.image.digest);
}

fn parents() {
    let world = World::new();
    let dir = world.busybox(
        "parents",
        "run = [\"mkdir -p /usr/bin /tmp && chmod 1777 /tmp && ln -s usr/lib /lib && mkdir /usr/lib && chmod 0700 /usr/lib\"]",
    );
    let _base = world.build(&dir).built();
    let toml = "name = \"upon\"\n[image]\nfrom = \"parents\"\n\
        copy = [{ from = \"x\", to = \"/tmp/x\" }, { from = \"tree\", to = \"/\" }]\n";
    let upon = world.project(
        "upon",
        &[
            ("holdall.toml", &format!("{toml}{}", crate::world::SERVICE)),
            ("x", "1"),
            ("tree/lib/y", "2"),
        ],
    );
    let built = world.build(&upon).built();
    let tree = world.tree(&built);
    let mode = |path: &str| {
        tree.lookup_link(Path::new(path))
            .unwrap()
            .unwrap()
            .metadata
            .mode
    };
    assert_eq!(mode("/tmp"), 0o1777);
    assert_eq!(mode("/usr/lib"), 0o700);
    assert_eq!(
        tree.lookup_link(Path::new("/lib"))
            .unwrap()
            .unwrap()
            .metadata
            .kind,
        Kind::Symlink
    );
    assert_eq!(
        tree.read(Path::new("/usr/lib/y"), 9).unwrap().unwrap(),
        b"2"
    );
}

fn links() {
    let world = World::new();
    let dir = tiny(&world);
    std::os::unix::fs::symlink("/etc/shadow", dir.join("data/secret")).unwrap();
    let built = world.build(&dir).built();
    let tree = world.tree(&built);
    let link = tree
        .lookup_link(Path::new("/srv/data/secret"))
        .unwrap()
        .unwrap();
    assert_eq!(link.metadata.kind, Kind::Symlink);
    assert!(
        tree.lookup(Path::new("/srv/data/secret"))
            .unwrap()
            .is_none()
    );

    std::os::unix::fs::symlink("/etc", dir.join("out")).unwrap();
    edit(&dir, "from = \"data\"", "from = \"out\"");
    let error = world.build(&dir).error().to_string();
    assert!(
        error.contains("holdall.toml:8:10: out leads out of the context"),
        "{error}"
    );
}

fn base() {
    let world = World::new();
    let below = world.build(&tiny(&world)).built();
    let toml = "name = \"upper\"\n[image]\nfrom = \"tiny\"\nenv = { SIZE = \"1\" }\n\
        [service.b]\ncommand = \"/bin/run.sh\"\n";
    let dir = world.project("upper", &[("holdall.toml", toml)]);
    let built = world.build(&dir).built();
    let layers = &built.image.manifest.layers;
    assert_eq!(layers[..4], below.image.manifest.layers[..]);
    let run = &built.image.config.config;
    assert!(run.env.contains(&"COLOUR=blue".to_owned()) && run.env.contains(&"SIZE=1".to_owned()));
    assert_eq!(
        run.labels.get("io.holdall.services").map(String::as_str),
        Some("b")
    );
    // The base is another image now, and so is what is upon it.
    write(&world.root.join("tiny/data/c"), b"new");
    let _below = world.build(&world.root.join("tiny")).built();
    assert_ne!(world.build(&dir).built().image.digest, built.image.digest);

    edit(&dir, "\"tiny\"", "\"tinny\"");
    let error = world.build(&dir).error().to_string();
    assert!(
        error.contains("holdall.toml:3:8: ") && error.contains("tinny"),
        "{error}"
    );
}

fn imported() {
    let world = World::new();
    let below = world.build(&tiny(&world)).built();
    let name: holdall_image::Reference = "tiny:v1".parse().unwrap();
    let toml = "name = \"upper\"\n[image]\nfrom = \"docker-archive:base.tar\"\n\
        [service.b]\ncommand = \"/bin/run.sh\"\n";
    let dir = world.project("upper", &[("holdall.toml", toml)]);
    let images = [(name, below.image.clone())];
    let form = holdall_image::archive::Form::Docker;
    let file = std::fs::File::create(dir.join("base.tar")).unwrap();
    holdall_image::archive::save(&world.store, &images, file, form).unwrap();

    let other = World::new();
    let built = other.build(&dir).built();
    assert_eq!(
        built.image.config.rootfs.diff_ids[..4],
        below.image.config.rootfs.diff_ids[..]
    );
    assert_eq!(other.build(&dir).built().ran, 0);

    let layout = dir.join("layout");
    copy_dir(&world.dirs.store(), &layout);
    edit(&dir, "docker-archive:base.tar", "oci:layout:latest");
    let built = other.build(&dir).built();
    assert_eq!(
        built.image.config.rootfs.diff_ids[..4],
        below.image.config.rootfs.diff_ids[..]
    );
    assert_eq!(other.build(&dir).built().ran, 0);
    edit(&dir, "oci:layout:latest", "oci:layout:v7");
    let error = chain(&other.build(&dir).error());
    assert!(error.contains("no image with the tag \"v7\""), "{error}");
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn refused() {
    let world = World::new();
    let dir = tiny(&world);
    edit(&dir, "from = \"data\"", "from = \"dta\"");
    let error = world.build(&dir).error().to_string();
    assert!(
        error.contains("holdall.toml:8:10: the context has no dta"),
        "{error}"
    );
    edit(&dir, "from = \"dta\"", "from = \"data\"");

    nix::unistd::mkfifo(&dir.join("data/fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = world.build(&dir).error().to_string();
    assert!(
        error.contains("data/fifo is neither a file nor a folder nor a link"),
        "{error}"
    );
    std::fs::remove_file(dir.join("data/fifo")).unwrap();

    edit(&dir, "owner = \"7:8\"", "owner = \"shop\"");
    let error = world.build(&dir).error().to_string();
    assert!(error.contains("cannot find user \"shop\""), "{error}");
    edit(&dir, "owner = \"shop\"", "owner = \"7:8\"");

    edit(&dir, "to = \"/srv/data\"", "to = \"/bin/run.sh/x\"");
    let error = world.build(&dir).error().to_string();
    assert_eq!(error, "cannot copy to /bin/run.sh: a file is in the way");
    world.assert_nothing_left();
    edit(&dir, "to = \"/bin/run.sh/x\"", "to = \"/srv/data\"");
    let _built = world.build(&dir).built();
}

fn dry_run() {
    let world = World::new();
    let dir = tiny(&world);
    let stop = AtomicBool::new(false);
    let plan = || holdall_builder::plan(&world.request(&dir, &stop)).unwrap();
    let states = || {
        plan()
            .steps
            .iter()
            .map(|step| step.cached)
            .collect::<Vec<_>>()
    };
    assert_eq!(states(), [false; 6]);
    world.assert_nothing_left();
    let _built = world.build(&dir).built();
    assert_eq!(states(), [true; 6]);
    write(&dir.join("data/c"), b"MORE");
    assert_eq!(states(), [true, true, false, false, false, false]);
    assert!(
        plan().to_string().starts_with("tiny:latest from "),
        "{}",
        plan()
    );
}
