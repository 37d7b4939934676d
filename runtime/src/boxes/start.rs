//! Starting a box, and giving one that lost its monitor and keeper new ones.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use holdall_image::Store;
use holdall_protocol::control::SOCKET_NAME;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};
use nix::sys::stat::Mode;
use nix::unistd::{mkfifo, pipe2};

use super::bundle;
use super::bury::clear;
use super::channel;
use super::error::BoxError;
use super::folder::RunDir;
use super::layers;
use super::lock::Lock;
use super::logfile::note;
use super::monitor::start_monitor;
use super::mountpoints;
use super::mounts::MountSource;
use super::orders::{Answer, Kept, Launch, Orders, Task};
use super::record::{Network, Record};
use super::started::{Attended, Started};
use super::state::Run;
use super::store::BoxStore;
use crate::causes::chain;
use crate::oci::overlay::{self, Upper};
use crate::ports::listen::{Bound, ListenError, bind_all, rebind};

/// Starts a box that doesn't run and of whose last run nothing is left; the
/// caller holds its lock, and gives the guard away.
pub(crate) fn start(
    store: &BoxStore,
    images: &Store,
    record: &Record,
    guard: Lock,
) -> Result<Started, BoxError> {
    let id = &record.id;
    let dir = store.dir(id);
    let layers = layers::of_record(images, record)?;
    let account = bundle::account(store, record, &layers)?;
    let (upper, work) = (dir.upper(), dir.work());
    let changes = Upper {
        dir: &upper,
        work: &work,
        lasting: !record.remove,
    };
    let mut stack = vec![mountpoints::layer(store)?];
    stack.extend(layers);
    let rootfs = overlay::mount(&stack, Some(changes)).map_err(|cause| BoxError::Root {
        name: record.name.clone(),
        cause,
    })?;
    let bound = publish(store, record)?;
    let run = store.make_run_dir(id)?;
    let (bell, rope) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .map_err(|errno| BoxError::system("make the box's bell")(errno.into()))?;
    let launched = (|| {
        let config = bundle::write(store, record, &account)?;
        let fifos = make_fifos(&run)?;
        let launch = Launch {
            rootfs,
            box_fifos: open_fifos(&run, OFlags::Box)?,
            control: control(&run)?,
            config,
            rope,
        };
        let (ports, sockets) = split(bound);
        let mut orders = orders(store, record, Task::Launch);
        orders.ports = ports;
        let kept = Kept {
            fifos,
            ledger: ledger(&run)?,
            sockets,
            guard,
        };
        let monitor = start_monitor(&orders, &kept, &launch.borrow())?;
        // The monitor has its own copies; the guard is its alone.
        drop((kept, launch));
        Ok(monitor)
    })();
    let monitor = match launched {
        Ok(monitor) => monitor,
        Err(error) => {
            // The first error is the one to tell.
            drop(store.remove_run_dir(id));
            return Err(error);
        }
    };
    let answer = channel::receive::<Answer>(&monitor);
    match answer.map_err(BoxError::system("read the monitor's answer"))? {
        Some((Answer::Started(run), _)) => {
            let process = run
                .process
                .open()
                .map_err(BoxError::system("open the box's process"))?;
            Ok(Started {
                monitor: Some(Attended {
                    channel: monitor,
                    bell,
                }),
                process,
            })
        }
        Some((Answer::Failed { message, code }, _)) => Err(BoxError::Start {
            name: record.name.clone(),
            message,
            code,
        }),
        Some((Answer::Exited(_), _)) | None => {
            clear(store, id)?;
            Err(BoxError::MonitorLost(record.name.clone()))
        }
    }
}

/// Gives a box that runs a new monitor, and that a keeper; the caller holds
/// its lock.
pub(crate) fn adopt(store: &BoxStore, record: &Record, run: &Run) -> Result<(), BoxError> {
    let id = &record.id;
    let guard = store.dir(id).guard();
    let Some(guard) = Lock::attempt(&guard).map_err(BoxError::file("lock", &guard))? else {
        return Ok(());
    };
    let opened = run
        .process
        .open()
        .map_err(BoxError::system("open the box's process"))?;
    // Gone since it was looked at: the next look sees that.
    let Some(process) = opened else { return Ok(()) };
    let folder = store.run_dir(id);
    let fifos = open_fifos(&folder, OFlags::Ours)?;
    let mut bound = Vec::new();
    for port in &run.ports {
        match rebind(port) {
            Ok(again) => bound.push(again),
            // Somebody took it meanwhile. The box is worth more than the port.
            Err(error) => note(store, id, &chain(&error)),
        }
    }
    let (ports, sockets) = split(bound);
    let mut orders = orders(store, record, Task::Adopt(run.clone()));
    orders.ports = ports;
    let kept = Kept {
        fifos,
        ledger: ledger(&folder)?,
        sockets,
        guard,
    };
    let monitor = start_monitor(&orders, &kept, &[process.as_fd()])?;
    drop(kept);
    match channel::receive::<Answer>(&monitor)
        .map_err(BoxError::system("read the monitor's answer"))?
    {
        Some((Answer::Started(_), _)) => Ok(()),
        Some((Answer::Failed { message, code }, _)) => Err(BoxError::Start {
            name: record.name.clone(),
            message,
            code,
        }),
        Some((Answer::Exited(_), _)) | None => Err(BoxError::MonitorLost(record.name.clone())),
    }
}

fn orders(store: &BoxStore, record: &Record, task: Task) -> Orders {
    let mut orders = Orders::new(store.dirs(), record.id.clone(), task);
    orders.remove = record.remove;
    orders.no_binds = !record
        .mounts
        .iter()
        .any(|mount| matches!(mount.source, MountSource::Bind { .. }));
    orders.has_init = record.has_init;
    orders.host_network = record.network == Network::Host;
    orders
}

fn split(bound: Vec<Bound>) -> (Vec<crate::ports::PublishedPort>, Vec<OwnedFd>) {
    bound
        .into_iter()
        .map(|Bound { port, socket }| (port, socket))
        .unzip()
}

/// Binds the ports of a box, and says whose they are where they are taken.
fn publish(store: &BoxStore, record: &Record) -> Result<Vec<Bound>, BoxError> {
    if record.network == Network::Host {
        return Ok(Vec::new());
    }
    bind_all(&record.publish).map_err(|error| match error {
        ListenError::InUse(address) => {
            let by = store.records().unwrap_or_default().into_iter().find(|other| {
                other.id != record.id
                    && matches!(store.life(&other.id), Ok(Some(super::state::Life::Running(run)))
                        if run.process.is_alive()
                            && run.ports.iter().any(|port| overlaps(port.host, address)))
            });
            let by = by.map(|other| other.name);
            BoxError::PortInUse {
                name: record.name.clone(),
                address,
                by,
            }
        }
        cause => BoxError::Publish {
            name: record.name.clone(),
            cause,
        },
    })
}

/// Whether two sockets exclude each other.
fn overlaps(a: std::net::SocketAddr, b: std::net::SocketAddr) -> bool {
    a.port() == b.port()
        && a.is_ipv4() == b.is_ipv4()
        && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

/// Makes the FIFOs and opens our ends.
fn make_fifos(run: &RunDir) -> Result<[OwnedFd; 3], BoxError> {
    for (path, mode) in [
        (run.stdout(), 0o666),
        (run.stderr(), 0o666),
        (run.log(), 0o600),
    ] {
        let failed = |errno: Errno| BoxError::file("make", &path)(errno.into());
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).map_err(failed)?;
        // A program of any user may open /dev/stdout again, as under docker.
        // Nobody else reaches the folder.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))
            .map_err(BoxError::file("set the mode of", &path))?;
    }
    open_fifos(run, OFlags::Ours)
}

/// For whom FIFOs are opened: always for reading and writing, so that neither
/// side ever sees the other's end.
#[derive(Clone, Copy)]
enum OFlags {
    /// Without blocking.
    Ours,
    /// As a program expects its output.
    Box,
}

fn open_fifos(run: &RunDir, flags: OFlags) -> Result<[OwnedFd; 3], BoxError> {
    let open = |path| open_fifo(path, flags);
    Ok([open(run.stdout())?, open(run.stderr())?, open(run.log())?])
}

fn open_fifo(path: PathBuf, flags: OFlags) -> Result<OwnedFd, BoxError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    if let OFlags::Ours = flags {
        options.custom_flags(libc::O_NONBLOCK);
    }
    Ok(options
        .open(&path)
        .map_err(BoxError::file("open", &path))?
        .into())
}

/// Makes the FIFO for what is in the log, where it isn't there, and opens it.
fn ledger(run: &RunDir) -> Result<OwnedFd, BoxError> {
    let path = run.ledger();
    match mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR) {
        Ok(()) | Err(Errno::EEXIST) => open_fifo(path, OFlags::Ours),
        Err(errno) => Err(BoxError::file("make", &path)(errno.into())),
    }
}

/// The socket that init will listen on: in a folder that only root enters.
fn control(run: &RunDir) -> Result<OwnedFd, BoxError> {
    let path = run.path().join(SOCKET_NAME);
    let failed = |errno: Errno| BoxError::file("make", &path)(errno.into());
    let folder = File::open(run.path()).map_err(BoxError::file("open", run.path()))?;
    // A socket's address has room for 108 bytes.
    let short = format!("/proc/self/fd/{}/{SOCKET_NAME}", folder.as_raw_fd());
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(failed)?;
    let address = UnixAddr::new(Path::new(&short)).map_err(failed)?;
    bind(socket.as_raw_fd(), &address).map_err(failed)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
        .map_err(BoxError::file("set the mode of", &path))?;
    listen(&socket, Backlog::new(128).unwrap_or(Backlog::MAXCONN)).map_err(failed)?;
    Ok(socket)
}
