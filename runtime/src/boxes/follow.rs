//! Reading a box's log up to its end.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd as _;

use super::Boxes;
use super::end::CLEARING;
use super::error::BoxError;
use super::folder::BoxDir;
use super::logs::{self, LogQuery, LogSink, Reader, Watch};
use super::name::BoxId;
use super::record::Record;
use super::started::{News, Started};
use crate::process::Handle;

impl Boxes {
    /// A box's log.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn logs(
        &self,
        id: &BoxId,
        query: &LogQuery,
        sink: &mut LogSink<'_>,
    ) -> Result<(), BoxError> {
        let record = self.record(id)?;
        let process = self.process(&record)?;
        let dir = self.store.dir(id);
        let failed = || failed(&dir);
        // Before the first look, so that no change falls between.
        let watch = query
            .follow
            .then(|| Watch::new(dir.path()))
            .transpose()
            .map_err(failed())?;
        let mut reader = Reader::open(dir.path()).map_err(failed())?;
        let flow = logs::read(&mut reader, query, sink).map_err(failed())?;
        let Some(watch) = watch else { return Ok(()) };
        if flow.is_break() {
            return Ok(());
        }
        let query = LogQuery {
            tail: None,
            ..query.clone()
        };
        self.watch(&record, process.as_ref(), &watch, &mut reader, &mut |r| {
            logs::read(r, &query, sink)
        })
    }

    /// The log of a box that was just started, from its first line until its
    /// end. Its monitor tells what there is to read; only where that is lost is
    /// the folder watched, as the kernel takes some milliseconds to end a watch.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn follow(
        &self,
        record: &Record,
        started: &Started,
        sink: &mut LogSink<'_>,
    ) -> Result<(), BoxError> {
        let dir = self.store.dir(&record.id);
        let failed = || failed(&dir);
        let query = LogQuery::default();
        let mut reader = Reader::open(dir.path()).map_err(failed())?;
        let mut read = |reader: &mut Reader| logs::read(reader, &query, sink);
        loop {
            // Asked first: what was written before the news is read after.
            let news = started.news().map_err(failed())?;
            if let News::Lost = news {
                break;
            }
            let flow = read(&mut reader).map_err(failed())?;
            if flow.is_break() || matches!(news, News::Ended) {
                return Ok(());
            }
        }
        let watch = match Watch::new(dir.path()) {
            Ok(watch) => watch,
            // Another command has removed it since: there is no more to come.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return read(&mut reader).map(drop).map_err(failed());
            }
            Err(error) => return Err(failed()(error)),
        };
        self.watch(record, started.process(), &watch, &mut reader, &mut read)
    }

    /// Reads on until the box's end is written down.
    fn watch(
        &self,
        record: &Record,
        process: Option<&Handle>,
        watch: &Watch,
        reader: &mut Reader,
        read: &mut dyn FnMut(&mut Reader) -> io::Result<ControlFlow<()>>,
    ) -> Result<(), BoxError> {
        let dir = self.store.dir(&record.id);
        let failed = || failed(&dir);
        let mut gone = process.is_none();
        loop {
            // Asked first: what was written before the end is read after.
            let ended = self.ended(record, process)?.is_some();
            if read(reader).map_err(failed())?.is_break() || ended || process.is_none() {
                return Ok(());
            }
            if gone {
                self.state(record)?;
            }
            let (handle, limit) = match (process, gone) {
                (Some(process), false) => (Some(process.as_fd()), None),
                _ => (None, Some(CLEARING)),
            };
            gone |= watch.wait(handle, limit).map_err(failed())?;
        }
    }
}

fn failed(dir: &BoxDir) -> impl FnOnce(io::Error) -> BoxError {
    BoxError::file("read the log in", dir.path())
}
