//! `holdall fsck`.

use std::path::PathBuf;

use holdall_builder::fsck as build_cache;
use holdall_image::store::fsck as images;
use holdall_image::{Digest, Store};
use holdall_runtime::boxes::Boxes;
use holdall_runtime::boxes::fsck as boxes;
use holdall_runtime::dirs::Dirs;
use serde::Serialize;

use super::Outcome;
use crate::context::Context;
use crate::exit;
use crate::output::{self, Format};
use crate::report::Failure;

/// Check that everything holdall keeps is whole
///
/// Reads every blob of every image, the records of boxes and of the build
/// cache, and the kept packages, and looks for what ended runs left. It names
/// each fault and ends with 1, or says that all is whole and ends with 0.
/// Builds and boxes may go on meanwhile. What interrupted work left is counted;
/// it is no fault.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  holdall fsck
  holdall fsck --deep            also compare each unpacked layer, file by file
  holdall fsck --repair          remove what can be made again, and leftovers
  holdall fsck --format json")]
pub(crate) struct Args {
    /// Compare every unpacked layer with what its blob unpacks to
    #[arg(long)]
    deep: bool,
    /// Repair what loses nothing: damaged unpacked layers that no running box
    /// stands on, cache records, packages, what ended runs and killed commands
    /// left
    #[arg(long)]
    repair: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Serialize)]
struct Report {
    whole: bool,
    #[serde(skip)]
    repair: bool,
    checked: Checked,
    faults: Vec<Row>,
    leftovers: Vec<PathBuf>,
    stale: Vec<PathBuf>,
    strays: Vec<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Checked {
    images: u64,
    blobs: u64,
    bytes: u64,
    layers: u64,
    records: u64,
    packages: u64,
    boxes: u64,
}

#[derive(Debug, Serialize)]
struct Row {
    kind: &'static str,
    message: String,
    repaired: bool,
}

/// What the three parts found.
struct Found {
    dirs: Dirs,
    store: Store,
    boxes: Boxes,
    of_images: images::Report,
    of_boxes: boxes::Report,
    of_cache: build_cache::Report,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let found = Found::look(context, args)?;
    let report = found.report(args.repair)?;
    match args.format {
        Format::Json => output::json(&report)?,
        Format::Table => output::data(&report.render())?,
    }
    Ok(if report.whole {
        exit::OK
    } else {
        exit::FAILURE
    })
}

impl Found {
    fn look(context: &Context, args: &Args) -> Result<Self, Failure> {
        let dirs = context.dirs().clone();
        let store = Store::at(&dirs.store(), &dirs.layers());
        // A repair works on folders, so they are made where they are missing.
        let boxes = match args.repair {
            true => context.boxes()?,
            false => Boxes::at(dirs.clone()),
        };
        let of_boxes = boxes.check(&store)?;
        let depth = match args.deep {
            true => images::Depth::Layers,
            false => images::Depth::Content,
        };
        Ok(Self {
            of_images: store.check(&of_boxes.images, depth)?,
            of_cache: build_cache::check(&dirs, &store)?,
            of_boxes,
            dirs,
            store,
            boxes,
        })
    }

    /// What was found, repaired where it can be.
    fn report(&self, repair: bool) -> Result<Report, Failure> {
        let mut faults = Vec::new();
        for fault in &self.of_images.faults {
            let repaired = match fault.removable_layer() {
                Some(layer) if repair => self.drop_layer(layer)?,
                Some(_) | None => false,
            };
            faults.push(Row::new(fault.kind(), fault, repaired));
        }
        for fault in &self.of_boxes.faults {
            let repaired = repair && self.boxes.repair(fault)?;
            faults.push(Row::new(fault.kind(), fault, repaired));
        }
        for fault in &self.of_cache.faults {
            let repaired = repair && build_cache::repair(fault)?;
            faults.push(Row::new(fault.kind(), fault, repaired));
        }
        let parts = [
            &self.of_images.leftovers,
            &self.of_boxes.leftovers,
            &self.of_cache.leftovers,
        ];
        let leftovers: Vec<PathBuf> = parts.into_iter().flatten().cloned().collect();
        if repair && !leftovers.is_empty() {
            self.store.sweep()?;
            self.boxes.sweep_drafts()?;
        }
        if repair {
            build_cache::sweep(&self.dirs, &self.of_cache)?;
        }
        Ok(Report {
            whole: faults.iter().all(|row| row.repaired),
            repair,
            checked: Checked {
                images: self.of_images.images,
                blobs: self.of_images.blobs,
                bytes: self.of_images.bytes,
                layers: self.of_images.layers,
                records: self.of_cache.records,
                packages: self.of_cache.packages,
                boxes: self.of_boxes.boxes,
            },
            faults,
            leftovers,
            stale: self.of_cache.stale.clone(),
            strays: self.of_boxes.strays.clone(),
        })
    }

    /// Removes a damaged unpacked layer, unless a box runs on it or somebody
    /// is at work in the store.
    fn drop_layer(&self, layer: &Digest) -> Result<bool, Failure> {
        let mut running = None;
        let dropped = self.store.drop_layer(layer, || {
            let found = self.runs_on(layer);
            let in_use = !matches!(found, Ok(false));
            running = Some(found);
            in_use
        })?;
        match running {
            Some(Err(failure)) => Err(failure),
            Some(Ok(_)) | None => Ok(dropped),
        }
    }

    /// Whether a running box stands on the layer.
    fn runs_on(&self, layer: &Digest) -> Result<bool, Failure> {
        for summary in self.boxes.list()? {
            if !summary.state.is_running() {
                continue;
            }
            let image = self.store.image(&summary.record.image)?;
            if image.config.rootfs.diff_ids.contains(layer) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Row {
    fn new(kind: &'static str, fault: &dyn std::fmt::Display, repaired: bool) -> Self {
        Self {
            kind,
            message: fault.to_string(),
            repaired,
        }
    }
}

impl Report {
    /// For people.
    fn render(&self) -> String {
        let mut text = String::new();
        for fault in &self.faults {
            let done = if fault.repaired { "repaired: " } else { "" };
            text.push_str(&format!("{done}{}: {}\n", fault.kind, fault.message));
        }
        let counts = [
            (self.leftovers.len(), "left by interrupted work"),
            (self.stale.len(), "cache records of what is gone"),
        ];
        for (count, what) in counts {
            if count > 0 {
                let end = if self.repair {
                    "removed"
                } else {
                    "no fault; --repair removes them"
                };
                text.push_str(&format!("{count} {what} ({end})\n"));
            }
        }
        for stray in &self.strays {
            let stray = stray.display();
            text.push_str(&format!(
                "{stray} is empty and of no box of this root (no fault; rmdir removes it)\n"
            ));
        }
        let Checked {
            images,
            blobs,
            bytes,
            layers,
            records,
            packages,
            boxes,
        } = &self.checked;
        text.push_str(&format!(
            "checked {images} images, {blobs} blobs ({}), {layers} layers, {records} cache \
             records, {packages} packages, {boxes} boxes\n",
            output::size(*bytes)
        ));
        let left = self.faults.iter().filter(|fault| !fault.repaired).count();
        text.push_str(&match left {
            0 => "whole\n".to_owned(),
            1 => "1 fault\n".to_owned(),
            count => format!("{count} faults\n"),
        });
        text
    }
}
