//! The sink as the consume loop drives it: apply batches, flush them as one commit.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute;
use arrow::datatypes::TimestampMicrosecondType;
use async_trait::async_trait;
use streams::consume::{Delivered, Effect, EffectError, Passed};
use telemetry::trace::Tracing;
use telemetry::{Clock, Timestamp};

use crate::buffer::{Buffer, bytes_of};
use crate::commit::Committer;
use crate::config::SinkConfig;
use crate::error::SinkError;
use crate::metrics::{SinkMetrics, TableMetrics};
use crate::recovery;
use crate::spec::TableSpec;
use crate::trace::Links;

/// One table, open for writing. Dropping it loses only what a restart reads from the stream again.
#[derive(Debug)]
pub struct TableSink {
    spec: TableSpec,
    path: PathBuf,
    roll_rows: usize,
    roll_bytes: usize,
    roll_age: Duration,
    clock: Arc<dyn Clock>,
    tracing: Tracing,
    metrics: TableMetrics,
    buffer: Buffer,
    /// The traced messages in the buffer.
    links: Links,
    /// When the oldest reading in the buffer was received.
    oldest: Option<Timestamp>,
    /// `None` while a flush is under way, and for good after one failed: what is on disk is then unknown.
    committer: Option<Committer>,
}

impl TableSink {
    /// Opens the table of `spec` below `config.root` for rows of `partitions`, creating it if it is new; deletes
    /// what an unfinished commit of theirs left, before anything else of them is written. Blocks on the disk.
    ///
    /// If the table is shared, this takes `partitions` from whoever had them: their commits fail with
    /// [`SinkError::Fenced`] from then on. So it comes after `Streams::claim`, which refuses who has no right to
    /// them. Otherwise `partitions` are all that the stream has.
    ///
    /// # Errors
    /// [`SinkError::Config`], [`SinkError::Locked`], [`SinkError::Damaged`] if a committed file is missing or
    /// changed, [`SinkError::Incompatible`], [`SinkError::Conflict`] if others who share the table commit without
    /// end, [`SinkError::Io`].
    pub fn open(
        config: &SinkConfig,
        spec: TableSpec,
        partitions: &[u32],
        clock: Arc<dyn Clock>,
        tracing: Tracing,
        metrics: &SinkMetrics,
    ) -> Result<Self, SinkError> {
        let recovered = recovery::open(config, spec.clone(), partitions, Arc::clone(&clock))?;
        let metrics = metrics.of(&spec.name);
        metrics.recovered_files.inc_by(recovered.deleted);
        metrics.commit_conflicts.inc_by(recovered.conflicts);
        Ok(Self {
            path: recovered.committer.paths.table.clone(),
            roll_rows: config.roll_rows,
            roll_bytes: config.roll_bytes,
            roll_age: config.roll_age,
            committer: Some(recovered.committer),
            buffer: Buffer::default(),
            links: Links::default(),
            oldest: None,
            spec,
            clock,
            tracing,
            metrics,
        })
    }

    /// Directory of the table.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn keep(&mut self, delivered: Delivered) -> Result<(), SinkError> {
        let Delivered { partition, offset, batch, contexts, .. } = delivered;
        let committer = self.committer.as_ref().ok_or(SinkError::Stopped)?;
        committer.check_ours(partition)?;
        let committed = committer.positions.get(&partition).copied().unwrap_or(0);
        let held = self.buffer.last_offset(partition).map_or(committed, |last| last + 1);
        if offset < held {
            return Err(SinkError::Behind { partition, offset, committed: held });
        }
        let bytes = bytes_of(&batch);
        let batch = self.spec.project(&batch)?;
        if batch.num_rows() > 0 {
            if self.tracing.is_on() {
                self.links.add(&contexts);
            }
            self.oldest = [self.oldest, oldest(&batch)].into_iter().flatten().min();
            let pushed = self.buffer.push(partition, offset, batch, bytes, self.clock.monotonic());
            pushed.map_err(|error| SinkError::Columns {
                context: "cannot merge rows".to_owned(),
                source: error.into(),
            })?;
        }
        self.show_buffer();
        Ok(())
    }

    async fn commit(&mut self, passed: &[Passed]) -> Result<(), SinkError> {
        let started = self.clock.monotonic();
        let committer = self.committer.as_ref().ok_or(SinkError::Stopped)?;
        passed.iter().try_for_each(|passed| committer.check_ours(passed.partition))?;
        // Records without a new row still move the table's position: the loop commits its own next, and the
        // table's must not stay behind that one. Without even those there is nothing to commit.
        if self.buffer.rows() == 0 && !passed.iter().any(|passed| committer.is_ahead(*passed)) {
            return Ok(());
        }
        self.check_passed(passed)?;
        let mut committer = self.committer.take().ok_or(SinkError::Stopped)?;
        let (rows, passed) = (self.buffer.take(), passed.to_vec());
        let trace = self.links.take(&self.tracing, || self.clock.now());
        let committing = tokio::task::spawn_blocking(move || {
            let committed = committer.commit_traced(rows, &passed, trace);
            committed.map(|committed| (committer, committed))
        });
        let (committer, committed) = committing
            .await
            .map_err(|error| SinkError::Io { context: "the commit panicked".to_owned(), source: error.into() })??;
        self.committer = Some(committer);
        self.metrics.committed_rows.inc_by(committed.rows);
        self.metrics.committed_files.inc_by(committed.files);
        self.metrics.committed_bytes.inc_by(committed.bytes);
        self.metrics.commit_conflicts.inc_by(committed.conflicts);
        self.metrics.commit_seconds.observe(self.clock.monotonic().saturating_sub(started).as_secs_f64());
        if let Some(oldest) = self.oldest.take() {
            self.metrics.freshness_seconds.observe(self.clock.now().since(oldest).as_secs_f64());
        }
        self.show_buffer();
        Ok(())
    }

    /// Rows must not be committed without their position: they would be applied again.
    fn check_passed(&self, passed: &[Passed]) -> Result<(), SinkError> {
        for partition in self.buffer.partitions() {
            let next = passed.iter().find(|passed| passed.partition == partition).map_or(0, |passed| passed.next);
            let last = self.buffer.last_offset(partition).unwrap_or(0);
            if next <= last {
                return Err(SinkError::Behind { partition, offset: last, committed: next });
            }
        }
        Ok(())
    }

    fn show_buffer(&self) {
        self.metrics.buffered_rows.set(i64::try_from(self.buffer.rows()).unwrap_or(i64::MAX));
        self.metrics.buffered_bytes.set(i64::try_from(self.buffer.bytes()).unwrap_or(i64::MAX));
    }

    fn failed(&self, action: &str, error: SinkError) -> EffectError {
        EffectError::new(format!("{action} table {}", self.path.display()), error)
    }
}

/// When the oldest reading of `batch` was received.
fn oldest(batch: &RecordBatch) -> Option<Timestamp> {
    let received = batch.column_by_name("received_at")?.as_primitive_opt::<TimestampMicrosecondType>()?;
    compute::min(received).map(Timestamp::from_micros)
}

#[async_trait]
impl Effect for TableSink {
    async fn apply(&mut self, delivered: Delivered) -> Result<(), EffectError> {
        self.keep(delivered).map_err(|error| self.failed("cannot take rows for", error))
    }

    fn wants_flush(&self, now: Duration) -> bool {
        let old = self.buffer.since().is_some_and(|since| now.saturating_sub(since) >= self.roll_age);
        old || self.buffer.rows() >= self.roll_rows || self.buffer.bytes() >= self.roll_bytes
    }

    async fn flush(&mut self, passed: &[Passed]) -> Result<(), EffectError> {
        self.commit(passed).await.map_err(|error| self.failed("cannot commit to", error))
    }

    fn recovered(&self, partition: u32) -> Option<u64> {
        self.committer.as_ref()?.positions.get(&partition).copied()
    }
}
