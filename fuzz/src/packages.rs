//! What Debian's tools and files say, and the lock that is kept of it.

use holdall_builder::{Lock, fuzzing};

pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for package in fuzzing::uris(&text) {
        assert!(!package.name.contains('_') && !package.url.contains("' "));
    }
    for (address, suite) in fuzzing::sources(&text) {
        assert!(address.starts_with("http"));
        assert!(!address.contains(char::is_whitespace) && !suite.contains(char::is_whitespace));
    }
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), data).expect("room for it");
    if fuzzing::package_time(file.path()).is_ok() {
        assert!(data.starts_with(b"!<arch>\n"));
    }
    if let Ok(lock) = Lock::from_toml(&text) {
        let written = lock.to_toml();
        let read = Lock::from_toml(&written).expect("what we wrote is read");
        assert_eq!(read.to_toml(), written);
        assert_eq!(read.digest(), lock.digest());
        for package in &lock.packages {
            assert!(!package.name.contains(['/', '.', '\n']) || !package.name.starts_with('.'));
            assert_eq!(package.sha256.len(), 64, "it becomes a file name");
        }
    }
}
