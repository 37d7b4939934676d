//! One profile laid over a manifest.

use std::sync::Arc;

use super::Manifest;
use crate::suggest;

/// No profile of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no profile is named `{name}`{}", .near.as_ref().map(|n| format!(": did you mean `{n}`?")).unwrap_or_default())]
pub struct UnknownProfile {
    /// What was asked for.
    pub name: String,
    /// A profile that was probably meant.
    pub near: Option<String>,
}

impl Manifest {
    /// What is there under a profile, or without one: the services that are
    /// not, dropped; the profile's variables laid over those of each service.
    /// The result has no profiles left.
    ///
    /// # Errors
    /// The file has no `[profile.NAME]`, and no service lists it.
    pub fn for_profile(&self, profile: Option<&str>) -> Result<Self, UnknownProfile> {
        let mut chosen = Self {
            profiles: std::collections::BTreeMap::new(),
            ..self.clone()
        };
        let overlay = profile.and_then(|name| self.profiles.get(name));
        if let Some(name) = profile
            && !self.profile_names().any(|known| known == name)
        {
            let near = suggest::closest(name, self.profile_names()).map(str::to_owned);
            return Err(UnknownProfile {
                name: name.to_owned(),
                near,
            });
        }
        chosen.services.retain(|service| {
            let listed = service
                .profiles
                .iter()
                .any(|name| Some(name.as_str()) == profile);
            service.profiles.is_empty() || listed
        });
        for service in &mut chosen.services {
            if overlay.is_none() && service.profiles.is_empty() {
                continue;
            }
            let service = Arc::make_mut(service);
            if let Some(overlay) = overlay {
                let own = overlay.services.get(&service.name);
                if let Some(own) = own {
                    *service = own.service.clone();
                }
                service.env.extend(overlay.env.clone());
                service
                    .env
                    .extend(own.map(|own| own.env.clone()).unwrap_or_default());
            }
            service.profiles.clear();
        }
        Ok(chosen)
    }

    fn profile_names(&self) -> impl Iterator<Item = &str> {
        let listed = self.services.iter().flat_map(|service| &service.profiles);
        self.profiles.keys().chain(listed).map(String::as_str)
    }
}
