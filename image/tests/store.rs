//! The store: names, damage, concurrency, what gc may take, a full disk.

mod fixture;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Barrier;

use fixture::{Room, Tar, chain, image, image_of, listing, no_digest, open};
use holdall_image::document::{ImageConfig, RootFs, media};
use holdall_image::{Digest, Reference, StoreError};
use insta::assert_snapshot;

fn name(text: &str) -> Reference {
    text.parse().expect("a name")
}

fn blob_path(room: &Room, digest: &Digest) -> std::path::PathBuf {
    room.dir
        .path()
        .join("store/blobs/sha256")
        .join(digest.hex())
}

#[test]
fn an_image_is_found_by_name_digest_id_and_prefix() {
    let room = Room::new();
    let image = image(&room.store, "a", b"1");
    room.store.tag(&name("shop"), &image).expect("tags");
    let by = |text: &str| room.store.resolve(text).expect(text);
    for text in [
        "shop",
        "shop:latest",
        "docker.io/library/shop",
        &image.digest.to_string(),
    ] {
        assert_eq!(by(text), image, "{text}");
    }
    assert_eq!(by(&image.id().to_string()), image);
    assert_eq!(by(&image.id().hex()[..6]), image);
    assert_eq!(by(&image.digest.hex()[..12]), image);
    assert_eq!(by(&format!("shop@{}", image.digest)), image);
}

#[test]
fn what_is_not_there_is_said_with_the_nearest_name() {
    let room = Room::new();
    let image = image(&room.store, "a", b"1");
    room.store.tag(&name("shop"), &image).expect("tags");
    let text = |wanted: &str| {
        let error = room.store.resolve(wanted).expect_err("it is not there");
        format!("{}\nhelp: {}", chain(&error), error.hint().expect("a hint"))
    };
    assert_snapshot!(text("shpo"), @r#"
    no image "shpo" in the store
    help: did you mean shop:latest?
    "#);
    assert_snapshot!(text("redis"), @r#"
    no image "redis" in the store
    help: see which there are with: holdall images
    "#);
    assert_snapshot!(text("Shop"), @r#"
    image name "Shop" has upper-case letters
    help: write it as "shop"
    "#);
    assert_snapshot!(text("sha256:0000000000"), @r#"
    no image "sha256:0000000000" in the store
    help: see which there are with: holdall images
    "#);
}

#[test]
fn a_prefix_of_two_images_is_ambiguous() {
    let room = Room::new();
    for index in 0..40 {
        let image = image(&room.store, "a", format!("{index}").as_bytes());
        room.store
            .tag(&name(&format!("shop:{index}")), &image)
            .expect("tags");
    }
    let ambiguous =
        "0123456789abcdef"
            .chars()
            .find_map(|digit| match room.store.resolve(&digit.to_string()) {
                Err(error @ StoreError::Ambiguous { .. }) => Some(error),
                _ => None,
            });
    let error = ambiguous.expect("80 digests in 16 boxes");
    assert!(error.to_string().contains("is the beginning of"), "{error}");
}

#[test]
fn a_name_moves_and_the_list_is_sorted() {
    let room = Room::new();
    let (one, two) = (image(&room.store, "a", b"1"), image(&room.store, "a", b"2"));
    for (text, image) in [("b", &one), ("a:2", &one), ("c", &two), ("b", &two)] {
        room.store.tag(&name(text), image).expect("tags");
    }
    let listed = room.store.list().expect("lists");
    let lines: Vec<_> = listed
        .iter()
        .map(|line| {
            (
                line.reference.as_ref().map(ToString::to_string),
                line.digest == one.digest,
            )
        })
        .collect();
    let named = |text: &str| Some(text.to_owned());
    assert_eq!(
        lines,
        [
            (named("a:2"), true),
            (named("b:latest"), false),
            (named("c:latest"), false)
        ]
    );
    assert_eq!(
        room.store.untag(&name("b")).expect("untags"),
        Some(two.digest)
    );
    assert_eq!(room.store.untag(&name("b")).expect("untags"), None);
    assert_eq!(
        room.store.forget(&two.digest).expect("forgets"),
        [name("c:latest")]
    );
    room.store.keep_untagged(&two).expect("keeps");
    room.store.keep_untagged(&two).expect("keeps once");
    assert_eq!(room.store.list().expect("lists").len(), 2);
    room.store.tag(&name("d"), &two).expect("tags");
    assert_eq!(
        room.store.list().expect("lists").len(),
        2,
        "the name replaces the nameless"
    );
}

#[test]
fn a_damaged_blob_is_never_believed() {
    let room = Room::new();
    let image = image(&room.store, "a", b"1");
    let layer = &image.manifest.layers[0];
    let read = || {
        let mut content = Vec::new();
        room.store
            .open_blob(layer)
            .expect("opens")
            .read_to_end(&mut content)
    };
    assert!(read().is_ok());
    let path = blob_path(&room, &layer.digest);
    let good = fs::read(&path).expect("the blob");
    let mut flipped = good.clone();
    flipped[20] ^= 1;
    let texts: Vec<String> = [flipped, good[..20].to_vec(), [&good[..], b"x"].concat()]
        .iter()
        .map(|bad| {
            fs::write(&path, bad).expect("the damage");
            read().expect_err("it is damaged").to_string()
        })
        .collect();
    assert!(texts[0].starts_with("its content is sha256:"), "{texts:?}");
    assert_eq!(texts[1], format!("it has 20 bytes, not {}", good.len()));
    assert_eq!(
        texts[2],
        format!("it has {} bytes, not {}", good.len() + 1, good.len())
    );
    // Writing it again heals it.
    fs::write(&path, b"damaged").expect("the damage");
    let again = room
        .store
        .add_tar_layer(Tar::new().file("a", b"1").finish().as_slice());
    assert_eq!(again.expect("adds").descriptor.digest, layer.digest);
    assert!(read().is_ok());
    // A document is read whole, so it is an error at once.
    let mut bad = fs::read(blob_path(&room, &image.digest)).expect("the manifest");
    bad[5] ^= 1;
    fs::write(blob_path(&room, &image.digest), bad).expect("the damage");
    let error = room.store.image(&image.digest).expect_err("it is damaged");
    assert_eq!(
        error.to_string(),
        format!("blob {} is damaged", image.digest)
    );
}

/// What an unpacking left behind.
fn half_unpacked(room: &Room) -> Vec<String> {
    let mut left = listing(&room.dir.path().join("layers"));
    left.retain(|line| line.contains(".unpack-"));
    left
}

#[test]
fn an_unpacked_layer_must_be_what_the_config_says() {
    let room = Room::new();
    let image = image(&room.store, "a", b"1");
    let error = room
        .store
        .unpacked(&image.manifest.layers[0], &no_digest())
        .expect_err("another diff id");
    assert!(error.to_string().contains("but the config says"), "{error}");
    assert_eq!(half_unpacked(&room), [""; 0]);
}

#[test]
fn an_image_of_missing_or_uncounted_layers_is_refused() {
    let room = Room::new();
    let layer = room
        .store
        .add_tar_layer(Tar::new().finish().as_slice())
        .expect("a layer");
    let config = ImageConfig {
        os: "linux".to_owned(),
        ..ImageConfig::default()
    };
    let error = room
        .store
        .put_image(&config, std::slice::from_ref(&layer.descriptor));
    assert_snapshot!(
        error.map_err(|error| chain(&error).split(": ").last().map(str::to_owned))
            .expect_err("no diff id").expect("a cause"),
        @"manifest has 1 layers but the config names 0"
    );
    let config = ImageConfig {
        rootfs: RootFs::new(vec![layer.diff_id]),
        ..config
    };
    let gone = holdall_image::Descriptor {
        digest: no_digest(),
        ..layer.descriptor
    };
    let error = room
        .store
        .put_image(&config, &[gone])
        .expect_err("no such blob");
    assert_eq!(
        error.to_string(),
        format!("blob {} is not in the store", no_digest())
    );
}

#[test]
fn a_dropped_writer_leaves_nothing() {
    let room = Room::new();
    let mut writer = room.store.blob_writer().expect("a writer");
    writer.write_all(b"half").expect("writes");
    assert_eq!(listing(&room.dir.path().join("store/tmp")).len(), 1);
    drop(writer);
    assert_eq!(
        listing(&room.dir.path().join("store/tmp")),
        Vec::<String>::new()
    );
    let big = vec![b' '; (4 << 20) + 1];
    let error = room
        .store
        .write_blob(media::CONFIG, &big)
        .expect_err("too large");
    assert!(chain(&error).ends_with("document has 4194305 bytes, more than the 4194304 allowed"));
}

#[test]
fn resolving_and_finding_layers_reads_no_layer() {
    let room = Room::new();
    let image = image(&room.store, "a", b"1");
    room.store.tag(&name("shop"), &image).expect("tags");
    // What cannot be opened was not read.
    for layer in &image.manifest.layers {
        let path = blob_path(&room, &layer.digest);
        fs::remove_file(&path).expect("the blob");
        fs::create_dir(&path).expect("something that cannot be read");
    }
    let again = open(room.dir.path());
    let found = again.resolve("shop").expect("resolves");
    assert_eq!(
        again.unpacked_layers(&found).expect("they are there").len(),
        1
    );
}

#[test]
fn writing_what_is_there_writes_nothing() {
    let room = Room::new();
    let first = image(&room.store, "a", b"1");
    room.store.tag(&name("shop"), &first).expect("tags");
    let stamp = || {
        let of = |path: std::path::PathBuf| {
            let meta = fs::metadata(path).expect("it is there");
            (meta.ino(), meta.ctime(), meta.ctime_nsec())
        };
        (
            of(blob_path(&room, &first.digest)),
            of(blob_path(&room, &first.id())),
            of(room.dir.path().join("store/index.json")),
        )
    };
    let before = stamp();
    let again = room
        .store
        .put_image(&first.config, &first.manifest.layers)
        .expect("puts");
    room.store.tag(&name("shop"), &again).expect("tags");
    assert_eq!((again, stamp()), (first, before));
}

#[test]
fn gc_takes_what_nothing_needs_and_nothing_else() {
    let room = Room::new();
    let shared = Tar::new().file("base", b"shared").finish();
    let images: Vec<_> = (0..4)
        .map(|index| {
            let own = Tar::new()
                .file("own", format!("{index}").as_bytes())
                .finish();
            image_of(&room.store, &[shared.clone(), own])
        })
        .collect();
    room.store.tag(&name("kept"), &images[0]).expect("tags");
    room.store.keep_untagged(&images[1]).expect("keeps");
    let keep: BTreeSet<Digest> = [images[2].digest].into();
    assert!(
        room.store.gc(&keep).expect("runs").postponed,
        "this store is in a session itself"
    );
    room.store.release();
    let freed = room.store.gc(&keep).expect("runs");
    assert_eq!((freed.blobs, freed.layers, freed.postponed), (3, 1, false));
    assert!(freed.bytes > 0);
    for image in &images[..3] {
        let image = room.store.image(&image.digest).expect("it is kept");
        for layer in room.store.unpacked_layers(&image).expect("they are kept") {
            assert!(layer.is_dir());
        }
        for layer in &image.manifest.layers {
            room.store
                .open_blob(layer)
                .expect("opens")
                .drain()
                .expect("it is whole");
        }
    }
    assert!(matches!(
        room.store.image(&images[3].digest),
        Err(StoreError::MissingBlob { .. })
    ));
    room.store.release();
    for image in &images[..2] {
        room.store.forget(&image.digest).expect("forgets");
    }
    room.store.gc(&BTreeSet::new()).expect("runs");
    assert_eq!(
        listing(&room.dir.path().join("store/blobs")),
        ["sha256 dir"]
    );
    assert_eq!(
        listing(&room.dir.path().join("layers")),
        Vec::<String>::new()
    );
}

#[test]
fn gc_waits_for_who_is_adding() {
    let room = Room::new();
    let layer = room
        .store
        .add_tar_layer(Tar::new().finish().as_slice())
        .expect("a layer");
    let other = open(room.dir.path());
    assert!(other.gc(&BTreeSet::new()).expect("runs").postponed);
    assert!(room.store.contains(&layer.descriptor.digest));
    room.store.release();
    assert_eq!(other.gc(&BTreeSet::new()).expect("runs").blobs, 1);
}

#[test]
fn gc_removes_what_crashes_left() {
    let room = Room::new();
    let layers = room.dir.path().join("layers");
    for left in [".unpack-00", ".add-1-0", ".gone-00"] {
        fs::create_dir_all(layers.join(left).join("deep/er")).expect("a leftover");
    }
    fs::write(room.dir.path().join("store/tmp/77-0"), "half").expect("a leftover");
    fs::write(layers.join("README"), "not ours").expect("a stranger");
    room.store.gc(&BTreeSet::new()).expect("runs");
    assert_eq!(listing(&layers), ["README 8 bytes"]);
    assert_eq!(
        listing(&room.dir.path().join("store/tmp")),
        Vec::<String>::new()
    );
}

#[test]
fn gc_removes_nothing_while_an_image_cannot_be_read() {
    let room = Room::new();
    let (good, bad) = (image(&room.store, "a", b"1"), image(&room.store, "a", b"2"));
    room.store.tag(&name("bad"), &bad).expect("tags");
    room.store.release();
    fs::write(blob_path(&room, &bad.digest), "{}").expect("the damage");
    let error = room.store.gc(&BTreeSet::new()).expect_err("it cannot know");
    assert_eq!(error.to_string(), format!("blob {} is damaged", bad.digest));
    assert!(room.store.image(&good.digest).is_ok());
    // The way out: forget it.
    room.store.release();
    assert_eq!(
        room.store.forget(&bad.digest).expect("forgets"),
        [name("bad:latest")]
    );
    assert!(room.store.gc(&BTreeSet::new()).expect("runs").blobs > 0);
}

#[test]
fn writers_at_once_lose_nothing() {
    let room = Room::new();
    let (threads, rounds) = (8, 6);
    let start = Barrier::new(threads);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (root, start) = (room.dir.path(), &start);
            scope.spawn(move || {
                // Its own store, as another process has.
                let store = open(root);
                start.wait();
                for round in 0..rounds {
                    // Half of the layers are everybody's.
                    let common = Tar::new()
                        .file("common", format!("{round}").as_bytes())
                        .finish();
                    let own = Tar::new()
                        .file("own", format!("{thread}").as_bytes())
                        .finish();
                    let image = image_of(&store, &[common, own]);
                    store
                        .tag(&name(&format!("t{thread}:{round}")), &image)
                        .expect("tags");
                    store
                        .untag(&name(&format!("t{thread}:{}", round / 2)))
                        .expect("untags");
                }
            });
        }
    });
    let listed = room.store.list().expect("lists");
    assert_eq!(listed.len(), threads * rounds / 2);
    for line in listed {
        let image = room.store.image(&line.digest).expect("it is whole");
        for layer in &image.manifest.layers {
            room.store
                .open_blob(layer)
                .expect("opens")
                .drain()
                .expect("it is whole");
        }
        room.store.unpacked_layers(&image).expect("they are there");
    }
    assert_eq!(
        listing(&room.dir.path().join("store/tmp")),
        Vec::<String>::new()
    );
}

#[test]
fn of_many_who_need_a_layer_one_unpacks() {
    let room = Room::new();
    let mut tar = Tar::new();
    for index in 0..300 {
        tar = tar.file(&format!("f{index}"), &[7; 3000]);
    }
    let image = image_of(&room.store, &[tar.finish()]);
    let (layer, diff_id) = (&image.manifest.layers[0], image.config.rootfs.diff_ids[0]);
    let path = room.store.unpacked(layer, &diff_id).expect("it is there");
    fs::remove_dir_all(&path).expect("as if it had never been unpacked");
    // A crash left half of it.
    let half = room
        .dir
        .path()
        .join("layers")
        .join(format!(".unpack-{}", diff_id.hex()));
    fs::create_dir_all(half.join("f1")).expect("a leftover");
    let start = Barrier::new(6);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let store = open(room.dir.path());
                start.wait();
                let path = store.unpacked(layer, &diff_id).expect("unpacks");
                assert_eq!(
                    listing(&path).len(),
                    300,
                    "a layer is there whole or not at all"
                );
            });
        }
    });
    assert_eq!(half_unpacked(&room), [""; 0]);
}

#[test]
fn the_loser_of_an_adoption_is_removed() {
    let room = Room::new();
    let dir = |name: &str| {
        let path = room.dir.path().join(name);
        fs::create_dir(&path).expect("a directory");
        fs::write(path.join("f"), name).expect("a file");
        path
    };
    let (one, two) = (dir("one"), dir("two"));
    let target = room.store.adopt_layer(&one, &no_digest()).expect("adopts");
    assert_eq!(
        room.store.adopt_layer(&two, &no_digest()).expect("adopts"),
        target
    );
    assert_eq!(
        fs::read_to_string(target.join("f")).expect("the first"),
        "one"
    );
    assert!(!one.exists() && !two.exists());
}

#[test]
fn the_folders_are_closed_to_others() {
    let room = Room::new();
    for folder in ["store/blobs", "store/tmp", "layers"] {
        let mode = fs::metadata(room.dir.path().join(folder))
            .expect("it is there")
            .mode();
        assert_eq!(mode & 0o777, 0o700, "{folder}");
    }
}

#[test]
fn a_malformed_index_is_an_error_and_stays_as_it_is() {
    let room = Room::new();
    let image = image(&room.store, "a", b"1");
    let path = room.dir.path().join("store/index.json");
    fs::write(&path, "{\"schemaVersion\":2,\"manifests\":[").expect("the damage");
    let error = room
        .store
        .tag(&name("x"), &image)
        .expect_err("it is malformed");
    assert!(
        chain(&error).contains("index.json: cannot decode image index: EOF"),
        "{error}"
    );
    assert_eq!(fs::read(&path).expect("it is there").len(), 32);
}

/// A small file system of its own, seen by this thread alone: it is gone with
/// the thread, whatever happens.
fn on_a_small_disk(test: impl FnOnce(&Path) + Send + 'static) {
    use nix::mount::{MsFlags, mount};
    let outer = tempfile::tempdir().expect("a temp dir");
    let path = outer.path().to_owned();
    let thread = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).expect("a namespace");
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private");
        mount(
            Some("tmpfs"),
            &path,
            Some("tmpfs"),
            MsFlags::empty(),
            Some("size=2m"),
        )
        .expect("a small disk");
        test(&path);
    });
    thread.join().expect("the test on the small disk");
}

#[test]
fn a_full_disk_is_a_clear_error_and_leaves_a_store_that_works() {
    on_a_small_disk(|root| {
        let store = open(root);
        let small = image(&store, "a", b"1");
        store.tag(&name("small"), &small).expect("tags");
        let mut noise = vec![0; 4 << 20];
        fs::File::open("/dev/urandom")
            .and_then(|mut file| file.read_exact(&mut noise))
            .expect("noise");
        let big = Tar::new().file("big", &noise).finish();
        let error = store
            .add_tar_layer(big.as_slice())
            .expect_err("the disk is full");
        let text = format!("{}\nhelp: {}", chain(&error), error.hint().expect("a hint"));
        assert_snapshot!(text, @r#"
        cannot write the layer: No space left on device (os error 28)
        help: the disk is full: free some space, e.g. by holdall rmi
        "#);
        let mut writer = store.blob_writer().expect("a writer");
        let error = writer.write_all(&noise).expect_err("the disk is full");
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        drop(writer);
        assert_eq!(listing(&root.join("store/tmp")), Vec::<String>::new());
        assert_eq!(store.resolve("small").expect("it is still there"), small);
        let again = image(&store, "a", b"2");
        store
            .tag(&name("again"), &again)
            .expect("there is room again");
    });
}
