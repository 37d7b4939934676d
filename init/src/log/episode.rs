//! A place that can't be written to: told once when that begins and once when
//! it is over, however many lines are lost in between.

use super::lines::count;

/// What there is to tell.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// It fails, for this reason.
    Fails(String),
    /// It works again; so many lines are lost.
    Works(u64),
}

/// How writing goes.
#[derive(Debug, Default)]
pub(crate) struct Episode {
    fails: bool,
    /// In this episode.
    lost: u64,
    untold: Vec<News>,
}

impl Episode {
    pub(crate) fn fails(&self) -> bool {
        self.fails
    }

    /// It failed, and these lines are lost.
    pub(crate) fn fail(&mut self, lines: &[u8], reason: impl FnOnce() -> String) -> u64 {
        if !self.fails {
            self.fails = true;
            // Where nobody has asked since the one before, they are one.
            for news in self.untold.drain(..) {
                if let News::Works(lost) = news {
                    self.lost += lost;
                }
            }
            self.untold.push(News::Fails(reason()));
        }
        let lost = count(lines).max(u64::from(!lines.is_empty()));
        self.lost += lost;
        lost
    }

    /// It went well.
    pub(crate) fn work(&mut self) {
        if self.fails {
            self.fails = false;
            self.untold
                .push(News::Works(std::mem::take(&mut self.lost)));
        }
    }

    /// Whether there is something that has not been told.
    pub(crate) fn has_news(&self) -> bool {
        !self.untold.is_empty()
    }

    /// What has not been told.
    pub(crate) fn news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.untold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_episode_is_told_once_when_it_begins_and_once_when_it_ends() {
        let mut episode = Episode::default();
        episode.work();
        assert_eq!(episode.news(), []);
        let mut lost = 0;
        for _ in 0..3 {
            lost += episode.fail(b"a\nb\n", || "no space".to_owned());
        }
        assert_eq!(lost, 6);
        assert_eq!(episode.news(), [News::Fails("no space".to_owned())]);
        lost += episode.fail(b"half", || "another".to_owned());
        assert_eq!(episode.news(), []);
        episode.work();
        episode.work();
        assert_eq!(lost, 7);
        assert_eq!(episode.news(), [News::Works(7)]);
    }

    #[test]
    fn what_was_not_asked_for_does_not_pile_up() {
        let mut episode = Episode::default();
        for _ in 0..100 {
            episode.fail(b"\n", || "again".to_owned());
            episode.work();
        }
        assert_eq!(
            episode.news(),
            [News::Fails("again".to_owned()), News::Works(100)]
        );
    }
}
