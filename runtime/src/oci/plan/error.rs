//! Why a configuration is no plan.

use std::path::PathBuf;

/// Why a configuration can't be carried out as it stands.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlanError {
    /// A property that must be there.
    #[error("cannot use the configuration: {0} is missing")]
    Missing(&'static str),
    /// A property this runtime doesn't carry out; ignoring it would be worse.
    #[error("cannot use the configuration: {0} is not supported")]
    Unsupported(String),
    /// A value that makes no sense.
    #[error("cannot use the configuration: {property} is {value:?}")]
    Invalid {
        /// Where.
        property: &'static str,
        /// What.
        value: String,
    },
    /// Two entries where there may be one.
    #[error("cannot use the configuration: {property} has {value:?} twice, keep one")]
    Twice {
        /// Where.
        property: &'static str,
        /// What.
        value: String,
    },
    /// One of two properties that go together.
    #[error(
        "cannot use the configuration: mounts[{index}] has {given} without {missing}, give both"
    )]
    Half {
        /// Which mount.
        index: usize,
        /// What is there.
        given: &'static str,
        /// What isn't.
        missing: &'static str,
    },
    /// An idmapped mount, and nothing to map ids by.
    #[error(
        "cannot use the configuration: mounts[{index}].options has {word:?} and no user namespace maps ids, give it uidMappings and gidMappings"
    )]
    NoMapping {
        /// Which mount.
        index: usize,
        /// What asks for it.
        word: &'static str,
    },
    /// A device without its numbers: 0:0 would be a whiteout.
    #[error(
        "cannot use the configuration: linux.devices[{index}].{number} is missing, type {kind:?} needs it"
    )]
    NoNumber {
        /// Which device.
        index: usize,
        /// `major` or `minor`.
        number: &'static str,
        /// `c`, `u` or `b`.
        kind: String,
    },
    /// A mount over a part of the kernel's own trees.
    #[error("cannot mount over {}: it would hide what the kernel says", .0.display())]
    OverKernelTree(PathBuf),
}
