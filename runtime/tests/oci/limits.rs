//! Limits that bite, under whichever version of cgroups the host has.

use holdall_runtime::oci::spec::{CpuLimits, MemoryLimits, Rlimit};

use crate::Test;
use crate::fixture::Bundle;

pub(crate) const TESTS: &[Test] = &[
    ("who takes more memory than allowed is killed", memory),
    ("who takes more time than allowed is throttled", cpu),
    (
        "a hard resource limit is raised where the host may, and refused elsewhere",
        raised,
    ),
];

fn memory() {
    let mut bundle = Bundle::new();
    let resources = bundle.linux().resources.get_or_insert_default();
    resources.memory = Some(MemoryLimits {
        limit: Some(16 << 20),
        ..MemoryLimits::default()
    });
    let output = bundle
        .script("all=$(head -c 100000000 /dev/zero | tr '\\0' x); echo survived")
        .run();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(137), "{errors}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

fn cpu() {
    let mut bundle = Bundle::new();
    let resources = bundle.linux().resources.get_or_insert_default();
    resources.cpu = Some(CpuLimits {
        // A tenth of one processor.
        quota: Some(10_000),
        period: Some(100_000),
        ..CpuLimits::default()
    });
    // It runs until it has been throttled.
    let printed = bundle
        .script(
            "cd /sys/fs/cgroup; [ -e cpu.stat ] || cd cpu; \
             until grep -q 'nr_throttled [1-9]' cpu.stat; do :; done; echo throttled",
        )
        .printed();
    assert_eq!(printed, "throttled\n");
}

fn raised() {
    let mut bundle = Bundle::new();
    bundle.process().rlimits = vec![Rlimit {
        kind: "RLIMIT_NOFILE".into(),
        hard: 512,
        soft: 512,
    }];
    bundle.script("ulimit -H -n").write();
    // The runtime itself is allowed less than that.
    let runtime = bundle.runtime("run");
    let script = "ulimit -n 256; exec -a holdall-runtime \"$0\" \"$@\"";
    let output = std::process::Command::new("bash")
        .args(["-c", script])
        .arg(runtime.get_program())
        .args(runtime.get_args())
        .arg("-b")
        .arg(bundle.dir.path())
        .arg(&bundle.id)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let able = caps::has_cap(
        None,
        caps::CapSet::Effective,
        caps::Capability::CAP_SYS_RESOURCE,
    );
    if able.unwrap() {
        assert_eq!(String::from_utf8_lossy(&output.stdout), "512\n", "{errors}");
    } else {
        assert!(!output.status.success());
        assert!(
            errors.contains("cannot set RLIMIT_NOFILE to 512"),
            "{errors}"
        );
    }
}
