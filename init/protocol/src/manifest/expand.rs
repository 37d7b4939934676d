//! Services with `instances`, as so many services.

use std::sync::Arc;

use super::{Dependency, Dialect, Manifest, Probe, Reload, Service};
use crate::ServiceName;

/// What stands for the number of an instance, in its texts.
const VARIABLE: &str = "${INSTANCE}";

impl Manifest {
    /// The services, to be changed: one that is shared is copied first.
    pub fn services_mut(&mut self) -> impl Iterator<Item = &mut Service> {
        self.services.iter_mut().map(Arc::make_mut)
    }

    /// Each service with `instances` as that many, named `NAME@1` and so on,
    /// with `${INSTANCE}` filled in; who depends on it depends on each. The
    /// sockets of `listen` are the same for all of them, by their names. What
    /// this changes nothing about is shared with this manifest.
    #[must_use]
    pub fn expanded(&self) -> Self {
        let count = |name: &ServiceName| {
            let service = self.services.iter().find(|service| service.name == *name);
            service.and_then(|service| service.instances)
        };
        let mut services = Vec::with_capacity(self.services.len());
        for service in &self.services {
            let mut service = Arc::clone(service);
            if service
                .depends_on
                .iter()
                .any(|need| count(&need.service).is_some())
            {
                let service = Arc::make_mut(&mut service);
                for need in std::mem::take(&mut service.depends_on) {
                    let Some(count) = count(&need.service) else {
                        service.depends_on.push(need);
                        continue;
                    };
                    let each = (1..=count).map(|number| Dependency {
                        service: need.service.instance(number),
                        condition: need.condition,
                    });
                    service.depends_on.extend(each);
                }
            }
            match service.instances {
                None => services.push(service),
                Some(count) => {
                    services.extend((1..=count).map(|number| service.numbered(number).into()));
                }
            }
        }
        Self {
            services,
            ..self.clone()
        }
    }
}

impl Service {
    /// The instance of this number.
    fn numbered(&self, number: u32) -> Self {
        let mut instance = self.clone();
        instance.name = self.name.instance(number);
        // How many there are says nothing about one of them.
        instance.instances = None;
        let fill = |text: &mut String| {
            if text.contains(VARIABLE) {
                *text = text.replace(VARIABLE, &number.to_string());
            }
        };
        let commands = [
            Some(&mut instance.command),
            instance.stop.command.as_mut(),
            match &mut instance.reload {
                Some(Reload::Command(words)) => Some(words),
                Some(Reload::Signal(_)) | None => None,
            },
            match instance.health.as_mut().map(|health| &mut health.probe) {
                Some(Probe::Exec(words)) => Some(words),
                Some(Probe::Tcp(_) | Probe::Http(_) | Probe::File(_)) | None => None,
            },
        ];
        commands.into_iter().flatten().flatten().for_each(fill);
        if let Some(Dialect::Asked(Probe::Exec(words))) =
            instance.ready.as_mut().map(|ready| &mut ready.by)
        {
            words.iter_mut().for_each(fill);
        }
        instance.env.values_mut().for_each(fill);
        fill(&mut instance.dir);
        instance
            .env_files
            .iter_mut()
            .for_each(|file| fill(&mut file.path));
        for template in &mut instance.templates {
            fill(&mut template.from);
            fill(&mut template.to);
        }
        if let Some(file) = &mut instance.log.file {
            fill(&mut file.path);
        }
        instance
    }
}
