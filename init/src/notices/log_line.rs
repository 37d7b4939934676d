//! Services that are ready once a line of theirs fits a pattern.

use std::collections::BTreeMap;

use holdall_protocol::log::Stream;
use holdall_supervise::{Pattern, ServiceId};

/// Those that are waited for, and those whose line has come.
#[derive(Default)]
pub(crate) struct Watches {
    waiting: BTreeMap<ServiceId, Pattern>,
    come: Vec<ServiceId>,
}

impl Watches {
    /// Waits for a line of a service, or no more where there is no pattern.
    pub(crate) fn expect(&mut self, service: ServiceId, pattern: Option<Pattern>) {
        match pattern {
            Some(pattern) => drop(self.waiting.insert(service, pattern)),
            None => drop(self.waiting.remove(&service)),
        }
        self.come.retain(|come| *come != service);
    }

    /// Lines pass by, or a piece of one that is too long.
    pub(crate) fn lines(&mut self, service: Option<ServiceId>, stream: Stream, text: &[u8]) {
        let Some(service) = service.filter(|_| stream != Stream::Init) else {
            return;
        };
        let Some(pattern) = self.waiting.get(&service) else {
            return;
        };
        let mut lines = text.split(|byte| *byte == b'\n');
        if lines.any(|line| pattern.fits(line)) {
            self.waiting.remove(&service);
            self.come.push(service);
        }
    }

    /// Those whose line has come since the last time.
    pub(crate) fn take(&mut self) -> Vec<ServiceId> {
        std::mem::take(&mut self.come)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_once_and_only_one_of_the_service_itself() {
        let (a, b) = (ServiceId(0), ServiceId(1));
        let mut watches = Watches::default();
        watches.expect(a, Some(Pattern::new("ready")));
        watches.lines(Some(a), Stream::Init, b"not ready yet\n");
        watches.lines(Some(b), Stream::Stdout, b"ready\n");
        watches.lines(None, Stream::Stdout, b"ready");
        assert_eq!(watches.take(), []);
        watches.lines(Some(a), Stream::Stdout, b"rea\ndy\n");
        assert_eq!(watches.take(), [], "a line at a time");
        watches.lines(Some(a), Stream::Stderr, b"I was\nI am ready.\n");
        watches.lines(Some(a), Stream::Stderr, b"I was\nI am ready.\n");
        assert_eq!(watches.take(), [a]);
        assert_eq!(watches.take(), []);
    }
}
