//! The span `commit`: what a backend needs to make a group durable, as a part of the group's span `append`.

use telemetry::trace::{Context, Span, SpanKind, Tracing};
use telemetry::{Clock, Timestamp};

/// Write and sync of the embedded log, or an append until the cluster has acknowledged it.
const COMMIT: &str = "commit";

/// The spans of groups that become durable together.
#[derive(Debug)]
pub(crate) struct Commits {
    began: Timestamp,
    ended: Timestamp,
    /// Those that are traced, by their spans `append`.
    groups: Vec<Context>,
}

impl Commits {
    /// Begins the spans of those of `groups` that are traced, a group once if it comes several times in a row; `None`,
    /// without a look at the clock, if none is.
    pub(crate) fn begin(
        tracing: &Tracing,
        clock: &dyn Clock,
        groups: impl Iterator<Item = Option<Context>>,
    ) -> Option<Self> {
        if !tracing.is_on() {
            return None;
        }
        let mut groups: Vec<Context> = groups.flatten().collect();
        groups.dedup();
        let began = (!groups.is_empty()).then(|| clock.now())?;
        Some(Self { began, ended: began, groups })
    }

    /// They ended at `now`: to be reported when nobody waits any more.
    pub(crate) fn until(self, now: Timestamp) -> Self {
        Self { ended: now, ..self }
    }

    /// Hands the spans over, each with what `describe` adds; `error` is why the groups are not durable.
    pub(crate) fn report(self, tracing: &Tracing, error: Option<&str>, describe: impl Fn(Span) -> Span) {
        for append in self.groups {
            let Some(context) = tracing.child(append) else { return };
            let mut span = Span::new(COMMIT, SpanKind::Internal, context, self.began, self.ended)
                .within(Some(append.span))
                .with("messaging.system", "weir")
                .with("messaging.operation.name", COMMIT);
            span.error = error.map(str::to_owned);
            tracing.ended(describe(span));
        }
    }
}
