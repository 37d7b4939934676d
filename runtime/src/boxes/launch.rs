//! The start of a box, in its monitor.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::time::Duration;

use nix::poll::PollFlags;
use nix::sys::signal::Signal;

use super::bury::clear;
use super::error::BoxError;
use super::files::Durable;
use super::name::{BoxId, BoxName};
use super::orders::{Launch, Orders};
use super::state::{Life, Run};
use super::store::BoxStore;
use crate::clock::WallTime;
use crate::oci::client::{Client, ClientError, CreateOpts};
use crate::oci::seal::Sealed;
use crate::oci::state::Status;
use crate::process::{Handle, Identity, wait_for};

/// A box that was just started.
pub(crate) struct Launched {
    pub(crate) run: Run,
    pub(crate) process: Handle,
    /// The runtime process that did it, about to end.
    pub(crate) runtime: Child,
    /// See [`Launch::rope`].
    pub(crate) rope: OwnedFd,
}

/// Starts the box; on an error nothing of it is left but its run folder.
pub(crate) fn launch(
    store: &BoxStore,
    orders: &Orders,
    program: Option<&Sealed>,
    launch: Launch,
    channel: &UnixStream,
) -> Result<Launched, BoxError> {
    let before = store.life(&orders.id)?;
    let launched = attempt(store, orders, program, &launch, channel);
    let launched = launched.map(|(run, process, runtime)| Launched {
        run,
        process,
        runtime,
        rope: launch.rope,
    });
    if launched.is_err() {
        // The first error is the one to tell.
        drop(clear(store, &orders.id));
        drop(match before {
            Some(life) => store.set_life(&orders.id, &life, Durable::of_box(orders.remove)),
            None => store.clear_life(&orders.id),
        });
    }
    launched
}

fn attempt(
    store: &BoxStore,
    orders: &Orders,
    program: Option<&Sealed>,
    launch: &Launch,
    channel: &UnixStream,
) -> Result<(Run, Handle, Child), BoxError> {
    let id = orders.id.as_str();
    let client = Client {
        state_root: store.dirs().runtime_state(),
    };
    let [_, _, log] = &launch.box_fifos;
    let handed = [launch.control.as_fd(), log.as_fd()];
    let handed = if orders.has_init { &handed[..] } else { &[] };
    let null = File::open("/dev/null").map_err(BoxError::file("open", "/dev/null"))?;
    let [stdout, stderr, _] = &launch.box_fifos;
    let opts = CreateOpts {
        config: Some(launch.config.as_fd()),
        pid_file: None,
        console_socket: None,
        preserve_fds: handed,
        rootfs: Some(launch.rootfs.as_fd()),
        stdio: [null.as_fd(), stdout.as_fd(), stderr.as_fd()],
        // A runtime that outlived its monitor would make a container that
        // nobody knows of.
        parent_death: Some(Signal::SIGKILL),
    };
    let run = store.run_dir(&orders.id);
    let halted = client
        .create_halted(program, id, run.path(), &opts)
        .map_err(|cause| runtime(store, orders, "create", cause))?;
    let (run, process) = match written_down(store, orders, halted.pid, channel) {
        Ok(known) => known,
        Err(error) => {
            // Whatever it can't take back now, `launch` clears away.
            drop(halted.give_up());
            return Err(error);
        }
    };
    let runtime = halted
        .start()
        .map_err(|cause| runtime(store, orders, "start", cause))?;
    Ok((run, process, runtime))
}

/// What must be before the box's process runs: that it is known, and that
/// somebody still wants it.
fn written_down(
    store: &BoxStore,
    orders: &Orders,
    pid: i32,
    channel: &UnixStream,
) -> Result<(Run, Handle), BoxError> {
    let gone = || BoxError::system("find the box's process")(std::io::ErrorKind::NotFound.into());
    let pid = u32::try_from(pid).map_err(|_| gone())?;
    let process = Identity::of(pid).map_err(BoxError::system("identify the box's process"))?;
    let handle = process
        .open()
        .map_err(BoxError::system("open the box's process"))?
        .ok_or_else(gone)?;
    let run = Run {
        process,
        since: WallTime::now(),
        ports: orders.ports.clone(),
    };
    let durable = Durable::of_box(orders.remove);
    store.set_life(&orders.id, &Life::Running(run.clone()), durable)?;
    // Whoever asked for the box was interrupted: nobody wants it any more. (A
    // hang-up is always reported.)
    let hung_up = wait_for(channel.as_fd(), PollFlags::empty(), Some(Duration::ZERO));
    if hung_up.map_err(BoxError::system("look at the command"))? {
        return Err(BoxError::system("start the box")(
            std::io::ErrorKind::Interrupted.into(),
        ));
    }
    Ok((run, handle))
}

/// Where a monitor was killed between the two halves of a start, its successor
/// does the second.
pub(crate) fn start_if_waiting(store: &BoxStore, id: &BoxId) -> Result<(), BoxError> {
    let client = Client {
        state_root: store.dirs().runtime_state(),
    };
    // A box that ended meanwhile has no state, and needs no start.
    match client.state(id.as_str()) {
        Ok(state) if state.status == Status::Created => {
            client
                .start(id.as_str())
                .map_err(|cause| BoxError::Runtime {
                    verb: "start",
                    name: name(store, id),
                    cause,
                })
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

fn runtime(store: &BoxStore, orders: &Orders, verb: &'static str, cause: ClientError) -> BoxError {
    BoxError::Runtime {
        verb,
        name: name(store, &orders.id),
        cause,
    }
}

/// The box's name, for an error; its id where the record can't be read.
fn name(store: &BoxStore, id: &BoxId) -> BoxName {
    let record = store.record(id).ok().flatten();
    record.map_or_else(|| BoxName::from_image(id.as_str()), |record| record.name)
}
