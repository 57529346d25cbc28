//! A cluster as what streams are moved to.
//!
//! The mark of a copy is the position of a group of its own in every partition; it is claimed like any other, so that two
//! copies cannot run at once.

use async_trait::async_trait;

use super::groups::{COPY, Groups};
use super::streams::FluvioStreams;
use crate::contract::{Error, GroupName, Partition, Position, Record, Streams};
use crate::transfer::Destination;

const UNFINISHED: &str = "unfinished copy of ";
const FINISHED: &str = "finished copy of ";

#[async_trait]
impl Destination for FluvioStreams {
    async fn begin(&self, source: &str, starts: &[(Partition, u64)]) -> Result<(), Error> {
        let group = GroupName::from(COPY);
        let partitions: Vec<_> = starts.iter().map(|(of, _)| of.clone()).collect();
        let others = self.groups().await?;
        for of in &partitions {
            let mark = mark(&self.groups, &group, of).await?;
            let fresh = self.bounds(of)? == (0..0) && !others.iter().any(|at| at.partition == *of);
            if mark.as_deref() != Some(&format!("{UNFINISHED}{source}")) && !(mark.is_none() && fresh) {
                let what = mark.unwrap_or_else(|| "not empty".to_owned());
                return Err(Error::Incompatible(format!("{of} on the cluster is {what}: expected new topics")));
            }
        }
        self.groups.claim(&group, &partitions).await?;
        let state = bytes::Bytes::from(format!("{UNFINISHED}{source}"));
        let marks = partitions.iter().map(|of| (of.clone(), Position { offset: 0, state: state.clone() }));
        self.groups.commit(&group, marks.collect()).await?;
        for (of, start) in starts {
            // A copy that goes on has its base, and the source may have lost some of its oldest records since.
            if self.bounds(of)? == (0..0) {
                self.set_base(of, *start).await?;
            }
        }
        Ok(())
    }

    async fn import(&self, to: &Partition, records: Vec<Record>) -> Result<(), Error> {
        let last = records.last().map(|record| record.offset + 1);
        let next = FluvioStreams::import(self, to, records).await?;
        let end = self.bounds(to)?.end;
        if last.is_some() && end != next {
            return Err(Error::Incompatible(format!(
                "{to} ends at {end} and was moved up to {next}: the cluster took records twice, delete the topics and begin again"
            )));
        }
        Ok(())
    }

    async fn extend(&self, to: &Partition, end: u64) -> Result<(), Error> {
        self.lose_up_to(to, end).await
    }

    async fn finish(&self, source: &str) -> Result<(), Error> {
        let group = GroupName::from(COPY);
        let state = bytes::Bytes::from(format!("{FINISHED}{source}"));
        let mut marks = Vec::new();
        for spec in self.specs() {
            for index in 0..spec.partitions {
                let of = Partition::new(spec.name.clone(), index);
                if mark(&self.groups, &group, &of).await?.is_some() {
                    marks.push((of, Position { offset: 0, state: state.clone() }));
                }
            }
        }
        self.groups.commit(&group, marks).await
    }
}

async fn mark(groups: &Groups, group: &GroupName, of: &Partition) -> Result<Option<String>, Error> {
    let position = groups.position(group, of).await?;
    Ok(position.map(|position| String::from_utf8_lossy(&position.state).into_owned()))
}
