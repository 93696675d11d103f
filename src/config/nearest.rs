//! The known key that somebody probably meant.

/// The candidate with the smallest edit distance to `wrong`, the first of equals; `None` when all are far off.
/// A key that a candidate ends with (`retention.ms`, `log.retention.ms`), or the reverse, counts as one edit.
pub(super) fn nearest(wrong: &str, candidates: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let wrong = wrong.to_ascii_lowercase().replace('_', ".");
    if wrong.len() > KEY_BYTES_MAX {
        return None;
    }
    let far = (wrong.len() / 3).max(2);
    let distance = |candidate: &'static str| {
        let is_suffix = ends_with_part(candidate, &wrong) || ends_with_part(&wrong, candidate);
        (if is_suffix { 1 } else { edit_distance(wrong.as_bytes(), candidate.as_bytes()) }, candidate)
    };
    candidates
        .map(distance)
        .filter(|(edits, _)| *edits <= far)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, key)| key)
}

/// Longest key that is compared; the work is this times the longest known key. Unit: bytes.
const KEY_BYTES_MAX: usize = 128;

fn ends_with_part(whole: &str, part: &str) -> bool {
    whole.strip_suffix(part).is_some_and(|rest| rest.ends_with('.'))
}

/// Levenshtein's distance: insertions, deletions and replacements of one byte.
fn edit_distance(left: &[u8], right: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (place, left_byte) in left.iter().enumerate() {
        let mut diagonal = place;
        let mut before = place + 1;
        for (right_byte, cell) in right.iter().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal + usize::from(left_byte != right_byte);
            diagonal = *cell;
            before = replaced.min(*cell + 1).min(before + 1);
            *cell = before;
        }
        if let Some(first) = row.first_mut() {
            *first = place + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_distances_known_from_the_literature() {
        for (left, right, distance) in [
            ("kitten", "sitting", 3),
            ("", "abc", 3),
            ("abc", "", 3),
            ("flaw", "lawn", 2),
            ("same", "same", 0),
        ] {
            assert_eq!(edit_distance(left.as_bytes(), right.as_bytes()), distance, "{left} {right}");
        }
    }

    #[test]
    fn the_nearest_key_is_offered_and_a_far_one_is_not() {
        let known =
            || ["num.partitions", "log.retention.ms", "log.retention.bytes", "log.roll.ms"].into_iter();
        assert_eq!(nearest("num.partition", known()), Some("num.partitions"));
        assert_eq!(nearest("NUM_PARTITIONS", known()), Some("num.partitions"));
        assert_eq!(nearest("retention.ms", known()), Some("log.retention.ms"));
        assert_eq!(nearest("log.retention.byte", known()), Some("log.retention.bytes"));
        assert_eq!(nearest("zookeeper.connect", known()), None);
        assert_eq!(nearest(&"x".repeat(100_000), known()), None);
    }
}
