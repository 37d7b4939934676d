//! Did-you-mean.

/// Beyond this many bytes a word is no typing mistake, and comparing it is not
/// worth the time: input may be hostile.
const MAX_LEN: usize = 64;

/// The candidate that `word` was most likely meant to be, if any is close:
/// at most a third of it mistyped, where a wrong, missing, extra or swapped
/// letter counts one. The first of equally close ones wins.
#[must_use]
pub fn closest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let letters: Vec<char> = word.chars().take(MAX_LEN + 1).collect();
    if letters.len() > MAX_LEN {
        return None;
    }
    let mut best = None;
    let mut limit = (letters.len().max(3) / 3).min(3);
    for candidate in candidates {
        let far = candidate.len().abs_diff(word.len()) > 4 * limit;
        if far || candidate.len() > 4 * MAX_LEN {
            continue;
        }
        let other: Vec<char> = candidate.chars().collect();
        let distance = distance(&letters, &other, limit);
        if let Some(distance) = distance {
            if distance == 0 {
                return Some(candidate);
            }
            best = Some(candidate);
            limit = distance - 1;
        }
    }
    best
}

/// The optimal string alignment distance of two words, unless it is over
/// `limit`.
fn distance(a: &[char], b: &[char], limit: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > limit {
        return None;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    let mut previous = None;
    for (row, &x) in a.iter().enumerate() {
        let mut current = Vec::with_capacity(above.len());
        let mut left = row + 1;
        current.push(left);
        let mut swapped_with = None;
        for (column, (&y, costs)) in b.iter().zip(above.windows(2)).enumerate() {
            let &[diagonal, up] = costs else { continue };
            let mut cost = (diagonal + usize::from(x != y)).min(up + 1).min(left + 1);
            if previous == Some(y)
                && swapped_with == Some(x)
                && let Some(&swapped) = column.checked_sub(1).and_then(|at| before.get(at))
            {
                cost = cost.min(swapped + 1);
            }
            current.push(cost);
            left = cost;
            swapped_with = Some(y);
        }
        if current.iter().min().is_none_or(|&least| least > limit) {
            return None;
        }
        previous = Some(x);
        before = std::mem::replace(&mut above, current);
    }
    above.last().copied().filter(|&cost| cost <= limit)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_typing_mistake_finds_the_word_that_was_meant() {
        let keys = ["command", "user", "umask", "depends_on", "restart"];
        for (word, meant) in [
            ("comand", "command"),
            ("commnad", "command"),
            ("usr", "user"),
            ("depend_on", "depends_on"),
            ("dependson", "depends_on"),
            ("restarts", "restart"),
            ("umaks", "umask"),
        ] {
            assert_eq!(closest(word, keys), Some(meant), "{word}");
        }
    }

    #[test]
    fn a_word_that_is_nothing_like_any_other_finds_none() {
        assert_eq!(closest("nginx", ["command", "user"]), None);
        assert_eq!(closest("", ["command"]), None);
        assert_eq!(closest(&"x".repeat(100_000), ["command"]), None);
    }

    #[test]
    fn a_third_of_a_word_may_be_mistyped_and_no_more_than_three_letters() {
        assert_eq!(closest("us", ["umask", "as"]), Some("as"), "of two, one");
        assert_eq!(closest("abcdef", ["abcdxy"]), Some("abcdxy"));
        assert_eq!(closest("abcdef", ["abcxyz"]), None);
        assert_eq!(closest("abcdefghijkl", ["abcdefgh----"]), None);
        let longest = "x".repeat(MAX_LEN);
        assert_eq!(closest(&longest, [longest.as_str()]), Some(&*longest));
        assert_eq!(closest("abc", ["cba"]), None, "only neighbours are swapped");
    }

    #[test]
    fn the_closest_wins_over_the_first() {
        assert_eq!(closest("webb", ["wabc", "web"]), Some("web"));
        assert_eq!(closest("restrat", ["restart", "restrap"]), Some("restart"));
        assert_eq!(closest("users", ["user", "uses"]), Some("user"));
    }

    /// The same distance, by its definition.
    fn defined(a: &[char], b: &[char]) -> usize {
        let (Some((x, less_a)), Some((y, less_b))) = (a.split_last(), b.split_last()) else {
            return a.len().max(b.len());
        };
        let replaced = defined(less_a, less_b) + usize::from(x != y);
        let one_less = defined(less_a, b).min(defined(a, less_b)) + 1;
        let swapped = match (less_a.split_last(), less_b.split_last()) {
            (Some((w, rest_a)), Some((z, rest_b))) if (w, x) == (y, z) => {
                defined(rest_a, rest_b) + 1
            }
            _ => usize::MAX,
        };
        replaced.min(one_less).min(swapped)
    }

    proptest! {
        #[test]
        fn the_distance_is_that_of_its_definition(
            a in vec(prop::char::range('a', 'c'), 0..6),
            b in vec(prop::char::range('a', 'c'), 0..6),
            limit in 0_usize..6,
        ) {
            let expected = Some(defined(&a, &b)).filter(|&cost| cost <= limit);
            prop_assert_eq!(distance(&a, &b, limit), expected);
        }
    }
}
