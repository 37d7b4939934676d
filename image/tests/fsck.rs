//! The store's check names each thing that is damaged, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use holdall_image::store::fsck::{Depth, Report};
use holdall_image::{Digest, Image, RootDir};

mod fixture;

use fixture::Room;

/// A store with one image of one layer, unpacked.
struct Whole {
    room: Room,
    image: Image,
}

impl Whole {
    fn new() -> Self {
        let room = Room::new();
        let tar = fixture::Tar::new()
            .dir("etc")
            .file("etc/motd", b"hello\n")
            .hardlink("etc/same", "etc/motd")
            .symlink("link", "etc/motd")
            .finish();
        let image = fixture::image_of(&room.store, &[tar]);
        let name = "shop:1".parse().expect("a name");
        room.store.tag(&name, &image).expect("tagged");
        let _dirs = room.store.unpacked_layers(&image).expect("unpacked");
        room.store.release();
        Self { room, image }
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        let blobs = self.room.dir.path().join("store/blobs/sha256");
        blobs.join(digest.hex())
    }

    fn layer(&self) -> &Digest {
        self.image.layers().next().expect("a layer").1
    }

    fn unpacked(&self) -> PathBuf {
        self.room.dir.path().join("layers").join(self.layer().hex())
    }

    fn check(&self, depth: Depth) -> Report {
        let checked = self.room.store.check(&BTreeSet::new(), depth);
        checked.expect("it can be looked at")
    }

    /// The only fault there is.
    fn fault(&self, depth: Depth) -> String {
        let faults = self.check(depth).faults;
        let told: Vec<String> = faults
            .iter()
            .map(|fault| format!("{}: {fault}", fault.kind()))
            .collect();
        assert_eq!(told.len(), 1, "{told:#?}");
        told.concat()
    }

    fn drop_layer(&self) {
        let store = &self.room.store;
        // Not while somebody stands on it, or may begin to.
        let dropped = store.drop_layer(self.layer(), || true);
        assert!(!dropped.expect("asked"));
        let at_work = fixture::open(self.room.dir.path());
        assert!(at_work.contains(&self.image.digest));
        let dropped = store.drop_layer(self.layer(), || false);
        assert!(!dropped.expect("asked"));
        drop(at_work);
        let dropped = store.drop_layer(self.layer(), || false);
        assert!(dropped.expect("dropped"));
    }

    fn edit_index(&self, edit: impl FnOnce(&mut serde_json::Value)) {
        let path = self.room.dir.path().join("store/index.json");
        let text = fs::read(&path).expect("an index");
        let mut index = serde_json::from_slice(&text).expect("JSON");
        edit(&mut index);
        fs::write(&path, index.to_string()).expect("written");
    }
}

#[test]
fn a_store_that_nobody_harmed_is_whole() {
    let whole = Whole::new();
    for depth in [Depth::Content, Depth::Layers] {
        let report = whole.check(depth);
        assert!(report.faults.is_empty(), "{:?}", report.faults);
        assert!(report.leftovers.is_empty(), "{:?}", report.leftovers);
        assert_eq!((report.images, report.blobs, report.layers), (1, 3, 1));
    }
}

#[test]
fn the_overlays_own_notes_on_an_unpacked_layer_are_no_harm() {
    let whole = Whole::new();
    let root = RootDir::open(&whole.unpacked()).expect("unpacked");
    let note = |name: &str| {
        let set = root.set_xattr(Path::new("etc"), name.as_ref(), b"y");
        set.expect("set");
    };
    note("trusted.overlay.impure");
    assert!(whole.check(Depth::Layers).faults.is_empty());
    note("trusted.overlay.opaque");
    assert!(whole.fault(Depth::Layers).ends_with("/etc: its attributes"));
}

#[test]
fn a_flipped_bit_in_a_blob_is_named() {
    let whole = Whole::new();
    let digest = whole.image.manifest.layers[0].digest;
    let path = whole.blob(&digest);
    let mut bytes = fs::read(&path).expect("a blob");
    bytes[20] ^= 1;
    fs::write(&path, bytes).expect("written");
    // Also where the layer would be compared: nothing to compare with.
    for depth in [Depth::Content, Depth::Layers] {
        let fault = whole.fault(depth);
        let wanted = format!("blob-damaged: blob {digest} is damaged");
        assert!(fault.starts_with(&wanted), "{fault}");
    }
}

#[test]
fn a_blob_cut_short_is_named() {
    let whole = Whole::new();
    let digest = whole.image.id();
    fs::write(whole.blob(&digest), b"{").expect("written");
    let fault = whole.fault(Depth::Content);
    let wanted = format!("blob-damaged: blob {digest} is damaged");
    assert!(fault.starts_with(&wanted), "{fault}");
}

#[test]
fn each_missing_blob_is_named_with_what_it_is_needed_for() {
    let needs = [
        "it is an image that is listed",
        "it is the config of image sha256:",
        "it is a layer of image sha256:",
    ];
    for (at, need) in needs.into_iter().enumerate() {
        let whole = Whole::new();
        let image = &whole.image;
        let blobs = [image.digest, image.id(), image.manifest.layers[0].digest];
        let digest = blobs[at];
        fs::remove_file(whole.blob(&digest)).expect("removed");
        let fault = whole.fault(Depth::Layers);
        let wanted = format!("blob-missing: blob {digest} is missing: {need}");
        assert!(fault.starts_with(&wanted), "{fault}");
    }
}

#[test]
fn an_image_that_a_box_needs_is_missed() {
    let whole = Whole::new();
    let keep = BTreeSet::from([fixture::no_digest()]);
    let report = whole.room.store.check(&keep, Depth::Content);
    let faults = report.expect("looked at").faults;
    assert_eq!(faults.len(), 1);
    assert!(faults[0].to_string().contains("the image of a box"));
    // Also where there is no store at all.
    let gone = whole.room.dir.path().join("store");
    fs::remove_dir_all(gone).expect("removed");
    let report = whole.room.store.check(&keep, Depth::Content);
    assert_eq!(report.expect("looked at").faults, faults);
}

#[test]
fn a_blob_that_cannot_be_read_is_named() {
    let whole = Whole::new();
    let digest = whole.image.manifest.layers[0].digest;
    let path = whole.blob(&digest);
    fs::remove_file(&path).expect("removed");
    fs::create_dir(&path).expect("made");
    let fault = whole.fault(Depth::Content);
    let wanted = format!("blob-unreadable: blob {digest} cannot be read");
    assert!(fault.starts_with(&wanted), "{fault}");
}

#[test]
fn a_size_that_the_index_has_wrong_is_named() {
    let whole = Whole::new();
    whole.edit_index(|index| index["manifests"][0]["size"] = 7.into());
    let fault = whole.fault(Depth::Content);
    assert!(fault.starts_with("blob-size: blob "), "{fault}");
    assert!(fault.contains("bytes, not 7"), "{fault}");
}

#[test]
fn a_name_that_two_images_have_is_named() {
    let whole = Whole::new();
    whole.edit_index(|index| {
        let entry = index["manifests"][0].clone();
        index["manifests"]
            .as_array_mut()
            .expect("a list")
            .push(entry);
    });
    let fault = whole.fault(Depth::Content);
    assert!(
        fault.starts_with("image-name: 2 images are called "),
        "{fault}"
    );
}

#[test]
fn an_index_that_makes_no_sense_is_named() {
    let whole = Whole::new();
    fs::write(whole.room.dir.path().join("store/index.json"), "{").expect("written");
    let fault = whole.fault(Depth::Content);
    assert!(
        fault.starts_with("index: ") && fault.contains("index.json"),
        "{fault}"
    );
}

#[test]
fn a_layout_file_that_is_gone_or_wrong_is_named() {
    let whole = Whole::new();
    let path = whole.room.dir.path().join("store/oci-layout");
    fs::write(&path, "{}").expect("written");
    assert!(whole.fault(Depth::Content).starts_with("layout: "));
    fs::remove_file(&path).expect("removed");
    assert!(whole.fault(Depth::Content).starts_with("layout: "));
}

#[test]
fn a_manifest_that_makes_no_sense_is_named() {
    let whole = Whole::new();
    let text = b"{\"schemaVersion\":2}";
    let digest = Digest::of(text);
    fs::write(whole.blob(&digest), text).expect("written");
    whole.edit_index(|index| {
        index["manifests"][0]["digest"] = digest.to_string().into();
        index["manifests"][0]["size"] = text.len().into();
    });
    let fault = whole.fault(Depth::Content);
    let wanted = format!("image-document: image {digest} cannot be used");
    assert!(fault.starts_with(&wanted), "{fault}");
}

#[test]
fn a_file_where_an_unpacked_layer_should_be_is_named_and_can_be_dropped() {
    let whole = Whole::new();
    fs::remove_dir_all(whole.unpacked()).expect("removed");
    fs::write(whole.unpacked(), "").expect("written");
    assert!(whole.fault(Depth::Content).starts_with("layer-kind: "));
    whole.drop_layer();
    assert!(whole.check(Depth::Layers).faults.is_empty());
}

#[test]
fn a_store_whose_maker_was_killed_is_whole_as_there_is_nothing_in_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let (store, layers) = (dir.path().join("store"), dir.path().join("layers"));
    fs::create_dir_all(store.join("blobs/sha256")).expect("made");
    fs::write(store.join("oci-layout.new"), "{").expect("written");
    let check = || {
        let store = holdall_image::Store::at(&store, &layers);
        let checked = store.check(&BTreeSet::new(), Depth::Content);
        checked.expect("it can be looked at").faults
    };
    assert!(check().is_empty(), "{:?}", check());
    drop(holdall_image::Store::open(&store, &layers).expect("the next"));
    assert!(check().is_empty(), "{:?}", check());
    fs::write(store.join("oci-layout"), "{").expect("written");
    assert_eq!(check().len(), 1);
}

#[test]
fn a_blob_that_unpacks_to_another_layer_than_the_config_says_is_named() {
    use holdall_image::document::{ImageConfig, RootFs, host_architecture};
    let room = Room::new();
    let tar = |text: &[u8]| fixture::Tar::new().file("motd", text).finish();
    let layer = room
        .store
        .add_tar_layer(tar(b"one").as_slice())
        .expect("a layer");
    let other = room
        .store
        .add_tar_layer(tar(b"two").as_slice())
        .expect("a layer");
    let config = ImageConfig {
        architecture: host_architecture().to_owned(),
        os: "linux".to_owned(),
        rootfs: RootFs::new(vec![other.diff_id]),
        ..ImageConfig::default()
    };
    let image = room
        .store
        .put_image(&config, std::slice::from_ref(&layer.descriptor));
    let name = "shop:1".parse().expect("a name");
    room.store
        .tag(&name, &image.expect("an image"))
        .expect("tagged");
    room.store.release();
    // A layer of that name, which is not what the blob holds.
    let unpacked = room.dir.path().join("layers").join(other.diff_id.hex());
    fs::create_dir_all(unpacked).expect("made");
    let check = |depth| {
        room.store
            .check(&BTreeSet::new(), depth)
            .expect("looked at")
    };
    assert!(check(Depth::Content).faults.is_empty());
    let faults = check(Depth::Layers).faults;
    let [fault] = faults.as_slice() else {
        panic!("{faults:?}");
    };
    let wanted = format!(
        "layer blob {} cannot be unpacked: ",
        layer.descriptor.digest
    );
    assert_eq!(fault.kind(), "layer-blob");
    assert!(fault.to_string().starts_with(&wanted), "{fault}");
}

/// Harms the unpacked layer in this folder.
type Harm = fn(PathBuf) -> io::Result<()>;

/// What can happen to an unpacked layer, and what is told of it.
const HARMS: [(&str, Harm); 9] = [
    ("/etc/extra: not in the layer", |dir| {
        fs::write(dir.join("etc/extra"), "")
    }),
    ("/link: missing", |dir| fs::remove_file(dir.join("link"))),
    ("/etc/motd: its content", |dir| {
        let path = dir.join("etc/motd");
        let time = fs::metadata(&path)?.modified()?;
        fs::write(&path, "HELLO\n")?;
        fs::File::options()
            .write(true)
            .open(&path)?
            .set_modified(time)
    }),
    ("/etc/motd: its size", |dir| {
        fs::write(dir.join("etc/motd"), "longer than it was\n")
    }),
    ("/etc/motd: its mode", |dir| {
        fs::set_permissions(dir.join("etc/motd"), fs::Permissions::from_mode(0o4755))
    }),
    ("/etc/motd: its owner", |dir| {
        std::os::unix::fs::chown(dir.join("etc/motd"), Some(4711), None)
    }),
    ("/link: where it leads", |dir| {
        fs::remove_file(dir.join("link"))?;
        std::os::unix::fs::symlink("etc/else", dir.join("link"))
    }),
    ("/etc/motd: its time", |dir| {
        let file = fs::File::options().write(true).open(dir.join("etc/motd"))?;
        file.set_modified(std::time::SystemTime::UNIX_EPOCH)
    }),
    ("/etc/motd: its kind", |dir| {
        fs::remove_file(dir.join("etc/motd"))?;
        fs::create_dir(dir.join("etc/motd"))
    }),
];

#[test]
fn each_harm_to_an_unpacked_layer_is_named_by_the_long_look_alone() {
    for (told, harm) in HARMS {
        let whole = Whole::new();
        harm(whole.unpacked()).expect("harmed");
        assert!(whole.check(Depth::Content).faults.is_empty());
        let fault = whole.fault(Depth::Layers);
        let wanted = format!("layer-damaged: layer {} is damaged: {told}", whole.layer());
        assert_eq!(fault, wanted);
        whole.drop_layer();
        let _dirs = whole
            .room
            .store
            .unpacked_layers(&whole.image)
            .expect("again");
        assert!(whole.check(Depth::Layers).faults.is_empty());
    }
}

#[test]
fn what_a_crash_left_is_counted_and_the_next_who_adds_removes_it() {
    let whole = Whole::new();
    let root = whole.room.dir.path();
    let left = ["store/tmp/4711-0", "layers/.add-4711-0", "layers/.unpack-x"];
    fs::write(root.join(left[0]), "half").expect("written");
    for dir in &left[1..] {
        fs::create_dir_all(root.join(dir).join("deep")).expect("made");
    }
    let report = whole.check(Depth::Layers);
    assert!(report.faults.is_empty());
    let mut expected: Vec<PathBuf> = left.iter().map(|path| root.join(path)).collect();
    let mut found = report.leftovers;
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    assert!(whole.room.store.contains(&whole.image.digest));
    assert!(whole.check(Depth::Content).leftovers.is_empty());
    assert!(left.iter().all(|path| !root.join(path).exists()));
}

#[test]
fn what_somebody_works_on_is_neither_counted_nor_removed() {
    let whole = Whole::new();
    let at_work = fixture::open(whole.room.dir.path());
    let writer = at_work.blob_writer().expect("begun");
    assert!(whole.check(Depth::Layers).leftovers.is_empty());
    assert!(whole.room.store.contains(&whole.image.digest));
    let _blob = writer.commit("text/plain").expect("it is still there");
}
