//! The end of a round with workflows: all that fired is done.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::clock;
use crate::weir::Weir;

use super::Workflows;

/// How long runs may take to finish once every hook does well: the longest pauses between attempts are half a second,
/// those of a breaker one.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long nothing may be left until it is believed: each group tells its lag twice a second, and what one has done is
/// left for the next.
const STALE: Duration = Duration::from_secs(2);
/// What a reading passes on its way to a run.
const GROUPS: [&str; 2] = ["rules", "workflows"];

/// Times that dead letters are put back until none may be left.
const REDRIVES: u32 = 3;

/// Lets all that fired be done, as it is in the end where targets recover and somebody looks after dead letters.
///
/// # Errors
/// If runs do not finish, or dead letters stay.
pub(crate) fn settle(workflows: &Workflows, binary: &Path, weir: &Weir) -> anyhow::Result<()> {
    settle_apart(workflows, binary, weir, weir)
}

/// The same where `rules` and `executor` are processes of their own.
///
/// # Errors
/// As for [`settle`].
pub(crate) fn settle_apart(workflows: &Workflows, binary: &Path, rules: &Weir, executor: &Weir) -> anyhow::Result<()> {
    workflows.recover();
    drain_apart(rules, executor)?;
    for _ in 0..REDRIVES {
        if dead(executor).context("weir does not tell of dead letters")? == 0.0 {
            return Ok(());
        }
        redrive(binary, executor)?;
        drain_apart(rules, executor)?;
    }
    let dead = dead(executor);
    ensure!(dead == Some(0.0), "{dead:?} runs wait with a dead letter after {REDRIVES} redrives of all");
    Ok(())
}

/// Waits until every firing has become a run, and every run is finished or waits with a dead letter.
///
/// # Errors
/// If that does not happen.
pub(crate) fn drain(weir: &Weir) -> anyhow::Result<()> {
    drain_apart(weir, weir)
}

fn drain_apart(rules: &Weir, executor: &Weir) -> anyhow::Result<()> {
    let (mut left, mut done_since) = (Vec::new(), None);
    let drained = clock::wait_for(PATIENCE, || {
        let [first, second] = GROUPS;
        left = vec![lag(rules, first), lag(executor, second), pending(executor)];
        if !left.iter().all(|left| *left == Some(0.0)) {
            done_since = None;
            return None;
        }
        let since = *done_since.get_or_insert_with(clock::now);
        (clock::since(since) >= STALE).then_some(())
    });
    drained.with_context(|| {
        format!("workflows do not finish within {PATIENCE:?}: lags of {GROUPS:?} and pending runs are {left:?}")
    })
}

/// Puts every dead letter of workflows back, as a person would.
///
/// # Errors
/// If the command fails.
pub(crate) fn redrive(binary: &Path, weir: &Weir) -> anyhow::Result<()> {
    let mut command = Command::new(binary);
    command.args(["dlq", "redrive", "--all", "--source", "workflows", "--http", &weir.http().to_string()]);
    let output = command.env("RUST_LOG", "error").output().context("start weir dlq redrive")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "weir dlq redrive ({}): {said}", output.status);
    Ok(())
}

/// Runs that wait with a dead letter; `None` while nothing tells.
pub(crate) fn dead(weir: &Weir) -> Option<f64> {
    weir.metric("weir_workflows_open_runs{state=\"dead\"")
}

/// State of the breaker of a target: 0 closed, 1 half open, 2 open.
pub(crate) fn breaker(weir: &Weir, target: &str) -> Option<f64> {
    weir.metric(&format!("weir_workflows_breaker_state{{target=\"{target}\""))
}

/// Runs with something to do; those that wait with a dead letter have nothing.
fn pending(weir: &Weir) -> Option<f64> {
    weir.metric("weir_workflows_open_runs{state=\"pending\"")
}

fn lag(weir: &Weir, group: &str) -> Option<f64> {
    weir.metric(&format!("weir_consumer_group_lag_records{{group=\"{group}\""))
}
