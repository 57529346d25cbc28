//! Exactly once into streams of our own: what was appended before a restart is found again, by its key.
//!
//! A row that was appended and whose step is not yet durably done is *in doubt*: after a crash the step would be done
//! again. The group [`EMIT_GROUP`] stands, in each partition, at the first row in doubt, so a start reads the streams
//! from there and takes every step whose key it finds as done. Rows of other executors are found as well, among the dead
//! letters; nobody asks for their keys, and they are let go once the backlog of firings is read.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::AsArray;
use bytes::Bytes;
use streams::faults::{Point, Tooth, point, tooth};
use streams::{Error, GroupName, Partition, Position, Record, StreamName, Streams};
use telemetry::ipc::Decoder;
use telemetry::schema::{self, event};

use super::limits;
use super::run::{RunState, StepState, key_of};
use super::share::Share;
use super::store::{Store, StoreError};

/// The group that reads the streams of events and the dead letters of workflows.
pub const EMIT_GROUP: &str = "workflows/emit";
/// The step of a firing that became a dead letter whole.
pub(super) const ADMIT: u32 = u32::MAX;

/// A run's key and the index of a step.
pub(super) type StepKey = (u128, u32);

/// A row: its partition and the offset of its record.
pub(super) type Spot = (Partition, u64);

/// Rows found at the start that may belong to steps that are still to do.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) events: HashMap<StepKey, Spot>,
    pub(super) letters: HashMap<StepKey, Spot>,
}

/// Why the streams could not be looked through.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The streams failed.
    #[error("looking through the streams of events: {0}")]
    Streams(#[from] Error),
    /// The outbox failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record cannot be understood: another program version wrote it, or a bug.
    #[error("{partition} at offset {offset}: {reason}")]
    Undecodable {
        /// The partition.
        partition: Partition,
        /// The offset.
        offset: u64,
        /// Why not.
        reason: String,
    },
}

/// Where the group may stand in each partition.
#[derive(Debug, Default)]
pub(super) struct Held {
    marks: BTreeMap<Partition, Mark>,
}

#[derive(Debug, Default)]
struct Mark {
    /// One past the last row known.
    end: u64,
    committed: Option<u64>,
    /// Rows in doubt, by offset.
    doubts: BTreeMap<u64, usize>,
}

impl Held {
    /// A row was appended or found, and its step is not durably done.
    pub(super) fn doubt(&mut self, (partition, offset): &Spot) {
        let mark = self.marks.entry(partition.clone()).or_default();
        mark.end = mark.end.max(offset + 1);
        *mark.doubts.entry(*offset).or_default() += 1;
    }

    /// The step of a row is durably done, or never will be asked for.
    pub(super) fn settle(&mut self, (partition, offset): &Spot) {
        let Some(mark) = self.marks.get_mut(partition) else { return };
        if let Some(count) = mark.doubts.get_mut(offset) {
            *count -= 1;
            if *count == 0 {
                mark.doubts.remove(offset);
            }
        }
    }

    /// Offsets that moved since they were last taken.
    pub(super) fn take_positions(&mut self) -> Vec<(Partition, u64)> {
        let mut positions = Vec::new();
        for (partition, mark) in &mut self.marks {
            let at = mark.doubts.keys().next().copied().unwrap_or(mark.end);
            if mark.committed != Some(at) {
                mark.committed = Some(at);
                positions.push((partition.clone(), at));
            }
        }
        positions
    }
}

/// Under which names positions are kept, and of which outbox they are.
#[derive(Clone, Debug)]
pub(super) struct Keeper {
    share: Share,
    outbox: Bytes,
}

impl Keeper {
    pub(super) fn new(share: Share, outbox: &str) -> Self {
        Self { share, outbox: Bytes::copy_from_slice(outbox.as_bytes()) }
    }

    /// Whether what lies before `position` is not in doubt for this outbox. One that another outbox committed says
    /// nothing of it: both had this partition, one after the other. An older version of Weir named none.
    fn trusts(&self, position: &Position) -> bool {
        position.state.is_empty() || position.state == self.outbox
    }
}

/// Commits positions of the groups.
pub(super) async fn pass(
    streams: Arc<dyn Streams>,
    keeper: Keeper,
    positions: Vec<(Partition, u64)>,
) -> Result<(), Error> {
    point(Point::EventsPassed);
    let mut groups: BTreeMap<GroupName, Vec<(Partition, Position)>> = BTreeMap::new();
    for (partition, offset) in positions {
        let group = keeper.share.group(&partition.stream);
        groups.entry(group).or_default().push((partition, Position { offset, state: keeper.outbox.clone() }));
    }
    for (group, positions) in groups {
        streams.commit(&group, positions).await?;
    }
    Ok(())
}

/// Reads every partition that runs of the share append to, from the position of the group on; `all` of what is retained
/// where the store begins empty. Registers the groups.
pub(super) async fn recover(
    streams: &Arc<dyn Streams>,
    store: &Arc<Store>,
    keeper: &Keeper,
    all: bool,
) -> Result<(Found, Held), RecoveryError> {
    let (mut found, mut held) = (Found::default(), Held::default());
    for partition in keeper.share.appended(streams.as_ref()) {
        let bounds = streams.bounds(&partition)?;
        let position = streams.position(&keeper.share.group(&partition.stream), &partition).await?;
        let position = position.filter(|position| !all && keeper.trusts(position));
        let from = position.map_or(bounds.start, |position| position.offset.max(bounds.start));
        let from = if tooth(Tooth::EmitRecoverySkipped) { bounds.end } else { from };
        look_through(streams, store, &partition, from..bounds.end, &mut found, &mut held).await?;
    }
    pass(streams.clone(), keeper.clone(), held.take_positions()).await?;
    Ok((found, held))
}

async fn look_through(
    streams: &Arc<dyn Streams>,
    store: &Arc<Store>,
    partition: &Partition,
    range: std::ops::Range<u64>,
    found: &mut Found,
    held: &mut Held,
) -> Result<(), RecoveryError> {
    let mut next = range.start;
    let is_letters = partition.stream == StreamName::workflow_dead_letters();
    let undecodable =
        |offset, reason: String| RecoveryError::Undecodable { partition: partition.clone(), offset, reason };
    let mut decoder = Decoder::new(schema::of_stream(partition.stream.as_str()))
        .map_err(|error| undecodable(next, error.to_string()))?;
    while next < range.end {
        let read = streams.read(partition, next, limits::SCAN_BYTES).await?;
        if read.lost > 0 {
            tracing::error!(%partition, records = read.lost, "events of workflows lost to damage on disk may be emitted again");
        }
        let mut rows = Vec::new();
        for record in read.records {
            let offset = record.offset;
            let keys =
                keys(&mut decoder, record, is_letters).map_err(|error| undecodable(offset, error.to_string()))?;
            rows.extend(keys.into_iter().map(|key| (key, offset)));
        }
        if read.next == next {
            break;
        }
        next = read.next;
        let open = open(store, rows, is_letters).await?;
        for (key, offset) in open {
            let spot = (partition.clone(), offset);
            held.doubt(&spot);
            let earlier = if is_letters { &mut found.letters } else { &mut found.events }.insert(key, spot);
            if let Some(earlier) = earlier {
                held.settle(&earlier);
            }
        }
    }
    held.marks.entry(partition.clone()).or_default().end = next;
    Ok(())
}

/// The keys of a record, of rows that workflows appended.
fn keys(decoder: &mut Decoder, record: Record, is_letters: bool) -> Result<Vec<StepKey>, arrow::error::ArrowError> {
    let batch = decoder.decode(record.payload)?;
    let column = if is_letters { batch.column_by_name("topic") } else { batch.columns().get(event::EVENT_ID) };
    let Some(texts) = column.and_then(|column| column.as_string_opt::<i32>()) else {
        return Err(arrow::error::ArrowError::SchemaError("no column of keys".to_owned()));
    };
    let key = if is_letters { key_of_letter } else { key_of_event };
    Ok(texts.iter().flatten().filter_map(key).collect())
}

fn key_of_event(id: &str) -> Option<StepKey> {
    let (run, step) = id.rsplit_once('-')?;
    Some((key_of(run), step.parse().ok()?))
}

/// Topics are `workflows/<run id>/<step>` and `workflows/<run id>/admit`; others are of other processors.
fn key_of_letter(topic: &str) -> Option<StepKey> {
    let (run, step) = topic.strip_prefix("workflows/")?.rsplit_once('/')?;
    Some((key_of(run), if step == "admit" { ADMIT } else { step.parse().ok()? }))
}

/// The rows whose step the store does not name as done.
async fn open(
    store: &Arc<Store>,
    rows: Vec<(StepKey, u64)>,
    is_letters: bool,
) -> Result<Vec<(StepKey, u64)>, RecoveryError> {
    let store = store.clone();
    let read = move || undecided(&store, rows, is_letters, true);
    Ok(tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?)
}

/// Those of `rows` whose step may still be asked for; blocks. `unknown` says whether runs that the store does not
/// know may still come.
pub(super) fn undecided(
    store: &Store,
    rows: Vec<(StepKey, u64)>,
    is_letters: bool,
    unknown: bool,
) -> Result<Vec<(StepKey, u64)>, StoreError> {
    let keys: Vec<u128> = rows.iter().map(|((run, _), _)| *run).collect();
    let seen = store.seen(&keys)?;
    let numbers: Vec<u64> = seen.iter().flatten().filter(|seen| seen.is_run).map(|seen| seen.number).collect();
    let runs: HashMap<u128, _> = store.runs(&numbers)?.into_iter().map(|run| (run.key, run)).collect();
    let open = |((run, step), offset): &(StepKey, u64), known: bool| match runs.get(run) {
        None => !known && unknown,
        Some(run) if is_letters => run.state == RunState::Pending && run.letter.is_none_or(|letter| *offset > letter),
        Some(run) => {
            let step = usize::try_from(*step).ok().and_then(|step| run.steps.get(step));
            run.state.is_open() && step.is_some_and(|step| step.state != StepState::Done)
        }
    };
    Ok(rows.into_iter().zip(seen).filter(|(row, seen)| open(row, seen.is_some())).map(|(row, _)| row).collect())
}
