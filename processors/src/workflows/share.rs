//! Which partitions of the stream `workflows` an executor has: all of them, or those that other processes have not.
//!
//! A device is in the same partition of every stream, so what runs of partition 3 emit goes to partition 3, and nobody
//! else appends there. Dead letters have one partition, which all executors append to; each keeps a position of its own
//! in it, under a name of its own.

use std::fmt;

use streams::{GroupName, Partition, StreamName, StreamSpec, Streams};
use telemetry::partition;

use super::executor::GROUP;
use super::recovery::EMIT_GROUP;

/// The partitions of one executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// In order, each once.
    own: Vec<u32>,
    /// How many there are in all.
    of: u32,
}

impl Share {
    /// `own` partitions of `streams`, all if there is no such list.
    ///
    /// # Errors
    /// Which partition does not exist, or which stream of events has another number of them: runs of one executor
    /// would emit into the partitions of another.
    pub(super) fn new(own: Option<&[u32]>, specs: &[StreamSpec]) -> Result<Self, String> {
        let of = specs.iter().find(|spec| spec.name == StreamName::workflows()).map_or(0, |spec| spec.partitions);
        let Some(own) = own else { return Ok(Self { own: (0..of).collect(), of }) };
        let (mut own, of) = (own.to_vec(), of);
        own.sort_unstable();
        own.dedup();
        if let Some(unknown) = own.iter().find(|index| **index >= of) {
            return Err(format!("there is no partition {unknown} of the stream `workflows`, which has {of}"));
        }
        let share = Self { own, of };
        match specs.iter().find(|spec| !spec.name.is_reserved() && spec.partitions != of) {
            Some(spec) if !share.is_whole() => Err(format!(
                "stream `{}` has {} partitions and `workflows` {of}: expected as many where executors share them",
                spec.name, spec.partitions
            )),
            _ => Ok(share),
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        u32::try_from(self.own.len()) == Ok(self.of)
    }

    /// Whether runs of the device are for this executor.
    pub(super) fn has(&self, device_id: &str) -> bool {
        self.is_whole() || self.own.binary_search(&partition::of_device(device_id, self.of)).is_ok()
    }

    /// The partitions whose firings are for this executor.
    pub(super) fn firings(&self) -> Vec<Partition> {
        self.own.iter().map(|index| Partition::new(StreamName::workflows(), *index)).collect()
    }

    /// The partitions that its runs append to: events, and the one of dead letters.
    pub(super) fn appended(&self, streams: &dyn Streams) -> Vec<Partition> {
        let mut partitions = Vec::new();
        for spec in streams.specs() {
            if spec.name == StreamName::workflow_dead_letters() {
                partitions.extend((0..spec.partitions).map(|index| Partition::new(spec.name.clone(), index)));
            } else if !spec.name.is_reserved() {
                let has = |index: &u32| self.is_whole() || self.own.contains(index);
                partitions
                    .extend((0..spec.partitions).filter(has).map(|index| Partition::new(spec.name.clone(), index)));
            }
        }
        partitions
    }

    /// The group that keeps the place in a partition that runs append to. Of dead letters it is called by the first
    /// partition of a share, which is nobody else's.
    pub(super) fn group(&self, of: &StreamName) -> GroupName {
        match self.own.first() {
            Some(first) if !self.is_whole() && *of == StreamName::workflow_dead_letters() => {
                format!("{EMIT_GROUP}/{first}").into()
            }
            _ => EMIT_GROUP.into(),
        }
    }

    /// All that must be this process's own: groups, each with its partitions.
    pub(super) fn claims(&self, streams: &dyn Streams) -> Vec<(GroupName, Vec<Partition>)> {
        let (letters, events): (Vec<_>, Vec<_>) = self
            .appended(streams)
            .into_iter()
            .partition(|partition| partition.stream == StreamName::workflow_dead_letters());
        let groups = [
            (GROUP.into(), self.firings()),
            (EMIT_GROUP.into(), events),
            (self.group(&StreamName::workflow_dead_letters()), letters),
        ];
        groups.into_iter().filter(|(_, partitions)| !partitions.is_empty()).collect()
    }
}

/// `0-3,6 of 8`.
impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.own.as_slice();
        let mut separator = "";
        while let Some((first, others)) = rest.split_first() {
            let run = others.iter().zip(first + 1..).take_while(|(index, next)| *index == next).count();
            match run {
                0 => write!(f, "{separator}{first}")?,
                run => write!(f, "{separator}{first}-{}", u64::from(*first) + run as u64)?,
            }
            rest = others.get(run..).unwrap_or_default();
            separator = ",";
        }
        write!(f, " of {}", self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specs(events: u32) -> Vec<StreamSpec> {
        let stream = |name, partitions| StreamSpec { name, partitions };
        vec![
            stream(StreamName::workflows(), 8),
            stream(StreamName::new("events").unwrap(), events),
            stream(StreamName::workflow_dead_letters(), 1),
        ]
    }

    #[test]
    fn a_share_is_written_as_ranges() {
        for (own, text) in [
            (&[0, 1, 2, 3, 6][..], "0-3,6 of 8"),
            (&[7], "7 of 8"),
            (&[5, 1, 3, 1], "1,3,5 of 8"),
            (&[0, 1, 2, 3, 4, 5, 6, 7], "0-7 of 8"),
        ] {
            assert_eq!(Share::new(Some(own), &specs(8)).unwrap().to_string(), text);
        }
    }

    #[test]
    fn each_device_is_in_one_of_the_shares() {
        let shares = [&[0, 2, 4, 6][..], &[1, 3, 5], &[7]].map(|own| Share::new(Some(own), &specs(8)).unwrap());
        for device in 0..100 {
            let device = format!("d-{device}");
            assert_eq!(shares.iter().filter(|share| share.has(&device)).count(), 1, "{device}");
        }
        assert!(Share::new(None, &specs(8)).unwrap().has("d-1"));
    }

    #[test]
    fn letters_of_each_share_have_a_group_of_their_own() {
        let letters = StreamName::workflow_dead_letters();
        let group = |own: &[u32]| Share::new(Some(own), &specs(8)).unwrap().group(&letters).to_string();
        assert_eq!((group(&[0, 1]).as_str(), group(&[2]).as_str()), ("workflows/emit/0", "workflows/emit/2"));
        assert_eq!(group(&[0, 1, 2, 3, 4, 5, 6, 7]), "workflows/emit");
    }

    #[test]
    fn what_cannot_be_shared_is_named() {
        let unknown = Share::new(Some(&[8]), &specs(8)).unwrap_err();
        assert!(unknown.contains("no partition 8") && unknown.contains("which has 8"), "{unknown}");
        let other = Share::new(Some(&[0]), &specs(4)).unwrap_err();
        assert!(other.contains("`events` has 4 partitions"), "{other}");
        assert!(Share::new(Some(&[0, 1, 2, 3, 4, 5, 6, 7]), &specs(4)).is_ok(), "nobody to share with");
    }
}
