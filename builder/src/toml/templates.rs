//! Where templates come from: those of the context are copied to where init
//! looks for them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use holdall_protocol::Manifest;

use super::Places;
use super::image::{At, Copy};

/// A relative `from` starts here in an image: beside the file that init reads.
pub(crate) const FOLDER: &str = "/etc";

/// What is to be copied for the relative `from`s of all services, under every
/// profile, each once.
pub(super) fn copies(manifest: &Manifest, places: &Places) -> Vec<Copy> {
    let mut seen = BTreeSet::new();
    let mut copies = Vec::new();
    for manifest in under_each_profile(manifest) {
        for service in &manifest.services {
            for template in &service.templates {
                let from = &template.from;
                if from.starts_with('/') || !seen.insert(from.clone()) {
                    continue;
                }
                let span = places.of(service.name.service(), "templates");
                copies.push(Copy {
                    from: At {
                        value: PathBuf::from(from),
                        span: span.clone(),
                    },
                    to: At {
                        value: format!("{FOLDER}/{from}"),
                        span,
                    },
                    owner: None,
                    mode: None,
                });
            }
        }
    }
    copies
}

/// A manifest without a profile and under each that it has, with every instance
/// by itself.
pub(crate) fn under_each_profile(manifest: &Manifest) -> Vec<Manifest> {
    let listed = manifest
        .services
        .iter()
        .flat_map(|service| &service.profiles);
    let names: BTreeSet<&str> = manifest
        .profiles
        .keys()
        .chain(listed)
        .map(String::as_str)
        .collect();
    let profiles = std::iter::once(None).chain(names.into_iter().map(Some));
    // Each of these names is known, so none is refused.
    let chosen = profiles.filter_map(|profile| manifest.for_profile(profile).ok());
    chosen.map(|manifest| manifest.expanded()).collect()
}
