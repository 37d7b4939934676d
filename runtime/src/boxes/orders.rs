//! What is said between a command, a monitor and a keeper.
//!
//! ```text
//! command ──Orders+fds──▶ monitor ──Orders+fds──▶ keeper
//! command ◀──Answer────── monitor ──Done────────▶ keeper
//! keeper  ──Orders+fds──▶ a new monitor, when the old one is lost
//! monitor ──Orders+fds──▶ a new keeper, when the old one is lost
//! ```
//!
//! All descriptors that must outlive a monitor are among those of the orders.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::channel;
use super::lock::Lock;
use super::name::BoxId;
use super::state::Run;
use crate::dirs::Dirs;
use crate::ports::PublishedPort;
use crate::ports::listen::Bound;
use crate::process::Handle;
use crate::sys;

/// What a monitor or a keeper must know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Orders {
    data: PathBuf,
    run: PathBuf,
    pub(crate) id: BoxId,
    /// Remove the box when it ends.
    pub(crate) remove: bool,
    /// Nothing of the host's own is mounted in it.
    pub(crate) no_binds: bool,
    /// Its logs come as records on a FIFO of their own.
    pub(crate) has_init: bool,
    /// The box's network is the host's, so there is none to join.
    pub(crate) host_network: bool,
    pub(crate) ports: Vec<PublishedPort>,
    /// Whoever gives these orders is the box's keeper, so the other end of the
    /// channel is to be watched and told when all is done.
    pub(crate) from_keeper: bool,
    pub(crate) task: Task,
}

/// Where to begin.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Start the box; its ports are bound and its bundle is written.
    Launch,
    /// Mind the box that runs.
    Adopt(Run),
}

/// What a monitor tells who gave it its orders.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The box runs.
    Started(Run),
    /// It doesn't, and nothing is left of the attempt.
    Failed {
        /// Why, with all causes.
        message: String,
        /// Docker's exit code for it.
        code: u8,
    },
    /// It ran, and this was its exit code.
    Exited(u8),
}

/// What a monitor tells its keeper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Done;

impl Orders {
    pub(crate) fn new(dirs: &Dirs, id: BoxId, task: Task) -> Self {
        Self {
            data: dirs.data().to_owned(),
            run: dirs.run().to_owned(),
            id,
            remove: false,
            no_binds: false,
            has_init: false,
            host_network: false,
            ports: Vec::new(),
            from_keeper: false,
            task,
        }
    }

    pub(crate) fn dirs(&self) -> Dirs {
        Dirs::new(&self.data, &self.run)
    }
}

/// The descriptors that last as long as the box is minded.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The reading ends of its FIFOs: stdout, stderr, log.
    pub(crate) fifos: [OwnedFd; 3],
    /// What left them and is in the log; see [`super::transfer`].
    pub(crate) ledger: OwnedFd,
    /// Its listening sockets, in the order of [`Orders::ports`].
    pub(crate) sockets: Vec<OwnedFd>,
    /// Its guard lock. Last here and last on its way, so that it is the last to
    /// be closed, by a drop as by a kill (the kernel closes by number): when it
    /// falls, the ports are free.
    pub(crate) guard: Lock,
}

impl Kept {
    fn borrow(&self) -> Vec<BorrowedFd<'_>> {
        let [stdout, stderr, log] = &self.fifos;
        let mut fds = vec![stdout.as_fd(), stderr.as_fd(), log.as_fd()];
        fds.push(self.ledger.as_fd());
        fds.extend(self.sockets.iter().map(OwnedFd::as_fd));
        fds.push(self.guard.as_fd());
        fds
    }

    /// Copies of the sockets, each with what it is for.
    pub(crate) fn bound(&self, orders: &Orders) -> io::Result<Vec<Bound>> {
        orders
            .ports
            .iter()
            .zip(&self.sockets)
            .map(|(port, socket)| {
                Ok(Bound {
                    port: port.clone(),
                    socket: socket.try_clone()?,
                })
            })
            .collect()
    }
}

/// What only the first monitor of a run gets.
#[derive(Debug)]
pub(crate) struct Launch {
    /// The box's root, mounted nowhere.
    pub(crate) rootfs: OwnedFd,
    /// The box's ends of stdout, stderr and log.
    pub(crate) box_fifos: [OwnedFd; 3],
    /// The control socket that init listens on.
    pub(crate) control: OwnedFd,
    /// The runtime's `config.json`.
    pub(crate) config: OwnedFd,
    /// What is written here tells the command that there are new lines in the
    /// log. Lost with this monitor; the command then watches the log itself.
    pub(crate) rope: OwnedFd,
}

/// What comes beside [`Kept`].
#[derive(Debug)]
pub(crate) enum Extra {
    Launch(Launch),
    Adopt(Handle),
}

/// Sends orders.
pub(crate) fn give(
    channel: &UnixStream,
    orders: &Orders,
    kept: &Kept,
    extra: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut fds = kept.borrow();
    fds.extend_from_slice(extra);
    channel::send(channel, orders, &fds)
}

impl Launch {
    pub(crate) fn borrow(&self) -> Vec<BorrowedFd<'_>> {
        let [stdout, stderr, log] = &self.box_fifos;
        vec![
            self.rootfs.as_fd(),
            stdout.as_fd(),
            stderr.as_fd(),
            log.as_fd(),
            self.control.as_fd(),
            self.config.as_fd(),
            self.rope.as_fd(),
        ]
    }
}

/// Reads orders; `None` where whoever would give them is gone.
pub(crate) fn take(channel: &UnixStream) -> io::Result<Option<(Orders, Kept, Extra)>> {
    let Some((orders, fds)) = channel::receive::<Orders>(channel)? else {
        return Ok(None);
    };
    let missing = || io::Error::from(io::ErrorKind::InvalidData);
    let mut fds = fds.into_iter();
    let mut next = || fds.next().ok_or_else(missing);
    let fifos = [next()?, next()?, next()?];
    let ledger = next()?;
    let sockets = orders
        .ports
        .iter()
        .map(|_| next())
        .collect::<io::Result<_>>()?;
    let guard = Lock::passed(next()?);
    let extra = match orders.task {
        Task::Launch => Extra::Launch(Launch {
            rootfs: next()?,
            box_fifos: [next()?, next()?, next()?],
            control: next()?,
            config: next()?,
            rope: next()?,
        }),
        Task::Adopt(_) => Extra::Adopt(next()?.into()),
    };
    Ok(Some((
        orders,
        Kept {
            fifos,
            ledger,
            sockets,
            guard,
        },
        extra,
    )))
}

/// Executes this program again as a monitor or keeper, with one end of a
/// channel as its standard input; returns the other.
///
/// It is nobody's child and in a session of its own: neither the terminal's
/// signals nor the end of whoever started it reach it.
pub(crate) fn spawn(role: &str, id: &BoxId) -> io::Result<UnixStream> {
    let (here, there) = UnixStream::pair()?;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0(role)
        .arg(id.as_str())
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(there)))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    sys::detach(&mut command);
    // The child that is waited for only makes the real one.
    command.spawn()?.wait()?;
    Ok(here)
}
