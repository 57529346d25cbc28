//! Faults on command, for the harness in `chaos/`: named places where the process can be killed or held, and
//! planted bugs that the harness must catch.
//!
//! All of it exists only with the feature `faults`. Without it, which is how Weir is built, [`point`] does
//! nothing and [`tooth`] is the constant `false`, so both vanish. With it, the environment says what happens:
//! `WEIR_FAULT=log_synced:3:kill` at the third time, `WEIR_TOOTH=ack_before_sync` always.

/// Declares a closed set of names.
macro_rules! names {
    ($(#[$about:meta])* $set:ident { $($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $set { $($(#[doc = $doc])+ $variant,)+ }

        impl $set {
            /// All of them, in the order of the way of a reading.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Name in the environment and in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it is, for a report.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

names! {
    /// A place on the way of a reading where a crash matters.
    Point {
        /// The open group was taken, and is not yet encoded.
        GroupTaken = "group_taken",
        /// A group of records is complete in memory.
        LogWrite = "log_write",
        /// The group is written, and not synced.
        LogWritten = "log_written",
        /// The group is durable, nobody knows it.
        LogSynced = "log_synced",
        /// Acknowledgements are due, and not written.
        AckWrite = "ack_write",
        /// Acknowledgements are in the write buffer of their connection.
        AckWritten = "ack_written",
        /// A full segment is about to be sealed.
        SegmentSeal = "segment_seal",
        /// The index of a full segment is durable, the next segment does not exist.
        SegmentIndexed = "segment_indexed",
        /// The next segment is written under its name, the directory is not synced.
        SegmentNamed = "segment_named",
        /// The oldest segment is removed, the directory is not synced.
        SegmentRemoved = "segment_removed",
        /// Alerts are about to be appended.
        AlertsAppend = "alerts_append",
        /// Alerts are durable, the position of the rules is not.
        AlertsAppended = "alerts_appended",
        /// Firings are handed to the executor, and start.
        FiringsAdmitted = "firings_admitted",
        /// An attempt at a step is about to begin.
        StepAttempt = "step_attempt",
        /// An attempt has succeeded, nothing of it is durable.
        StepDone = "step_done",
        /// States of steps are about to be committed.
        OutboxCommit = "outbox_commit",
        /// States of steps are durable.
        OutboxCommitted = "outbox_committed",
        /// An emitted event is durable, its step is not done.
        EventAppended = "event_appended",
        /// Positions in the streams of events are about to move.
        EventsPassed = "events_passed",
        /// A Parquet file is about to be written to the staging directory.
        ParquetWrite = "parquet_write",
        /// A Parquet file is closed, and not synced.
        ParquetClosed = "parquet_closed",
        /// All files of a commit are synced in the staging directory.
        ParquetSynced = "parquet_synced",
        /// One file is in the table, others of its commit may not be.
        ParquetPlaced = "parquet_placed",
        /// All files are in the table, and durable; no commit names them.
        TablePlaced = "table_placed",
        /// The commit is staged, and not named.
        DeltaStaged = "delta_staged",
        /// The commit has its name, the directory is not synced.
        DeltaNamed = "delta_named",
        /// The commit is durable.
        DeltaSynced = "delta_synced",
        /// A checkpoint is about to be written.
        CheckpointWrite = "checkpoint_write",
        /// The checkpoint has its name, the directory is not synced.
        CheckpointNamed = "checkpoint_named",
        /// Position and snapshot of a consumer are about to be committed.
        PositionCommit = "position_commit",
        /// Position and snapshot of a consumer are durable.
        PositionCommitted = "position_committed",
    }
}

names! {
    /// A planted bug.
    Tooth {
        /// The log does not sync its files.
        LogSyncSkipped = "log_sync_skipped",
        /// The log does not sync its directories.
        LogDirectorySyncSkipped = "log_directory_sync_skipped",
        /// A failed sync is tried again, and the second result believed.
        SyncRetried = "sync_retried",
        /// A failed write of the log is taken for a success.
        WriteErrorIgnored = "write_error_ignored",
        /// Messages are acknowledged when they are handed to the log.
        AckBeforeSync = "ack_before_sync",
        /// A message is acknowledged with the group before its own.
        StaleAck = "stale_ack",
        /// Records are read without a look at their checksums.
        ChecksumSkipped = "checksum_skipped",
        /// Segments are deleted though a consumer has not passed them.
        RetentionIgnoresConsumers = "retention_ignores_consumers",
        /// A consumer commits its position before its effect.
        PositionBeforeEffect = "position_before_effect",
        /// Deduplication begins empty after a restart.
        DedupeForgotten = "dedupe_forgotten",
        /// Deduplication takes each message below the highest number for a copy.
        LateDropped = "late_dropped",
        /// Alerts are not deduplicated by their source.
        AlertsRepeated = "alerts_repeated",
        /// A step is done before it is tried.
        StepDoneBeforeAttempt = "step_done_before_attempt",
        /// After a restart nobody looks which events were emitted.
        EmitRecoverySkipped = "emit_recovery_skipped",
        /// The position of workflows is committed before the outbox.
        OutboxAfterPosition = "outbox_after_position",
        /// A firing is not recognised when it comes again.
        KeysForgotten = "keys_forgotten",
        /// Parquet files are not synced.
        ParquetSyncSkipped = "parquet_sync_skipped",
        /// Files get their names in the table after the commit that names them.
        RenameAfterCommit = "rename_after_commit",
        /// The directory of the Delta log is not synced.
        DeltaDirectorySyncSkipped = "delta_directory_sync_skipped",
        /// Files of an unfinished commit stay in the table.
        LeftoversKept = "leftovers_kept",
    }
}

#[cfg(feature = "faults")]
pub use armed::{point, tooth};

/// What the harness tries on the log by itself.
#[cfg(feature = "faults")]
pub use crate::log::{
    damage::{DamageReport, FileReport, damage},
    model::{ModelReport, model},
};

/// Marks a place; does nothing in this build.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub const fn point(_: Point) {}

/// Whether a bug is planted; in this build none is.
#[cfg(not(feature = "faults"))]
#[inline(always)]
#[must_use]
pub const fn tooth(_: Tooth) -> bool {
    false
}

#[cfg(feature = "faults")]
mod armed {
    use std::path::PathBuf;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};

    use super::{Point, Tooth};

    static FAULT: LazyLock<Option<Fault>> = LazyLock::new(|| {
        let text = std::env::var("WEIR_FAULT").ok()?;
        let fault = Fault::parse(&text);
        assert!(fault.is_some(), "WEIR_FAULT={text}: expected POINT:NTH:kill, POINT:NTH:stop or POINT:NTH:hold=FILE");
        fault
    });

    static TOOTH: LazyLock<Option<Tooth>> = LazyLock::new(|| {
        let name = std::env::var("WEIR_TOOTH").ok()?;
        let tooth = Tooth::ALL.iter().copied().find(|tooth| tooth.name() == name);
        assert!(tooth.is_some(), "WEIR_TOOTH={name}: no planted bug of this name");
        tooth
    });

    /// How often a held process looks whether it may go on.
    const LOOK: Duration = Duration::from_millis(20);

    struct Fault {
        point: Point,
        left: AtomicU64,
        action: Action,
    }

    enum Action {
        Kill,
        Stop,
        /// Hold whoever comes, from then on, as long as the file exists.
        Hold(PathBuf),
    }

    impl Fault {
        fn parse(text: &str) -> Option<Self> {
            let mut parts = text.splitn(3, ':');
            let (name, nth, action) = (parts.next()?, parts.next()?, parts.next()?);
            let point = Point::ALL.iter().copied().find(|point| point.name() == name)?;
            let left = AtomicU64::new(nth.parse().ok().filter(|nth| *nth > 0)?);
            let action = match action {
                "kill" => Action::Kill,
                "stop" => Action::Stop,
                hold => Action::Hold(PathBuf::from(hold.strip_prefix("hold=")?)),
            };
            Some(Self { point, left, action })
        }

        fn reached(&self) -> bool {
            let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            matches!((&self.action, left), (_, Ok(1)) | (Action::Hold(_), Err(_)))
        }
    }

    /// Marks a place: here the fault of the environment happens.
    pub fn point(point: Point) {
        let Some(fault) = FAULT.as_ref().filter(|fault| fault.point == point && fault.reached()) else { return };
        match &fault.action {
            Action::Kill => signal(Signal::KILL),
            Action::Stop => signal(Signal::STOP),
            Action::Hold(file) => {
                while file.exists() {
                    #[expect(clippy::disallowed_methods, reason = "a fault: the thread is to hang")]
                    std::thread::sleep(LOOK);
                }
            }
        }
    }

    fn signal(signal: Signal) {
        assert!(kill_process(getpid(), signal).is_ok(), "a process may signal itself");
    }

    /// Whether this bug is planted.
    #[must_use]
    pub fn tooth(tooth: Tooth) -> bool {
        *TOOTH == Some(tooth)
    }
}
