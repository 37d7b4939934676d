//! Mount options: which are attributes, which propagation, which the
//! filesystem's own (config.md, *Linux mount options*).

use super::Propagation;
use crate::sys::attr;

/// The options of one mount, sorted out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// `bind` or `rbind` was there; whether it is recursive.
    pub(crate) bind: Option<bool>,
    /// Attributes on and off, of this mount.
    pub(crate) set: u64,
    pub(crate) clear: u64,
    /// The same, for this mount and those below it.
    pub(crate) tree_set: u64,
    pub(crate) tree_clear: u64,
    /// Propagation and whether it is recursive.
    pub(crate) propagation: Option<(Propagation, bool)>,
    /// `idmap` or `ridmap` was there; whether it is recursive.
    pub(crate) idmap: Option<bool>,
    /// Whether it is no new mount, but a change of the one that is there.
    pub(crate) remount: bool,
    /// Whether what lies under the target is copied in.
    pub(crate) copy_up: bool,
    /// For the filesystem.
    pub(crate) data: Vec<(String, Option<String>)>,
}

impl Options {
    /// Where nothing lies below, what holds for the tree holds for the mount.
    pub(super) fn hold_for_one_mount(&mut self) {
        let (set, clear) = (self.tree_set, self.tree_clear);
        self.set = self.set & !clear | set;
        self.clear = self.clear & !set | clear;
        (self.tree_set, self.tree_clear) = (0, 0);
    }
}

/// Attributes by name: set, cleared.
const ATTRIBUTES: [(&str, u64, u64); 18] = [
    ("ro", attr::RDONLY, 0),
    ("rw", 0, attr::RDONLY),
    ("nosuid", attr::NOSUID, 0),
    ("suid", 0, attr::NOSUID),
    ("nodev", attr::NODEV, 0),
    ("dev", 0, attr::NODEV),
    ("noexec", attr::NOEXEC, 0),
    ("exec", 0, attr::NOEXEC),
    ("noatime", attr::NOATIME, attr::ATIME),
    ("atime", 0, attr::ATIME),
    ("strictatime", attr::STRICTATIME, attr::ATIME),
    ("nostrictatime", 0, attr::ATIME),
    ("relatime", 0, attr::ATIME),
    ("norelatime", 0, attr::ATIME),
    ("nodiratime", attr::NODIRATIME, 0),
    ("diratime", 0, attr::NODIRATIME),
    ("nosymfollow", attr::NOSYMFOLLOW, 0),
    ("symfollow", 0, attr::NOSYMFOLLOW),
];

/// Words without an effect here: fsconfig(2) refuses them, being flags of
/// mount(2) alone. `silent` and `loud` are about the kernel's log; `iversion`
/// is for ext4, which counts changes whatever one says (Linux's 1ff20307393e).
const WITHOUT_EFFECT: [&str; 6] = ["", "defaults", "iversion", "loud", "noiversion", "silent"];

/// Every option that isn't a filesystem's own: the table of config.md.
pub(crate) const WORDS: &[&str] = &[
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "idmap",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "ridmap",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "tmpcopyup",
    "unbindable",
];

/// Sorts options out; of two that contradict, the later wins.
pub(crate) fn parse(words: &[String]) -> Options {
    let mut options = Options::default();
    for word in words {
        let attribute = |name: &str| ATTRIBUTES.iter().find(|(known, ..)| *known == name);
        if let Some(&(_, set, clear)) = attribute(word) {
            options.set = options.set & !clear | set;
            options.clear = options.clear & !set | clear;
        } else if let Some(&(_, set, clear)) = word.strip_prefix('r').and_then(attribute) {
            options.tree_set = options.tree_set & !clear | set;
            options.tree_clear = options.tree_clear & !set | clear;
        } else if let Some(propagation) = Propagation::parse(word) {
            options.propagation = Some(propagation);
        } else {
            match word.as_str() {
                "bind" => options.bind = Some(options.bind.unwrap_or(false)),
                "rbind" => options.bind = Some(true),
                "idmap" => options.idmap = Some(false),
                "ridmap" => options.idmap = Some(true),
                "remount" => options.remount = true,
                "tmpcopyup" => options.copy_up = true,
                known if WITHOUT_EFFECT.contains(&known) => {}
                // Superblock flags (`sync`, `lazytime`, …) are among them: the
                // kernel takes those for any filesystem, the later wins.
                other => {
                    let (key, value) = match other.split_once('=') {
                        Some((key, value)) => (key, Some(value.to_owned())),
                        None => (other, None),
                    };
                    options.data.push((key.to_owned(), value));
                }
            }
        }
    }
    options
}

#[cfg(test)]
mod tests;
