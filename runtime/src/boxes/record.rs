//! What is known of a box from its creation on. Its `record.json` is written
//! once.

use std::collections::BTreeMap;

use holdall_image::Digest;
use holdall_protocol::{Millis, Signal};
use serde::{Deserialize, Serialize};

use super::mounts::BoxMount;
use super::name::{BoxId, BoxName};
use super::state::BoxState;
use crate::clock::WallTime;
use crate::ports::Publish;

/// The version of `record.json` that this release writes, and the newest it
/// reads.
pub(crate) const RECORD_VERSION: u32 = 1;

/// The label of an image with the seconds its ordered stop may take.
pub const GRACE_LABEL: &str = "io.holdall.grace";

/// One box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The format of the record, 1 today.
    pub version: u32,
    /// Its id.
    pub id: BoxId,
    /// Its name.
    pub name: BoxName,
    /// When it was made.
    pub created: WallTime,
    /// The image's name as the user wrote it.
    pub image_name: String,
    /// The image's manifest.
    pub image: Digest,
    /// The image's config, which `docker` calls the image's id.
    pub image_id: Digest,
    /// The image's first process is holdall's init, so that the box has
    /// services and a control socket.
    pub has_init: bool,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// The working directory.
    pub dir: String,
    /// `user[:group]`, looked up in the box at each start; root where none.
    pub user: Option<String>,
    /// The host name.
    pub hostname: String,
    /// Its network.
    pub network: Network,
    /// What is published at each start.
    pub publish: Vec<Publish>,
    /// Volumes and binds.
    pub mounts: Vec<BoxMount>,
    /// The root is read-only.
    pub read_only: bool,
    /// The box is removed when it ends.
    pub remove: bool,
    /// The profile of the services.
    pub profile: Option<String>,
    /// What asks its first process to end.
    pub stop_signal: Signal,
    /// How long after that it is killed.
    pub grace: Millis,
    /// The image's labels.
    pub labels: BTreeMap<String, String>,
}

/// Where a box's network leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Its own namespace, with loopback and published ports.
    #[default]
    Private,
    /// Its own namespace, with loopback and published ports, for good: it gets
    /// no way out when private boxes do.
    None,
    /// The host's. Nothing is published.
    Host,
}

/// A box and what it is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The box.
    #[serde(flatten)]
    pub record: Record,
    /// What it is doing.
    #[serde(flatten)]
    pub state: BoxState,
}

impl std::str::FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        match text {
            "private" => Ok(Self::Private),
            "none" => Ok(Self::None),
            "host" => Ok(Self::Host),
            _ => Err(NetworkError(text.to_owned())),
        }
    }
}

/// A text that is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a network: write private, none or host")]
pub struct NetworkError(String);
