//! The parts of a snapshot, each of the metrics it is made of.

use std::collections::{BTreeMap, BTreeSet};

use super::series::{Series, whole};
use super::{Balance, Breaker, Devices, Fleet, Group, Latency, Rule, Stream, Table, Totals, Workflows};

pub(super) fn totals(series: &Series) -> Totals {
    let count = |name| series.count(name);
    Totals {
        received_messages: count("weir_ingest_received_messages_total"),
        received_readings: count("weir_ingest_received_readings_total"),
        acknowledged_messages: count("weir_ingest_acknowledged_messages_total"),
        acknowledged_readings: count("weir_ingest_acknowledged_readings_total"),
        unacknowledged_messages: count("weir_ingest_unacknowledged_messages"),
        connections: count("weir_ingest_connections"),
        appended_records: count("weir_streams_appended_records_total")
            .or_else(|| count("weir_fluvio_appended_records_total")),
        appended_bytes: count("weir_streams_appended_bytes_total")
            .or_else(|| count("weir_fluvio_appended_bytes_total")),
        log_bytes: count("weir_streams_log_bytes"),
        log_quota_bytes: count("weir_streams_log_quota_bytes"),
        rejected: series.counts("weir_ingest_rejected_messages_total", "reason"),
        cpu_seconds: series.total("process_cpu_seconds_total"),
        resident_bytes: count("process_resident_memory_bytes"),
    }
}

/// Milliseconds since 1970.
#[expect(clippy::cast_possible_truncation, reason = "milliseconds of this century")]
pub(super) fn started(series: &Series) -> Option<i64> {
    series.total("process_start_time_seconds").map(|seconds| (seconds * 1e3) as i64)
}

pub(super) fn streams(series: &Series) -> Vec<Stream> {
    let mut records = series.counts("weir_streams_appended_records_total", "stream");
    records.extend(series.counts("weir_fluvio_appended_records_total", "topic"));
    records.into_iter().map(|(stream, appended_records)| Stream { stream, appended_records }).collect()
}

pub(super) fn groups(series: &Series) -> Vec<Group> {
    let by = |name, join| series.by(name, ["group", "stream"], join);
    let lag_seconds = by("weir_consumer_group_lag_seconds", f64::max);
    let read = by("weir_consumer_group_read_rows_total", plus);
    let deduplicated = by("weir_consumer_group_deduplicated_rows_total", plus);
    let mut lags = by("weir_consumer_group_lag_records", plus);
    for key in read.keys() {
        lags.entry(key.clone()).or_insert(0.0);
    }
    let group = |(key, lag): ([String; 2], f64)| {
        let of = |values: &BTreeMap<[String; 2], f64>| values.get(&key).copied().unwrap_or(0.0);
        let (lag_seconds, read_rows) = (of(&lag_seconds), whole(of(&read)));
        let deduplicated_rows = whole(of(&deduplicated));
        let [group, stream] = key;
        Group { group, stream, lag_records: whole(lag), lag_seconds, read_rows, deduplicated_rows }
    };
    lags.into_iter().map(group).collect()
}

pub(super) fn tables(series: &Series) -> Vec<Table> {
    let of = |name| series.counts(name, "table");
    let (files, bytes) = (of("weir_sink_committed_files_total"), of("weir_sink_committed_bytes_total"));
    let buffered = of("weir_sink_buffered_rows");
    let table = |(table, rows): (String, u64)| {
        let of = |counts: &BTreeMap<String, u64>| counts.get(&table).copied().unwrap_or(0);
        let (files, bytes, buffered_rows) = (of(&files), of(&bytes), of(&buffered));
        Table { table, rows, files, bytes, buffered_rows }
    };
    of("weir_sink_committed_rows_total").into_iter().map(table).collect()
}

pub(super) fn rules(series: &Series) -> Vec<Rule> {
    let matches = series.counts("weir_rules_matches_total", "rule");
    let errors = series.counts("weir_rules_errors_total", "rule");
    let names: BTreeSet<String> = matches.keys().chain(errors.keys()).cloned().collect();
    let of = |counts: &BTreeMap<String, u64>, rule: &str| counts.get(rule).copied().unwrap_or(0);
    names.into_iter().map(|rule| Rule { matches: of(&matches, &rule), errors: of(&errors, &rule), rule }).collect()
}

pub(super) fn workflows(series: &Series) -> Option<Workflows> {
    let firings = series.count("weir_workflows_firings_total")?;
    let open = series.counts("weir_workflows_open_runs", "state");
    let of = |state: &str| open.get(state).copied().unwrap_or(0);
    let pending = series.counts("weir_workflows_pending", "target");
    let breaker = |(target, state): (String, u64)| {
        // As the gauge's help has it.
        let state = match state {
            0 => "closed",
            1 => "half_open",
            _ => "open",
        };
        let pending = pending.get(&target).copied().unwrap_or(0);
        Breaker { target, state: state.to_owned(), pending }
    };
    Some(Workflows {
        firings,
        open_runs: of("pending"),
        dead_runs: of("dead"),
        runs: series.counts("weir_workflows_runs_total", "state"),
        breakers: series.counts("weir_workflows_breaker_state", "target").into_iter().map(breaker).collect(),
    })
}

pub(super) fn fleet(series: &Series) -> Vec<Fleet> {
    let by = |name| series.by(name, ["metric", "site"], f64::max);
    let (min, mean, max) = (by("weir_fleet_value_min"), by("weir_fleet_value_mean"), by("weir_fleet_value_max"));
    let last = by("weir_fleet_last_reading_timestamp_seconds");
    let fleet = |(key, readings): ([String; 2], f64)| {
        // JSON has no number for what is none.
        let of = |values: &BTreeMap<[String; 2], f64>| values.get(&key).copied().filter(|value| value.is_finite());
        let (min, mean, max, last_seconds) = (of(&min), of(&mean), of(&max), of(&last));
        let [metric, site] = key;
        Fleet { metric, site, readings: whole(readings), min, mean, max, last_seconds }
    };
    series.by("weir_fleet_readings_total", ["metric", "site"], plus).into_iter().map(fleet).collect()
}

pub(super) fn devices(series: &Series) -> Option<Devices> {
    let states = series.counts("weir_fleet_devices", "state");
    let of = |state: &str| states.get(state).copied();
    Some(Devices { active: of("active")?, silent: of("silent").unwrap_or(0) })
}

pub(super) fn balance(series: &Series) -> Option<Balance> {
    let parts = |name| -> BTreeMap<String, i64> {
        series.by(name, ["part"], plus).into_iter().map(|([part], value)| (part, signed(value))).collect()
    };
    let (readings, messages) = (parts("weir_balance_readings"), parts("weir_balance_messages"));
    let difference_readings = series.total("weir_balance_difference_readings").map(signed);
    let difference_messages = series.total("weir_balance_difference_messages").map(signed);
    (!readings.is_empty() || !messages.is_empty()).then_some(Balance {
        readings,
        difference_readings,
        messages,
        difference_messages,
    })
}

pub(super) fn latencies(series: &Series) -> Vec<Latency> {
    let hops = [
        ("acknowledge", "weir_ingest_acknowledge_seconds"),
        ("sync", "weir_streams_fdatasync_seconds"),
        ("workflow", "weir_workflows_start_seconds"),
        ("table/", "weir_sink_freshness_seconds"),
    ];
    let mut found = Vec::new();
    for (hop, name) in hops {
        for (table, histogram) in series.histograms(name, "table") {
            let buckets = histogram.get_bucket().iter();
            let finite = buckets.filter(|bucket| bucket.upper_bound().is_finite());
            found.push(Latency {
                hop: format!("{hop}{table}"),
                count: histogram.get_sample_count(),
                buckets: finite.map(|bucket| (bucket.upper_bound(), bucket.cumulative_count())).collect(),
            });
        }
    }
    found
}

fn plus(a: f64, b: f64) -> f64 {
    a + b
}

#[expect(clippy::cast_possible_truncation, reason = "whole things, exact to 2^53")]
fn signed(value: f64) -> i64 {
    value as i64
}
