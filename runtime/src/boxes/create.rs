//! From an image and a user's wishes to a box.

use holdall_image::document::RunConfig;
use holdall_image::store::Image;
use holdall_image::{RootDir, Store};
use holdall_protocol::{Millis, Signal};

use super::error::BoxError;
use super::files::make_private;
use super::layers;
use super::mounts::{BoxMount, MountSource, Volume, merge};
use super::name::BoxName;
use super::profile;
use super::record::{GRACE_LABEL, Network, RECORD_VERSION, Record};
use super::store::{BoxStore, Draft};
use super::volumes::fill;
use crate::clock::WallTime;
use crate::oci::overlay;
use crate::ports::{Protocol, Publish};

/// What a box is to be.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    /// From what.
    pub image: Image,
    /// The image's name as the user wrote it.
    pub image_name: String,
    /// What to call it; a free name after the image where none.
    pub name: Option<BoxName>,
    /// `-p`.
    pub publish: Vec<Publish>,
    /// `-e`, over the image's.
    pub env: Vec<(String, String)>,
    /// `-v`, over the image's.
    pub volumes: Vec<Volume>,
    /// `--rm`.
    pub remove: bool,
    /// `--read-only`: /run and /tmp stay writable, in memory.
    pub read_only: bool,
    /// `--user`, instead of the image's.
    pub user: Option<String>,
    /// `--profile`.
    pub profile: Option<String>,
    /// What replaces the image's command.
    pub command: Vec<String>,
    /// The host name; the box's name where none.
    pub hostname: Option<String>,
    /// Its network.
    pub network: Network,
}

/// The variable that picks a profile, for init.
const PROFILE: &str = "HOLDALL_PROFILE";

/// Docker's PATH for an image that has none.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Docker's time between the stop signal and KILL.
const GRACE: Millis = Millis::from_secs(10);

/// What is added to an image's own grace period: init ends by itself within
/// that, and must not be killed in the very moment.
const GRACE_MARGIN: Millis = Millis::from_secs(1);

/// Makes a box: folder, volumes, record. It doesn't run yet.
pub(crate) fn create(
    store: &BoxStore,
    images: &Store,
    options: CreateOptions,
) -> Result<Record, BoxError> {
    let plan = plan(&options)?;
    for mount in &plan.mounts {
        if let MountSource::Bind { path } = &mount.source
            && !path.try_exists().map_err(BoxError::file("look at", path))?
        {
            return Err(BoxError::BindMissing { path: path.clone() });
        }
    }
    if plan.has_init
        && let Some(profile) = &options.profile
    {
        profile::check(images, &options.image, &options.image_name, profile)?;
    }
    let draft = store.draft()?;
    make_volumes(store, images, &draft, &options, &plan.mounts)?;
    let id = draft.id.clone();
    let exact = options.name.is_some();
    let wanted = options
        .name
        .unwrap_or_else(|| BoxName::from_image(&options.image_name));
    store.commit(draft, wanted, exact, |name| {
        let hostname = options.hostname.unwrap_or_else(|| name.to_string());
        let mut env = plan.env;
        if !env.iter().any(|variable| variable.starts_with("HOSTNAME=")) {
            env.push(format!("HOSTNAME={hostname}"));
        }
        Ok(Record {
            version: RECORD_VERSION,
            id,
            name,
            created: WallTime::now(),
            image: options.image.digest,
            image_id: options.image.id(),
            image_name: options.image_name,
            has_init: plan.has_init,
            argv: plan.argv,
            env,
            dir: plan.dir,
            user: plan.user,
            hostname,
            network: options.network,
            publish: options.publish,
            mounts: plan.mounts,
            read_only: options.read_only,
            remove: options.remove,
            profile: options.profile,
            stop_signal: plan.stop_signal,
            grace: plan.grace,
            labels: options.image.config.config.labels,
        })
    })
}

/// What follows from the image's config and the options: pure.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    argv: Vec<String>,
    env: Vec<String>,
    dir: String,
    user: Option<String>,
    has_init: bool,
    mounts: Vec<BoxMount>,
    stop_signal: Signal,
    grace: Millis,
}

fn plan(options: &CreateOptions) -> Result<Plan, BoxError> {
    if let Some(udp) = options
        .publish
        .iter()
        .find(|publish| publish.protocol() == Protocol::Udp)
    {
        return Err(BoxError::UdpNotBuilt(udp.to_string()));
    }
    let config = &options.image.config.config;
    let argv = argv(config, &options.command);
    if argv.is_empty() {
        return Err(BoxError::NoCommand {
            image: options.image_name.clone(),
        });
    }
    let has_init = has_init(config);
    let mut overrides = options.env.clone();
    if let Some(profile) = &options.profile {
        overrides.push((PROFILE.to_owned(), profile.clone()));
    }
    let user = options.user.clone().unwrap_or_else(|| config.user.clone());
    let label = config
        .labels
        .get(GRACE_LABEL)
        .and_then(|text| read_grace(text));
    let grace = match label {
        Some(Millis(own)) => Millis(own.saturating_add(GRACE_MARGIN.0)),
        None => GRACE,
    };
    Ok(Plan {
        argv,
        env: environment(&config.env, &overrides)?,
        dir: if config.working_dir.is_empty() {
            "/".into()
        } else {
            config.working_dir.clone()
        },
        user: Some(user).filter(|user| !user.is_empty()),
        has_init,
        mounts: merge(&options.volumes, config.volumes.iter()),
        stop_signal: config
            .stop_signal
            .as_deref()
            .and_then(|name| name.parse().ok())
            .unwrap_or(Signal::TERM),
        grace,
    })
}

/// Docker's rule: the user's words replace the image's command and follow its
/// entrypoint. With our init (`/init run --`) they become the foreground
/// command.
fn argv(config: &RunConfig, command: &[String]) -> Vec<String> {
    let rest = if command.is_empty() {
        &config.cmd
    } else {
        command
    };
    config.entrypoint.iter().chain(rest).cloned().collect()
}

/// `/init` alone is not enough: other inits live there too.
fn has_init(config: &RunConfig) -> bool {
    let mut words = config.entrypoint.iter().map(String::as_str);
    let labelled = || {
        config
            .labels
            .keys()
            .any(|label| label.starts_with("io.holdall."))
    };
    words.next() == Some("/init") && (words.next() == Some("run") || labelled())
}

/// `9s`, or a bare number of seconds.
fn read_grace(text: &str) -> Option<Millis> {
    text.parse()
        .ok()
        .or_else(|| text.parse().ok().map(|n: u32| Millis::from_secs(n.into())))
}

/// The image's variables, each replaced in its place by the user's.
fn environment(image: &[String], over: &[(String, String)]) -> Result<Vec<String>, BoxError> {
    let mut env: Vec<String> = image.to_vec();
    let is = |variable: &str, name: &str| {
        variable
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('='))
    };
    for (name, value) in over {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(BoxError::Variable(name.clone()));
        }
        let variable = format!("{name}={value}");
        match env.iter_mut().find(|known| is(known, name)) {
            Some(known) => *known = variable,
            None => env.push(variable),
        }
    }
    if !env.iter().any(|variable| is(variable, "PATH")) {
        env.insert(0, PATH.to_owned());
    }
    Ok(env)
}

/// Makes the volumes that don't exist yet, filled with what the image has at
/// their place.
fn make_volumes(
    store: &BoxStore,
    images: &Store,
    draft: &Draft,
    options: &CreateOptions,
    mounts: &[BoxMount],
) -> Result<(), BoxError> {
    let mut root = None;
    let volumes = store.dirs().volumes();
    for mount in mounts {
        let (path, named) = match &mount.source {
            MountSource::Bind { .. } => continue,
            MountSource::Own { number } => (draft.dir.volume(*number), None),
            MountSource::Volume { name } => {
                let path = volumes.join(name.as_str());
                // What is there stays as it is, with whatever is in it.
                if path
                    .try_exists()
                    .map_err(BoxError::file("look at", &path))?
                {
                    continue;
                }
                // Filled with the draft, so a crash leaves it to the sweeper.
                (
                    draft.dir.path().join(format!("new-volume-{name}")),
                    Some(path),
                )
            }
        };
        let root = match &root {
            Some(root) => root,
            None => root.insert(image_root(images, options)?),
        };
        make_private(&path)?;
        let filled = RootDir::open(&path)
            .map_err(|cause| super::volumes::CopyError::Entry {
                path: path.clone(),
                cause,
            })
            .and_then(|to| {
                // Docker's mode for a volume whose place the image hasn't.
                to.set_mode(std::path::Path::new(""), 0o755)
                    .map_err(|cause| super::volumes::CopyError::Entry {
                        path: path.clone(),
                        cause,
                    })?;
                fill(root, mount.target.as_ref(), &to)
            });
        filled.map_err(|cause| BoxError::Fill {
            target: mount.target.clone(),
            cause,
        })?;
        if let Some(named) = named {
            match std::fs::rename(&path, &named) {
                Ok(()) => {}
                // Another box made it meanwhile: its is the one.
                Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => {
                    std::fs::remove_dir_all(&path).map_err(BoxError::file("remove", &path))?;
                }
                Err(error) => return Err(BoxError::file("make", &named)(error)),
            }
        }
    }
    Ok(())
}

/// The image's files, read-only, mounted nowhere.
fn image_root(images: &Store, options: &CreateOptions) -> Result<RootDir, BoxError> {
    let layers = layers::of_image(images, &options.image, &options.image_name)?;
    let root = overlay::mount(&layers, None).map_err(|cause| BoxError::Root {
        name: BoxName::from_image(&options.image_name),
        cause,
    })?;
    Ok(RootDir::from_fd(root))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(entrypoint: &[&str], cmd: &[&str]) -> RunConfig {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        RunConfig {
            entrypoint: words(entrypoint),
            cmd: words(cmd),
            ..RunConfig::default()
        }
    }

    #[test]
    fn a_users_words_replace_the_command_and_follow_the_entrypoint() {
        let image = config(&["/init", "run", "--"], &["serve"]);
        assert_eq!(argv(&image, &[]), ["/init", "run", "--", "serve"]);
        let words = ["ps".to_owned(), "aux".to_owned()];
        assert_eq!(argv(&image, &words), ["/init", "run", "--", "ps", "aux"]);
        assert_eq!(argv(&config(&[], &["sh"]), &[]), ["sh"]);
        assert!(argv(&config(&[], &[]), &[]).is_empty());
    }

    #[test]
    fn our_init_is_told_from_others_at_the_same_path() {
        assert!(has_init(&config(&["/init", "run", "--"], &[])));
        assert!(!has_init(&config(&["/init"], &[])));
        assert!(!has_init(&config(&["/bin/init", "run"], &[])));
        let mut labelled = config(&["/init"], &[]);
        labelled.labels.insert(GRACE_LABEL.into(), "9s".into());
        assert!(has_init(&labelled));
    }

    #[test]
    fn a_variable_of_the_user_replaces_the_images_in_its_place() {
        let over = [
            ("B".to_owned(), "2".to_owned()),
            ("C".to_owned(), String::new()),
        ];
        let image = ["PATH=/bin".to_owned(), "B=1".to_owned(), "BB=3".to_owned()];
        let env = environment(&image, &over).expect("an environment");
        assert_eq!(env, ["PATH=/bin", "B=2", "BB=3", "C="]);
        assert_eq!(environment(&[], &[]).expect("an environment"), [PATH]);
        let wrong = [("A=B".to_owned(), String::new())];
        assert!(matches!(
            environment(&[], &wrong),
            Err(BoxError::Variable(_))
        ));
    }

    #[test]
    fn the_grace_period_is_read_with_and_without_a_unit() {
        assert_eq!(read_grace("9s"), Some(Millis(9000)));
        assert_eq!(read_grace("12"), Some(Millis(12_000)));
        assert_eq!(read_grace("soon"), None);
    }
}
