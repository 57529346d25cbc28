//! The newest alerts, read from the end of their stream.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type};
use streams::{Error, Partition, Record, StreamName, Streams};
use telemetry::ipc::Decoder;
use telemetry::schema::{self, alert, reading};

use super::Alert;

/// Alerts in a snapshot, at most: as many as a person reads.
pub(super) const NEWEST: usize = 50;
/// Characters of a message: two lines of a page.
pub(super) const MESSAGE_CHARS: usize = 240;

/// The newest alerts as of the last [`Newest::read`].
#[derive(Debug, Default)]
pub(super) struct Newest {
    /// By partition, the offset from which on nothing was read.
    next: BTreeMap<u32, u64>,
    /// Newest first.
    alerts: Vec<Alert>,
}

impl Newest {
    pub(super) fn alerts(&self) -> &[Alert] {
        &self.alerts
    }

    /// Reads what was appended meanwhile: of each partition no more than can be among the newest, so that neither the
    /// first time nor a storm of alerts costs more.
    pub(super) async fn read(&mut self, streams: &dyn Streams) -> Result<(), Error> {
        let specs = streams.specs().iter();
        let partitions = specs.filter(|spec| spec.name == StreamName::alerts()).map(|spec| spec.partitions).sum();
        for index in 0..partitions {
            let of = Partition::new(StreamName::alerts(), index);
            let bounds = streams.bounds(&of)?;
            let next = self.next.get(&index).copied().unwrap_or(0).clamp(bounds.start, bounds.end);
            let records = newest_records(streams, &of, next..bounds.end).await?;
            self.next.insert(index, bounds.end);
            self.take(records);
        }
        Ok(())
    }

    fn take(&mut self, records: Vec<Record>) {
        for record in records {
            let (time_ms, offset) = (record.appended_at.as_micros() / 1000, record.offset);
            let decoded = Decoder::new(schema::alerts_stream()).and_then(|mut decoder| decoder.decode(record.payload));
            match decoded {
                Ok(batch) => self.add(&batch, time_ms),
                Err(error) => tracing::debug!(%error, offset, "a record of alerts cannot be shown"),
            }
        }
        self.alerts.sort_by_key(|alert| Reverse(alert.time_ms));
        self.alerts.truncate(NEWEST);
    }

    fn add(&mut self, batch: &RecordBatch, time_ms: i64) {
        for row in (0..batch.num_rows()).rev().take(NEWEST) {
            let Some(alert) = alert_at(batch, row, time_ms) else { continue };
            // After a crash the same alerts may be appended again, and those of one cool-down have one id.
            if self.alerts.iter().all(|known| known.id != alert.id) {
                self.alerts.push(alert);
            }
        }
    }
}

/// The last records of `range` until they have enough rows, newest first. One read a record: read from further ahead,
/// it would be bytes of records that nobody looks at.
async fn newest_records(streams: &dyn Streams, of: &Partition, range: Range<u64>) -> Result<Vec<Record>, Error> {
    let (mut records, mut rows) = (Vec::new(), 0);
    for offset in range.rev().take(NEWEST) {
        let read = match streams.read(of, offset, 1).await {
            Ok(read) => read,
            // Deleted meanwhile.
            Err(Error::OutOfRange { .. }) => break,
            Err(error) => return Err(error),
        };
        // One that is damaged is not there.
        let Some(record) = read.records.into_iter().find(|record| record.offset == offset) else { continue };
        rows += record.rows as usize;
        records.push(record);
        if rows >= NEWEST {
            break;
        }
    }
    Ok(records)
}

/// `None` if the row is none of an alert.
fn alert_at(batch: &RecordBatch, row: usize, time_ms: i64) -> Option<Alert> {
    let of_reading = |column: usize| batch.columns().get(alert::FIRST_READING_COLUMN + column);
    let value = of_reading(reading::VALUE)?;
    let value = value.as_primitive_opt::<Float64Type>().filter(|value| value.is_valid(row));
    Some(Alert {
        id: text(batch.columns().get(alert::ALERT_ID)?, row)?.to_owned(),
        time_ms,
        rule: text(batch.columns().get(alert::RULE_ID)?, row)?.to_owned(),
        severity: text(batch.columns().get(alert::SEVERITY)?, row)?.to_owned(),
        device: text(of_reading(reading::DEVICE_ID)?, row)?.to_owned(),
        site: text(of_reading(reading::SITE)?, row).map(str::to_owned),
        metric: text(of_reading(reading::METRIC)?, row)?.to_owned(),
        value: value.map(|value| value.value(row)).filter(|value| value.is_finite()),
        message: text(batch.columns().get(alert::MESSAGE)?, row)?.chars().take(MESSAGE_CHARS).collect(),
    })
}

/// Of a column of text, with a dictionary or without.
fn text(column: &dyn Array, row: usize) -> Option<&str> {
    if column.is_null(row) {
        return None;
    }
    match column.as_dictionary_opt::<Int32Type>() {
        Some(column) => Some(column.values().as_string_opt::<i32>()?.value(column.key(row)?)),
        None => Some(column.as_string_opt::<i32>()?.value(row)),
    }
}
