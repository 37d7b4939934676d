//! The key of a step: a digest of everything that can change its result, and
//! of nothing else. Pure.
//!
//! Every field is framed by its kind, its name and its length, so that two
//! different inputs never have one encoding (CVE-2024-24557, and the unframed
//! keys of kaniko, are what happens otherwise).

use std::fmt;

use sha2::{Digest as _, Sha256};

/// Grows whenever the same inputs would make another result than before, so
/// that no layer of an older builder is taken for one of ours.
pub(crate) const FORMAT: i64 = 2;

/// The key of a step.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key([u8; 32]);

impl From<[u8; 32]> for Key {
    fn from(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a step is made of, beside what lies below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Inputs {
    /// Nothing at all.
    Scratch,
    /// An image of the store, by the digest of its manifest.
    Image(String),
    /// An OCI layout: the digest of its index, and the tag in it.
    Layout(String, Option<String>),
    /// A docker archive, by the digest of the file.
    Archive(String),
    /// Debian from locked packages: the lock's own digest.
    Bootstrap(String),
    /// Packages by the base's own apt.
    Packages(Vec<String>),
    /// Files of the context.
    Copy {
        /// Where they go.
        to: String,
        /// `user[:group]`, resolved in the image below.
        owner: Option<String>,
        /// Permissions of the files.
        mode: Option<u32>,
        /// The digest of the tree that is copied.
        tree: [u8; 32],
        /// The most layers it makes.
        parts: u64,
    },
    /// A command.
    Run {
        /// Its words.
        argv: Vec<String>,
        /// `[image] env`, in order.
        env: Vec<(String, String)>,
    },
    /// The init, by its digest.
    Init(String),
    /// `/etc/holdall.toml`.
    Services(String),
    /// The configuration of the image, and the version of the checks.
    Config(String),
}

/// The key of a step upon `parent`, for timestamps up to `epoch`.
#[must_use]
pub(crate) fn key(parent: Option<Key>, architecture: &str, epoch: i64, inputs: &Inputs) -> Key {
    Key(Sha256::digest(encode(parent, architecture, epoch, inputs)).into())
}

fn encode(parent: Option<Key>, architecture: &str, epoch: i64, inputs: &Inputs) -> Vec<u8> {
    let mut frame = Frame::default();
    frame.bytes(b"holdall build step");
    frame.number(FORMAT);
    frame.optional(parent.as_ref().map(|key| key.0.as_slice()));
    frame.bytes(architecture.as_bytes());
    frame.number(epoch);
    match inputs {
        Inputs::Scratch => frame.bytes(b"scratch"),
        Inputs::Image(digest) => frame.kind(b"image").bytes(digest.as_bytes()),
        Inputs::Layout(index, tag) => {
            frame.kind(b"layout").bytes(index.as_bytes());
            frame.optional(tag.as_deref().map(str::as_bytes));
        }
        Inputs::Archive(digest) => frame.kind(b"archive").bytes(digest.as_bytes()),
        Inputs::Bootstrap(digest) => frame.kind(b"bootstrap").bytes(digest.as_bytes()),
        Inputs::Packages(names) => frame.kind(b"packages").list(names),
        Inputs::Copy {
            to,
            owner,
            mode,
            tree,
            parts,
        } => {
            frame.kind(b"copy").bytes(to.as_bytes());
            frame.optional(owner.as_deref().map(str::as_bytes));
            frame.optional(mode.map(u32::to_le_bytes).as_ref().map(<[u8; 4]>::as_slice));
            frame.bytes(tree);
            frame.bytes(&parts.to_le_bytes());
        }
        Inputs::Run { argv, env } => {
            frame.kind(b"run").list(argv);
            frame.count(env.len());
            for (name, value) in env {
                frame.bytes(name.as_bytes());
                frame.bytes(value.as_bytes());
            }
        }
        Inputs::Init(digest) => frame.kind(b"init").bytes(digest.as_bytes()),
        Inputs::Services(text) => frame.kind(b"services").bytes(text.as_bytes()),
        Inputs::Config(text) => frame.kind(b"config").bytes(text.as_bytes()),
    }
    frame.0
}

/// Fields one after the other, each with its kind and its length in front.
#[derive(Debug, Default)]
struct Frame(Vec<u8>);

impl Frame {
    fn kind(&mut self, name: &[u8]) -> &mut Self {
        self.bytes(name);
        self
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.push(b'b');
        self.0.extend((bytes.len() as u64).to_le_bytes());
        self.0.extend(bytes);
    }

    fn number(&mut self, number: i64) {
        self.0.push(b'n');
        self.0.extend(number.to_le_bytes());
    }

    fn count(&mut self, count: usize) {
        self.0.push(b'c');
        self.0.extend((count as u64).to_le_bytes());
    }

    fn optional(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => {
                self.0.push(b's');
                self.bytes(bytes);
            }
            None => self.0.push(b'-'),
        }
    }

    fn list(&mut self, words: &[String]) {
        self.count(words.len());
        for word in words {
            self.bytes(word.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn inputs() -> impl Strategy<Value = Inputs> {
        // A small alphabet, so that fields that run into each other are likely.
        let word = || "[ab]{0,3}";
        let words = || prop::collection::vec(word(), 0..3);
        let pairs = prop::collection::vec((word(), word()), 0..3);
        prop_oneof![
            Just(Inputs::Scratch),
            word().prop_map(Inputs::Image),
            (word(), prop::option::of(word())).prop_map(|(index, tag)| Inputs::Layout(index, tag)),
            word().prop_map(Inputs::Archive),
            word().prop_map(Inputs::Bootstrap),
            words().prop_map(Inputs::Packages),
            (
                word(),
                prop::option::of(word()),
                prop::option::of(0..2_u32),
                any::<bool>(),
                1..3_u64
            )
                .prop_map(|(to, owner, mode, one, parts)| Inputs::Copy {
                    to,
                    owner,
                    mode,
                    tree: [u8::from(one); 32],
                    parts
                }),
            (words(), pairs).prop_map(|(argv, env)| Inputs::Run { argv, env }),
            word().prop_map(Inputs::Init),
            word().prop_map(Inputs::Services),
            word().prop_map(Inputs::Config),
        ]
    }

    fn step() -> impl Strategy<Value = (Option<Key>, String, i64, Inputs)> {
        let parent = prop::option::of((0..2_u8).prop_map(|byte| Key([byte; 32])));
        (parent, "[ab]{0,2}", 0..2_i64, inputs())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn two_steps_share_a_key_only_if_they_are_the_same(a in step(), b in step()) {
            let encoded = |s: &(Option<Key>, String, i64, Inputs)| encode(s.0, &s.1, s.2, &s.3);
            prop_assert_eq!(encoded(&a) == encoded(&b), a == b);
        }
    }

    #[test]
    fn words_that_run_into_each_other_make_different_keys() {
        let run = |argv: &[&str], env: &[(&str, &str)]| {
            let argv = argv.iter().map(ToString::to_string).collect();
            let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let env = env.iter().map(pair).collect();
            key(None, "amd64", 0, &Inputs::Run { argv, env })
        };
        assert_ne!(run(&["ab", "c"], &[]), run(&["a", "bc"], &[]));
        assert_ne!(run(&["a"], &[]), run(&["a", ""], &[]));
        assert_ne!(run(&["a", "b", "c"], &[]), run(&["a"], &[("b", "c")]));
    }
}
