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
    /// Whether what lies under the target is copied in.
    pub(crate) copy_up: bool,
    /// For the filesystem.
    pub(crate) data: Vec<(String, Option<String>)>,
}

/// Attributes by name: set, cleared.
const ATTRIBUTES: [(&str, u64, u64); 19] = [
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
    ("defaults", 0, 0),
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
                "tmpcopyup" => options.copy_up = true,
                // The kernel's own superblock flags without a per-mount form.
                "async" | "noiversion" | "norelaxed" | "" => {}
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
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Options {
        parse(
            &words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn attributes_and_data_are_told_apart() {
        let options = parsed(&["nosuid", "ro", "mode=755", "newinstance"]);
        assert_eq!(options.set, attr::NOSUID | attr::RDONLY);
        assert_eq!(
            options.data,
            [
                ("mode".into(), Some("755".into())),
                ("newinstance".into(), None)
            ]
        );
    }

    #[test]
    fn the_later_of_two_contradicting_options_wins() {
        assert_eq!(parsed(&["ro", "rw"]).set, 0);
        assert_eq!(parsed(&["rw", "ro"]).set, attr::RDONLY);
        assert_eq!(parsed(&["rw", "ro"]).clear, 0);
    }

    #[test]
    fn access_time_policies_replace_each_other() {
        let options = parsed(&["noatime", "strictatime"]);
        assert_eq!(
            (options.set, options.clear),
            (attr::STRICTATIME, attr::ATIME)
        );
    }

    #[test]
    fn an_r_in_front_means_the_tree() {
        let options = parsed(&["rbind", "rro", "rprivate"]);
        assert_eq!(options.bind, Some(true));
        assert_eq!((options.set, options.tree_set), (0, attr::RDONLY));
        assert_eq!(options.propagation, Some((Propagation::Private, true)));
    }

    #[test]
    fn words_set_and_clear_the_kernel_s_attributes_and_with_an_r_those_of_the_tree() {
        use libc::{
            MOUNT_ATTR__ATIME as ATIME, MOUNT_ATTR_NOATIME as NOATIME, MOUNT_ATTR_NODEV as NODEV,
            MOUNT_ATTR_NODIRATIME as NODIRATIME, MOUNT_ATTR_NOEXEC as NOEXEC,
            MOUNT_ATTR_NOSUID as NOSUID, MOUNT_ATTR_NOSYMFOLLOW as NOSYMFOLLOW,
            MOUNT_ATTR_RDONLY as RDONLY, MOUNT_ATTR_RELATIME as RELATIME,
            MOUNT_ATTR_STRICTATIME as STRICTATIME,
        };
        for (words, set, clear) in [
            // config.md, *Linux mount options*; mount_setattr(2).
            (&["ro"][..], RDONLY, 0),
            (&["rw"], 0, RDONLY),
            (&["nosuid"], NOSUID, 0),
            (&["suid"], 0, NOSUID),
            (&["nodev"], NODEV, 0),
            (&["dev"], 0, NODEV),
            (&["noexec"], NOEXEC, 0),
            (&["exec"], 0, NOEXEC),
            (&["nodiratime"], NODIRATIME, 0),
            (&["diratime"], 0, NODIRATIME),
            (&["nosymfollow"], NOSYMFOLLOW, 0),
            (&["symfollow"], 0, NOSYMFOLLOW),
            // One of three policies: the kernel takes a new one only with the
            // whole field cleared. Without either of the others it is relatime.
            (&["noatime"], NOATIME, ATIME),
            (&["strictatime"], STRICTATIME, ATIME),
            (&["relatime"], RELATIME, ATIME),
            (&["atime"], RELATIME, ATIME),
            (&["nostrictatime"], RELATIME, ATIME),
            (&["norelatime"], RELATIME, ATIME),
            // More than one word.
            (&["ro", "nosuid"], RDONLY | NOSUID, 0),
            (&["rw", "suid"], 0, RDONLY | NOSUID),
            (&["ro", "suid"], RDONLY, NOSUID),
            (&["suid", "ro"], RDONLY, NOSUID),
            (&["ro", "rw"], 0, RDONLY),
            (&["rw", "ro"], RDONLY, 0),
            (&["noatime", "relatime"], RELATIME, ATIME),
            (&["noatime", "strictatime"], STRICTATIME, ATIME),
            (&["nodev", "noatime"], NODEV | NOATIME, ATIME),
            // Said twice is said.
            (&["ro", "ro"], RDONLY, 0),
            (&["rw", "rw"], 0, RDONLY),
        ] {
            let own = parsed(words);
            assert_eq!((own.set, own.clear), (set, clear), "{words:?}");
            assert_eq!((own.tree_set, own.tree_clear), (0, 0), "{words:?}");
            let tree: Vec<String> = words.iter().map(|word| format!("r{word}")).collect();
            let whole = parse(&tree);
            assert_eq!((whole.tree_set, whole.tree_clear), (set, clear), "{tree:?}");
            assert_eq!((whole.set, whole.clear), (0, 0), "{tree:?}");
        }
    }
}
