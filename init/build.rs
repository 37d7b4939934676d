//! Link options of the small build (`--profile init`): what stays out of a PID 1
//! that every image carries. docs/init-size.md has what each part costs.

use std::env;

#[expect(
    clippy::disallowed_methods,
    reason = "cargo's variables are a build script's arguments"
)]
fn main() {
    println!("cargo::rerun-if-changed=size.ld");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(small)");
    // Only that profile optimises for size. Elsewhere a panic unwinds, and a
    // person may want to see through which calls.
    if env::var("OPT_LEVEL").as_deref() != Ok("s") {
        return;
    }
    let dir = env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| ".".to_owned());
    let options = [
        // One bit a relocation instead of 24 bytes (glibc 2.36, lld, binutils 2.38).
        "-Wl,-z,pack-relative-relocs".to_owned(),
        "-Wl,--no-eh-frame-hdr".to_owned(),
        "-Wl,--build-id=none".to_owned(),
        "-Wl,--icf=all".to_owned(),
        "-Wl,-O2".to_owned(),
        format!("{dir}/size.ld"),
    ];
    for option in options {
        println!("cargo::rustc-link-arg-bins={option}");
    }
    // What stands in for parts of the C library, where that is in the program
    // itself: src/sys/stand_ins.rs.
    let is =
        |name: &str, value: &str| env::var(name).is_ok_and(|v| v.split(',').any(|v| v == value));
    let known = ["x86_64", "aarch64"]
        .iter()
        .any(|arch| is("CARGO_CFG_TARGET_ARCH", arch));
    if known && is("CARGO_CFG_TARGET_ENV", "gnu") && is("CARGO_CFG_TARGET_FEATURE", "crt-static") {
        println!("cargo::rustc-cfg=small");
    }
}
