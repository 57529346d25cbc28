//! Which partitions a process has: all, those of a list, or its share among instances.

use std::collections::BTreeSet;
use std::str::FromStr;

use anyhow::{Context, bail};

/// How the partitions of a process are named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Assignment {
    /// All of them.
    #[default]
    All,
    /// Those of a list.
    Listed(PartitionList),
    /// Every n-th.
    Instance(Instance),
}

/// Partitions as people write them: `0-3,6`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionList(BTreeSet<u32>);

/// One of so many instances: `0/4` is the first of four. Partition p belongs to instance p modulo their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    index: u32,
    of: u32,
}

/// As many as streams can have: a list is not to take all memory.
const MOST: u32 = 1024;

impl Assignment {
    /// The partitions, in order, of `partitions` in all.
    pub(crate) fn of(&self, partitions: u32) -> anyhow::Result<Vec<u32>> {
        match self {
            Self::All => Ok((0..partitions).collect()),
            Self::Listed(PartitionList(list)) => match list.last().filter(|last| **last >= partitions) {
                Some(last) => bail!(
                    "--partitions names partition {last}: expected numbers from 0 to {}, because streams.partitions = {partitions}",
                    partitions.saturating_sub(1)
                ),
                None => Ok(list.iter().copied().collect()),
            },
            Self::Instance(Instance { index, of }) if *index >= partitions => bail!(
                "--instance {index}/{of}: nothing is left for it, because streams.partitions = {partitions}; expected at most {partitions} instances"
            ),
            Self::Instance(Instance { index, of }) => {
                Ok((0..partitions).filter(|partition| partition % of == *index).collect())
            }
        }
    }
}

impl FromStr for PartitionList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = |part: &str| {
            format!("`{part}`: expected partitions below {MOST} as numbers and ranges, each once, e.g. 0-3,6")
        };
        let number = |text: &str| digits(text).filter(|number| *number < MOST);
        let mut list = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (Some(first), Some(last)) = (number(first), number(last)) else { return Err(expected(part)) };
            // A range the wrong way round names none.
            if first > last || !(first..=last).all(|index| list.insert(index)) {
                return Err(expected(part));
            }
        }
        Ok(Self(list))
    }
}

impl FromStr for Instance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || -> anyhow::Result<Self> {
            let (index, of) = text.split_once('/').context("no slash")?;
            let (index, of) = (digits(index).context("no number")?, digits(of).context("no number")?);
            if index < of && of <= MOST { Ok(Self { index, of }) } else { bail!("out of bounds") }
        };
        parse().map_err(|_| {
            format!(
                "`{text}`: expected I/N, instance I of N counted from 0, N up to {MOST}, e.g. 0/4 for the first of four"
            )
        })
    }
}

/// A number of digits alone.
fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Partitions as people write them.
pub(super) fn text(partitions: impl IntoIterator<Item = u32>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for index in partitions {
        match ranges.last_mut().filter(|(_, last)| last.checked_add(1) == Some(index)) {
            Some((_, last)) => *last = index,
            None => ranges.push((index, index)),
        }
    }
    let text = |(first, last): &(u32, u32)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    ranges.iter().map(text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Result<Vec<u32>, String> {
        Ok(text.parse::<PartitionList>()?.0.into_iter().collect())
    }

    #[test]
    fn lists_are_numbers_and_ranges() {
        assert_eq!(list("0-3,6"), Ok(vec![0, 1, 2, 3, 6]));
        assert_eq!(list("7,0"), Ok(vec![0, 7]));
        assert_eq!(list("5-5"), Ok(vec![5]));
        assert_eq!(text([0, 1, 2, 3, 6, 8, 9]), "0-3,6,8-9");
        assert_eq!(text([]), "");
    }

    #[test]
    fn a_bad_list_is_told_by_its_part() {
        for (wrong, part) in [
            ("", "``"),
            ("0,,1", "``"),
            ("a", "`a`"),
            ("0-3,x", "`x`"),
            ("3-1", "`3-1`"),
            ("0-3,2", "`2`"),
            ("-1", "`-1`"),
            ("+1", "`+1`"),
            ("1024", "`1024`"),
            ("0-4294967295", "`0-4294967295`"),
            ("0 - 3", "`0 - 3`"),
        ] {
            let error = list(wrong).unwrap_err();
            assert!(error.contains(part) && error.contains("e.g. 0-3,6"), "{wrong}: {error}");
        }
    }

    #[test]
    fn instances_cover_each_partition_once() {
        for partitions in [1, 2, 7, 8, 1024] {
            for of in 1..=partitions.min(9) {
                let mut all: Vec<u32> = Vec::new();
                for index in 0..of {
                    let instance: Instance = format!("{index}/{of}").parse().unwrap();
                    all.extend(Assignment::Instance(instance).of(partitions).unwrap());
                }
                all.sort_unstable();
                assert_eq!(all, (0..partitions).collect::<Vec<_>>(), "{of} instances, {partitions} partitions");
            }
        }
        assert_eq!(Assignment::All.of(3).unwrap(), [0, 1, 2]);
    }

    #[test]
    fn a_bad_instance_is_told_with_what_was_expected() {
        for wrong in ["", "1", "4/4", "0/0", "-1/4", "a/4", "0/4/2", "0/1025", "+0/4"] {
            let error = wrong.parse::<Instance>().unwrap_err();
            assert!(error.contains(&format!("`{wrong}`")) && error.contains("e.g. 0/4"), "{wrong}: {error}");
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = Assignment::Listed("6-8".parse().unwrap()).of(8).unwrap_err().to_string();
        assert!(error.contains("partition 8") && error.contains("from 0 to 7"), "{error}");
        let error = Assignment::Instance("8/9".parse().unwrap()).of(8).unwrap_err().to_string();
        assert!(error.contains("--instance 8/9") && error.contains("streams.partitions = 8"), "{error}");
    }
}
