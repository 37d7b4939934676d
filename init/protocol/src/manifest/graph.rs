//! Cycles among dependencies.

/// One cycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cycle {
    /// The services along it, in the direction of `depends_on`; the first
    /// stands at the end again.
    pub(super) path: Vec<usize>,
    /// The service whose dependency closes it, and which of its entries.
    pub(super) from: usize,
    pub(super) entry: usize,
}

/// The most services of a cycle that are named.
const MAX_SHOWN: usize = 12;

/// A cycle as people read it: `web -> app -> web`.
pub(super) fn shown(path: &[&str]) -> String {
    match (path.get(..MAX_SHOWN), path) {
        (Some(first), [.., last]) if path.len() > MAX_SHOWN + 1 => {
            let more = path.len() - MAX_SHOWN - 1;
            format!("{} -> … {more} more … -> {last}", first.join(" -> "))
        }
        _ => path.join(" -> "),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Unseen,
    /// On the path that is being walked.
    Open,
    Done,
    /// On a cycle that is reported already: one report is enough for a knot
    /// of cycles.
    Reported,
}

/// The cycles of a graph, each service in at most one of them. `edges[n]` are
/// the dependencies of `n` as (entry, on whom). Iterative: a chain of 10,000
/// must not need 10,000 frames of PID 1's stack.
pub(super) fn cycles(edges: &[Vec<(usize, usize)>]) -> Vec<Cycle> {
    let mut marks = vec![Mark::Unseen; edges.len()];
    let mut found = Vec::new();
    for root in 0..edges.len() {
        if marks.get(root) != Some(&Mark::Unseen) {
            continue;
        }
        let mut walk = vec![(root, 0)];
        set(&mut marks, root, Mark::Open);
        while let Some((node, next)) = walk.last_mut() {
            let node = *node;
            let Some(&(entry, on)) = edges.get(node).and_then(|list| list.get(*next)) else {
                if marks.get(node) == Some(&Mark::Open) {
                    set(&mut marks, node, Mark::Done);
                }
                walk.pop();
                continue;
            };
            *next += 1;
            match marks.get(on) {
                Some(Mark::Unseen) => {
                    set(&mut marks, on, Mark::Open);
                    walk.push((on, 0));
                }
                Some(Mark::Open) if marks.get(node) == Some(&Mark::Open) => {
                    let nodes = walk.iter().map(|(node, _)| *node);
                    let mut path: Vec<usize> = nodes.skip_while(|node| *node != on).collect();
                    for node in &path {
                        set(&mut marks, *node, Mark::Reported);
                    }
                    path.push(on);
                    found.push(Cycle {
                        path,
                        from: node,
                        entry,
                    });
                }
                Some(Mark::Open | Mark::Done | Mark::Reported) | None => {}
            }
        }
    }
    found
}

fn set(marks: &mut [Mark], at: usize, mark: Mark) {
    if let Some(slot) = marks.get_mut(at) {
        *slot = mark;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[&[usize]]) -> Vec<Vec<(usize, usize)>> {
        edges
            .iter()
            .map(|list| list.iter().copied().enumerate().collect())
            .collect()
    }

    fn paths(edges: &[&[usize]]) -> Vec<Vec<usize>> {
        cycles(&graph(edges))
            .into_iter()
            .map(|cycle| cycle.path)
            .collect()
    }

    #[test]
    fn a_diamond_is_no_cycle() {
        assert!(paths(&[&[1, 2], &[3], &[3], &[]]).is_empty());
    }

    #[test]
    fn a_cycle_is_given_from_its_first_service_back_to_it() {
        assert_eq!(paths(&[&[1], &[2], &[0]]), [[0, 1, 2, 0]]);
        assert_eq!(paths(&[&[1], &[2], &[3], &[1]]), [[1, 2, 3, 1]]);
    }

    #[test]
    fn two_cycles_apart_are_both_given_and_a_knot_is_given_once() {
        assert_eq!(paths(&[&[1], &[0], &[3], &[2]]).len(), 2);
        assert_eq!(paths(&[&[1, 2], &[0, 2], &[0, 1]]).len(), 1);
        let back_past_a_cycle: &[&[usize]] = &[&[1], &[2], &[1, 0]];
        assert_eq!(paths(back_past_a_cycle), [[1, 2, 1]]);
    }

    #[test]
    fn a_long_cycle_is_shown_by_its_beginning_and_its_end() {
        let names: Vec<String> = (0..40).map(|n| format!("s{n}")).collect();
        let mut path: Vec<&str> = names.iter().map(String::as_str).collect();
        path.push("s0");
        assert!(
            shown(&path).ends_with("-> s11 -> … 28 more … -> s0"),
            "{}",
            shown(&path)
        );
        let whole = path.get(..MAX_SHOWN + 1).expect("longer");
        assert_eq!(shown(whole), whole.join(" -> "));
    }
}
