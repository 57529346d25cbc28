//! Devices that behave badly within MQTT: messages twice, out of order, late, clocks that are wrong, restarts.

use crate::judge::Terms;
use crate::outcome::Outcome;
use crate::round::{Plan, Round, play};
use crate::setting::Setting;

/// Kills in a round: duplicates and late messages across a restart are the hard ones.
const KILLS: u32 = 12;

/// Runs it.
pub(crate) fn run(setting: &Setting) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    for number in 0..setting.count(1, 20, 100) {
        outcome.merge(play(setting, plan(setting, number), attack)?);
    }
    Ok(outcome)
}

/// Every fifth message is sent badly, clocks are up to three hours wrong, and devices restart.
pub(super) fn plan(setting: &Setting, number: u32) -> Plan {
    let mut plan = Plan::new(setting, "devices", number);
    plan.fleet.options.extend(["--mischief=0.2", "--skew=3h", "--boot-each=3s"].map(String::from));
    plan.terms = Terms { unordered: true, ..Terms::default() };
    plan
}

pub(super) fn attack(round: &mut Round) -> anyhow::Result<()> {
    round.outcome.fault("fleet with duplicates, late and swapped messages, wrong clocks, and restarts");
    for _ in 0..KILLS {
        round.pause(100..800);
        round.kill()?;
        round.outcome.fault("SIGKILL at a random moment");
        round.restart()?;
    }
    Ok(())
}
