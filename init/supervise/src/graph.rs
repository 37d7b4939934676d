//! Who needs whom.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdall_protocol::manifest::{Condition, Service};

use crate::ServiceId;

/// One `depends_on`, seen from either end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edge {
    /// The service at the other end.
    pub(crate) other: ServiceId,
    /// What the dependant waits for.
    pub(crate) condition: Condition,
}

/// The dependencies of a manifest, with services by number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Graph {
    needs: Vec<Vec<Edge>>,
    needed_by: Vec<Vec<Edge>>,
    order: Vec<ServiceId>,
    levels: Vec<i32>,
}

impl Graph {
    /// Takes the dependencies of services. One on a service that is not there is
    /// left out: the manifest's parser refuses it, so that it can only come
    /// from a manifest made by hand.
    pub(crate) fn new(services: &[Arc<Service>]) -> Self {
        let numbered = (0_u32..).map(ServiceId).zip(services);
        let ids: BTreeMap<_, _> = numbered.clone().map(|(id, s)| (&s.name, id)).collect();
        let count = services.len();
        let mut graph = Self {
            needs: vec![Vec::new(); count],
            needed_by: vec![Vec::new(); count],
            order: Vec::new(),
            levels: services.iter().map(|service| service.order).collect(),
        };
        for (id, service) in numbered {
            for dependency in &service.depends_on {
                let Some(&on) = ids.get(&dependency.service) else {
                    continue;
                };
                let condition = dependency.condition;
                if let Some(needs) = graph.needs.get_mut(id.index()) {
                    needs.push(Edge {
                        other: on,
                        condition,
                    });
                }
                if let Some(needed_by) = graph.needed_by.get_mut(on.index()) {
                    needed_by.push(Edge {
                        other: id,
                        condition,
                    });
                }
            }
        }
        graph.order = graph.sorted();
        graph
    }

    /// What a service depends on.
    pub(crate) fn needs(&self, id: ServiceId) -> &[Edge] {
        self.needs.get(id.index()).map_or(&[], Vec::as_slice)
    }

    /// What depends on a service.
    pub(crate) fn needed_by(&self, id: ServiceId) -> &[Edge] {
        self.needed_by.get(id.index()).map_or(&[], Vec::as_slice)
    }

    /// A service's `order`, or the highest of those it depends on where that is
    /// more: what stops it by order then never comes against what stops it by
    /// dependency.
    pub(crate) fn level(&self, id: ServiceId) -> i32 {
        self.levels.get(id.index()).copied().unwrap_or(0)
    }

    /// Every service after all that it depends on, else by `order`, else in the
    /// order of the file.
    pub(crate) fn order(&self) -> &[ServiceId] {
        &self.order
    }

    /// `roots` and everything reached from them by `step`.
    pub(crate) fn closure<'g>(
        &'g self,
        roots: &[ServiceId],
        step: impl Fn(&'g Self, ServiceId) -> &'g [Edge],
    ) -> Vec<ServiceId> {
        let mut seen = vec![false; self.needs.len()];
        let mut found = Vec::new();
        let mut next = roots.to_vec();
        while let Some(id) = next.pop() {
            match seen.get_mut(id.index()) {
                Some(seen) if !*seen => *seen = true,
                Some(_) | None => continue,
            }
            found.push(id);
            next.extend(step(self, id).iter().map(|edge| edge.other));
        }
        found
    }

    /// A topological order (Kahn's), the lowest `order` and then the smallest
    /// number first among those that could come next; the levels, which began
    /// as each service's own order, are worked out on the way. Services on a cycle, which only a manifest made
    /// by hand can have, come last.
    fn sorted(&mut self) -> Vec<ServiceId> {
        let mut open: Vec<usize> = self.needs.iter().map(Vec::len).collect();
        let free = open.iter().zip(0_u32..).filter(|(open, _)| **open == 0);
        let mut next: std::collections::BTreeSet<(i32, ServiceId)> = free
            .map(|(_, id)| (self.level(ServiceId(id)), ServiceId(id)))
            .collect();
        let mut order = Vec::with_capacity(open.len());
        while let Some((level, id)) = next.pop_first() {
            order.push(id);
            let dependants = self.needed_by.get(id.index()).into_iter().flatten();
            for edge in dependants {
                if let Some(own) = self.levels.get_mut(edge.other.index()) {
                    *own = level.max(*own);
                }
                let Some(open) = open.get_mut(edge.other.index()) else {
                    continue;
                };
                *open = open.saturating_sub(1);
                if *open == 0 {
                    let level = self.levels.get(edge.other.index()).copied();
                    next.insert((level.unwrap_or(0), edge.other));
                }
            }
        }
        let cyclic = open.iter().zip(0_u32..).filter(|(open, _)| **open > 0);
        order.extend(cyclic.map(|(_, id)| ServiceId(id)));
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdall_protocol::{Manifest, Reader};

    fn graph(text: &str) -> Graph {
        let manifest = Manifest::from_toml(text, Reader::Init).expect("well-formed");
        Graph::new(&manifest.services)
    }

    fn ids(list: &[u32]) -> Vec<ServiceId> {
        list.iter().copied().map(ServiceId).collect()
    }

    #[test]
    fn services_come_by_order_and_after_what_they_depend_on_whatever_its_order() {
        let text = "
            [service.last]
            command = 'l'
            order = 9
            [service.low]
            command = 'd'
            order = -5
            depends_on = ['last']
            [service.second]
            command = 's'
            [service.first]
            command = 'f'
            order = -1
        ";
        let graph = graph(text);
        assert_eq!(graph.order(), ids(&[3, 2, 0, 1]));
        let levels = [0, 1, 2, 3].map(|id| graph.level(ServiceId(id)));
        assert_eq!(levels, [9, 9, 0, -1]);
    }

    const CHAIN: &str = "
        [service.web]
        command = 'w'
        depends_on = ['app']
        [service.redis]
        command = 'r'
        [service.app]
        command = 'a'
        depends_on = ['redis']
    ";

    #[test]
    fn services_come_after_what_they_depend_on() {
        assert_eq!(graph(CHAIN).order(), ids(&[1, 2, 0]));
    }

    #[test]
    fn services_without_dependencies_keep_the_order_of_the_file() {
        let text = "[service.b]\ncommand='b'\n[service.a]\ncommand='a'";
        assert_eq!(graph(text).order(), ids(&[0, 1]));
    }

    #[test]
    fn a_closure_has_everything_that_is_reached_once() {
        let graph = graph(CHAIN);
        let mut below = graph.closure(&ids(&[0]), Graph::needs);
        below.sort();
        assert_eq!(below, ids(&[0, 1, 2]));
        assert_eq!(graph.closure(&ids(&[0, 0]), Graph::needed_by), ids(&[0]));
    }

    /// The parser refuses it, but no order may lose a service.
    #[test]
    fn services_on_a_cycle_come_last_by_number() {
        let text = format!("{CHAIN}\n[service.cron]\ncommand='c'");
        let mut manifest = Manifest::from_toml(&text, Reader::Init).expect("well-formed");
        // web needs app, app needs redis, and now redis needs app.
        let on_app = manifest.services[0].depends_on[0].clone();
        Arc::make_mut(&mut manifest.services[1])
            .depends_on
            .push(on_app);
        assert_eq!(Graph::new(&manifest.services).order(), ids(&[3, 0, 1, 2]));
    }
}
