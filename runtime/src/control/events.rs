//! Following how the services of a box change their states.

use std::ops::ControlFlow;

use holdall_protocol::ServiceName;
use holdall_protocol::control::{Request, Response};
use holdall_protocol::event::EventRecord;
use holdall_protocol::frame;

use super::{ControlClient, ControlError, unexpected};

/// Which events.
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    /// Of these services; of all where empty.
    pub services: Vec<ServiceName>,
    /// First so many of the newest that init still knows.
    pub last: Option<u32>,
    /// Then every new one.
    pub follow: bool,
}

/// A piece of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// A service changed its state.
    Event(EventRecord),
    /// So many were not taken in time, and are gone.
    Missed(u64),
}

impl ControlClient {
    /// Gives each piece to `take` until it breaks off, init hangs up, or,
    /// without `follow`, all are told.
    ///
    /// # Errors
    /// Where init refuses, or the connection breaks.
    pub fn events(
        &mut self,
        query: EventQuery,
        take: &mut dyn FnMut(Happened) -> ControlFlow<()>,
    ) -> Result<(), ControlError> {
        let EventQuery {
            services,
            last,
            follow,
        } = query;
        let request = Request::Events {
            services,
            last,
            follow,
        };
        self.send(&frame::encode(&request)?, &[])?;
        self.stream
            .set_read_timeout(None)
            .map_err(ControlError::Talk)?;
        loop {
            let piece = match self.receive() {
                Ok(Response::Event(event)) => Happened::Event(event),
                Ok(Response::Missed { events }) => Happened::Missed(events),
                Ok(Response::Done) => return Ok(()),
                Ok(other) => return Err(unexpected(other)),
                // The box ended, and with it the stream.
                Err(ControlError::Closed) if follow => return Ok(()),
                Err(error) => return Err(error),
            };
            if take(piece).is_break() {
                return Ok(());
            }
        }
    }
}
