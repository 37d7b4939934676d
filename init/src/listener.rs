//! `[init] listener`, from init's side: its process is a service among the
//! others, and is started in a way of its own. What it does is in [`crate::web`].

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use holdall_protocol::Manifest;
use holdall_protocol::account::Account;
use holdall_protocol::manifest::{LISTENER, Service};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use crate::environment::Environment;
use crate::launch::Launch;
use crate::spawn::SpawnError;
use crate::web::STATUS_FD_NAME;
use crate::{account, sys};

/// Nobody, as every system numbers it.
const NOBODY: u32 = 65_534;

/// This program, as the kernel has it open.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// The services of a manifest, and init's own beside them.
pub(crate) fn with_listener(mut manifest: Manifest) -> Manifest {
    let own = manifest.init.listener_service();
    manifest.services.extend(own.map(Arc::new));
    manifest
}

/// Whether a service is init's own.
pub(crate) fn is(service: &Service) -> bool {
    service.name.as_str() == LISTENER
}

/// A connection of a child to init: init's end, which never waits, and its own.
pub(crate) fn connection() -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, flags)?;
    fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((ours, theirs))
}

/// Its program: this one, under another name, with an empty environment, as
/// nobody. It gets the sockets, and its end of a connection to init.
pub(crate) fn launch(
    service: &Service,
    sockets: &[(String, RawFd)],
    init: &OwnedFd,
) -> Result<Launch, SpawnError> {
    let mut handed: Vec<(&str, RawFd)> = Vec::with_capacity(sockets.len() + 1);
    handed.extend(sockets.iter().map(|(name, fd)| (name.as_str(), *fd)));
    handed.push((STATUS_FD_NAME, init.as_raw_fd()));
    let names: Vec<&str> = handed.iter().map(|(name, _)| *name).collect();
    let mut env = Environment::default();
    env.set("LISTEN_FDS", names.len().to_string());
    env.set("LISTEN_FDNAMES", names.join(":"));
    let words = service.command.iter().map(|word| word.as_bytes().to_vec());
    let mut launch = Launch::program(words.collect(), &env, true)?;
    // Without a /proc, the path that init itself was executed by.
    let paths = [CString::new(OWN_PROGRAM).ok(), sys::executed_path()];
    launch.candidates = paths.into_iter().flatten().collect();
    launch.handed = handed.iter().map(|(_, fd)| *fd).collect();
    launch.dir = CString::new("/").ok();
    launch.umask = Some(0o077);
    launch.set_account(account_of(service)?);
    Ok(launch)
}

/// The user of its choice; nobody where none, and where init may choose.
fn account_of(service: &Service) -> Result<Option<Account>, SpawnError> {
    let chosen = account::of(service.user.as_deref(), None).map_err(SpawnError::Account)?;
    let nobody = Account {
        uid: NOBODY,
        gid: NOBODY,
        groups: Vec::new(),
        home: "/".to_owned(),
        name: None,
    };
    let is_root = nix::unistd::geteuid().is_root();
    Ok(chosen.or(Some(nobody).filter(|_| is_root)))
}
