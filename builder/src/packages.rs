//! Debian packages: chosen by apt, fetched by their digests, and kept in the
//! store, so that a lock outlives its mirror.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::cache::Workspace;
use crate::deb::{file_name, package_time, verify};
use crate::error::BuildError;
use crate::host::Host;
use crate::lock::{Lock, Package};
use crate::mirror;
use crate::plan::ARCHITECTURE;
use crate::program::Program;

/// The keys of Debian's archive, and the package that has them.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What apt chooses beside the packages that were asked for: everything that
/// Debian calls essential, and apt itself with what it needs.
pub(crate) const ALWAYS: [&str; 2] = ["?essential", "apt"];

/// What choosing and fetching works with.
#[derive(Debug)]
pub(crate) struct Packages<'a> {
    /// The kept packages: `HEX.deb`.
    pub(crate) keep: PathBuf,
    /// For everything half-made.
    pub(crate) workspace: &'a Workspace,
    /// Proxies.
    pub(crate) host: &'a Host,
    /// Turns true when the build is to stop.
    pub(crate) stop: &'a AtomicBool,
}

impl Packages<'_> {
    /// Chooses the newest packages of a release, and fetches them.
    pub(crate) fn resolve(
        &self,
        suite: &str,
        requested: &[String],
        progress: &mut dyn FnMut(&str),
    ) -> Result<Lock, BuildError> {
        let verb = "choose packages";
        if !Path::new(KEYRING).is_file() {
            let (program, package) = ("debian-archive-keyring.gpg", "debian-archive-keyring");
            let absent = crate::program::ProgramError::Absent { program, package };
            return Err(BuildError::Packages {
                verb,
                source: absent,
            });
        }
        let apt = self.apt_folder(suite, progress)?;
        let apt_get = |args: &[&str]| self.program("apt-get", &apt, args);
        let update = apt_get(&["update", "-q", "--error-on=any"]).run(self.stop, progress);
        update.map_err(BuildError::packages("read the package lists"))?;
        let mut args = vec![
            "install",
            "-q",
            "-y",
            "--print-uris",
            "-o",
            "Acquire::ForceHash=SHA256",
        ];
        args.extend(ALWAYS);
        args.extend(requested.iter().map(String::as_str));
        let chosen = apt_get(&args)
            .run(self.stop, progress)
            .map_err(BuildError::packages(verb))?;
        let packages = parse_uris(&String::from_utf8_lossy(&chosen));
        progress(&format!("{} packages chosen", packages.len()));
        // The epoch is that of the files themselves, so they come first.
        let mut lock = Lock::new(suite, ARCHITECTURE, requested, 0, packages);
        self.fetch(&lock, progress)?;
        for package in &lock.packages {
            let path = self.kept(package);
            let built = package_time(&path);
            let built = built.map_err(|source| BuildError::ReadFile { path, source })?;
            lock.epoch = lock.epoch.max(built);
        }
        self.workspace.clear(&apt);
        // What is written must be readable by the next build.
        Lock::from_toml(&lock.to_toml()).map_err(|error| BuildError::Package {
            name: requested.join(" "),
            reason: format!("apt chose what no lock can hold: {error}"),
        })
    }

    /// Fetches the packages that are not kept yet.
    pub(crate) fn fetch(
        &self,
        lock: &Lock,
        progress: &mut dyn FnMut(&str),
    ) -> Result<(), BuildError> {
        let missing: Vec<&Package> = lock
            .packages
            .iter()
            .filter(|package| !self.kept(package).is_file())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let bytes: u64 = missing.iter().map(|package| package.size).sum();
        progress(&format!(
            "fetching {} packages, {} kB",
            missing.len(),
            bytes.div_ceil(1000)
        ));
        std::fs::create_dir_all(&self.keep).map_err(|source| BuildError::ReadFile {
            path: self.keep.clone(),
            source,
        })?;
        let folder = self.workspace.folder("fetch")?;
        let mut args = vec!["download-file".to_owned()];
        for package in &missing {
            let target = folder.join(file_name(package)).display().to_string();
            args.extend([
                package.url.clone(),
                target,
                format!("SHA256:{}", package.sha256),
            ]);
        }
        let words: Vec<&str> = args.iter().map(String::as_str).collect();
        // With the host's own configuration: its proxies and credentials.
        let helper = Program {
            env: self.host.proxies.clone(),
            ..self.program("/usr/lib/apt/apt-helper", &folder, &words)
        };
        let fetched = helper.run(self.stop, progress);
        for package in &missing {
            let from = folder.join(file_name(package));
            if from.is_file() {
                verify(&from, package)?;
                let to = self.kept(package);
                std::fs::rename(&from, &to)
                    .map_err(|source| BuildError::ReadFile { path: to, source })?;
            }
        }
        self.workspace.clear(&folder);
        fetched.map_err(BuildError::packages(
            "fetch the packages of the lock (a mirror drops a version when there is a newer one)",
        ))?;
        Ok(())
    }

    /// Where a package is kept.
    pub(crate) fn kept(&self, package: &Package) -> PathBuf {
        self.keep.join(file_name(package))
    }

    /// A program of apt that sees `apt` as the whole system.
    fn program(&self, name: &'static str, apt: &Path, args: &[&str]) -> Program<'_> {
        let config = apt.join("apt.conf").display().to_string();
        let mut env = self.host.proxies.clone();
        env.push(("APT_CONFIG".to_owned(), config));
        Program {
            name,
            package: "apt",
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env,
            temporary: self.workspace.path(),
        }
    }

    /// A system with no package installed, for apt to choose in.
    fn apt_folder(
        &self,
        suite: &str,
        progress: &mut dyn FnMut(&str),
    ) -> Result<PathBuf, BuildError> {
        let root = self.workspace.folder("apt")?;
        for name in [
            "etc",
            "etc/apt.conf.d",
            "etc/preferences.d",
            "lists",
            "lists/partial",
            "cache",
            "archives",
            "archives/partial",
        ] {
            self.workspace.folder(&format!("apt/{name}"))?;
        }
        let dump = ["dump", "--format", "%F \"%v\";%n"]
            .map(str::to_owned)
            .to_vec();
        let dump = Program {
            args: dump,
            env: Vec::new(),
            ..self.program("apt-config", &root, &[])
        };
        let host = dump
            .run(self.stop, progress)
            .map_err(BuildError::packages("read apt's settings"))?;
        let host = String::from_utf8_lossy(&host);
        let proxies: Vec<&str> = host.lines().filter(|line| is_proxy(line)).collect();
        let dir = root.display();
        let config = format!(
            "{}\n\
             Dir \"{dir}\";\n\
             Dir::Etc \"etc\";\n\
             Dir::State \"{dir}\";\n\
             Dir::State::Lists \"lists\";\n\
             Dir::State::status \"{dir}/status\";\n\
             Dir::Cache \"cache\";\n\
             Dir::Cache::Archives \"{dir}/archives\";\n\
             Dir::Bin::Methods \"/usr/lib/apt/methods\";\n\
             Dir::Log \"{dir}\";\n\
             APT::Architecture \"{ARCHITECTURE}\";\n\
             APT::Architectures \"{ARCHITECTURE}\";\n\
             APT::Install-Recommends \"false\";\n\
             APT::Sandbox::User \"root\";\n\
             Acquire::Languages \"none\";\n",
            proxies.join("\n")
        );
        self.workspace.file("apt/apt.conf", config.as_bytes())?;
        self.workspace.file("apt/status", b"")?;
        let sources = mirror::Mirror::of_host(suite).sources(suite, Some(KEYRING));
        self.workspace
            .file("apt/etc/sources.list", sources.as_bytes())?;
        Ok(root)
    }
}

/// Whether a setting of the host's apt says how to reach a mirror.
fn is_proxy(setting: &str) -> bool {
    let name = setting
        .split_ascii_whitespace()
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    name.starts_with("acquire::http") && name.contains("proxy")
}

/// What `apt-get --print-uris` prints: `'URL' FILE SIZE SHA256:HEX`.
pub(crate) fn parse_uris(text: &str) -> Vec<Package> {
    let line = |line: &str| {
        let (url, rest) = line.strip_prefix('\'')?.split_once("' ")?;
        let mut words = rest.split_ascii_whitespace();
        let (file, size, hash) = (words.next()?, words.next()?, words.next()?);
        // NAME_VERSION_ARCHITECTURE.deb, the colon of an epoch as %3a.
        let mut parts = file.strip_suffix(".deb")?.splitn(3, '_');
        Some(Package {
            name: parts.next()?.to_owned(),
            version: parts.next()?.replace("%3a", ":"),
            architecture: parts.next()?.to_owned(),
            sha256: hash.strip_prefix("SHA256:")?.to_owned(),
            size: size.parse().ok()?,
            url: url.to_owned(),
        })
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apt_prints_is_read_with_epochs_and_escapes() {
        let hash = "a".repeat(64);
        let text = format!(
            "Reading package lists...\n\
             'http://deb.debian.org/debian/pool/main/libn/libnginx-mod-http-echo/libnginx-mod-http-echo_0.63-4_amd64.deb' libnginx-mod-http-echo_1%3a0.63-4_amd64.deb 18736 SHA256:{hash}\n\
             'http://x/gcc-12-base_12.2.0-14%2bdeb12u1_amd64.deb' gcc-12-base_12.2.0-14+deb12u1_amd64.deb 37596 SHA256:{hash}\n\
             'http://x/no-hash_1_all.deb' no-hash_1_all.deb 5 \n"
        );
        let found: Vec<String> = parse_uris(&text)
            .iter()
            .map(|p| format!("{} {} {} {}", p.name, p.version, p.architecture, p.size))
            .collect();
        assert_eq!(
            found,
            [
                "libnginx-mod-http-echo 1:0.63-4 amd64 18736",
                "gcc-12-base 12.2.0-14+deb12u1 amd64 37596"
            ]
        );
    }
}
