//! What a build takes from the process it runs in: the clock and the
//! environment, each read here and nowhere else.

use std::path::{Path, PathBuf};
use std::time::Instant;

/// Where Debian, Ubuntu and Alpine keep the certificates they trust.
const CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The variables by which programs are told of a proxy.
const PROXIES: [&str; 10] = [
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];

/// The environment of a build. Only `epoch` can change its result.
#[derive(Debug, Clone, Default)]
pub(crate) struct Host {
    /// SOURCE_DATE_EPOCH as it is set.
    pub(crate) epoch: Option<String>,
    /// Proxies, for steps that reach the network.
    pub(crate) proxies: Vec<(String, String)>,
    /// Certificates that the host trusts.
    pub(crate) certificates: Option<Certificates>,
}

/// A bundle of certificates on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificates {
    /// The file.
    pub(crate) path: PathBuf,
    /// Whether SSL_CERT_FILE names it: then it stands before the image's own.
    pub(crate) explicit: bool,
}

impl Host {
    /// Reads the environment.
    pub(crate) fn read() -> Self {
        let proxies = PROXIES
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), variable(name)?)));
        let explicit = variable("SSL_CERT_FILE")
            .map(PathBuf::from)
            .filter(|path| path.is_file());
        let own = || Some(Path::new(CA_BUNDLE).to_owned()).filter(|path| path.is_file());
        let certificates = match explicit {
            Some(path) => Some(Certificates {
                path,
                explicit: true,
            }),
            None => own().map(|path| Certificates {
                path,
                explicit: false,
            }),
        };
        Self {
            epoch: variable("SOURCE_DATE_EPOCH"),
            proxies: proxies.collect(),
            certificates,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the crate's one reader of the environment"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A time to measure from.
#[expect(
    clippy::disallowed_methods,
    reason = "the crate's one reader of the clock"
)]
pub(crate) fn clock() -> Instant {
    Instant::now()
}

/// The time by which file systems stamp files, in nanoseconds since 1970.
pub(crate) fn file_clock() -> i128 {
    // The clock is always there; were it not, no file would count as settled.
    let clock = nix::time::ClockId::CLOCK_REALTIME_COARSE;
    let now = nix::time::clock_gettime(clock);
    now.map_or(0, |now| {
        i128::from(now.tv_sec()) * 1_000_000_000 + i128::from(now.tv_nsec())
    })
}
