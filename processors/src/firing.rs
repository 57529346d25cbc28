//! A rule that fired and has steps: one row of the stream `workflows`.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int32Array, Int32Builder, Int64Array, Int64Builder, RecordBatch,
    StringArray, StringBuilder, StringDictionaryBuilder, TimestampMicrosecondArray, TimestampMicrosecondBuilder,
    TypedDictionaryArray,
};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use telemetry::Timestamp;
use telemetry::schema::{self, firing};
use telemetry::trace::{Context, RowContext};

use crate::file::Severity;

/// What fired, and what is to be done about it. Everything that a step needs is in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Firing {
    /// Deterministic id of the run: 32 hex digits, a hash of rule, version, device, and of boot, number, metric and
    /// time of the reading, or of the time bucket where the rule has a cool-down.
    pub run_id: String,
    /// The rule.
    pub rule_id: String,
    /// Its version.
    pub rule_version: i64,
    /// Its severity.
    pub severity: Severity,
    /// Its message, the places filled in.
    pub message: String,
    /// Who measured.
    pub device_id: String,
    /// Where.
    pub site: Option<String>,
    /// When, by the device's clock.
    pub time: Timestamp,
    /// When Weir received it.
    pub received_at: Timestamp,
    /// Restart counter of the device.
    pub boot: Option<i64>,
    /// Message number since that restart.
    pub seq: Option<i64>,
    /// JSON object: `{"metric":"temperature","value":81.5,"unit":"Cel"}` of a reading (the value as number, boolean
    /// or text), `{"metrics":{"temperature":81.5,"humidity":12}}` of a message.
    pub data: String,
    /// [`crate::plan::Plan`] as JSON.
    pub plan: Arc<str>,
    /// The span `receive` of the message that it fired on, if that is traced. No column: it comes from the contexts of
    /// the record, and nothing but spans depends on it.
    pub trace: Option<Context>,
}

impl Firing {
    /// The idempotency key of step `step`, from 0.
    #[must_use]
    pub fn step_key(&self, step: usize) -> String {
        format!("{}-{step}", self.run_id)
    }

    /// The firings of a batch in the schema [`schema::workflows`], in its order, none of them traced. Equal plans are
    /// shared.
    ///
    /// # Errors
    /// If `batch` is not in that schema, or a severity is none.
    pub fn decode(batch: &RecordBatch) -> Result<Vec<Self>, ArrowError> {
        let columns = Columns::of(batch).ok_or_else(|| {
            let (found, expected) = (batch.schema(), schema::workflows());
            ArrowError::SchemaError(format!("batch has schema {found}, expected {expected}"))
        })?;
        (0..batch.num_rows()).map(|row| columns.firing(row)).collect()
    }
}

/// Gives `firings`, all those of a batch, the contexts of its rows.
pub(crate) fn trace(firings: &mut [Firing], contexts: &[RowContext]) {
    for RowContext { row, context } in contexts {
        if let Some(firing) = usize::try_from(*row).ok().and_then(|row| firings.get_mut(row)) {
            firing.trace = Some(*context);
        }
    }
}

/// Where a firing came from: what makes a repetition after a crash known ([`streams::dedupe::Sources`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// Partition of the stream `readings`.
    pub partition: i32,
    /// Offset of the record in it.
    pub offset: i64,
    /// Index among all firings of that record, from 0.
    pub index: i32,
}

/// Collects firings into one batch of the schema [`schema::workflows`].
pub struct FiringsBuilder {
    run_id: StringBuilder,
    rule_id: StringDictionaryBuilder<Int32Type>,
    rule_version: Int64Builder,
    severity: StringDictionaryBuilder<Int32Type>,
    message: StringBuilder,
    device_id: StringDictionaryBuilder<Int32Type>,
    site: StringDictionaryBuilder<Int32Type>,
    time: TimestampMicrosecondBuilder,
    received_at: TimestampMicrosecondBuilder,
    boot: Int64Builder,
    seq: Int64Builder,
    data: StringBuilder,
    plan: Plans,
    source_partition: Int32Builder,
    source_offset: Int64Builder,
    source_index: Int32Builder,
    bytes: usize,
}

/// Bytes of a firing besides its texts, for the estimate of its size: 130 of columns, offsets and keys, 32 of its id.
const FIRING_BYTES: usize = 176;
/// Bytes of a record besides its firings, for the same: headers, and the padding of each column.
const RECORD_BYTES: usize = 5 * 1024;

impl Default for FiringsBuilder {
    fn default() -> Self {
        Self {
            run_id: StringBuilder::new(),
            rule_id: StringDictionaryBuilder::new(),
            rule_version: Int64Builder::new(),
            severity: StringDictionaryBuilder::new(),
            message: StringBuilder::new(),
            device_id: StringDictionaryBuilder::new(),
            site: StringDictionaryBuilder::new(),
            time: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            received_at: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            boot: Int64Builder::new(),
            seq: Int64Builder::new(),
            data: StringBuilder::new(),
            plan: Plans::default(),
            source_partition: Int32Builder::new(),
            source_offset: Int64Builder::new(),
            source_index: Int32Builder::new(),
            bytes: RECORD_BYTES,
        }
    }
}

impl fmt::Debug for FiringsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FiringsBuilder").field("rows", &self.rows()).finish_non_exhaustive()
    }
}

impl FiringsBuilder {
    /// Adds `firing`, which came from `source`.
    pub fn push(&mut self, firing: &Firing, source: Source) {
        self.bytes += self.cost(firing);
        self.run_id.append_value(&firing.run_id);
        self.rule_id.append_value(&firing.rule_id);
        self.rule_version.append_value(firing.rule_version);
        self.severity.append_value(firing.severity.as_str());
        self.message.append_value(&firing.message);
        self.device_id.append_value(&firing.device_id);
        self.site.append_option(firing.site.as_deref());
        self.time.append_value(firing.time.as_micros());
        self.received_at.append_value(firing.received_at.as_micros());
        self.boot.append_option(firing.boot);
        self.seq.append_option(firing.seq);
        self.data.append_value(&firing.data);
        self.plan.push(&firing.plan);
        self.source_partition.append_value(source.partition);
        self.source_offset.append_value(source.offset);
        self.source_index.append_value(source.index);
    }

    /// Bytes that `firing` would add to the record, estimated from above.
    #[must_use]
    pub fn cost(&self, firing: &Firing) -> usize {
        let texts = [&firing.rule_id, &firing.message, &firing.device_id, &firing.data].map(String::len);
        let plan = if self.plan.has(&firing.plan) { 0 } else { firing.plan.len() };
        FIRING_BYTES + texts.iter().sum::<usize>() + firing.site.as_ref().map_or(0, String::len) + plan
    }

    /// Bytes of the record so far, estimated from above.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Firings collected so far.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.plan.keys.len()
    }

    /// The batch.
    ///
    /// # Errors
    /// If there are more than 2^31 plans.
    pub fn finish(mut self) -> Result<RecordBatch, ArrowError> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.run_id.finish()),
            Arc::new(self.rule_id.finish()),
            Arc::new(self.rule_version.finish()),
            Arc::new(self.severity.finish()),
            Arc::new(self.message.finish()),
            Arc::new(self.device_id.finish()),
            Arc::new(self.site.finish()),
            Arc::new(self.time.finish()),
            Arc::new(self.received_at.finish()),
            Arc::new(self.boot.finish()),
            Arc::new(self.seq.finish()),
            Arc::new(self.data.finish()),
            Arc::new(self.plan.finish()?),
            Arc::new(self.source_partition.finish()),
            Arc::new(self.source_offset.finish()),
            Arc::new(self.source_index.finish()),
        ];
        RecordBatch::try_new(schema::workflows(), columns)
    }
}

/// A dictionary of plans. A plan has up to 64 KiB and is the same text for each firing of its rule: texts are told
/// apart by where they are, so that none is hashed.
#[derive(Debug, Default)]
struct Plans {
    values: Vec<Arc<str>>,
    known: HashMap<usize, usize>,
    keys: Vec<usize>,
}

impl Plans {
    fn has(&self, plan: &Arc<str>) -> bool {
        self.known.contains_key(&plan.as_ptr().addr())
    }

    fn push(&mut self, plan: &Arc<str>) {
        let key = *self.known.entry(plan.as_ptr().addr()).or_insert_with(|| {
            // Kept, so that no other text comes to stand where it is.
            self.values.push(plan.clone());
            self.values.len() - 1
        });
        self.keys.push(key);
    }

    fn finish(self) -> Result<DictionaryArray<Int32Type>, ArrowError> {
        let key = |key: usize| i32::try_from(key).map_err(|_| ArrowError::DictionaryKeyOverflowError);
        let keys: Vec<i32> = self.keys.into_iter().map(key).collect::<Result<_, _>>()?;
        let values = StringArray::from_iter_values(&self.values);
        DictionaryArray::try_new(Int32Array::from(keys), Arc::new(values))
    }
}

type Texts<'a> = TypedDictionaryArray<'a, Int32Type, StringArray>;

/// The columns of a batch of firings, each as what it is.
struct Columns<'a> {
    run_id: &'a StringArray,
    rule_id: Texts<'a>,
    rule_version: &'a Int64Array,
    severity: Texts<'a>,
    message: &'a StringArray,
    device_id: Texts<'a>,
    site: Texts<'a>,
    time: &'a TimestampMicrosecondArray,
    received_at: &'a TimestampMicrosecondArray,
    boot: &'a Int64Array,
    seq: &'a Int64Array,
    data: &'a StringArray,
    plan_keys: &'a Int32Array,
    plans: Vec<Arc<str>>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Option<Self> {
        if batch.schema_ref() != &schema::workflows() {
            return None;
        }
        let dictionary = |at: usize| batch.columns().get(at)?.as_dictionary_opt::<Int32Type>();
        let texts = |at: usize| dictionary(at)?.downcast_dict::<StringArray>();
        let strings = |at: usize| batch.columns().get(at)?.as_string_opt::<i32>();
        let integers = |at: usize| batch.columns().get(at)?.as_primitive_opt::<Int64Type>();
        let times = |at: usize| batch.columns().get(at)?.as_primitive_opt::<TimestampMicrosecondType>();
        let plans = dictionary(firing::PLAN)?;
        Some(Self {
            run_id: strings(firing::RUN_ID)?,
            rule_id: texts(firing::RULE_ID)?,
            rule_version: integers(firing::RULE_VERSION)?,
            severity: texts(firing::SEVERITY)?,
            message: strings(firing::MESSAGE)?,
            device_id: texts(firing::DEVICE_ID)?,
            site: texts(firing::SITE)?,
            time: times(firing::TIME)?,
            received_at: times(firing::RECEIVED_AT)?,
            boot: integers(firing::BOOT)?,
            seq: integers(firing::SEQ)?,
            data: strings(firing::DATA)?,
            plan_keys: plans.keys(),
            plans: plans.values().as_string_opt::<i32>()?.iter().map(|plan| plan.unwrap_or_default().into()).collect(),
        })
    }

    fn firing(&self, row: usize) -> Result<Firing, ArrowError> {
        use arrow::array::ArrayAccessor as _;
        let severity = Severity::of(self.severity.value(row))
            .ok_or_else(|| ArrowError::SchemaError(format!("severity `{}` is none", self.severity.value(row))))?;
        let plan = usize::try_from(self.plan_keys.value(row)).ok().and_then(|key| self.plans.get(key));
        let optional = |of: &Int64Array| of.is_valid(row).then(|| of.value(row));
        Ok(Firing {
            run_id: self.run_id.value(row).to_owned(),
            rule_id: self.rule_id.value(row).to_owned(),
            rule_version: self.rule_version.value(row),
            severity,
            message: self.message.value(row).to_owned(),
            device_id: self.device_id.value(row).to_owned(),
            site: self.site.is_valid(row).then(|| self.site.value(row).to_owned()),
            time: Timestamp::from_micros(self.time.value(row)),
            received_at: Timestamp::from_micros(self.received_at.value(row)),
            boot: optional(self.boot),
            seq: optional(self.seq),
            data: self.data.value(row).to_owned(),
            plan: plan.ok_or(ArrowError::DictionaryKeyOverflowError)?.clone(),
            trace: None,
        })
    }
}

#[cfg(test)]
mod tests;
