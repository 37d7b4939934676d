//! save and load, against ourselves, skopeo and umoci, and against archives
//! made to confuse.

mod fixture;

use std::fs;
use std::io::{Read as _, Write};
use std::path::Path;
use std::process::Command;

use fixture::{Room, Tar, chain, image_of, listing};
use holdall_image::archive::{ArchiveError, Form, import_layout, load, save};
use holdall_image::document::{
    Healthcheck, ImageConfig, MAX_DOCUMENT, RootFs, RunConfig, host_architecture,
};
use holdall_image::store::Image;
use holdall_image::{Digest, Reference, Store};
use insta::assert_snapshot;
use tar::EntryType;

fn name(text: &str) -> Reference {
    text.parse().expect("a name")
}

/// Two layers, a name, a health check.
fn shop(store: &Store) -> Image {
    let base = image_of(
        store,
        &[
            Tar::new()
                .dir("etc")
                .file("etc/a", b"base")
                .file("etc/b", b"base")
                .finish(),
            Tar::new()
                .file("etc/.wh.b", b"")
                .file("srv/app", b"app")
                .finish(),
        ],
    );
    let config = ImageConfig {
        config: RunConfig {
            entrypoint: vec!["/init".to_owned(), "run".to_owned(), "--".to_owned()],
            exposed_ports: ["80/tcp".to_owned()].into(),
            volumes: ["/data".to_owned()].into(),
            stop_signal: Some("SIGTERM".to_owned()),
            healthcheck: Some(Healthcheck {
                test: vec!["CMD".to_owned(), "/init".to_owned(), "health".to_owned()],
                interval: 2_000_000_000,
                ..Healthcheck::default()
            }),
            ..RunConfig::default()
        },
        ..base.config.clone()
    };
    store
        .put_image(&config, &base.manifest.layers)
        .expect("an image")
}

fn saved(room: &Room, images: &[(Reference, Image)], form: Form) -> Vec<u8> {
    let mut archive = Vec::new();
    save(&room.store, images, &mut archive, form).expect("saves");
    archive
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().expect(program);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The members of an archive, with another index.json.
fn with_index(archive: &[u8], index: &str) -> Tar {
    let mut tar = Tar::new();
    for entry in tar::Archive::new(archive).entries().expect("entries") {
        let mut entry = entry.expect("an entry");
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("its content");
        if path == "index.json" {
            content = index.as_bytes().to_vec();
        }
        tar = tar.file(&path, &content);
    }
    tar
}

#[test]
fn what_is_saved_loads_again_under_its_names() {
    for form in [Form::Docker, Form::Oci] {
        let (from, to) = (Room::new(), Room::new());
        let image = shop(&from.store);
        let names = [
            name("shop:1"),
            name("registry.example.org:5000/team/shop:1"),
        ];
        let images = names.clone().map(|name| (name, image.clone()));
        let loaded = load(&to.store, saved(&from, &images, form).as_slice()).expect("loads");
        let mut found: Vec<_> = loaded.iter().filter_map(|(name, _)| name.clone()).collect();
        found.sort();
        let mut names = names.to_vec();
        names.sort();
        assert_eq!(found, names, "{form:?}");
        for (_, copy) in &loaded {
            assert_eq!(copy, &image, "{form:?}");
            let layers = to.store.unpacked_layers(copy).expect("unpacks");
            assert_eq!(
                listing(&layers[1]),
                ["etc dir", "etc/b whiteout", "srv dir", "srv/app 3 bytes"]
            );
        }
        assert_eq!(to.store.list().expect("lists"), [], "loading tags nothing");
        assert_eq!(
            listing(&to.dir.path().join("store/tmp")),
            Vec::<String>::new()
        );
    }
}

#[test]
fn the_same_images_are_the_same_bytes() {
    for form in [Form::Docker, Form::Oci] {
        let (one, two) = (Room::new(), Room::new());
        let image = shop(&one.store);
        let other = shop(&two.store);
        assert_eq!(image, other);
        let here = saved(
            &one,
            &[(name("b"), image.clone()), (name("a"), image)],
            form,
        );
        let there = saved(
            &two,
            &[(name("a"), other.clone()), (name("b"), other)],
            form,
        );
        assert_eq!(Digest::of(&here), Digest::of(&there), "{form:?}");
    }
}

#[test]
fn compressed_archives_load_too() {
    let (from, to) = (Room::new(), Room::new());
    let image = shop(&from.store);
    let plain = saved(&from, &[(name("shop"), image.clone())], Form::Docker);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).expect("compresses");
    let gzip = gzip.finish().expect("compresses");
    let zstd = zstd::encode_all(plain.as_slice(), 1).expect("compresses");
    for archive in [gzip, zstd] {
        let loaded = load(&to.store, archive.as_slice()).expect("loads");
        assert_eq!(loaded, [(Some(name("shop:latest")), image.clone())]);
    }
}

#[test]
fn a_zstd_layer_is_saved_plain_for_docker() {
    let (from, to) = (Room::new(), Room::new());
    let tar = Tar::new().file("f", &[1; 5000]).finish();
    let zstd = zstd::encode_all(tar.as_slice(), 1).expect("compresses");
    let image = image_of(&from.store, &[zstd]);
    let loaded = load(
        &to.store,
        saved(&from, &[(name("z"), image.clone())], Form::Docker).as_slice(),
    );
    let (_, copy) = &loaded.expect("loads")[0];
    assert_eq!(copy.id(), image.id());
    assert_eq!(
        copy.manifest.layers[0].digest,
        image.config.rootfs.diff_ids[0]
    );
    to.store.unpacked_layers(copy).expect("unpacks");
}

#[test]
fn skopeo_and_umoci_read_what_we_save() {
    let room = Room::new();
    let image = shop(&room.store);
    let dir = tempfile::tempdir().expect("a temp dir");
    let at = |file: &str| dir.path().join(file).display().to_string();
    for (form, transport) in [(Form::Docker, "docker-archive"), (Form::Oci, "oci-archive")] {
        let file = at(transport);
        fs::write(
            &file,
            saved(&room, &[(name("shop:1"), image.clone())], form),
        )
        .expect("the file");
        let source = format!("{transport}:{file}:shop:1");
        let inspected = run("skopeo", &["inspect", "--config", "--raw", &source]);
        assert_eq!(Digest::of(inspected.as_bytes()), image.id(), "{transport}");
        let layout = at(&format!("{transport}-layout"));
        run(
            "skopeo",
            &["copy", "-q", &source, &format!("oci:{layout}:shop")],
        );
        let bundle = at(&format!("{transport}-bundle"));
        run(
            "umoci",
            &["unpack", "--image", &format!("{layout}:shop"), &bundle],
        );
        let found = listing(Path::new(&bundle).join("rootfs").as_path());
        assert_eq!(
            found,
            ["etc dir", "etc/a 4 bytes", "srv dir", "srv/app 3 bytes"],
            "{transport}"
        );
        // And back: what skopeo wrote is what we had.
        let back = Room::new();
        let imported = import_layout(&back.store, Path::new(&layout)).expect("imports");
        assert_eq!(imported.len(), 1);
        assert_eq!(imported[0].0, Some(name("shop:latest")));
        let mut expected = image.config.clone();
        if form == Form::Docker {
            // skopeo converts the config to OCI's, which has no such field.
            expected.config.healthcheck = None;
        }
        assert_eq!(imported[0].1.config, expected);
        back.store.unpacked_layers(&imported[0].1).expect("unpacks");
    }
}

#[test]
fn the_store_itself_is_a_layout_that_skopeo_reads() {
    let room = Room::new();
    let image = shop(&room.store);
    room.store.tag(&name("shop:1"), &image).expect("tags");
    let source = format!("oci:{}:shop:1", room.dir.path().join("store").display());
    let raw = run("skopeo", &["inspect", "--raw", &source]);
    assert_eq!(Digest::of(raw.as_bytes()), image.digest);
}

#[test]
fn we_load_what_skopeo_and_umoci_make() {
    let dir = tempfile::tempdir().expect("a temp dir");
    let at = |file: &str| dir.path().join(file).display().to_string();
    let layout = at("layout");
    run("umoci", &["init", "--layout", &layout]);
    run("umoci", &["new", "--image", &format!("{layout}:made")]);
    fs::create_dir(dir.path().join("files")).expect("a directory");
    fs::write(dir.path().join("files/hello"), "hello").expect("a file");
    run(
        "umoci",
        &[
            "insert",
            "--image",
            &format!("{layout}:made"),
            &at("files"),
            "/srv",
        ],
    );
    run(
        "umoci",
        &[
            "config",
            "--image",
            &format!("{layout}:made"),
            "--config.cmd",
            "/srv/hello",
        ],
    );
    let room = Room::new();
    let imported = import_layout(&room.store, Path::new(&layout)).expect("imports");
    let (reference, image) = &imported[0];
    assert_eq!(reference, &Some(name("made:latest")));
    assert_eq!(image.config.config.cmd, ["/srv/hello"]);
    let layers = room.store.unpacked_layers(image).expect("unpacks");
    assert!(layers.iter().any(|layer| layer.join("srv/hello").is_file()));
    for (transport, suffix) in [("docker-archive", ":made:2"), ("oci-archive", ":made:2")] {
        let file = at(transport);
        let target = format!("{transport}:{file}{suffix}");
        run(
            "skopeo",
            &["copy", "-q", &format!("oci:{layout}:made"), &target],
        );
        let loaded = load(&room.store, fs::File::open(&file).expect("the file")).expect("loads");
        assert_eq!(loaded[0].0, Some(name("made:2")), "{transport}");
        assert_eq!(loaded[0].1.config.config.cmd, ["/srv/hello"], "{transport}");
        room.store.unpacked_layers(&loaded[0].1).expect("unpacks");
    }
    // Docker's manifest, as registries still hold it.
    let docker = at("dir");
    let args = [
        "copy",
        "-q",
        "--format",
        "v2s2",
        &format!("oci:{layout}:made"),
        &format!("dir:{docker}"),
    ];
    run("skopeo", &args);
    let manifest = fs::read(format!("{docker}/manifest.json")).expect("a manifest");
    let manifest = holdall_image::document::Manifest::decode(&manifest).expect("is converted");
    assert!(
        manifest
            .layers
            .iter()
            .all(|layer| layer.media_type.starts_with("application/vnd.oci"))
    );
}

/// A docker-archive by hand.
struct Docker {
    config: Vec<u8>,
    layer: Vec<u8>,
    manifest: String,
}

impl Docker {
    fn new() -> Docker {
        let layer = Tar::new().file("f", b"1").finish();
        let config = ImageConfig {
            architecture: host_architecture().to_owned(),
            os: "linux".to_owned(),
            rootfs: RootFs::new(vec![Digest::of(&layer)]),
            ..ImageConfig::default()
        };
        Docker {
            config: serde_json::to_vec(&config).expect("json"),
            layer,
            manifest: r#"[{"Config":"c.json","RepoTags":["shop:1"],"Layers":["l/layer.tar"]}]"#
                .to_owned(),
        }
    }

    fn tar(&self) -> Tar {
        Tar::new()
            .file("manifest.json", self.manifest.as_bytes())
            .file("c.json", &self.config)
            .file("l/layer.tar", &self.layer)
    }
}

fn refusal(tar: Tar) -> String {
    let room = Room::new();
    let text = match load(&room.store, tar.finish().as_slice()) {
        Ok(images) => format!("{} images were loaded", images.len()),
        Err(error) => chain(&error),
    };
    assert_eq!(room.store.list().expect("lists"), []);
    assert_eq!(
        listing(&room.dir.path().join("store/tmp")),
        Vec::<String>::new()
    );
    room.canary.check();
    text
}

#[test]
fn a_layer_that_is_a_link_to_another_members_is_followed() {
    // docker save writes it so for a layer that two images share.
    let docker = Docker {
        manifest: r#"[{"Config":"c.json","RepoTags":null,"Layers":["m/layer.tar"]}]"#.to_owned(),
        ..Docker::new()
    };
    let room = Room::new();
    let tar = docker.tar().symlink("m/layer.tar", "../l/layer.tar");
    let loaded = load(&room.store, tar.finish().as_slice()).expect("loads");
    assert_eq!(loaded[0].0, None);
    room.store.unpacked_layers(&loaded[0].1).expect("unpacks");
}

#[test]
fn hostile_archives_are_refused() {
    let docker = Docker::new();
    let with = |manifest: &str| {
        Docker {
            manifest: manifest.to_owned(),
            ..Docker::new()
        }
        .tar()
    };
    assert_snapshot!(refusal(docker.tar()), @"1 images were loaded");
    assert_snapshot!(refusal(Tar::new()), @"the file is no archive of images");
    assert_snapshot!(refusal(Tar::new().raw(&[b'x'; 700])), @"cannot read the archive: the block at byte 0 is no tar header");
    assert_snapshot!(
        refusal(docker.tar().file("../../etc/passwd", b"dead")),
        @r#"archive member "../../etc/passwd" is refused: it has a path that leads out of the archive"#
    );
    assert_snapshot!(
        refusal(docker.tar().file("/etc/passwd", b"dead")),
        @r#"archive member "/etc/passwd" is refused: it has a path that leads out of the archive"#
    );
    assert_snapshot!(
        refusal(docker.tar().file("./manifest.json", b"[]")),
        @r#"archive member "./manifest.json" is refused: it is in it twice"#
    );
    assert_snapshot!(
        refusal(docker.tar().device("null", 1, 3)),
        @r#"archive member "null" is refused: it is neither a file nor a link"#
    );
    assert_snapshot!(
        refusal(docker.tar().symlink("x", "/etc/shadow")),
        @r#"archive member "x" is refused: it has a path that leads out of the archive"#
    );
    assert_snapshot!(
        refusal(with(r#"[{"Config":"../../../etc/passwd","Layers":[]}]"#)),
        @r#"the archive has no member "../../../etc/passwd""#
    );
    assert_snapshot!(
        refusal(with(r#"[{"Config":"a","Layers":[]}]"#).symlink("a", "b").symlink("b", "a")),
        @r#"archive member "a" is refused: it is a link that leads nowhere"#
    );
    assert_snapshot!(
        refusal(with(r#"[{"Config":"c.json","Layers":[]}]"#)),
        @r#"cannot use archive member "c.json": manifest has 0 layers but the config names 1"#
    );
    assert_snapshot!(
        refusal(with(r#"[{"Config":"c.json","RepoTags":["UP/../x"],"Layers":["l/layer.tar"]}]"#)),
        @r#"the archive names an image wrongly: image name "UP/../x" is malformed at "..""#
    );
    assert_snapshot!(
        refusal(with(r#"[{"Config":"c.json","Config":"d.json","Layers":[]}]"#)),
        @r#"cannot use archive member "manifest.json": cannot decode image list: key "Config" is written twice at line 1 column 28"#
    );
    assert_snapshot!(
        refusal(Docker { layer: Tar::new().file("g", b"2").finish(), ..Docker::new() }.tar()),
        @r#"layer "l/layer.tar" of the archive is sha256:c516f1e29664834d54783141a40d29e08e2905df53d6cbd368f30734e0e5a917, but the config says sha256:ec2ea4d1a6c9b7bceabff31286525a6e14d9d619e7a6280b0509db3e156dfc0b"#
    );
    let big = vec![b' '; usize::try_from(MAX_DOCUMENT).expect("fits") + 1];
    assert_snapshot!(
        refusal(Tar::new().file("manifest.json", &big)),
        @r#"cannot use archive member "manifest.json": archive member has 4194305 bytes, more than the 4194304 allowed"#
    );
}

/// An OCI archive by hand: the blobs under the names given.
fn oci(index: &str, blobs: &[(&str, &[u8])]) -> Tar {
    let mut tar = Tar::new()
        .file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
        .file("index.json", index.as_bytes());
    for (name, content) in blobs {
        let path = format!("blobs/sha256/{name}");
        tar = tar.pax(&[("path", path.as_bytes())]).file("blob", content);
    }
    tar
}

#[test]
fn hostile_layouts_are_refused() {
    let entry = |media: &str, digest: &Digest, size: usize| {
        format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{media}","digest":"{digest}","size":{size}}}]}}"#
        )
    };
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let index = "application/vnd.oci.image.index.v1+json";
    let of = |document: &str| Digest::of(document.as_bytes());
    let one = |media: &str, document: &str| {
        let digest = of(document);
        refusal(oci(
            &entry(media, &digest, document.len()),
            &[(&digest.hex(), document.as_bytes())],
        ))
    };
    assert_snapshot!(
        refusal(oci(r#"{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"sha256:../../../etc/passwd","size":1}]}"#, &[])),
        @r#"cannot use archive member "index.json": cannot decode image index: digest "sha256:../../../etc/passwd" is not "sha256:" and 64 lower-case hex digits at line 1 column 86"#
    );
    let wrong = Digest::of(b"one");
    assert_snapshot!(
        refusal(oci(&entry(manifest, &wrong, 3), &[(&wrong.hex(), b"two")])),
        @"blob sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed of the archive has the content of sha256:3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"
    );
    assert!(
        one(
            manifest,
            r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#
        )
        .ends_with("image manifest is a manifest and an index at once")
    );
    assert!(
        one(manifest, r#"{"schemaVersion":1,"layers":[]}"#)
            .ends_with("image manifest has schema version 1, not 2")
    );
    let confused = format!(r#"{{"schemaVersion":2,"mediaType":"{index}","layers":[]}}"#);
    assert!(one(manifest, &confused).ends_with(&format!("image manifest says it is a {index:?}")));
    assert!(one("text/plain", "{}").ends_with(r#"index entry says it is a "text/plain""#));
    let loop_ = r#"{"schemaVersion":2,"manifests":[]}"#;
    assert_snapshot!(one(index, loop_), @"the archive has no image for linux/amd64");
    assert_snapshot!(
        refusal(oci(r#"{"schemaVersion":2,"manifests":[]}"#, &[])),
        @"the archive has no image for linux/amd64"
    );
    let foreign = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{wrong}","size":3}},"layers":[{{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","digest":"{wrong}","size":3,"urls":["http://10.0.0.1/"]}}]}}"#
    );
    assert!(one(manifest, &foreign).ends_with("which cannot be unpacked"));
}

#[test]
fn a_blob_of_another_size_than_its_descriptor_says_is_refused() {
    let room = Room::new();
    let image = shop(&room.store);
    let archive = saved(&room, &[(name("shop"), image.clone())], Form::Oci);
    // The manifest with a wrong size for its first layer, under its new digest.
    let manifest = serde_json::to_string(&image.manifest).expect("json");
    let size = image.manifest.layers[0].size;
    let forged = manifest.replacen(
        &format!("\"size\":{size}"),
        &format!("\"size\":{}", size + 1),
        1,
    );
    assert_ne!(manifest, forged);
    let digest = Digest::of(forged.as_bytes());
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":{}}}]}}"#,
        forged.len()
    );
    let tar = with_index(&archive, &index);
    let tar = tar.file(&format!("blobs/sha256/{}", digest.hex()), forged.as_bytes());
    let text = refusal(tar);
    let layer = image.manifest.layers[0].digest;
    assert_eq!(
        text,
        format!(
            "blob {layer} is damaged: it has {size} bytes, not {}",
            size + 1
        )
    );
}

#[test]
fn an_image_for_this_machine_is_chosen_among_platforms() {
    let room = Room::new();
    let image = shop(&room.store);
    let archive = saved(&room, &[(name("shop"), image.clone())], Form::Oci);
    let entry = |architecture: &str, os: &str, digest: &Digest, size: u64| {
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":{size},"platform":{{"architecture":"{architecture}","os":"{os}"}}}}"#
        )
    };
    let size = serde_json::to_vec(&image.manifest).expect("json").len() as u64;
    let nested = format!(
        r#"{{"schemaVersion":2,"manifests":[{},{},{}]}}"#,
        entry("s390x", "linux", &fixture::no_digest(), 1),
        entry("unknown", "unknown", &fixture::no_digest(), 1),
        entry(host_architecture(), "linux", &image.digest, size),
    );
    let digest = Digest::of(nested.as_bytes());
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"{digest}","size":{},"annotations":{{"org.opencontainers.image.ref.name":"latest"}}}}]}}"#,
        nested.len()
    );
    let tar = with_index(&archive, &index);
    let tar = tar.file(&format!("blobs/sha256/{}", digest.hex()), nested.as_bytes());
    let to = Room::new();
    let loaded = load(&to.store, tar.finish().as_slice()).expect("loads");
    assert_eq!(loaded, [(None, image)], "latest alone is a tag, not a name");
}

#[test]
fn a_layout_whose_links_lead_out_stays_within() {
    let jail = tempfile::tempdir().expect("a temp dir");
    let (from, to) = (Room::new(), Room::new());
    let image = shop(&from.store);
    from.store.tag(&name("shop"), &image).expect("tags");
    let layer = image.manifest.layers[0].digest.hex();
    let store = from.dir.path().join("store");
    let blob = store.join("blobs/sha256").join(&layer);
    fs::rename(&blob, jail.path().join("stolen")).expect("moves");
    std::os::unix::fs::symlink(jail.path().join("stolen"), &blob).expect("a link out");
    let error = import_layout(&to.store, &store).expect_err("it leads out");
    assert!(
        chain(&error).contains("No such file or directory"),
        "{}",
        chain(&error)
    );
    let error = import_layout(&to.store, jail.path()).expect_err("no layout");
    assert!(matches!(error, ArchiveError::NotALayout { .. }));
    fs::remove_file(&blob).expect("removes");
    Command::new("mkfifo").arg(&blob).status().expect("a fifo");
    let error = import_layout(&to.store, &store).expect_err("a fifo would hold us up");
    assert!(
        chain(&error).ends_with("it is no regular file"),
        "{}",
        chain(&error)
    );
}

#[test]
fn a_failing_output_is_told_from_a_failing_store() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let room = Room::new();
    let image = shop(&room.store);
    let error = save(
        &room.store,
        &[(name("shop"), image.clone())],
        Full,
        Form::Docker,
    );
    let error = error.expect_err("the output is full");
    assert_snapshot!(format!("{}\nhelp: {}", chain(&error), error.hint().expect("a hint")), @r"
    cannot write the archive: no storage space
    help: the disk is full: free some space, e.g. by holdall rmi
    ");
    let layer = &image.manifest.layers[0].digest;
    fs::remove_file(room.dir.path().join("store/blobs/sha256").join(layer.hex())).expect("removes");
    let error = save(
        &room.store,
        &[(name("shop"), image.clone())],
        Vec::new(),
        Form::Docker,
    );
    let text = chain(&error.expect_err("the blob is gone"));
    assert_eq!(text, format!("blob {layer} is not in the store"));
}

#[test]
fn entries_of_no_interest_are_passed_over() {
    let room = Room::new();
    let tar = Docker::new()
        .tar()
        .dir("l")
        .file("l/VERSION", b"1.0")
        .file("l/json", b"{}")
        .file("repositories", b"{}")
        .entry(b"g", EntryType::XGlobalHeader, b"", |_| {});
    let loaded = load(&room.store, tar.finish().as_slice()).expect("loads");
    assert_eq!(loaded[0].0, Some(name("shop:1")));
}
