//! Moving streams from one backend to another, with the offsets, times and rows of their records and the positions of
//! their groups: tables, alerts and deduplication go on as if nothing had happened, because all of them speak of
//! offsets.
//!
//! Nothing may write to the source meanwhile. A copy that was killed is begun again with the same arguments and goes on
//! where it stopped: the destination itself says how far it came. At the end both sides are read again and compared.

mod compare;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;

use async_trait::async_trait;

pub use self::compare::Tally;
use crate::contract::{Error, GroupName, Partition, Position, Record, StreamName, Streams};

/// Bytes read from the source at once, which bounds what a copy holds in memory.
const READ_BYTES: usize = 4 * 1024 * 1024;

/// Streams that others can be moved to.
#[async_trait]
pub trait Destination: Streams {
    /// Makes ready for a copy of `source`, whose partitions begin at `starts`. Idempotent until [`Destination::finish`];
    /// marks the streams as unfinished, so that no process takes them for all there is.
    ///
    /// # Errors
    /// [`Error::Incompatible`] if these streams hold anything that is not of an unfinished copy of `source`.
    async fn begin(&self, source: &str, starts: &[(Partition, u64)]) -> Result<(), Error>;

    /// Appends `records`, in order of offset, as they are. Those before the end are here already, and left out; offsets
    /// between them become lost ones.
    ///
    /// # Errors
    /// If not all of them are durable.
    async fn import(&self, to: &Partition, records: Vec<Record>) -> Result<(), Error>;

    /// Lets the partition end at `end`: offsets up to there become lost ones, as they are in the source.
    ///
    /// # Errors
    /// As [`Destination::import`].
    async fn extend(&self, to: &Partition, end: u64) -> Result<(), Error>;

    /// Takes the mark away that [`Destination::begin`] made.
    ///
    /// # Errors
    /// If that is not durable.
    async fn finish(&self, source: &str) -> Result<(), Error>;
}

/// What a copy moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Each partition.
    pub partitions: Vec<Moved>,
    /// Positions that were moved.
    pub positions: usize,
    /// What is not the same on both sides; empty if the copy is good.
    pub differences: Vec<String>,
}

/// One partition as it was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The partition.
    pub partition: Partition,
    /// Its offsets.
    pub offsets: Range<u64>,
    /// What was read from the source.
    pub tally: Tally,
    /// Whether the destination gives the same.
    pub same: bool,
}

/// Moves `names` from `source`, called `origin`, to `destination`, and compares both; `progress` is told of each
/// partition and of the bytes that were moved of it. Claims every group of the source.
///
/// # Errors
/// [`Error::Owned`] if somebody reads the source, [`Error::Incompatible`] if the destination is not fresh or lacks a
/// stream; whatever source and destination fail with. The copy can then be begun again.
pub async fn copy(
    source: &dyn Streams,
    origin: &str,
    destination: &dyn Destination,
    names: &[StreamName],
    mut progress: impl FnMut(&Partition, u64),
) -> Result<Report, Error> {
    let partitions = partitions(source, destination, names)?;
    let positions = positions(source, &partitions).await?;
    let mut bounds = BTreeMap::new();
    for of in &partitions {
        bounds.insert(of.clone(), source.bounds(of)?);
    }
    let starts: Vec<_> = bounds.iter().map(|(of, bounds)| (of.clone(), bounds.start)).collect();
    destination.begin(origin, &starts).await?;
    for (of, bounds) in &bounds {
        copy_partition(source, destination, of, bounds, &mut progress).await?;
    }
    commit(destination, &positions).await?;
    let report = compare::compare(source, destination, &bounds, &positions).await?;
    if report.differences.is_empty() {
        destination.finish(origin).await?;
    }
    Ok(report)
}

/// All partitions of `names`, which both sides have alike.
fn partitions(source: &dyn Streams, destination: &dyn Streams, names: &[StreamName]) -> Result<Vec<Partition>, Error> {
    let mut partitions = Vec::new();
    for name in names {
        let of =
            |streams: &dyn Streams| streams.specs().iter().find(|spec| spec.name == *name).map(|spec| spec.partitions);
        match (of(source), of(destination)) {
            (Some(here), Some(there)) if here == there => {
                partitions.extend((0..here).map(|index| Partition::new(name.clone(), index)));
            }
            (Some(here), there) => {
                let there = there.map_or_else(|| "none".to_owned(), |there| there.to_string());
                return Err(Error::Incompatible(format!(
                    "stream {name} has {here} partitions and {there} at the destination: expected the same"
                )));
            }
            (None, _) => return Err(Error::Incompatible(format!("there is no stream {name} to copy"))),
        }
    }
    Ok(partitions)
}

type Positions = Vec<(GroupName, Partition, Position)>;

/// Every position in `partitions`, its group claimed so that it stays.
async fn positions(source: &dyn Streams, partitions: &[Partition]) -> Result<Positions, Error> {
    let mut by_group: BTreeMap<GroupName, Vec<Partition>> = BTreeMap::new();
    for at in source.groups().await? {
        if partitions.contains(&at.partition) {
            by_group.entry(at.group).or_default().push(at.partition);
        }
    }
    let mut positions = Vec::new();
    for (group, partitions) in by_group {
        source.claim(&group, &partitions).await?;
        for of in partitions {
            if let Some(position) = source.position(&group, &of).await? {
                positions.push((group.clone(), of, position));
            }
        }
    }
    Ok(positions)
}

async fn copy_partition(
    source: &dyn Streams,
    destination: &dyn Destination,
    of: &Partition,
    bounds: &Range<u64>,
    progress: &mut impl FnMut(&Partition, u64),
) -> Result<(), Error> {
    let mut next = destination.bounds(of)?.end.clamp(bounds.start, bounds.end);
    while next < bounds.end {
        let read = source.read(of, next, READ_BYTES).await?;
        if read.next <= next {
            return Err(Error::Unavailable(format!(
                "{of} gives nothing from {next} on, though it ends at {}",
                bounds.end
            )));
        }
        next = read.next;
        let bytes = read.records.iter().map(|record| record.payload.len() as u64).sum();
        let records: Vec<_> = read.records.into_iter().filter(|record| record.offset < bounds.end).collect();
        destination.import(of, records).await?;
        progress(of, bytes);
    }
    destination.extend(of, bounds.end).await
}

/// Commits positions where they are not yet; one that fell behind what is retained goes to the first record there is.
async fn commit(destination: &dyn Destination, positions: &Positions) -> Result<(), Error> {
    for (group, of, position) in positions {
        destination.claim(group, std::slice::from_ref(of)).await?;
        let bounds = destination.bounds(of)?;
        let offset = position.offset.max(bounds.start);
        if offset != position.offset {
            tracing::warn!(%group, partition = %of, from = position.offset, to = offset, "records before a position are gone, it is moved on");
        }
        let wanted = Position { offset, state: position.state.clone() };
        if destination.position(group, of).await?.as_ref() != Some(&wanted) {
            destination.commit(group, vec![(of.clone(), wanted)]).await?;
        }
    }
    Ok(())
}
