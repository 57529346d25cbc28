//! The work of a commit that is only work: sorting and encoding, on a thread that comes after all others.
//!
//! A commit after an outage takes as much CPU as there is. On this thread it takes what those leave who answer devices,
//! and it holds nothing that they wait for: it touches no file and no lock. What it made is written by the caller, whose
//! writes the file system must not find at a low priority.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::arrange::{HourRows, arrange};
use crate::buffer::PartitionRows;
use crate::delta::stats;
use crate::error::SinkError;
use crate::file;
use crate::layout::Hour;
use crate::spec::TableSpec;

/// How much nicer it is than other threads: the scheduler gives it a tenth of a core that others want, and all of one
/// that is free.
const NICENESS: i32 = 10;
/// Files ready to be written: one, while the next is made.
const READY: usize = 1;

/// A file, encoded.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) partition: u32,
    pub(crate) hour: Hour,
    /// Offsets of the first and last record with a row in it.
    pub(crate) offsets: (u64, u64),
    pub(crate) rows: u64,
    pub(crate) stats: String,
    pub(crate) bytes: Vec<u8>,
}

/// Sorts and encodes `rows`; `write` gets file after file, in order, until it fails.
///
/// # Errors
/// What `write` returned; [`SinkError::Columns`] if rows have not the columns of `spec`; [`SinkError::Io`] if there is
/// no thread to be had.
pub(crate) fn encode_all(
    rows: BTreeMap<u32, PartitionRows>,
    spec: &TableSpec,
    write: impl FnMut(Encoded) -> Result<(), SinkError>,
) -> Result<(), SinkError> {
    thread::scope(|scope| {
        let (ready, arriving) = sync_channel(READY);
        let work = move || {
            if let Err(error) = rustix::process::nice(NICENESS) {
                tracing::debug!(%error, "sorting and encoding run at the priority of others");
            }
            work(rows, spec, &ready);
        };
        let thread = thread::Builder::new().name("weir-encode".to_owned());
        let spawned = thread.spawn_scoped(scope, work);
        spawned.map_err(|source| SinkError::Io { context: "cannot start a thread to encode on".to_owned(), source })?;
        take(arriving, write)
    })
}

/// Ends early, and so ends the thread, if `write` fails.
fn take(
    arriving: Receiver<Result<Encoded, SinkError>>,
    mut write: impl FnMut(Encoded) -> Result<(), SinkError>,
) -> Result<(), SinkError> {
    arriving.into_iter().try_for_each(|encoded| write(encoded?))
}

fn work(rows: BTreeMap<u32, PartitionRows>, spec: &TableSpec, ready: &SyncSender<Result<Encoded, SinkError>>) {
    for (partition, rows) in rows {
        let sorted = arrange(&rows, spec);
        drop(rows);
        let sorted = match sorted {
            Ok(sorted) => sorted,
            Err(error) => {
                // Nobody listens any more: then there is another error.
                drop(ready.send(Err(SinkError::rows("cannot sort rows", error))));
                return;
            }
        };
        for hour in sorted.hours(spec) {
            let encoded = hour.map_err(|error| SinkError::rows("cannot sort rows", error));
            let encoded = encoded.and_then(|hour| encode(partition, &hour, spec));
            let failed = encoded.is_err();
            if ready.send(encoded).is_err() || failed {
                return;
            }
        }
    }
}

fn encode(partition: u32, rows: &HourRows, spec: &TableSpec) -> Result<Encoded, SinkError> {
    let bytes = file::encode(rows, spec).map_err(|error| SinkError::rows("cannot encode rows", error))?;
    Ok(Encoded {
        partition,
        hour: rows.hour,
        offsets: rows.offsets,
        rows: rows.batch.num_rows() as u64,
        stats: stats::of(&rows.batch, spec),
        bytes,
    })
}
