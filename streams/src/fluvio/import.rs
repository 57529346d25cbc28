//! Records moved here from other streams, with the offsets they had.

use super::envelope::{Envelope, Kind};
use super::fetch::{Fetched, Fetcher};
use super::limits::{LOOK_BACK, pause};
use super::producer::Outgoing;
use super::streams::FluvioStreams;
use super::watcher::ask_once;
use crate::contract::{AppendError, Error, Partition, Record};

/// Who records that were moved are written by: one writer, whoever moves them, so that what is moved twice is a copy.
const MOVER: u64 = u64::from_be_bytes(*b"weirmove");

/// Offsets in a row that may be missing where records come from.
const HOLE: u64 = 1 << 20;

impl FluvioStreams {
    /// Sets the offset of the first record of `of`, whose topic must be new: records before are no longer retained where
    /// they come from.
    ///
    /// # Errors
    /// [`Error::Incompatible`] if there are records already, [`Error::Unavailable`].
    pub async fn set_base(&self, of: &Partition, offset: u64) -> Result<(), Error> {
        let there = ask_once(&self.cluster, &self.bounds, &self.lane(of)?.place).await?;
        if self.groups.base(of) == offset {
            return Ok(());
        }
        if there != (0..0) {
            return Err(Error::Incompatible(format!("{of} holds {} records already; expected a new topic", there.end)));
        }
        self.groups.set_base(of, offset).await
    }

    /// Appends `records`, in order of offset, with their offsets, rows and times; those that are here already are left
    /// out, offsets that are left out count as lost. Returns the offset that comes next. Only one process may import, and
    /// nobody may append.
    ///
    /// # Errors
    /// [`Error::Incompatible`] if the partition has records of its own, or offsets contradict those here;
    /// [`Error::Unavailable`].
    pub async fn import(&self, to: &Partition, records: Vec<Record>) -> Result<u64, Error> {
        let mut importing = self.importing.lock().await;
        let mut next = match importing.get(to) {
            Some(next) => *next,
            None => self.imported(to).await?,
        };
        let mut group = Vec::new();
        for record in records {
            if record.offset < next {
                continue;
            }
            if record.offset - next > HOLE {
                return Err(Error::Incompatible(format!(
                    "{to}: record {} follows {next}; expected at most {HOLE} missing",
                    record.offset
                )));
            }
            for lost in next..record.offset {
                group.push((
                    to.clone(),
                    moved(Kind::Lost, Record { offset: lost, rows: 0, payload: bytes::Bytes::new(), ..record }),
                ));
            }
            next = record.offset + 1;
            group.push((to.clone(), moved(Kind::Moved, record)));
        }
        let ticket = self.queue(group).await.map_err(refused)?;
        ticket.await.map_err(refused)?;
        importing.insert(to.clone(), next);
        Ok(next)
    }

    /// Makes offsets up to `end` lost ones, as they are in the streams that are moved here.
    pub(super) async fn lose_up_to(&self, to: &Partition, end: u64) -> Result<(), Error> {
        let mut importing = self.importing.lock().await;
        let next = match importing.get(to) {
            Some(next) => *next,
            None => self.imported(to).await?,
        };
        if end.saturating_sub(next) > HOLE {
            return Err(Error::Incompatible(format!(
                "{to}: the end {end} follows {next}; expected at most {HOLE} missing"
            )));
        }
        let lost = |offset| {
            let payload = bytes::Bytes::new();
            let record = Record { offset, appended_at: self.cluster.clock.now(), rows: 0, payload };
            (to.clone(), moved(Kind::Lost, record))
        };
        let ticket = self.queue((next..end).map(lost).collect()).await.map_err(refused)?;
        ticket.await.map_err(refused)?;
        importing.insert(to.clone(), end.max(next));
        Ok(())
    }

    /// The offset behind the last record that was moved here.
    async fn imported(&self, to: &Partition) -> Result<u64, Error> {
        let place = &self.lane(to)?.place;
        let there = ask_once(&self.cluster, &self.bounds, place).await?;
        let mut next = self.groups.base(to);
        let mut at = there.end.saturating_sub(LOOK_BACK).max(there.start);
        let mut fetcher = Fetcher::new(self.cluster.clone(), self.bounds.clone(), place.clone());
        let mut failures = 0;
        while at < there.end {
            let slots = match fetcher.fetch(at).await {
                Ok(Fetched::Slots(slots)) => slots,
                Ok(Fetched::Begins(begins)) => {
                    at = begins.max(at + 1);
                    continue;
                }
                Err(error) if failures >= super::limits::TOPIC_ATTEMPTS => return Err(error),
                Err(_) => {
                    failures += 1;
                    self.cluster.doubt().await;
                    tokio::time::sleep(pause(u64::from(place.1), failures)).await;
                    continue;
                }
            };
            for slot in slots {
                at = slot.offset + 1;
                match slot.value.as_ref().and_then(Envelope::open) {
                    Some((envelope, _)) if envelope.kind == Kind::Nothing => {}
                    Some((envelope, _)) if envelope.writer == MOVER => next = next.max(envelope.sequence + 1),
                    Some(_) => return Err(Error::Incompatible(format!("{to} has records of its own; expected none"))),
                    None => {}
                }
            }
        }
        Ok(next)
    }
}

fn moved(kind: Kind, record: Record) -> Outgoing {
    let Record { offset, appended_at, rows, payload } = record;
    Outgoing { kind, identity: Some((MOVER, offset)), rows, appended_at, payload, base: 0, trace: None }
}

fn refused(error: AppendError) -> Error {
    match error {
        AppendError::Refused(why) => Error::Incompatible(why),
        AppendError::Full { .. } | AppendError::Failed(_) => Error::Unavailable(error.to_string()),
    }
}
