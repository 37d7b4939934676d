//! A small image for stories that need no Debian: busybox and shell scripts.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::env::Env;

/// `[image]` of a busybox system made from the machine's own static busybox;
/// services follow.
pub(crate) const IMAGE: &str = r#"
[image]
from = "scratch"
copy = [
  { from = "busybox", to = "/bin/busybox" },
  { from = "busybox", to = "/bin/sh" },
  { from = "etc/", to = "/etc/" },
]
run = ["/bin/busybox --install -s /bin && mkdir -p /tmp /data /run && chmod 1777 /tmp"]
"#;

/// A project named `name` with the small image and these services.
#[must_use]
pub(crate) fn project(env: &Env, name: &str, services: &str) -> PathBuf {
    let dir = env.project(name, &format!("name = \"{name}\"\n{IMAGE}\n{services}"));
    fill(&dir);
    dir
}

/// Puts the files of [`IMAGE`] beside a holdall.toml.
pub(crate) fn fill(dir: &std::path::Path) {
    fs::copy("/bin/busybox", dir.join("busybox")).expect("busybox-static is installed");
    fs::set_permissions(dir.join("busybox"), fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::create_dir_all(dir.join("etc")).expect("a folder below the root");
    let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:101:101:web:/tmp:/bin/sh\n";
    fs::write(dir.join("etc/passwd"), passwd).expect("a file below the root");
    fs::write(dir.join("etc/group"), "root:x:0:\nweb:x:101:\n").expect("a file below the root");
}

/// Builds it; the image is then called `name`.
pub(crate) fn build(env: &Env, name: &str, services: &str) {
    let dir = project(env, name, services);
    let _built = env.run(["build".as_ref(), dir.as_os_str()]).ok();
}
