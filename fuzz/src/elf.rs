//! Programs of an image, looked at before it is tagged.

use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;

use holdall_builder::fuzzing;

pub(crate) fn run(data: &[u8]) {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(data).expect("room for it");
    let Some(needs) = fuzzing::elf(&file) else {
        return;
    };
    assert!(data.starts_with(b"\x7fELF"));
    let names = needs.interpreter.iter().chain(&needs.libraries);
    for name in names {
        let bytes = name.as_os_str().as_bytes();
        assert!(bytes.len() <= 4096 && !bytes.contains(&0), "a name is one");
        let there = data
            .windows(bytes.len().max(1))
            .any(|window| window == bytes);
        assert!(there || bytes.is_empty(), "a name that is not in the file");
    }
}
