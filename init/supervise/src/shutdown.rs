//! The ordered stop of the whole box: when everything must be over, and how
//! much of that time each service gets.

use holdall_protocol::Millis;

use crate::graph::Graph;
use crate::{ServiceId, Timestamp};

/// Kept back from the bound, so that init is gone inside it: what is left is
/// killed, reaped and told of in this time. A scan of /proc for stragglers
/// takes some 20 ms for a hundred processes.
const RESERVE: Millis = Millis(500);

/// The shortest bound, whatever the manifest says: less would not even suffice
/// for the kills.
const SHORTEST: Millis = Millis(500);

/// An ordered stop that is under way.
#[derive(Debug, Clone)]
pub(crate) struct Shutdown {
    /// The box's exit code.
    pub(crate) code: u8,
    /// Nothing of the box itself made it stop, so that the foreground
    /// command's code is the box's.
    pub(crate) foreground_decides: bool,
    /// It was asked for from outside; asked again, it is made immediate. A
    /// stop that the box began by itself is not hurried by the first request.
    pub(crate) asked: bool,
    /// Everything left is killed then; none once that was done.
    pub(crate) kill_at: Option<Timestamp>,
    /// Init is gone then, whatever is left.
    pub(crate) exit_at: Timestamp,
    /// For each service, the stop timeouts of the longest chain that has to
    /// stop after it, those of lower `order` included.
    below: Vec<Millis>,
}

impl Shutdown {
    /// Plans a stop that begins now and ends within `bound`. `timeout` is a
    /// service's own stop timeout, zero where it has no process.
    pub(crate) fn plan(
        now: Timestamp,
        bound: Millis,
        code: u8,
        graph: &Graph,
        timeout: impl Fn(ServiceId) -> Millis,
    ) -> Self {
        let bound = bound.max(SHORTEST);
        let reserve = RESERVE.min(Millis(bound.0 / 4));
        let mut below = vec![Millis::ZERO; graph.order().len()];
        // The longest chain of all so far, and of those of a lower order.
        let (mut longest, mut lower, mut level) = (0, 0, None);
        for &id in graph.order() {
            if level.replace(graph.level(id)) != Some(graph.level(id)) {
                lower = longest;
            }
            let chain = |on: ServiceId| {
                let after = below.get(on.index()).map_or(0, |span| span.0);
                after.saturating_add(timeout(on).0)
            };
            let needs = graph.needs(id).iter().map(|edge| chain(edge.other)).max();
            let after = needs.unwrap_or(0).max(lower);
            if let Some(slot) = below.get_mut(id.index()) {
                *slot = Millis(after);
            }
            longest = longest.max(after.saturating_add(timeout(id).0));
        }
        Self {
            code,
            foreground_decides: false,
            asked: false,
            kill_at: Some(now + Millis(bound.0 - reserve.0)),
            exit_at: now + bound,
            below,
        }
    }

    /// How long a service that is told to stop now may take: its own timeout,
    /// or its share of what is left where its chain would take longer.
    pub(crate) fn share(&self, now: Timestamp, id: ServiceId, timeout: Millis) -> Millis {
        let Some(kill_at) = self.kill_at else {
            return Millis::ZERO;
        };
        let left = kill_at.since(now);
        let below = self.below.get(id.index()).map_or(0, |span| span.0);
        let chain = timeout.0.saturating_add(below);
        if chain <= left.0 {
            return timeout;
        }
        // The product of two spans of up to a year overflows 64 bits.
        let share = u128::from(left.0) * u128::from(timeout.0) / u128::from(chain.max(1));
        Millis(u64::try_from(share).unwrap_or(left.0))
    }

    /// No more time is given: everything is to be killed now.
    pub(crate) fn hurry(&mut self, now: Timestamp) {
        self.kill_at = None;
        self.exit_at = self.exit_at.min(now + RESERVE);
    }

    /// When to hear of the time.
    pub(crate) fn timer(&self) -> Timestamp {
        self.kill_at.unwrap_or(self.exit_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdall_protocol::{Manifest, Reader};

    const CHAIN: &str = "
        [service.redis]
        command = 'r'
        [service.app]
        command = 'a'
        depends_on = ['redis']
        [service.web]
        command = 'w'
        depends_on = ['app']
    ";

    fn plan(bound: u64, timeout: u64) -> Shutdown {
        let manifest = Manifest::from_toml(CHAIN, Reader::Init).expect("well-formed");
        let graph = Graph::new(&manifest.services);
        Shutdown::plan(Timestamp(0), Millis(bound), 0, &graph, |_| Millis(timeout))
    }

    #[test]
    fn a_chain_that_fits_keeps_its_own_timeouts() {
        let plan = plan(9000, 2000);
        assert_eq!(
            plan.share(Timestamp(0), ServiceId(2), Millis(2000)),
            Millis(2000)
        );
    }

    #[test]
    fn a_chain_that_does_not_fit_is_shortened_so_that_each_gets_its_part() {
        let plan = plan(9500, 5000);
        let mut now = Timestamp(0);
        for service in [2, 1, 0] {
            let share = plan.share(now, ServiceId(service), Millis(5000));
            assert_eq!(share, Millis(3000), "service {service}");
            now = now + share;
        }
        assert_eq!(Some(now), plan.kill_at);
    }

    #[test]
    fn what_stops_by_order_gets_its_part_as_what_stops_by_dependency_does() {
        let text = CHAIN.replace("depends_on = ['redis']", "order = 1");
        let text = text.replace("depends_on = ['app']", "order = 2");
        let manifest = Manifest::from_toml(&text, Reader::Init).expect("well-formed");
        let graph = Graph::new(&manifest.services);
        let plan = Shutdown::plan(Timestamp(0), Millis(9500), 0, &graph, |_| Millis(5000));
        for (service, share) in [(2, 3000), (1, 4500), (0, 5000)] {
            let timeout = Millis(5000);
            assert_eq!(
                plan.share(Timestamp(0), ServiceId(service), timeout),
                Millis(share)
            );
        }
    }

    #[test]
    fn time_that_one_did_not_need_goes_to_the_next() {
        let plan = plan(9500, 5000);
        assert_eq!(
            plan.share(Timestamp(100), ServiceId(1), Millis(5000)),
            Millis(4450)
        );
        assert_eq!(
            plan.share(Timestamp(200), ServiceId(0), Millis(5000)),
            Millis(5000)
        );
    }

    #[test]
    fn any_bound_and_any_timeouts_give_a_plan_inside_the_bound() {
        for bound in [0, 1, 500, 9000, u64::MAX / 4] {
            for timeout in [0, 1, 5000, u64::MAX / 4] {
                let plan = plan(bound, timeout);
                let share = plan.share(Timestamp(0), ServiceId(2), Millis(timeout));
                let kill_at = plan.kill_at.expect("not hurried");
                assert!(Timestamp(0) + share <= kill_at && kill_at < plan.exit_at);
            }
        }
    }
}
