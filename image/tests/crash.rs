//! `kill -9` of a writer at any instant leaves a store that works.
//!
//! `harness = false`: the writer is this very program, started again with the
//! store's folder as its argument.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use holdall_image::layer::pack::pack;
use holdall_image::{Digest, Store};
use libtest_mimic::{Arguments, Failed, Trial};

mod fixture;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == "--writer") {
        let root = words.next().expect("the store's folder");
        write_without_end(Path::new(&root));
    }
    let arguments = Arguments::from_args();
    let tests = vec![Trial::test(
        "a_killed_writer_leaves_a_store_that_works",
        killed_writer,
    )];
    libtest_mimic::run(&arguments, tests).exit_code()
}

/// All a store can be asked to write, over and over, with a line for each
/// round.
fn write_without_end(root: &Path) -> ! {
    let store = fixture::open(root);
    let base = fixture::Tar::new().file("base", &[7; 200_000]).finish();
    let mut round = 0_u64;
    loop {
        let own = fixture::Tar::new()
            .file("own", format!("{round}").as_bytes())
            .finish();
        let image = fixture::image_of(&store, &[base.clone(), own]);
        let name = format!("shop:{}", round % 5).parse().expect("a name");
        store.tag(&name, &image).expect("tags");
        // Unpack again, so that the kill also hits that.
        let layers = store.unpacked_layers(&image).expect("unpacked");
        drop_whole(layers.last().expect("two layers"), &root.join("dropped"));
        store.unpacked_layers(&image).expect("unpacks");
        round += 1;
        writeln!(std::io::stdout(), "{round}").expect("someone reads");
    }
}

/// Takes a layer away in one step, or a kill in the midst of the removal would
/// leave a part of it: harm that is this test's own, not the store's.
fn drop_whole(layer: &Path, dropped: &Path) {
    if dropped.exists() {
        fs::remove_dir_all(dropped).expect("removes");
    }
    fs::rename(layer, dropped).expect("moves");
}

fn killed_writer() -> Result<(), Failed> {
    let room = tempfile::tempdir()?;
    let me = std::env::current_exe()?;
    for kill in 0..25_u32 {
        let mut writer = Command::new(&me)
            .arg("--writer")
            .arg(room.path())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = writer.stdout.take().ok_or("no output")?;
        // Some rounds, and then a piece of one that differs each time: the
        // kernel's own scheduling decides where in it the signal lands.
        let mut lines = BufReader::new(output).lines();
        for _ in 0..=kill % 3 {
            lines.next().ok_or("the writer ended")??;
        }
        for spin in 0..kill * 20_000 {
            std::hint::black_box(spin);
        }
        writer.kill()?;
        writer.wait()?;
        check(room.path())
            .map_err(|error| format!("after kill {kill}: {}", error.message().unwrap_or("?")))?;
    }
    Ok(())
}

/// Every image is whole, every layer is what its diff ID says, and gc leaves
/// nothing behind that is not needed.
fn check(root: &Path) -> Result<(), Failed> {
    let store = fixture::open(root);
    let listed = store.list()?;
    if listed.is_empty() {
        return Err("no image".into());
    }
    let mut layers = BTreeSet::new();
    for line in &listed {
        let image = store.image(&line.digest)?;
        for ((descriptor, diff_id), path) in image.layers().zip(store.unpacked_layers(&image)?) {
            store.open_blob(descriptor)?.drain()?;
            layers.insert(diff_id.hex());
            whole(&path, diff_id, &store, descriptor)?;
        }
    }
    // Marks of layers that are there go with this, the others with the gc.
    store.sync_layers()?;
    store.release();
    if store.gc(&BTreeSet::new())?.postponed {
        return Err("a dead writer still holds the store".into());
    }
    let names = |folder: &str| -> Result<BTreeSet<String>, Failed> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(root.join(folder))? {
            found.insert(entry?.file_name().to_string_lossy().into_owned());
        }
        Ok(found)
    };
    if names("layers")? != layers || !names("store/tmp")?.is_empty() {
        return Err(format!(
            "left behind: {:?} {:?}",
            names("layers")?,
            names("store/tmp")?
        )
        .into());
    }
    Ok(())
}

/// The directory is what the layer's blob unpacks to.
fn whole(
    path: &Path,
    diff_id: &Digest,
    store: &Store,
    layer: &holdall_image::Descriptor,
) -> Result<(), Failed> {
    let packed = |dir: &Path| -> Result<Digest, Failed> {
        let mut tar = Vec::new();
        pack(fs::File::open(dir)?.as_fd(), i64::MAX, &mut tar)?;
        Ok(Digest::of(&tar))
    };
    let before = packed(path)?;
    fs::remove_dir_all(path)?;
    let again = store.unpacked(layer, diff_id)?;
    if packed(&again)? != before {
        return Err(format!("layer {diff_id} was incomplete").into());
    }
    Ok(())
}
