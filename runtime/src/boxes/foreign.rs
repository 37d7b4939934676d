//! Waiting for a program that the OCI runtime put into a box.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use holdall_protocol::Signal;
use nix::unistd::Pid;

use super::error::BoxError;
use super::record::Record;
use super::session::Program;
use crate::oci::client::{ClientError, Exec};
use crate::process::Handle;
use crate::sys;

/// A program that a runtime process waits for, which a thread waits for.
pub(crate) struct ByRuntime<'a> {
    news: UnixStream,
    waiting: Option<JoinHandle<Result<u8, ClientError>>>,
    process: Option<Handle>,
    record: &'a Record,
}

impl<'a> ByRuntime<'a> {
    pub(crate) fn wait_for(exec: Exec, record: &'a Record) -> Result<Self, BoxError> {
        let system = || BoxError::system("wait for the program");
        let (news, done) = UnixStream::pair().map_err(system())?;
        // Ended already is fine: there is nobody to signal then.
        let process = sys::pidfd_open(Pid::from_raw(exec.pid))
            .ok()
            .map(Handle::from);
        let wait = move || {
            let code = exec.wait();
            drop(done);
            code
        };
        let waiting = std::thread::Builder::new().spawn(wait).map_err(system())?;
        Ok(Self {
            news,
            waiting: Some(waiting),
            process,
            record,
        })
    }
}

impl Program for ByRuntime<'_> {
    fn news(&self) -> BorrowedFd<'_> {
        self.news.as_fd()
    }

    fn poll_exit(&mut self) -> Result<Option<u8>, BoxError> {
        if !self.waiting.as_ref().is_some_and(JoinHandle::is_finished) {
            let over = crate::process::wait_for(
                self.news.as_fd(),
                nix::poll::PollFlags::POLLIN,
                Some(std::time::Duration::ZERO),
            );
            if !over.map_err(BoxError::system("wait for the program"))? {
                return Ok(None);
            }
        }
        let lost = || ClientError::Answer(io::ErrorKind::UnexpectedEof.into());
        let code = match self.waiting.take() {
            Some(waiting) => waiting.join().unwrap_or_else(|_| Err(lost())),
            None => Err(lost()),
        };
        code.map(Some).map_err(|cause| BoxError::Runtime {
            verb: "run a program in",
            name: self.record.name.clone(),
            cause,
        })
    }

    fn signal(&self, signal: Signal) -> Result<(), BoxError> {
        let Some(process) = &self.process else {
            return Ok(());
        };
        process
            .kill(i32::from(signal.number()))
            .map_err(BoxError::system("signal the program"))
    }
}
