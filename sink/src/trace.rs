//! What a commit tells of itself as spans.

use telemetry::Timestamp;
use telemetry::trace::{Context, MOST_CONTEXTS, RowContext, Span, SpanKind, Tracing};

use crate::commit::Committed;
use crate::error::SinkError;

/// One commit, from its begin until its last step is done.
const COMMIT: &str = "table commit";
/// Its steps, in their order.
pub(crate) const STAGE: &str = "stage";
pub(crate) const PLACE: &str = "place";
pub(crate) const RECORD: &str = "record";
const STEPS: [&str; 3] = [STAGE, PLACE, RECORD];

/// Spans of other traces that led to the rows of the next commit, each once: the first [`MOST_CONTEXTS`] that came.
#[derive(Debug, Default)]
pub(crate) struct Links(Vec<Context>);

impl Links {
    /// Remembers those of `contexts` that there is room for.
    pub(crate) fn add(&mut self, contexts: &[RowContext]) {
        for RowContext { context, .. } in contexts {
            if self.0.len() < MOST_CONTEXTS && !self.0.contains(context) {
                self.0.push(*context);
            }
        }
    }

    /// Takes all of them out, for a commit that begins at `now`; `None`, without a look at the clock, if there are none.
    pub(crate) fn take(&mut self, tracing: &Tracing, now: impl FnOnce() -> Timestamp) -> Option<CommitTrace> {
        if self.0.is_empty() {
            return None;
        }
        let (links, root) = (std::mem::take(&mut self.0), tracing.root()?);
        let begun = now();
        Some(CommitTrace { tracing: tracing.clone(), root, links, begun, reached: begun, done: Vec::new() })
    }
}

/// A commit under way that has rows of traced messages.
#[derive(Debug)]
pub(crate) struct CommitTrace {
    tracing: Tracing,
    root: Context,
    links: Vec<Context>,
    begun: Timestamp,
    /// When the last step that is done ended.
    reached: Timestamp,
    done: Vec<&'static str>,
}

impl CommitTrace {
    /// The step `name` is done, at `now`.
    pub(crate) fn step(&mut self, name: &'static str, now: Timestamp) {
        self.tell_step(name, now, None);
        self.reached = now;
        self.done.push(name);
    }

    /// The commit to version `version` of `table` is done, when its last step was; or it failed at `now`, as the step did
    /// that was under way.
    pub(crate) fn ended(
        self,
        table: &str,
        version: u64,
        committed: &Result<Committed, SinkError>,
        now: impl FnOnce() -> Timestamp,
    ) {
        let end = if committed.is_ok() { self.reached } else { now() };
        let mut span = Span::new(COMMIT, SpanKind::Consumer, self.root, self.begun, end)
            .linked(self.links.iter().copied())
            .with("messaging.system", "weir")
            .with("messaging.operation.type", "process")
            .with("messaging.operation.name", COMMIT)
            .with("messaging.destination.name", table)
            .with("weir.table", table);
        match committed {
            Ok(Committed { rows, files, .. }) => {
                span = span.with("weir.version", integer(version));
                span = span.with("weir.rows", integer(*rows)).with("weir.files", integer(*files));
            }
            Err(error) => {
                let error = error.to_string();
                if let Some(step) = STEPS.into_iter().find(|step| !self.done.contains(step)) {
                    self.tell_step(step, end, Some(error.clone()));
                }
                span.error = Some(error);
            }
        }
        self.tracing.ended(span);
    }

    fn tell_step(&self, name: &'static str, end: Timestamp, error: Option<String>) {
        let Some(context) = self.tracing.child(self.root) else { return };
        let mut span = Span::new(name, SpanKind::Internal, context, self.reached, end).within(Some(self.root.span));
        span.error = error;
        self.tracing.ended(span);
    }
}

fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
