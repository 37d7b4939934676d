//! Where the programs under measure are, and where scratch goes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use nix::mount::{MntFlags, umount2};

use crate::process::output;

/// Of a group's file system. It is no more than a number until it is used.
const DISK_BYTES: u64 = 32 << 30;

/// The same for every group.
pub(crate) struct World {
    /// This program: the load of the supervisors.
    pub(crate) bench: PathBuf,
    /// `holdall`.
    pub(crate) holdall: PathBuf,
    /// `holdall-runtime`.
    pub(crate) runtime: PathBuf,
    /// The init, built with `--profile init`.
    pub(crate) init: PathBuf,
    /// Removed at the end.
    scratch: tempfile::TempDir,
    /// Where results are kept between calls: TARGET/bench.
    pub(crate) results: PathBuf,
    /// The repository's `docs/`.
    pub(crate) docs: PathBuf,
    /// The repository's `bench/notes/`.
    pub(crate) notes: PathBuf,
}

impl World {
    /// Finds everything beside this program, as cargo puts it.
    pub(crate) fn find() -> Result<Self> {
        let bench = std::env::current_exe().context("cannot find this program")?;
        let release = bench.parent().context("this program is in no folder")?;
        let target = release.parent().context("this program is in no target")?;
        let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        let results = target.join("bench");
        fs::create_dir_all(&results).with_context(|| format!("cannot create {results:?}"))?;
        let world = Self {
            holdall: release.join("holdall"),
            runtime: release.join("holdall-runtime"),
            init: target.join("init/holdall-init"),
            scratch: tempfile::Builder::new()
                .prefix("holdall-bench.")
                .tempdir()
                .context("cannot make a scratch folder")?,
            docs: crate_dir.join("../docs"),
            notes: crate_dir.join("notes"),
            results,
            bench,
        };
        for program in [&world.holdall, &world.runtime, &world.init] {
            if !program.exists() {
                bail!("{program:?} is not built: run `make bench`");
            }
        }
        Ok(world)
    }

    /// Lays a new file system over the scratch, as long as this lives: ext4 looks
    /// past each inode that was freed within the last minutes, one by one
    /// (`recently_deleted`), so what one group has removed would cost the next.
    pub(crate) fn new_disk(&self) -> Result<Disk<'_>> {
        let file = tempfile::NamedTempFile::new().context("cannot make a disk")?;
        let sized = file.as_file().set_len(DISK_BYTES);
        sized.context("cannot make a disk")?;
        output(
            Command::new("mkfs.ext4")
                .args(["-q", "-F"])
                .arg(file.path()),
        )?;
        let mut mount = Command::new("mount");
        // Nothing of the file system's own is to go on meanwhile.
        mount.args(["-o", "loop,noinit_itable"]).arg(file.path());
        output(mount.arg(self.scratch.path()))?;
        Ok(Disk(self.scratch.path()))
    }

    /// A new folder of scratch.
    pub(crate) fn dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.scratch.path().join(name);
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {dir:?}"))?;
        Ok(dir)
    }
}

/// The file system of one group, and all that is on it.
pub(crate) struct Disk<'w>(&'w Path);

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        // It goes with the mounts of this program at the latest.
        umount2(self.0, MntFlags::MNT_DETACH).ok();
    }
}
