//! The log as what streams are moved to.
//!
//! ```text
//! weir copy 1              the file `copy` beside the manifest
//! source fluvio://...      what these streams are a copy of
//! unfinished               or `finished`
//! check 1a2b3c4d           crc32c of all before
//! ```
//!
//! A log that is an unfinished copy accepts nothing else, so that no process takes half of the streams for all.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::{fs, io};

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::config::LogConfig;
use super::disk;
use super::queue::{Pending, PendingRecord, Raise};
use super::{EmbeddedLog, blocking, stopped};
use crate::contract::{Error, Partition, Record, Streams};
use crate::transfer::Destination;

/// Bytes of records in one group.
const GROUP_BYTES: usize = 4 * 1024 * 1024;

/// What the streams are a copy of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    source: String,
    pub(super) finished: bool,
}

impl Copy {
    /// The copy that the file at `path` names; `None` if there is no such file.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, Error> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(disk::io_error("read", path)(error)),
        };
        let damaged = || Error::Incompatible(format!("{}: not the mark of a copy, or damaged", path.display()));
        let (body, check) = text.split_at(text.rfind("check ").ok_or_else(damaged)?);
        if check != format!("check {:08x}\n", crc32c::crc32c(body.as_bytes())) {
            return Err(damaged());
        }
        let body = body.strip_prefix("weir copy 1\nsource ").and_then(|body| body.strip_suffix('\n'));
        let (source, state) = body.and_then(|body| body.rsplit_once('\n')).ok_or_else(damaged)?;
        Ok(Some(Self { source: source.to_owned(), finished: state == "finished" }))
    }

    /// Why nothing but the rest of the copy is accepted, if so.
    pub(super) fn refusal(&self) -> Option<String> {
        let source = &self.source;
        (!self.finished).then(|| {
            format!(
                "these streams are an unfinished copy of {source}: finish it with `weir streams copy`, or delete them"
            )
        })
    }

    fn encode(&self) -> String {
        let state = if self.finished { "finished" } else { "unfinished" };
        let body = format!("weir copy 1\nsource {}\n{state}\n", self.source);
        let check = crc32c::crc32c(body.as_bytes());
        format!("{body}check {check:08x}\n")
    }
}

impl EmbeddedLog {
    async fn mark(&self, copy: Copy) -> Result<(), Error> {
        let shared = self.shared.clone();
        blocking(move || {
            let path = shared.paths.copy();
            let written = disk::replace(shared.disk.as_ref(), &path, copy.encode().as_bytes());
            written.map_err(disk::io_error("write", &path))
        })
        .await
    }

    /// Lets partitions go on at these offsets.
    async fn raise(&self, to: &[(Partition, u64)]) -> Result<(), Error> {
        let mut slots = Vec::with_capacity(to.len());
        for (of, offset) in to {
            slots.push((self.place(of)?.slot, *offset));
        }
        let (done, raised) = oneshot::channel();
        self.shared.queue.raise(Raise { to: slots, done });
        let raised = raised.await.unwrap_or_else(|_| Err("the writer stopped".to_owned()));
        raised.map_err(|why| stopped("move streams to", self.shared.paths.dir(), why))
    }

    async fn append_moved(&self, to: &Partition, records: Vec<Record>) -> Result<(), Error> {
        let place = self.place(to)?;
        let bytes = records.iter().map(|record| LogConfig::charge(record.payload.len())).sum();
        let (size, limit) = (bytes, self.shared.queue.capacity());
        if size > limit {
            return Err(Error::Incompatible(format!(
                "records of {size} bytes for {to}, {limit} are allowed: raise streams.queue_bytes"
            )));
        }
        let closed = || stopped("move streams to", self.shared.paths.dir(), "the log is closed".to_owned());
        let room = self.shared.queue.room(bytes).await.ok_or_else(closed)?;
        let moved = |Record { appended_at, rows, payload, .. }| PendingRecord {
            place,
            rows,
            payload,
            appended_at: Some(appended_at),
        };
        let (done, durable) = oneshot::channel();
        let records = records.into_iter().map(moved).collect();
        self.shared.queue.push(Pending { records, bytes, trace: None, done, room }).map_err(|_| closed())?;
        let durable = durable.await.map_err(|_| closed())?;
        durable.map(drop).map_err(|error| stopped("move streams to", self.shared.paths.dir(), error.to_string()))
    }
}

#[async_trait]
impl Destination for EmbeddedLog {
    async fn begin(&self, source: &str, starts: &[(Partition, u64)]) -> Result<(), Error> {
        let dir = self.shared.paths.dir().display().to_string();
        let copy = Copy { source: source.to_owned(), finished: false };
        match Copy::read(&self.shared.paths.copy())? {
            Some(there) if there == copy => {}
            Some(there) => {
                let what = if there.finished { "a finished copy" } else { "an unfinished copy" };
                return Err(Error::Incompatible(format!(
                    "{dir} is {what} of {}: expected a new directory",
                    there.source
                )));
            }
            None => {
                let slots = 0..self.shared.layout.slots();
                let view = self.shared.view().bounds(0);
                let written = slots.into_iter().any(|slot| self.shared.view().bounds(slot).end > 0);
                if written || view.start > 0 || !self.groups().await?.is_empty() {
                    return Err(Error::Incompatible(format!(
                        "{dir} has records or positions already: expected a new directory"
                    )));
                }
                self.mark(copy).await?;
            }
        }
        self.shared.copying.store(true, Ordering::Relaxed);
        // Set by the start because of the mark; a failed write would have stopped the writer.
        self.shared.failed.send_if_modified(|failed| failed.take().is_some());
        let untouched = self.shared.view().sealed.is_empty() && self.shared.view().ends.iter().all(|end| *end == 0);
        if untouched && starts.iter().any(|(_, start)| *start > 0) {
            self.raise(starts).await?;
        }
        Ok(())
    }

    async fn import(&self, to: &Partition, records: Vec<Record>) -> Result<(), Error> {
        let mut group: Vec<Record> = Vec::new();
        let (mut next, mut bytes) = (self.bounds(to)?.end, 0);
        for record in records {
            if record.offset < next {
                continue;
            }
            let full = bytes > 0 && bytes + record.payload.len() > GROUP_BYTES;
            if record.offset > next || full {
                self.append_moved(to, std::mem::take(&mut group)).await?;
                bytes = 0;
            }
            if record.offset > next {
                self.extend(to, record.offset).await?;
            }
            next = record.offset + 1;
            bytes += record.payload.len();
            group.push(record);
        }
        self.append_moved(to, group).await
    }

    async fn extend(&self, to: &Partition, end: u64) -> Result<(), Error> {
        if self.bounds(to)?.end >= end {
            return Ok(());
        }
        self.raise(&[(to.clone(), end)]).await
    }

    async fn finish(&self, source: &str) -> Result<(), Error> {
        self.mark(Copy { source: source.to_owned(), finished: true }).await?;
        self.shared.copying.store(false, Ordering::Relaxed);
        self.shared.queue.nudge();
        Ok(())
    }
}
