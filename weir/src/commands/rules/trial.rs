//! `weir rules test`: what rules would do with a payload. Nothing is sent, and no secret is read.

use std::collections::HashMap;
use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;
use ingest::admission::Admission;
use processors::workflows::preview::{Preview, preview};
use processors::{Firing, Plan, RuleSet};
use serde::Serialize;
use telemetry::batch::ReadingsBuilder;
use telemetry::schema::alert;
use telemetry::topic::TopicTemplate;
use telemetry::{Clock, Timestamp};

use super::arguments::Trial;
use crate::admin::table::printable;
use crate::config::Config;

/// Most bytes of a record of alerts or firings: those of a few payloads are in one.
const RECORD_BYTES: usize = 4 * 1024 * 1024;

/// What each rule makes of the readings.
#[derive(Debug, Serialize)]
struct Outcome {
    readings: usize,
    rules: Vec<OfRule>,
}

#[derive(Debug, Serialize)]
struct OfRule {
    rule: String,
    version: i64,
    severity: String,
    /// Readings, or messages, that it is true on.
    matches: u64,
    /// Texts of its alerts.
    alerts: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// One for each firing; none of a rule without steps.
    runs: Vec<Run>,
}

#[derive(Debug, Serialize)]
struct Run {
    run_id: String,
    steps: Vec<Preview>,
}

/// Prints what would fire and be sent.
pub(super) fn run(arguments: &Trial, config: &Config, clock: &dyn Clock) -> anyhow::Result<ExitCode> {
    let rules = RuleSet::load(&arguments.rules)?;
    let batch = readings(arguments, config, clock.now())?;
    let outcome = outcome(&rules, &batch)?;
    if arguments.json {
        println!("{}", serde_json::to_string(&outcome)?);
    } else {
        print!("{outcome}");
    }
    Ok(ExitCode::SUCCESS)
}

/// The payloads as the door would admit them now.
fn readings(arguments: &Trial, config: &Config, now: Timestamp) -> anyhow::Result<RecordBatch> {
    let template = TopicTemplate::parse(&config.mqtt.topic_template).context("mqtt.topic_template")?;
    let admission = Admission::new(template, Duration::from_secs(config.mqtt.max_future_seconds));
    let topic = arguments.topic.clone().unwrap_or_else(|| default_topic(&config.mqtt.topic_template));
    let mut builder = ReadingsBuilder::default();
    for (number, payload) in (1..).zip(&arguments.readings) {
        let admitted = admission
            .admit(&topic, payload.as_bytes(), None, now, now)
            .map_err(|rejection| anyhow::anyhow!("reading {number} would be refused: {rejection}"))?;
        builder.push(admitted.message(), now);
    }
    Ok(builder.finish())
}

/// The template with a word in each place.
fn default_topic(template: &str) -> String {
    let level = |level: &str| match level {
        "{device_id}" => "device".to_owned(),
        "+" | "#" => "x".to_owned(),
        level => level.trim_matches(['{', '}']).to_owned(),
    };
    template.split('/').map(level).collect::<Vec<_>>().join("/")
}

fn outcome(rules: &RuleSet, batch: &RecordBatch) -> anyhow::Result<Outcome> {
    let evaluation = rules.evaluate(0, 0, batch)?;
    let mut alerts: HashMap<String, Vec<String>> = HashMap::new();
    for batch in evaluation.alerts(RECORD_BYTES) {
        collect_alerts(&batch?, &mut alerts);
    }
    let mut runs: HashMap<String, Vec<Run>> = HashMap::new();
    for batch in evaluation.firings(RECORD_BYTES) {
        for firing in Firing::decode(&batch?)? {
            let plan: Plan = serde_json::from_str(&firing.plan).context("plan of a rule")?;
            let run = Run { run_id: firing.run_id.clone(), steps: preview(&firing, &plan) };
            runs.entry(firing.rule_id).or_default().push(run);
        }
    }
    let each = rules.rules().iter().zip(&evaluation.rules).map(|(rule, outcome)| OfRule {
        rule: rule.id().to_owned(),
        version: rule.version(),
        severity: rule.severity().as_str().to_owned(),
        matches: outcome.matches,
        alerts: alerts.remove(rule.id()).unwrap_or_default(),
        error: outcome.first_error.clone(),
        runs: runs.remove(rule.id()).unwrap_or_default(),
    });
    Ok(Outcome { readings: batch.num_rows(), rules: each.collect() })
}

fn collect_alerts(batch: &RecordBatch, alerts: &mut HashMap<String, Vec<String>>) {
    let rules = batch.column(alert::RULE_ID).as_dictionary::<Int32Type>();
    let names: &StringArray = rules.values().as_string();
    let messages: &StringArray = batch.column(alert::MESSAGE).as_string();
    for row in 0..batch.num_rows() {
        if let Some(key) = rules.key(row) {
            alerts.entry(names.value(key).to_owned()).or_default().push(messages.value(row).to_owned());
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} readings; nothing is sent", self.readings)?;
        self.rules.iter().try_for_each(|rule| write!(f, "\n{rule}"))
    }
}

impl fmt::Display for OfRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fires = match self.matches {
            0 => "does not fire".to_owned(),
            1 => "fires".to_owned(),
            times => format!("fires, is true {times} times"),
        };
        writeln!(f, "{} (version {}, {}): {fires}", self.rule, self.version, self.severity)?;
        if let Some(error) = &self.error {
            writeln!(f, "  fails: {}", printable(error))?;
        }
        for alert in &self.alerts {
            writeln!(f, "  alert  {}", printable(alert))?;
        }
        for run in &self.runs {
            writeln!(f, "  run    {}", run.run_id)?;
            run.steps.iter().try_for_each(|step| show_step(step, f))?;
        }
        Ok(())
    }
}

fn show_step(step: &Preview, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "  step {} {}", step.step, step.target)?;
    let mut line = |name: &str, value: &str| writeln!(f, "    {name}: {}", printable(value));
    if let Some(url) = &step.url {
        line(step.method.as_deref().unwrap_or("POST"), url)?;
    }
    if let Some(topic) = &step.topic {
        line("topic", topic)?;
    }
    if let Some(ttl) = step.ttl_seconds {
        line("ttl", &format!("{ttl} s"))?;
    }
    if !step.to.is_empty() {
        line("to", &step.to.join(", "))?;
    }
    if let Some(subject) = &step.subject {
        line("subject", subject)?;
    }
    for (name, value) in &step.headers {
        line(name, value)?;
    }
    if step.headers.is_empty() {
        line("key", &step.key)?;
    }
    if let Some(error) = &step.error {
        line("would be refused", error)?;
    }
    if let Some(body) = &step.body {
        writeln!(f)?;
        body.lines().try_for_each(|line| writeln!(f, "    {}", printable(line)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
