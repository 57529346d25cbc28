//! One partition of a consumer: where it stands, and what it has seen.

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use telemetry::ipc::{self, Decoder};
use telemetry::schema;
use telemetry::trace::RowContext;

use super::{ConsumeError, ConsumerConfig, Context, Delivered, Passed, dedupe_of};
use crate::contract::{Error, Partition, Position, Record};
use crate::dedupe::Dedupe;
use crate::faults::{Tooth, tooth};
use crate::metrics::GroupMetrics;

/// What became of a record.
#[derive(Debug, Default)]
pub(super) struct Admitted {
    /// Rows that the record says it has; 0 if the effect had them before.
    pub(super) rows: u64,
    /// Rows left out because they were seen before.
    pub(super) left_out: u64,
    /// What the effect gets; `None` if nothing is new to it.
    pub(super) delivered: Option<Delivered>,
}

pub(super) struct Lane {
    pub(super) partition: Partition,
    decoder: Decoder,
    dedupe: Option<Dedupe>,
    /// First offset not read.
    next: u64,
    /// Records before this are in the effect already and only teach the deduplication.
    apply_from: u64,
    committed: Option<u64>,
}

impl Lane {
    pub(super) async fn open(
        context: &Context,
        config: &ConsumerConfig,
        index: u32,
        recovered: Option<u64>,
    ) -> Result<Self, ConsumeError> {
        let partition = Partition::new(config.stream.clone(), index);
        let streams_failed = |source| ConsumeError::Streams { group: config.group.clone(), source };
        let bounds = context.streams.bounds(&partition).map_err(streams_failed)?;
        let stored = context.streams.position(&config.group, &partition).await.map_err(streams_failed)?;
        let committed = stored.as_ref().map(|position| position.offset);
        let position = stored.unwrap_or(Position { offset: bounds.start, state: bytes::Bytes::new() });
        let output = recovered.unwrap_or(position.offset);
        if position.offset < bounds.start || output < position.offset || output > bounds.end {
            return Err(ConsumeError::Contradiction {
                group: config.group.clone(),
                partition,
                output,
                start: bounds.start,
                end: bounds.end,
                position: position.offset,
            });
        }
        let undecodable = |reason: String| ConsumeError::Undecodable {
            group: config.group.clone(),
            partition: partition.clone(),
            offset: position.offset,
            reason,
        };
        let mut dedupe = dedupe_of(&config.stream);
        if let Some(dedupe) = dedupe.as_mut().filter(|_| !tooth(Tooth::DedupeForgotten)) {
            dedupe.restore(&position.state).map_err(|error| undecodable(error.to_string()))?;
        }
        let decoder =
            Decoder::new(schema::of_stream(config.stream.as_str())).map_err(|error| undecodable(error.to_string()))?;
        let (next, apply_from) = (position.offset, output);
        Ok(Self { partition, decoder, dedupe, next, apply_from, committed })
    }

    /// Reads on; counts what is damaged.
    pub(super) async fn read(
        &mut self,
        context: &Context,
        config: &ConsumerConfig,
        metrics: &GroupMetrics,
    ) -> Result<Vec<Record>, ConsumeError> {
        let read = context.streams.read(&self.partition, self.next, config.read_bytes).await;
        let read = read.map_err(|source: Error| ConsumeError::Streams { group: config.group.clone(), source })?;
        if read.lost > 0 {
            tracing::error!(group = %config.group, partition = %self.partition, records = read.lost, "records lost to damage on disk");
            metrics.lost_records.inc_by(read.lost);
        }
        self.next = read.next;
        Ok(read.records)
    }

    /// Decodes and deduplicates `record`.
    pub(super) fn admit(
        &mut self,
        config: &ConsumerConfig,
        metrics: &GroupMetrics,
        record: Record,
    ) -> Result<Admitted, ConsumeError> {
        let offset = record.offset;
        let undecodable = |reason: String| ConsumeError::Undecodable {
            group: config.group.clone(),
            partition: self.partition.clone(),
            offset,
            reason,
        };
        let contexts = ipc::contexts(&record.payload);
        let batch = self.decoder.decode(record.payload).map_err(|error| undecodable(error.to_string()))?;
        let rows = batch.num_rows();
        metrics.read_rows.inc_by(rows as u64);
        let verdict = match &mut self.dedupe {
            Some(dedupe) => dedupe.check(&batch).map_err(|error| undecodable(error.to_string()))?,
            None => crate::dedupe::Verdict::default(),
        };
        if offset < self.apply_from {
            return Ok(Admitted::default());
        }
        let batch = match &verdict.keep {
            Some(keep) => filter_record_batch(&batch, keep).map_err(|error| undecodable(error.to_string()))?,
            None => batch,
        };
        metrics.deduplicated_messages.inc_by(verdict.duplicates);
        metrics.deduplicated_rows.inc_by((rows - batch.num_rows()) as u64);
        metrics.undecided_messages.inc_by(verdict.undecided);
        let partition = self.partition.index;
        let left_out = verdict.keep.as_ref().map_or(0, |keep| keep.false_count() as u64);
        let contexts = kept(contexts, verdict.keep.as_ref());
        let delivered = Delivered { partition, offset, appended_at: record.appended_at, batch, contexts };
        let delivered = (delivered.batch.num_rows() > 0).then_some(delivered);
        Ok(Admitted { rows: u64::from(record.rows), left_out, delivered })
    }

    /// How far everything is applied. While the lane only catches up with its effect, that is the effect's
    /// own position.
    pub(super) fn passed(&self) -> Passed {
        Passed { partition: self.partition.index, next: self.next.max(self.apply_from) }
    }

    /// Whether the position moved since it was committed.
    pub(super) fn moved(&self) -> bool {
        self.committed != Some(self.next)
    }

    /// The position to commit, if it moved since the last time.
    pub(super) fn take_position(&mut self) -> Option<(Partition, Position)> {
        if !self.moved() {
            return None;
        }
        self.committed = Some(self.next);
        let state = self.dedupe.as_ref().map(Dedupe::snapshot).unwrap_or_default();
        Some((self.partition.clone(), Position { offset: self.next, state }))
    }
}

/// Those of rows that are kept, by what is then their index: the context of a message goes with its rows.
fn kept(contexts: Vec<RowContext>, keep: Option<&BooleanArray>) -> Vec<RowContext> {
    let Some(keep) = keep else { return contexts };
    let moved = |RowContext { row, context }| {
        let at = usize::try_from(row).ok().filter(|at| *at < keep.len() && keep.value(*at))?;
        Some(RowContext { row: u32::try_from(keep.slice(0, at).true_count()).ok()?, context })
    };
    contexts.into_iter().filter_map(moved).collect()
}
