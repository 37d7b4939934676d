//! `config.json`, read and checked as far as it needs no host.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::create::CreateError;
use super::plan::PlanError;
use super::privileges;
use super::spec::{Spec, VERSION};

/// Properties of the specification that this runtime doesn't carry out.
/// Unknown ones are ignored, as it demands; these would be promises broken.
const NOT_BUILT: [&str; 12] = [
    "/process/scheduler",
    "/process/ioPriority",
    "/process/execCPUAffinity",
    "/linux/intelRdt",
    "/linux/netDevices",
    "/linux/memoryPolicy",
    "/linux/resources/blockIO",
    "/linux/resources/network",
    "/linux/resources/hugepageLimits",
    "/linux/resources/rdma",
    "/linux/mountLabel",
    "/linux/personality/flags",
];

/// A configuration and its text.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) spec: Spec,
    pub(crate) text: Vec<u8>,
}

impl Config {
    /// Reads a configuration.
    pub(crate) fn read(path: &Path) -> Result<Self, CreateError> {
        let text = fs::read(path).map_err(|source| CreateError::Config {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(path, text)
    }

    /// Checks the text of one; `path` is for the words of an error.
    pub(crate) fn parse(path: &Path, text: Vec<u8>) -> Result<Self, CreateError> {
        let syntax = |source| CreateError::Syntax {
            path: path.to_owned(),
            source,
        };
        let spec: Spec = serde_json::from_slice(&text).map_err(syntax)?;
        let whole: Value = serde_json::from_slice(&text).map_err(syntax)?;
        refuse_what_is_not_built(&whole)?;
        let major = spec.oci_version.split('.').next();
        if major != VERSION.split('.').next() {
            return Err(CreateError::Version(spec.oci_version));
        }
        if let Some(process) = &spec.process {
            privileges::check(process)?;
        }
        Ok(Self { spec, text })
    }
}

fn refuse_what_is_not_built(whole: &Value) -> Result<(), PlanError> {
    for pointer in NOT_BUILT {
        if whole
            .pointer(pointer)
            .is_some_and(|value| !says_nothing(value))
        {
            let name = pointer.trim_start_matches('/').replace('/', ".");
            return Err(PlanError::Unsupported(name));
        }
    }
    Ok(())
}

/// Docker writes empty objects and zeroes for what nobody asked for.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.iter().all(says_nothing),
        Value::Object(fields) => fields.values().all(says_nothing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_built_is_refused_by_name_unless_it_says_nothing() {
        let docker = r#"{"linux": {"resources": {"blockIO": {"weight": 0}, "network": {}}}}"#;
        let whole: Value = serde_json::from_str(docker).unwrap();
        assert_eq!(refuse_what_is_not_built(&whole), Ok(()));
        let weighed = r#"{"linux": {"resources": {"blockIO": {"weight": 10}}}}"#;
        let whole: Value = serde_json::from_str(weighed).unwrap();
        assert_eq!(
            refuse_what_is_not_built(&whole).unwrap_err().to_string(),
            "cannot use the configuration: linux.resources.blockIO is not supported"
        );
        let plain = r#"{"linux": {"personality": {"domain": "LINUX32", "flags": []}}}"#;
        let whole: Value = serde_json::from_str(plain).unwrap();
        assert_eq!(refuse_what_is_not_built(&whole), Ok(()));
        let flagged = plain.replace("[]", r#"["ADDR_NO_RANDOMIZE"]"#);
        let whole: Value = serde_json::from_str(&flagged).unwrap();
        assert_eq!(
            refuse_what_is_not_built(&whole).unwrap_err().to_string(),
            "cannot use the configuration: linux.personality.flags is not supported"
        );
    }
}
