//! An archive of an image to its first process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::bundle::Hugetlb;
use super::group;
use super::images::{FILES, Store, podman_run, project};
use crate::measure::{Contestant, Group, OURS, Unit, in_turn};
use crate::process::{installed, output, timed};
use crate::world::World;

const METHOD: &str = "\
The image of 20,000 files and 200 MB as an OCI archive with gzip layers, written by
`holdall save --form oci`, into a new store each time. holdall and podman load it
and run `true` in it, as only then both have verified and unpacked all of it;
umoci unpacks the same layers from an OCI layout into a bundle, and tar with gzip or
pigz unpacks them and checks nothing: none has a store or runs anything. What they
wrote stays until all have ended.";

pub(super) fn run(world: &World) -> Result<Group> {
    let dir = &world.dir("unpack")?;
    let archive = &dir.join("image.tar");
    archived(world, archive)?;
    let layout = &dir.join("layout");
    fs::create_dir_all(layout).with_context(|| format!("cannot create {layout:?}"))?;
    output(
        Command::new("tar")
            .arg("-xf")
            .arg(archive)
            .arg("-C")
            .arg(layout),
    )?;
    let layers = &layers(layout)?;
    let _hugetlb = Hugetlb::mount()?;
    let mut contestants = vec![Contestant {
        who: OURS,
        budget: None,
        run: Box::new(move || {
            let root = kept(dir)?;
            let ours = || {
                let mut command = Command::new(&world.holdall);
                command.arg("--root").arg(&root);
                command
            };
            let load = timed(ours().arg("load").arg("-i").arg(archive), dir)?;
            Ok(load + timed(ours().args(["run", "--rm", "bench", "/bin/true"]), dir)?)
        }),
    }];
    if installed("podman") {
        contestants.push(Contestant {
            who: "podman",
            budget: None,
            run: Box::new(move || {
                let root = kept(dir)?;
                let store = Store::at(&root);
                let load = timed(store.podman().args(["load", "-q", "-i"]).arg(archive), dir)?;
                Ok(load + timed(&mut podman_run(&store, "crun"), dir)?)
            }),
        });
    }
    if installed("umoci") {
        contestants.push(Contestant {
            who: "umoci",
            budget: Some(0.5),
            run: Box::new(move || {
                let root = kept(dir)?;
                let mut command = Command::new("umoci");
                command.arg("unpack").arg("--image");
                command.arg(format!("{}:bench", layout.display()));
                timed(command.arg(root.join("bundle")), dir)
            }),
        });
    }
    for (who, decompress) in [("tar + gzip", "gzip"), ("tar + pigz", "pigz")] {
        if !installed(decompress) {
            continue;
        }
        contestants.push(Contestant {
            who,
            budget: Some(0.5),
            run: Box::new(move || {
                let root = kept(dir)?;
                let mut total = 0.0;
                for layer in layers {
                    let mut command = Command::new("tar");
                    command.args(["-I", decompress, "-xf"]).arg(layer);
                    total += timed(command.arg("-C").arg(&root), dir)?;
                }
                Ok(total)
            }),
        });
    }
    let row = in_turn("archive to first process", Unit::Seconds, 3, contestants)?;
    let commands = [
        (
            OURS,
            "holdall --root NEW load -i image.tar; holdall --root NEW run --rm bench /bin/true",
        ),
        (
            "podman",
            "podman --root NEW load -q -i image.tar; podman --root NEW run --rm … bench /bin/true (as above, crun)",
        ),
        ("umoci", "umoci unpack --image LAYOUT:bench BUNDLE"),
        ("tar + gzip", "tar -I gzip -xf LAYER -C DIR for each layer"),
        ("tar + pigz", "tar -I pigz -xf LAYER -C DIR for each layer"),
    ];
    Ok(group("An archive unpacked", METHOD, &commands, vec![row]))
}

/// A new folder below `dir`, which goes with it.
fn kept(dir: &Path) -> Result<PathBuf> {
    let folder = tempfile::tempdir_in(dir).context("cannot make a folder")?;
    Ok(folder.keep())
}

/// Builds the image and writes its archive; its one tag is `bench`.
fn archived(world: &World, archive: &Path) -> Result<()> {
    let project = project(world, "packed", FILES)?;
    let root = world.dir("packed-store")?;
    let ours = || {
        let mut command = Command::new(&world.holdall);
        command.arg("--root").arg(&root);
        command
    };
    output(ours().args(["build", "-q"]).arg(&project))?;
    output(
        ours()
            .args(["save", "--form", "oci", "-o"])
            .arg(archive)
            .arg("bench"),
    )?;
    Ok(())
}

fn json(path: &Path) -> Result<Value> {
    let text = fs::read(path).with_context(|| format!("cannot read {path:?}"))?;
    serde_json::from_slice(&text).with_context(|| format!("cannot read {path:?}"))
}

fn write(path: &Path, value: &Value) -> Result<()> {
    let text = serde_json::to_vec(value).context("cannot write JSON")?;
    fs::write(path, text).with_context(|| format!("cannot write {path:?}"))
}

/// The layers' files, lowest first. The layout's manifest gets the tag that
/// umoci is asked for, without a repository before it.
fn layers(layout: &Path) -> Result<Vec<PathBuf>> {
    let mut index = json(&layout.join("index.json"))?;
    let manifest = index
        .pointer_mut("/manifests/0")
        .and_then(Value::as_object_mut)
        .context("the archive has no manifest")?;
    let tag = serde_json::json!({ "org.opencontainers.image.ref.name": "bench" });
    manifest.insert("annotations".to_owned(), tag);
    let blob = |value: Option<&Value>| {
        let digest = value.and_then(|v| v.get("digest")).and_then(Value::as_str);
        let hex = digest.and_then(|d| d.strip_prefix("sha256:"));
        Ok::<_, anyhow::Error>(layout.join("blobs/sha256").join(hex.context("no digest")?))
    };
    let path = blob(index.pointer("/manifests/0"))?;
    write(&layout.join("index.json"), &index)?;
    let manifest = json(&path)?;
    let Some(layers) = manifest.get("layers").and_then(Value::as_array) else {
        bail!("the manifest has no layers");
    };
    layers.iter().map(|layer| blob(Some(layer))).collect()
}
