//! Whether all that came in is accounted for.
//!
//! ```text
//!  readings   received = stored + deduplicated + in flight
//!  messages   received = accepted + dead-lettered + rejected + in flight
//! ```
//!
//! No term is computed from the others. The door counts what comes in as it comes, and what it made durable in the
//! records it appended. Group `sink/readings` counts what records say they have and what deduplication left out, the
//! sink what is in its files and in its buffer. In flight is what the door commits, what lies in the log and what the
//! sink holds; what lies in the log is the difference of what went in and what was read, but nothing once the group
//! stands at its end: a record that the log lost is then missing.
//!
//! All of it is about what this process received since it started. What lay in the log before, and is stored now, is
//! left out by its offset; a message that is sent again and was stored by an earlier life is received and deduplicated.

mod sum;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use anyhow::Context;
use ingest::Intake;
use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Gauge, LabelPair, Metric, MetricFamily, MetricType};
use sink::SinkMetrics;
use streams::metrics::{ConsumerMetrics, SinceStart};
use streams::{Partition, StreamName, Streams};

use self::sum::{Ends, Messages, Readings};

/// The group that stores readings.
const GROUP: &str = "sink/readings";
/// How often an account that does not add up is looked at again at once: counters move while they are read.
const LOOKS: usize = 4;

/// The far end of the balance: the table of readings.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    since: Arc<SinceStart>,
    sink: SinkMetrics,
}

impl Table {
    /// The table of readings that `sink` shows, written by a group that did not run yet. If all that is appended comes
    /// in by this process, which has not opened its door, `alone`, what lies in `streams` now is told apart from it.
    ///
    /// # Errors
    /// If a partition is not there.
    pub(crate) fn new(
        streams: &dyn Streams,
        consumers: &ConsumerMetrics,
        sink: SinkMetrics,
        alone: bool,
    ) -> anyhow::Result<Self> {
        let mut begins = BTreeMap::new();
        for partition in partitions(streams).into_iter().filter(|_| alone) {
            begins.insert(partition.index, streams.bounds(&partition).context("balance")?.end);
        }
        Ok(Self { since: consumers.watch(GROUP.into(), begins), sink })
    }
}

/// The balance of this process.
#[derive(Debug)]
pub(crate) struct Balance {
    streams: Arc<dyn Streams>,
    door: Option<Intake>,
    table: Option<Table>,
    /// Whether what the table gets is what the door took, no more and no less.
    whole: bool,
    descs: Descs,
}

#[derive(Debug)]
struct Descs {
    readings: Desc,
    readings_difference: Desc,
    messages: Desc,
    messages_difference: Desc,
}

impl Balance {
    /// Shows the balance of what this process has, `door`, `table`, or both; with both, and `alone` on its streams, also
    /// what is missing.
    ///
    /// # Errors
    /// If a metric of the same name is registered already.
    pub(crate) fn register(
        registry: &Registry,
        streams: Arc<dyn Streams>,
        door: Option<Intake>,
        table: Option<Table>,
        alone: bool,
    ) -> anyhow::Result<()> {
        let whole = alone && door.is_some() && table.is_some();
        let balance = Self { streams, door, table, whole, descs: Descs::new()? };
        registry.register(Box::new(balance)).context("balance")
    }

    fn readings(&self) -> Readings {
        let mut best = self.look();
        for _ in 1..LOOKS {
            if best.difference() == 0 {
                break;
            }
            std::thread::yield_now();
            let again = self.look();
            if again.difference().abs() < best.difference().abs() {
                best = again;
            }
        }
        best
    }

    fn look(&self) -> Readings {
        let passage = || self.door.as_ref().map(Intake::passage);
        let door = passage();
        let table = self.table.as_ref().map(|table| (table.since.passage(), table.sink.rows("readings")));
        let passed = table.as_ref().is_some_and(|(group, _)| self.is_passed(&group.next));
        // Nothing came in meanwhile, so that the group's end is the end of all that did.
        let at_rest = passed && door.is_some_and(|door| door.committing_readings == 0) && passage() == door;
        Readings::of(&Ends { door, table, at_rest, whole: self.whole })
    }

    /// Whether a group that stands at `next` has passed all that is durable.
    fn is_passed(&self, next: &BTreeMap<u32, u64>) -> bool {
        partitions(&*self.streams).iter().all(|partition| {
            let end = self.streams.bounds(partition).map(|bounds| bounds.end);
            end.is_ok_and(|end| next.get(&partition.index) == Some(&end))
        })
    }
}

fn partitions(streams: &dyn Streams) -> Vec<Partition> {
    let readings = streams.specs().iter().filter(|spec| spec.name == StreamName::readings());
    readings.flat_map(|spec| (0..spec.partitions).map(|index| Partition::new(spec.name.clone(), index))).collect()
}

impl Descs {
    fn new() -> Result<Self, prometheus::Error> {
        let desc = |name: &str, help: &str, labels: &[&str]| {
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new())
        };
        Ok(Self {
            readings: desc(
                "weir_balance_readings",
                "Readings this process received since it started, and where they are: received = stored + deduplicated \
                 + in_flight (being committed, in the log, in the buffer of the table)",
                &["part"],
            )?,
            readings_difference: desc(
                "weir_balance_difference_readings",
                "Readings received that are neither stored, deduplicated nor in flight; 0 at rest, below 0 if there are \
                 too many; only where door and table of readings are in one process with the log",
                &[],
            )?,
            messages: desc(
                "weir_balance_messages",
                "Messages this process received since it started, and where they are: received = accepted \
                 + dead_lettered + rejected (too large to be kept) + in_flight (being committed)",
                &["part"],
            )?,
            messages_difference: desc(
                "weir_balance_difference_messages",
                "Messages received that are neither accepted, dead-lettered, rejected nor in flight; 0 at rest, below 0 \
                 if there are too many",
                &[],
            )?,
        })
    }
}

impl Collector for Balance {
    fn desc(&self) -> Vec<&Desc> {
        let Descs { readings, readings_difference, messages, messages_difference } = &self.descs;
        vec![readings, readings_difference, messages, messages_difference]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let readings = self.readings();
        let mut families = vec![family(&self.descs.readings, parts(&readings.parts()))];
        if self.whole {
            families.push(family(&self.descs.readings_difference, vec![gauge(None, readings.difference())]));
        }
        if let Some(door) = &self.door {
            let messages = Messages::of(&door.passage());
            families.push(family(&self.descs.messages, parts(&messages.parts())));
            families.push(family(&self.descs.messages_difference, vec![gauge(None, messages.difference())]));
        }
        families
    }
}

fn parts(parts: &[(&str, i64)]) -> Vec<Metric> {
    parts.iter().map(|(part, count)| gauge(Some(part), *count)).collect()
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus counts in doubles")]
fn gauge(part: Option<&str>, count: i64) -> Metric {
    let label = |part: &str| {
        let mut label = LabelPair::default();
        label.set_name("part".to_owned());
        label.set_value(part.to_owned());
        label
    };
    let (mut metric, mut gauge) = (Metric::from_label(part.map(label).into_iter().collect()), Gauge::default());
    gauge.set_value(count as f64);
    metric.set_gauge(gauge);
    metric
}

fn family(desc: &Desc, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(desc.fq_name.clone());
    family.set_help(desc.help.clone());
    family.set_field_type(MetricType::GAUGE);
    family.set_metric(metrics);
    family
}
