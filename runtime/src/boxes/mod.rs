//! Boxes: running or stopped containers made from an image, without a daemon.
//!
//! Each running box has a monitor (ports, log, exit code) and a keeper, which
//! replace each other.
//! Whoever calls [`Boxes`] first looks after the box: one that lost both gets
//! new ones, one that vanished with them is buried. So a crash of anything at
//! any time is repaired by the next command.

use std::collections::BTreeSet;
use std::process::ExitCode;

use holdall_image::{Digest, Store};

mod bundle;
mod bury;
mod channel;
mod console;
mod create;
mod end;
mod error;
mod exec;
mod files;
mod folder;
mod follow;
mod foreign;
pub mod fsck;
mod keeper;
mod launch;
mod layers;
pub(crate) mod lines;
mod lock;
mod logfile;
mod logs;
mod monitor;
mod mountpoints;
pub mod mounts;
mod name;
mod orders;
mod outlet;
mod profile;
mod pump;
mod record;
mod session;
mod start;
mod started;
mod state;
mod store;
mod sweep;
mod terminal;
mod transfer;
mod unsynced;
mod volumes;

pub use create::CreateOptions;
pub use error::BoxError;
pub use exec::ExecOptions;
pub use logs::{LogQuery, LogSink};
pub use mounts::{Volume, VolumeError};
pub use name::{BoxId, BoxIdError, BoxName, BoxNameError};
pub use record::{GRACE_LABEL, Network, NetworkError, Record, Summary};
pub use started::Started;
pub use state::{BoxState, Care, LOST, Life, Observed, Run, care, state};
pub use volumes::CopyError;

pub use crate::clock::WallTime;
pub use crate::process::Identity;

use crate::control::ControlClient;
use crate::dirs::Dirs;
use files::Durable;
use lock::Lock;
use store::BoxStore;

/// The monitor's name as a program.
pub(crate) const MONITOR: &str = "holdall-monitor";

/// The keeper's name as a program.
pub(crate) const KEEPER: &str = "holdall-keeper";

/// The program of that name.
pub(crate) fn monitor_main() -> ExitCode {
    monitor::main()
}

/// The program of that name.
pub(crate) fn keeper_main() -> ExitCode {
    keeper::main()
}

/// The boxes of one root.
#[derive(Debug)]
pub struct Boxes {
    store: BoxStore,
}

impl Boxes {
    /// Opens the boxes of a root; makes its folders where they are missing.
    ///
    /// # Errors
    /// [`BoxError::NotRoot`], or where a folder can't be made.
    pub fn open(dirs: Dirs) -> Result<Self, BoxError> {
        if !nix::unistd::geteuid().is_root() {
            return Err(BoxError::NotRoot);
        }
        Ok(Self {
            store: BoxStore::open(dirs)?,
        })
    }

    /// Makes a box from an image. It doesn't run yet.
    ///
    /// # Errors
    /// What the options ask for isn't there, or the name is in use; nothing is
    /// left then.
    pub fn create(&self, options: CreateOptions) -> Result<Record, BoxError> {
        create::create(&self.store, &self.images(&options.image_name)?, options)
    }

    /// Starts a box and gives back once its first process runs and its ports
    /// are bound; one that runs already is left as it is. Keep what comes back
    /// as long as the box is followed.
    ///
    /// # Errors
    /// Every reason why it doesn't run; nothing of the attempt is left then.
    pub fn start(&self, id: &BoxId) -> Result<Started, BoxError> {
        loop {
            let lock = self.store.lock(id)?;
            let record = self.record(id)?;
            self.care(&record, &lock)?;
            if self.look(&record)?.is_running() {
                return Ok(Started::already(self.process(&record)?));
            }
            let (lock, guard) = self.store.guard(&record, lock)?;
            // Somebody may have started it while the lock was let go of.
            if self.is_alive(id)? {
                continue;
            }
            // Whoever minded the last run may have been killed in clearing
            // away, and what was to be removed at its end isn't started again.
            self.sweep(&record, self.store.life(id)?.is_some(), &lock)?;
            let images = self.images(&record.image_name)?;
            return start::start(&self.store, &images, &record, guard);
        }
    }

    /// The box of this name, or whose id begins so.
    ///
    /// # Errors
    /// [`BoxError::NotFound`] with a name that is close, or
    /// [`BoxError::Ambiguous`].
    pub fn find(&self, name: &str) -> Result<Record, BoxError> {
        let mut records = self.store.records()?;
        if let Some(at) = records
            .iter()
            .position(|record| record.name.as_str() == name)
        {
            return Ok(records.swap_remove(at));
        }
        let begins = |record: &Record| !name.is_empty() && record.id.as_str().starts_with(name);
        match records.iter().filter(|record| begins(record)).count() {
            0 => Err(BoxError::NotFound {
                name: name.to_owned(),
                similar: end::similar(name, records.iter().map(|record| &record.name)),
            }),
            1 => {
                records.retain(begins);
                records.pop().ok_or_else(|| BoxError::NotFound {
                    name: name.to_owned(),
                    similar: None,
                })
            }
            count => Err(BoxError::Ambiguous {
                prefix: name.to_owned(),
                count,
            }),
        }
    }

    /// Every box and what it is doing, by age.
    ///
    /// # Errors
    /// Where a record can't be read.
    pub fn list(&self) -> Result<Vec<Summary>, BoxError> {
        let mut summaries = Vec::new();
        for record in self.store.records()? {
            match self.state(&record) {
                Ok(state) => summaries.push(Summary { record, state }),
                // Removed since it was listed.
                Err(BoxError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(summaries)
    }

    /// A box and what it is doing.
    ///
    /// # Errors
    /// Where it is gone.
    pub fn summary(&self, id: &BoxId) -> Result<Summary, BoxError> {
        let record = self.record(id)?;
        let state = self.state(&record)?;
        Ok(Summary { record, state })
    }

    /// A connection to the init of a running box.
    ///
    /// # Errors
    /// [`BoxError::NoInit`] for a foreign image, [`BoxError::NotRunning`].
    pub fn control(&self, id: &BoxId) -> Result<ControlClient, BoxError> {
        let record = self.record(id)?;
        if !self.state(&record)?.is_running() {
            return Err(BoxError::NotRunning(record.name));
        }
        if !record.has_init {
            return Err(BoxError::NoInit(record.name));
        }
        ControlClient::connect(self.store.run_dir(id).path()).map_err(|cause| BoxError::Control {
            name: record.name,
            cause,
        })
    }

    /// The images that boxes were made from, by manifest.
    ///
    /// # Errors
    /// Where a record can't be read.
    pub fn images_in_use(&self) -> Result<BTreeSet<Digest>, BoxError> {
        Ok(self
            .store
            .records()?
            .into_iter()
            .map(|record| record.image)
            .collect())
    }

    /// Takes a box's own words about what the host couldn't do for its newest
    /// run: a log on a full disk, for example. Mostly none.
    ///
    /// # Errors
    /// Where they can't be read.
    pub fn notes(&self, id: &BoxId) -> Result<Vec<String>, BoxError> {
        let path = self.store.run_dir(id).path().join("notes");
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(BoxError::file("read", &path)(error)),
        }
    }

    fn images(&self, image: &str) -> Result<Store, BoxError> {
        let dirs = self.store.dirs();
        Store::open(&dirs.store(), &dirs.layers()).map_err(|cause| BoxError::Image {
            image: image.to_owned(),
            cause: Box::new(cause),
        })
    }

    fn record(&self, id: &BoxId) -> Result<Record, BoxError> {
        self.store.record(id)?.ok_or_else(|| BoxError::NotFound {
            name: id.to_string(),
            similar: None,
        })
    }

    /// What a box is doing, after it was looked after.
    pub(crate) fn state(&self, record: &Record) -> Result<BoxState, BoxError> {
        let (life, observed) = self.observe(record)?;
        let stale = !matches!(life, Some(Life::Running(_)))
            && !observed.minded
            && (record.remove && life.is_some() || self.store.has_remains(&record.id));
        if !stale && care(life.as_ref(), observed) == Care::None {
            return Ok(state(life.as_ref(), observed));
        }
        // Another command that is at it does this too.
        if let Some(lock) = self.store.try_lock(&record.id)? {
            self.care(record, &lock)?;
        }
        self.look(record)
    }

    fn look(&self, record: &Record) -> Result<BoxState, BoxError> {
        let (life, observed) = self.observe(record)?;
        Ok(state(life.as_ref(), observed))
    }

    fn observe(&self, record: &Record) -> Result<(Option<Life>, Observed), BoxError> {
        let guard = self.store.dir(&record.id).guard();
        // In this order: a monitor writes the end down before it lets go.
        let minded = Lock::is_held(&guard).map_err(BoxError::file("look at", &guard))?;
        let life = self.store.life(&record.id)?;
        let alive = match &life {
            Some(Life::Running(run)) => run.process.is_alive(),
            Some(Life::Exited { .. }) | None => false,
        };
        Ok((life, Observed { alive, minded }))
    }

    /// Looks after a box whose lock is held.
    fn care(&self, record: &Record, lock: &Lock) -> Result<(), BoxError> {
        let (life, observed) = self.observe(record)?;
        match (care(life.as_ref(), observed), life) {
            (Care::Adopt, Some(Life::Running(run))) => start::adopt(&self.store, record, &run),
            (Care::Bury, Some(Life::Running(run))) => {
                // A zombie that nobody reaped yet still has its code.
                let process = run
                    .process
                    .open()
                    .map_err(BoxError::system("open the box's process"))?;
                let code = process.and_then(|process| process.exit_code().ok().flatten());
                let code = code.unwrap_or(LOST);
                let durable = Durable::of_box(record.remove);
                bury::bury(
                    &self.store,
                    &record.id,
                    &run,
                    code,
                    WallTime::now(),
                    durable,
                )?;
                self.sweep(record, true, lock)
            }
            (Care::None | Care::Adopt | Care::Bury, life) if !observed.minded => {
                self.sweep(record, life.is_some(), lock)
            }
            (Care::None | Care::Adopt | Care::Bury, _) => Ok(()),
        }
    }

    /// Removes what a start or an end that was killed half-way left.
    fn sweep(&self, record: &Record, ran: bool, lock: &Lock) -> Result<(), BoxError> {
        if self.store.has_remains(&record.id) {
            bury::clear(&self.store, &record.id)?;
        }
        if record.remove && ran {
            self.store.remove(&record.id, lock)?;
            return Err(BoxError::NotFound {
                name: record.name.to_string(),
                similar: None,
            });
        }
        Ok(())
    }
}
