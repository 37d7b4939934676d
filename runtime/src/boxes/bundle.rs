//! From a box's record to the OCI bundle of one run. Its configuration is in
//! memory: the runtime keeps its own copy.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use holdall_image::tree::Tree;
use holdall_protocol::account::{Account, MAX_FILE, find_user};
use holdall_protocol::control::{CONTROL_FD_NAME, LIMITS_LABEL, LOG_FD_NAME};

use super::error::BoxError;
use super::mounts::MountSource;
use super::record::{Network, Record};
use super::store::BoxStore;
use crate::oci::call::sealed_json;
use crate::oci::defaults;
use crate::oci::spec::{Mount, NamespaceType, Process, Root, Spec, User};

/// The files that every box gets of its own.
pub(super) const ETC: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

/// Writes the configuration of a run, and the files it binds.
pub(crate) fn write(
    store: &BoxStore,
    record: &Record,
    account: &Account,
) -> Result<OwnedFd, BoxError> {
    let etc = store.dir(&record.id).etc();
    for (name, content) in ETC.iter().zip([
        hosts(record),
        format!("{}\n", record.hostname),
        resolv_conf(record)?,
    ]) {
        let path = etc.join(name);
        fs::write(&path, content).map_err(BoxError::file("write", &path))?;
        set_mode(&path, 0o644)?;
    }
    let volumes = store.dirs().volumes();
    let source = |source: &MountSource| match source {
        MountSource::Volume { name } => volumes.join(name.as_str()),
        MountSource::Bind { path } => path.clone(),
        MountSource::Own { number } => store.dir(&record.id).volume(*number),
    };
    let spec = spec(record, account, &etc, source);
    sealed_json(&spec).map_err(BoxError::system("write the box's configuration"))
}

fn set_mode(path: &Path, mode: u32) -> Result<(), BoxError> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(BoxError::file("set the mode of", path))
}

/// The bundle's configuration: pure.
fn spec(
    record: &Record,
    account: &Account,
    etc: &Path,
    source: impl Fn(&MountSource) -> PathBuf,
) -> Spec {
    let mut spec = defaults::spec();
    // The root comes as a descriptor; the path is what the format demands.
    spec.root = Some(Root {
        path: "rootfs".into(),
        readonly: record.read_only,
    });
    spec.hostname = Some(record.hostname.clone());
    let process = spec.process.get_or_insert_default();
    *process = self::process(record, account, std::mem::take(process));
    spec.mounts.extend(
        ETC.iter()
            .map(|name| bind(&etc.join(name), &format!("/etc/{name}"), false)),
    );
    if record.read_only {
        spec.mounts.push(memory("/run", "mode=755"));
        spec.mounts.push(memory("/tmp", "mode=1777"));
    }
    spec.mounts.extend(
        record
            .mounts
            .iter()
            .map(|mount| bind(&source(&mount.source), &mount.target, mount.read_only)),
    );
    if record.has_init {
        // An image that doesn't say what its services need may need anything.
        let label = record.labels.get(LIMITS_LABEL).map(String::as_str);
        let wanted = label.unwrap_or("cpu,memory,pids").to_owned();
        spec.annotations
            .insert(defaults::HAND_OVER_CGROUPS.to_owned(), wanted);
    }
    let linux = spec.linux.get_or_insert_default();
    linux.cgroups_path = Some(format!("/holdall/{}", record.id));
    if record.network == Network::Host {
        linux
            .namespaces
            .retain(|namespace| namespace.kind != NamespaceType::Network);
    }
    spec
}

fn process(record: &Record, account: &Account, default: Process) -> Process {
    let mut env = record.env.clone();
    if !env.iter().any(|variable| variable.starts_with("HOME=")) {
        env.push(format!("HOME={}", account.home));
    }
    if record.has_init {
        // Init refuses what isn't for its own pid, which is 1 in there.
        env.push("LISTEN_PID=1".into());
        env.push("LISTEN_FDS=2".into());
        env.push(format!("LISTEN_FDNAMES={CONTROL_FD_NAME}:{LOG_FD_NAME}"));
    }
    Process {
        terminal: false,
        user: User {
            uid: account.uid,
            gid: account.gid,
            umask: None,
            additional_gids: account.groups.clone(),
        },
        args: record.argv.clone(),
        env,
        cwd: record.dir.clone().into(),
        ..default
    }
}

fn bind(source: &Path, target: &str, read_only: bool) -> Mount {
    let access = if read_only { "ro" } else { "rw" };
    Mount {
        destination: target.into(),
        kind: Some("bind".into()),
        source: Some(source.to_owned()),
        options: ["rbind", "rprivate", access].map(str::to_owned).to_vec(),
        ..Mount::default()
    }
}

fn memory(target: &str, mode: &str) -> Mount {
    Mount {
        destination: target.into(),
        kind: Some("tmpfs".into()),
        source: Some("tmpfs".into()),
        options: ["nosuid", "nodev", mode].map(str::to_owned).to_vec(),
        ..Mount::default()
    }
}

fn hosts(record: &Record) -> String {
    format!(
        "127.0.0.1\tlocalhost\n127.0.1.1\t{}\n::1\tlocalhost ip6-localhost ip6-loopback\n",
        record.hostname
    )
}

/// On the host's network the host's servers are reached; elsewhere none is, so
/// a lookup fails at once instead of after seconds.
fn resolv_conf(record: &Record) -> Result<String, BoxError> {
    match record.network {
        Network::Private | Network::None => Ok("# no network beyond this box\n".into()),
        Network::Host => match fs::read_to_string("/etc/resolv.conf") {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(BoxError::file("read", "/etc/resolv.conf")(error)),
        },
    }
}

/// Looks the user up in the box's own files, upper layer included.
pub(crate) fn account(
    store: &BoxStore,
    record: &Record,
    layers: &[PathBuf],
) -> Result<Account, BoxError> {
    let spec = record.user.as_deref().unwrap_or("0");
    let mut all = layers.to_vec();
    all.push(store.dir(&record.id).upper());
    let wrong = |cause| BoxError::Tree {
        name: record.name.clone(),
        cause,
    };
    let tree = Tree::open(&all).map_err(wrong)?;
    let limit = u64::try_from(MAX_FILE).unwrap_or(u64::MAX);
    let read = |path: &str| -> Result<Vec<u8>, BoxError> {
        Ok(tree
            .read(path.as_ref(), limit)
            .map_err(wrong)?
            .unwrap_or_default())
    };
    find_user(&read("/etc/passwd")?, &read("/etc/group")?, spec).map_err(|cause| BoxError::User {
        name: record.name.clone(),
        cause,
    })
}
