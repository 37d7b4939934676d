//! A layer that a power cut may have torn is never believed.
#![expect(
    clippy::indexing_slicing,
    reason = "helpers of tests are not known to clippy as tests"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use holdall_image::store::Image;
use holdall_image::store::fsck::Depth;
use holdall_image::{Digest, boot};

mod fixture;

use fixture::{Room, Tar, image_of, open};

/// A store with an image of two layers, both unpacked.
struct Unpacked {
    room: Room,
    image: Image,
    layers: Vec<PathBuf>,
}

impl Unpacked {
    fn new() -> Self {
        let room = Room::new();
        let tar = |text: &[u8]| Tar::new().file("f", text).finish();
        let image = image_of(&room.store, &[tar(b"one"), tar(b"two")]);
        room.store
            .tag(&"shop:1".parse().expect("a name"), &image)
            .expect("tagged");
        let layers = room.store.unpacked_layers(&image).expect("unpacked");
        Self {
            room,
            image,
            layers,
        }
    }

    fn diff_id(&self, at: usize) -> &Digest {
        &self.image.config.rootfs.diff_ids[at]
    }

    fn folder(&self) -> PathBuf {
        self.room.dir.path().join("layers")
    }

    fn mark(&self, at: usize) -> PathBuf {
        let hex = self.diff_id(at).hex();
        self.folder().join(format!(".unsynced-{hex}"))
    }

    /// As a power cut leaves the first layer that was never synced: its name is
    /// on the disk, its content isn't, and the boot is another.
    fn cut(&self) {
        fs::write(self.mark(0), "11111111-2222-3333-4444-555555555555").expect("marked");
        fs::write(self.layers[0].join("f"), "").expect("emptied");
    }

    fn is_believed(&self, at: usize) -> bool {
        let believed = self.room.store.is_unpacked(self.diff_id(at));
        believed.expect("looked")
    }

    fn first(&self) -> String {
        fs::read_to_string(self.layers[0].join("f")).expect("the file")
    }
}

fn marks(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).expect("the layers");
    let names = names.map(|entry| entry.expect("an entry").file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    let mut marks: Vec<String> = names.filter(|name| name.contains("unsynced")).collect();
    marks.sort();
    marks
}

#[test]
fn a_new_layer_is_marked_with_its_boot_until_it_is_synced() {
    let here = Unpacked::new();
    for at in 0..2 {
        let boot = fs::read_to_string(here.mark(at)).expect("marked");
        assert_eq!(boot, boot::id().expect("a boot"));
    }
    assert!(here.room.store.unsynced_since().expect("looked").is_some());
    here.room.store.sync_layers().expect("synced");
    assert_eq!(marks(&here.folder()), [""; 0]);
    assert_eq!(here.room.store.unsynced_since().expect("looked"), None);
    assert!(here.is_believed(0));
}

#[test]
fn a_layer_that_another_boot_left_unsynced_is_unpacked_again() {
    let here = Unpacked::new();
    here.cut();
    assert!(!here.is_believed(0));
    assert!(here.is_believed(1));
    let again = open(here.room.dir.path());
    assert_eq!(
        again.unpacked_layers(&here.image).expect("unpacked"),
        here.layers
    );
    assert_eq!(here.first(), "one");
    let boot = fs::read_to_string(here.mark(0)).expect("marked");
    assert_eq!(boot, boot::id().expect("a boot"));
}

#[test]
fn a_mark_that_was_cut_or_is_no_mark_is_another_boots() {
    let here = Unpacked::new();
    let now = boot::id().expect("a boot");
    for text in [
        String::new(),
        now[..20].to_owned(),
        format!("{now} ?"),
        "x".repeat(5000),
    ] {
        fs::write(here.mark(0), text).expect("marked");
        assert!(!here.is_believed(0));
    }
    fs::write(here.mark(0), [0xff; 36]).expect("marked");
    assert!(!here.is_believed(0));
}

#[test]
fn what_the_disk_refused_is_believed_in_this_boot_and_never_called_synced() {
    let here = Unpacked::new();
    fs::write(
        here.mark(0),
        format!("{} failed", boot::id().expect("a boot")),
    )
    .expect("marked");
    here.room.store.sync_layers().expect("the other is synced");
    let name = here.mark(0);
    assert_eq!(
        marks(&here.folder()),
        [name
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name")]
    );
    assert!(here.is_believed(0));
    assert_eq!(here.room.store.unsynced_since().expect("looked"), None);
}

#[test]
fn a_directory_becomes_the_layer_that_another_boot_left_unsynced() {
    let here = Unpacked::new();
    here.cut();
    let dir = here.room.dir.path().join("made");
    fs::create_dir(&dir).expect("made");
    fs::write(dir.join("f"), "one").expect("written");
    let adopted = here
        .room
        .store
        .adopt_layer(&dir, here.diff_id(0))
        .expect("adopted");
    assert_eq!(adopted, here.layers[0]);
    assert_eq!(here.first(), "one");
    assert!(here.is_believed(0));
}

#[test]
fn a_layer_that_another_boot_left_unsynced_is_no_damage() {
    let here = Unpacked::new();
    here.cut();
    let report = here
        .room
        .store
        .check(&BTreeSet::new(), Depth::Layers)
        .expect("checked");
    assert_eq!(report.faults, []);
    assert_eq!(report.layers, 1);
}

#[test]
fn marks_go_with_their_layers() {
    let here = Unpacked::new();
    here.cut();
    // Killed before the layer got its name.
    let lone = format!(".unsynced-{}", "0".repeat(64));
    fs::write(here.folder().join(&lone), boot::id().expect("a boot")).expect("marked");
    let collect = || {
        here.room.store.release();
        here.room.store.gc(&BTreeSet::new()).expect("collected")
    };
    assert_eq!(collect().layers, 0);
    assert_eq!(marks(&here.folder()).len(), 2, "those of layers stay");
    here.room
        .store
        .untag(&"shop:1".parse().expect("a name"))
        .expect("untagged");
    assert_eq!(collect().layers, 2);
    assert_eq!(marks(&here.folder()), [""; 0]);
}
