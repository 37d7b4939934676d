//! Where the values of services stand in the file, for errors that are found
//! only when the image is there.

use std::collections::BTreeMap;
use std::ops::Range;

use holdall_protocol::decode::{Table, Value};

/// The place of every value below `[service.NAME]`, by `NAME` and key.
#[derive(Debug, Default)]
pub(crate) struct Places {
    services: BTreeMap<String, Service>,
}

#[derive(Debug, Default)]
struct Service {
    name: Range<usize>,
    keys: BTreeMap<String, Range<usize>>,
}

impl Places {
    /// Of the table `service`.
    pub(crate) fn read(table: Table<'_>) -> Self {
        let services = table.entries().into_iter().map(|service| {
            let values = service.as_table().map(Table::entries).unwrap_or_default();
            let place = |value: Value<'_>| (value.key().to_owned(), value.span());
            let keys = values.into_iter().map(place).collect();
            (
                service.key().to_owned(),
                Service {
                    name: service.key_span(),
                    keys,
                },
            )
        });
        Self {
            services: services.collect(),
        }
    }

    /// Of one key of a service; of the service where it has no such key.
    pub(crate) fn of(&self, service: &str, key: &str) -> Range<usize> {
        let Some(service) = self.services.get(service) else {
            return 0..0;
        };
        service.keys.get(key).unwrap_or(&service.name).clone()
    }
}
