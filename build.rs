//! Builds the static init and hands its path to the command, which carries its
//! bytes inside itself (`src/init.rs`).
//!
//! The nested build has its own target folder, so it never waits for the lock
//! of the outer one, and its own flags, so that RUSTFLAGS in the environment
//! can make the command dynamic but never the init: an image may hold no libc.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use sha2::{Digest as _, Sha256};

fn main() {
    let root = PathBuf::from(env_of("CARGO_MANIFEST_DIR"));
    let crates = [
        "init",
        "init/protocol",
        "init/supervise",
        "init/supervisord",
    ];
    let of_crates = crates
        .iter()
        .flat_map(|name| [format!("{name}/src"), format!("{name}/Cargo.toml")]);
    let files = [
        "Cargo.toml",
        "Cargo.lock",
        "build.rs",
        "init/build.rs",
        "init/size.ld",
    ];
    let of_workspace = files.map(str::to_owned);
    for input in of_crates.chain(of_workspace) {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    let triple = env_of("TARGET");
    let target_dir = nested_target_dir(Path::new(&env_of("OUT_DIR")));
    let status = Command::new(env_of("CARGO"))
        .args([
            "build",
            "--package",
            "holdall-init",
            "--bin",
            "holdall-init",
        ])
        .args(["--profile", "init", "--target", &triple, "--target-dir"])
        .arg(&target_dir)
        .current_dir(&root)
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static")
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTC_WRAPPER")
        .status()
        .unwrap_or_else(|error| panic!("cannot start cargo for the init: {error}"));
    assert!(
        status.success(),
        "cannot build the init: cargo ended with {status}"
    );
    let init = target_dir.join(&triple).join("init").join("holdall-init");
    let bytes =
        fs::read(&init).unwrap_or_else(|error| panic!("cannot read {}: {error}", init.display()));
    assert!(
        is_static(&bytes),
        "{} has an ELF interpreter: it would not start in an image without that libc",
        init.display()
    );
    assert!(
        triple != env_of("HOST") || starts(&init),
        "{} does not start: the C library may be older than its link options (init/build.rs)",
        init.display()
    );
    println!("cargo::rustc-env=HOLDALL_INIT={}", init.display());
    let digest: String = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    println!("cargo::rustc-env=HOLDALL_INIT_SHA256={digest}");
}

/// Whether a program of this machine runs.
fn starts(program: &Path) -> bool {
    let version = Command::new(program).arg("--version").output();
    version.is_ok_and(|output| output.status.success())
}

#[expect(
    clippy::disallowed_methods,
    reason = "cargo's variables are a build script's arguments"
)]
fn env_of(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo did not set {name}"))
}

/// `TARGET_DIR/init-build`: beside the folder of the profile, so that debug
/// and release share one init.
fn nested_target_dir(out_dir: &Path) -> PathBuf {
    let marked = out_dir
        .ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").exists());
    marked.unwrap_or(out_dir).join("init-build")
}

/// Whether a 64-bit little-endian ELF file asks for no interpreter (has no
/// PT_INTERP program header, ELF specification, part 2).
fn is_static(elf: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let word = |at: usize, len: usize| -> Option<u64> {
        let bytes = elf.get(at..at + len)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |value, byte| (value << 8) | u64::from(*byte)),
        )
    };
    let read = || -> Option<bool> {
        let table = usize::try_from(word(32, 8)?).ok()?;
        let entry = usize::try_from(word(54, 2)?).ok()?;
        let count = usize::try_from(word(56, 2)?).ok()?;
        for index in 0..count {
            if word(table + index * entry, 4)? == u64::from(PT_INTERP) {
                return Some(false);
            }
        }
        Some(true)
    };
    read().unwrap_or_else(|| panic!("the init is no ELF file"))
}
