//! What a configuration may ask for.

use super::PlanError;
use crate::oci::spec::{Namespace, NamespaceType, Spec};

/// What changes a namespace needs one that isn't the host's.
pub(super) fn owned(
    spec: &Spec,
    kind: NamespaceType,
    property: &'static str,
) -> Result<(), PlanError> {
    spec.namespace(kind)
        .map(drop)
        .ok_or_else(|| PlanError::Invalid {
            property,
            value: "set without a namespace of its own".to_owned(),
        })
}

pub(super) fn refuse_what_is_not_built(spec: &Spec) -> Result<(), PlanError> {
    let unsupported = |text: &str| Err(PlanError::Unsupported(text.to_owned()));
    if let Some(process) = &spec.process {
        if process
            .apparmor_profile
            .as_ref()
            .is_some_and(|name| !name.is_empty())
        {
            return unsupported("process.apparmorProfile");
        }
        if process
            .selinux_label
            .as_ref()
            .is_some_and(|label| !label.is_empty())
        {
            return unsupported("process.selinuxLabel");
        }
    }
    if spec
        .namespace(NamespaceType::User)
        .is_some_and(|user| user.path.is_some())
    {
        return unsupported("joining a user namespace at create");
    }
    Ok(())
}

/// A second entry of one type would be a promise broken silently
/// (config-linux.md, *Namespaces*).
pub(super) fn no_namespace_twice(namespaces: &[Namespace]) -> Result<(), PlanError> {
    let mut rest = namespaces;
    while let Some((namespace, others)) = rest.split_first() {
        if others.iter().any(|other| other.kind == namespace.kind) {
            return Err(PlanError::Twice {
                property: "linux.namespaces",
                value: format!("{:?}", namespace.kind).to_lowercase(),
            });
        }
        rest = others;
    }
    Ok(())
}

/// Only parameters of the container's own namespaces may be set. The name is
/// an allow-listed key of letters, digits and separators: no `..`, no second
/// assignment smuggled in (CVE-2022-0811).
pub(super) fn check_sysctls(spec: &Spec) -> Result<(), PlanError> {
    let Some(linux) = &spec.linux else {
        return Ok(());
    };
    for (key, value) in &linux.sysctl {
        let invalid = || PlanError::Invalid {
            property: "linux.sysctl",
            value: format!("{key}={value}"),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        if !key.chars().all(plain) || key.contains("..") || value.contains(['\n', '\0']) {
            return Err(invalid());
        }
        let kind = if key.starts_with("net.") || key.starts_with("net/") {
            NamespaceType::Network
        } else if key.starts_with("fs.mqueue.")
            || [
                "kernel.msgmax",
                "kernel.msgmnb",
                "kernel.msgmni",
                "kernel.sem",
                "kernel.shmall",
            ]
            .contains(&key.as_str())
            || ["kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"].contains(&key.as_str())
        {
            NamespaceType::Ipc
        } else {
            return Err(invalid());
        };
        if spec.namespace(kind).is_none() {
            return Err(invalid());
        }
    }
    Ok(())
}

/// personality(2)'s number of a name.
pub(super) fn domain(name: &str) -> Result<u64, PlanError> {
    match name {
        "LINUX" => Ok(0),
        "LINUX32" => Ok(8),
        other => Err(PlanError::Invalid {
            property: "linux.personality.domain",
            value: other.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::{Plan, PlanError, Step, Surroundings, plan};
    use crate::oci::{defaults, spec::Spec};

    /// Plans the default configuration with one object's properties changed.
    fn planned(object: &str, properties: &Value) -> Result<Plan, PlanError> {
        let mut config = serde_json::to_value(defaults::spec()).unwrap();
        for (name, value) in properties.as_object().unwrap() {
            config.pointer_mut(object).unwrap()[name] = value.clone();
        }
        let spec: Spec = serde_json::from_value(config).unwrap();
        plan(&spec, &Surroundings::default())
    }

    #[test]
    fn what_is_not_built_is_refused_by_name_and_an_empty_name_asks_for_nothing() {
        let label = "system_u:system_r:svirt_lxc_net_t:s0:c124,c675";
        let joined = json!([{"type": "mount"}, {"type": "user", "path": "/proc/1/ns/user"}]);
        let own = json!([{"type": "mount"}, {"type": "user"}]);
        let cases = [
            (
                "/process",
                json!({"apparmorProfile": "acme"}),
                Some("process.apparmorProfile"),
            ),
            ("/process", json!({"apparmorProfile": ""}), None),
            (
                "/process",
                json!({"selinuxLabel": label}),
                Some("process.selinuxLabel"),
            ),
            ("/process", json!({"selinuxLabel": ""}), None),
            (
                "/linux",
                json!({"namespaces": joined}),
                Some("joining a user namespace at create"),
            ),
            ("/linux", json!({"namespaces": own}), None),
        ];
        for (object, properties, refused) in cases {
            let refused = refused.map(|what| PlanError::Unsupported(what.to_owned()));
            assert_eq!(planned(object, &properties).err(), refused, "{properties}");
        }
    }

    #[test]
    fn a_namespace_may_be_asked_for_once_whether_made_or_joined() {
        let joined = |kind: &str| json!({"type": kind, "path": format!("/proc/1/ns/{kind}")});
        let made = |kind: &str| json!({"type": kind});
        for kind in [
            "pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time",
        ] {
            let once = json!({"namespaces": [made("mount")]});
            assert_eq!(planned("/linux", &once).err(), None);
            let text = format!(
                "cannot use the configuration: linux.namespaces has {kind:?} twice, keep one"
            );
            for twice in [[made(kind), made(kind)], [made(kind), joined(kind)]] {
                let mut namespaces = twice.to_vec();
                if kind != "mount" {
                    namespaces.insert(1, made("mount"));
                }
                let config = json!({"namespaces": namespaces});
                let refused = planned("/linux", &config).unwrap_err().to_string();
                assert_eq!(refused, text, "{config}");
            }
        }
    }

    /// Parameters that a container's own namespace has a copy of
    /// (network_namespaces(7), ipc_namespaces(7)), by that namespace. Between
    /// slashes a name may have dots of its own (sysctl(8)).
    const OF_A_NAMESPACE: [(&str, &str); 12] = [
        ("network", "net.ipv4.ip_forward"),
        ("network", "net.core.somaxconn"),
        ("network", "net/ipv4/conf/eth0.100/forwarding"),
        ("ipc", "fs.mqueue.msg_max"),
        ("ipc", "kernel.msgmax"),
        ("ipc", "kernel.msgmnb"),
        ("ipc", "kernel.msgmni"),
        ("ipc", "kernel.sem"),
        ("ipc", "kernel.shmall"),
        ("ipc", "kernel.shmmax"),
        ("ipc", "kernel.shmmni"),
        ("ipc", "kernel.shm_rmid_forced"),
    ];

    #[test]
    fn a_sysctl_is_set_where_the_namespace_that_has_it_is_not_the_host_s() {
        for (owner, key) in OF_A_NAMESPACE {
            for kind in ["network", "ipc"] {
                let namespaces = json!([{"type": "mount"}, {"type": kind}]);
                let config = json!({"namespaces": namespaces, "sysctl": {key: "1"}});
                let set = planned("/linux", &config).map(|plan| {
                    let pairs = [(key.to_owned(), "1".to_owned())];
                    plan.steps.contains(&Step::SetSysctls(pairs.into()))
                });
                let refused = PlanError::Invalid {
                    property: "linux.sysctl",
                    value: format!("{key}=1"),
                };
                let expected = if kind == owner {
                    Ok(true)
                } else {
                    Err(refused)
                };
                assert_eq!(set, expected, "{key} with its own {kind} namespace");
            }
        }
    }

    #[test]
    fn a_sysctl_of_the_host_and_one_that_smuggles_another_are_refused() {
        for (key, value) in [
            // No namespace has them.
            ("kernel.core_pattern", "|/bin/sh"),
            ("kernel.panic", "1"),
            ("vm.swappiness", "0"),
            ("fs.file-max", "1"),
            // Neither has what only begins alike.
            ("net", "1"),
            ("network.x", "1"),
            ("fs.mqueues", "1"),
            ("kernel.semaphore", "1"),
            // A second assignment in the name (CVE-2022-0811), or in the value.
            ("net.ipv4.ip_forward=1\nkernel.core_pattern", "|/bin/sh"),
            ("net.ipv4.ip_forward+kernel.core_pattern", "|/bin/sh"),
            ("net.ipv4.ip forward", "1"),
            ("net.ipv4.ip_forward", "1\nkernel.core_pattern=|/bin/sh"),
            ("net.ipv4.ip_forward", "1\0"),
            // Out of the tree that was looked at.
            ("net/../kernel/core_pattern", "|/bin/sh"),
            ("net..ipv4.ip_forward", "1"),
        ] {
            let refused = PlanError::Invalid {
                property: "linux.sysctl",
                value: format!("{key}={value}"),
            };
            let config = json!({"sysctl": {key: value}});
            assert_eq!(planned("/linux", &config), Err(refused));
        }
    }

    #[test]
    fn an_execution_domain_is_the_kernel_s_number_of_its_name() {
        // <linux/personality.h>: PER_LINUX, PER_LINUX32.
        for (name, number) in [("LINUX", 0x0000), ("LINUX32", 0x0008)] {
            let plan = planned("/linux", &json!({"personality": {"domain": name}})).unwrap();
            assert!(plan.steps.contains(&Step::SetPersonality(number)), "{name}");
        }
        for name in ["", "linux32", "PER_LINUX32", "SVR4"] {
            let refused = PlanError::Invalid {
                property: "linux.personality.domain",
                value: name.to_owned(),
            };
            let config = json!({"personality": {"domain": name}});
            assert_eq!(planned("/linux", &config), Err(refused));
        }
    }
}
