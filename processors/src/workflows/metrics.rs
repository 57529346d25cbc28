//! Metrics of workflows. The label `target` is closed by the rule files, past ones included.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::breaker::BreakerState;
use super::run::RunState;
use super::target::Outcome;

/// What the executor shows.
#[derive(Clone, Debug)]
pub struct WorkflowsMetrics {
    firings: IntCounterVec,
    runs: IntCounterVec,
    open: IntGaugeVec,
    attempts: IntCounterVec,
    steps: IntCounterVec,
    attempt_seconds: HistogramVec,
    pub(super) start_seconds: Histogram,
    pub(super) commit_seconds: Histogram,
    pending: IntGaugeVec,
    breaker: IntGaugeVec,
    transitions: IntCounterVec,
}

/// What became of a firing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Run,
    Repeated,
    /// It became a dead letter whole: too many runs are open, or its plan cannot be understood.
    Letter,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StepEnd {
    Done,
    Failed,
    Dead,
}

impl WorkflowsMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// If a metric of the same name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let gauges = |name: &str, help: &str, label: &str| -> Result<IntGaugeVec, prometheus::Error> {
            let gauge = IntGaugeVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let histogram = |name: &str, help: &str, buckets: Vec<f64>| -> Result<Histogram, prometheus::Error> {
            let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?;
            registry.register(Box::new(histogram.clone()))?;
            Ok(histogram)
        };
        let attempt_seconds = HistogramVec::new(
            HistogramOpts::new("weir_workflows_attempt_seconds", "Seconds that attempts at steps took, by target")
                .buckets(prometheus::exponential_buckets(0.001, 4.0, 9)?),
            &["target"],
        )?;
        registry.register(Box::new(attempt_seconds.clone()))?;
        let metrics = Self {
            firings: counters("weir_workflows_firings_total", "Firings read, by what became of them", &["outcome"])?,
            runs: counters("weir_workflows_runs_total", "Runs that came into a state", &["state"])?,
            open: gauges(
                "weir_workflows_open_runs",
                "Runs that have not ended: those to be worked on, and those that wait with a dead letter",
                "state",
            )?,
            attempts: counters(
                "weir_workflows_attempts_total",
                "Attempts at steps, by how they ended",
                &["target", "outcome"],
            )?,
            steps: counters("weir_workflows_steps_total", "Steps that ended, by how", &["target", "outcome"])?,
            attempt_seconds,
            start_seconds: histogram(
                "weir_workflows_start_seconds",
                "Seconds from the receipt of a reading to the first attempt of its run",
                vec![0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0],
            )?,
            commit_seconds: histogram(
                "weir_workflows_commit_seconds",
                "Seconds that commits of the outbox took",
                prometheus::exponential_buckets(0.000_5, 2.0, 13)?,
            )?,
            pending: gauges(
                "weir_workflows_pending",
                "Steps that wait for an attempt or are at one, by target",
                "target",
            )?,
            breaker: gauges(
                "weir_workflows_breaker_state",
                "Circuit breaker of the target: 0 closed, 1 half open, 2 open",
                "target",
            )?,
            transitions: counters(
                "weir_workflows_breaker_transitions_total",
                "Changes of the circuit breaker of the target, by the state it came into",
                &["target", "to"],
            )?,
        };
        metrics.begin_at_zero();
        Ok(metrics)
    }

    fn begin_at_zero(&self) {
        for outcome in ["taken", "repeated", "dead_letter"] {
            self.firings.with_label_values(&[outcome]);
        }
        for state in RunState::ALL {
            self.runs.with_label_values(&[state.as_str()]);
        }
        self.open(0, 0);
    }

    pub(super) fn firing(&self, taken: Taken) {
        let outcome = match taken {
            Taken::Run => "taken",
            Taken::Repeated => "repeated",
            Taken::Letter => "dead_letter",
        };
        self.firings.with_label_values(&[outcome]).inc();
    }

    pub(super) fn run(&self, state: RunState) {
        self.runs.with_label_values(&[state.as_str()]).inc();
    }

    pub(super) fn open(&self, pending: u64, dead: u64) {
        for (state, count) in [(RunState::Pending, pending), (RunState::Dead, dead)] {
            self.open.with_label_values(&[state.as_str()]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// The metrics of `target`, looked up once.
    pub(super) fn of(&self, target: &str) -> TargetMetrics {
        let attempts = |outcome| self.attempts.with_label_values(&[target, outcome]);
        let steps = |outcome| self.steps.with_label_values(&[target, outcome]);
        let to = |state: BreakerState| self.transitions.with_label_values(&[target, state.as_str()]);
        TargetMetrics {
            done: attempts("done"),
            failed: attempts("failed"),
            busy: attempts("busy"),
            refused: attempts("refused"),
            absent: attempts("absent"),
            steps_done: steps("done"),
            steps_failed: steps("failed"),
            steps_dead: steps("dead"),
            seconds: self.attempt_seconds.with_label_values(&[target]),
            pending: self.pending.with_label_values(&[target]),
            breaker: self.breaker.with_label_values(&[target]),
            transitions: [to(BreakerState::Closed), to(BreakerState::HalfOpen), to(BreakerState::Open)],
            shown: BreakerState::Closed,
        }
    }
}

/// The metrics of one target.
#[derive(Debug)]
pub(super) struct TargetMetrics {
    done: IntCounter,
    failed: IntCounter,
    busy: IntCounter,
    refused: IntCounter,
    absent: IntCounter,
    steps_done: IntCounter,
    steps_failed: IntCounter,
    steps_dead: IntCounter,
    pub(super) seconds: Histogram,
    pending: IntGauge,
    breaker: IntGauge,
    transitions: [IntCounter; 3],
    shown: BreakerState,
}

impl TargetMetrics {
    pub(super) fn attempt(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Done(_) => &self.done,
            Outcome::Failed(_) => &self.failed,
            Outcome::Busy { .. } => &self.busy,
            Outcome::Refused(_) => &self.refused,
            Outcome::Absent { .. } => &self.absent,
        }
        .inc();
    }

    pub(super) fn step(&self, end: StepEnd) {
        match end {
            StepEnd::Done => &self.steps_done,
            StepEnd::Failed => &self.steps_failed,
            StepEnd::Dead => &self.steps_dead,
        }
        .inc();
    }

    /// The state of the breaker that was shown last.
    pub(super) fn shown(&self) -> BreakerState {
        self.shown
    }

    pub(super) fn show(&mut self, pending: u64, state: BreakerState) {
        self.pending.set(i64::try_from(pending).unwrap_or(i64::MAX));
        if state != self.shown {
            self.shown = state;
            self.breaker.set(state.gauge());
            let [closed, half_open, open] = &self.transitions;
            match state {
                BreakerState::Closed => closed,
                BreakerState::HalfOpen => half_open,
                BreakerState::Open => open,
            }
            .inc();
        }
    }
}
