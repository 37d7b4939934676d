//! `holdall-runtime`: the OCI runtime that docker, podman and containerd call.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    holdall_runtime::main()
}
