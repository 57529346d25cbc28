//! Whether two filters can bring the same message.

use telemetry::topic::Filter;

/// Whether there is a topic that both filters match. Topics that begin with `$` are not looked at.
pub(super) fn overlap(one: &Filter, other: &Filter) -> bool {
    let (mut ones, mut others) = (one.as_str().split('/'), other.as_str().split('/'));
    loop {
        match (ones.next(), others.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(a), Some(b)) if a == b || a == "+" || b == "+" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_overlap_if_a_topic_matches_both() {
        for (one, other, both) in [
            ("a/b", "a/b", true),
            ("a/+", "+/b", true),
            ("a/#", "a", true),
            ("#", "a/b/c", true),
            ("a/+/c", "a/b/#", true),
            ("a/b", "a/c", false),
            ("a/+", "a/b/c", false),
            ("a/b/#", "a/c/#", false),
            ("a", "a/+", false),
        ] {
            let (one, other) = (Filter::parse(one).unwrap(), Filter::parse(other).unwrap());
            assert_eq!(overlap(&one, &other), both, "{one:?} {other:?}");
            assert_eq!(overlap(&other, &one), both, "{other:?} {one:?}");
        }
    }
}
