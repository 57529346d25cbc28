//! A restart with a backlog, and one with ten times as much: the time until Weir takes messages must not grow
//! with it.

use std::time::Duration;

use anyhow::Context;

use crate::clock;
use crate::outcome::Outcome;
use crate::setting::Setting;
use crate::tier::Tier;
use crate::weir::Weir;

use super::held::{Held, RATE};

/// The large backlog, in small ones.
const TIMES: f64 = 10.0;
/// Largest ratio of the two times.
const BOUND: f64 = 1.1;
/// How long the tables may take for a backlog once they may: a multiple of what it took to send it, and this.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs it.
pub(crate) fn run(setting: &Setting) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    let messages = f64::from(setting.count(4_000, 50_000, 200_000));
    let (small, large) = (Held::new(setting, "backlog-small")?, Held::new(setting, "backlog-large")?);
    let ended = measure(setting, [(&small, messages), (&large, messages * TIMES)], &mut outcome);
    if ended.is_ok() {
        small.end(&mut outcome, Ok(()))?;
    }
    large.end(&mut outcome, ended)?;
    Ok(outcome)
}

fn measure(setting: &Setting, backlogs: [(&Held, f64); 2], outcome: &mut Outcome) -> anyhow::Result<()> {
    for (held, messages) in backlogs {
        load(setting, held, messages)?;
    }
    let mut times = [Vec::new(), Vec::new()];
    // In turn, so that what else the machine does hits both alike.
    for _ in 0..setting.count(9, 41, 101).max(9) {
        for ((held, _), times) in backlogs.iter().zip(&mut times) {
            let (weir, took) = Weir::start(&held.launch)?;
            weir.kill()?;
            times.push(took.as_secs_f64() * 1000.0);
            outcome.recovered(took);
            outcome.fault("SIGKILL with a backlog");
        }
    }
    let [small, large] = times.map(median);
    let ratio = large / small;
    for (name, value) in [("restart_ms_small", small), ("restart_ms_large", large), ("restart_ratio", ratio)] {
        outcome.figures.insert(name.to_owned(), value);
    }
    for (name, (held, messages)) in ["small", "large"].into_iter().zip(backlogs) {
        held.release()?;
        let (weir, _) = Weir::start(&held.launch)?;
        let patience = Duration::from_secs_f64(messages / RATE) + PATIENCE;
        let verdict = held.settle(setting, weir, patience)?;
        #[expect(clippy::cast_precision_loss, reason = "a count for a report")]
        outcome.figures.insert(format!("backlog_messages_{name}"), verdict.messages_acknowledged as f64);
        outcome.merge(Outcome { verdict, ..Outcome::default() });
    }
    // Other work may run beside the quick tier.
    if setting.tier != Tier::Quick && ratio > BOUND {
        outcome.violations.push(format!(
            "backlog, seed {}: a start takes {large:.1} ms with ten times the backlog, {small:.1} ms without: {ratio:.2} times",
            setting.seed
        ));
    }
    Ok(())
}

/// Fills the log while the tables are held, and kills Weir.
fn load(setting: &Setting, held: &Held, messages: f64) -> anyhow::Result<()> {
    held.hold()?;
    let (mut weir, _) = Weir::start(&held.launch)?;
    let devices = held.devices(setting).context("devices")?;
    clock::pause(Duration::from_secs_f64(messages / RATE));
    devices.finish(&mut weir)?;
    weir.kill()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
