//! The clock of the machine jumps, while Weir runs and while it is dead, and the clocks of the devices are wrong.

use rand::Rng;
use rand::seq::IndexedRandom;

use crate::faketime::WallClock;
use crate::judge::Terms;
use crate::outcome::Outcome;
use crate::round::{Plan, Round, play};
use crate::setting::Setting;

const NAME: &str = "clocks";
/// Faults of a round.
const PER_ROUND: u32 = 40;
const HOUR: i64 = 3_600;
/// How wrong the clock may be, in seconds.
const OFFSETS: &[i64] = &[-24 * HOUR, -HOUR, -1, 0, 1, HOUR, 6 * HOUR, 24 * HOUR];
/// A reading too far in the future is a dead letter, and is not what is judged here.
const MAX_FUTURE_SECONDS: i64 = 30 * 24 * HOUR;

/// Runs it.
pub(crate) fn run(setting: &Setting) -> anyhow::Result<Outcome> {
    if let Err(why) = WallClock::available() {
        return Ok(Outcome::not_run(format!("clock jumps: {why}")));
    }
    let (mut left, mut outcome, mut number) = (setting.count(12, 200, 1_000), Outcome::default(), 0);
    while left > 0 {
        let faults = left.min(PER_ROUND);
        outcome.merge(play(setting, plan(setting, number), |round| attack(round, faults))?);
        (left, number) = (left - faults, number + 1);
    }
    Ok(outcome)
}

fn plan(setting: &Setting, number: u32) -> Plan {
    let mut plan = Plan { terms: Terms { no_clock: true, ..Terms::default() }, ..Plan::new(setting, NAME, number) };
    plan.fleet.options.push("--skew=2h".to_owned());
    plan
}

fn attack(round: &mut Round, faults: u32) -> anyhow::Result<()> {
    let clock = WallClock::create(&round.directory)?;
    round.launch.environment.extend(clock.environment());
    // Of two days, an hour, or a second: a clock that jumps makes segments old at once, or never.
    let age = [48 * HOUR, HOUR, 1].choose(&mut round.random).copied().unwrap_or(HOUR);
    round.launch = round.launch.clone().with("WEIR_STREAMS__RETENTION_AGE_SECONDS", age);
    round.launch = round.launch.clone().with("WEIR_MQTT__MAX_FUTURE_SECONDS", MAX_FUTURE_SECONDS);
    round.restart()?;
    for _ in 0..faults {
        let offset = OFFSETS.choose(&mut round.random).copied().unwrap_or(0);
        round.pause(100..900);
        if round.random.random() {
            clock.set(offset)?;
            round.outcome.fault("clock jump while it runs");
        } else {
            round.kill()?;
            clock.set(offset)?;
            // Devices keep what is not acknowledged, and send it again by the new clock hours later or earlier.
            round.pause(1..500);
            round.outcome.fault("clock jump between two starts");
            round.restart()?;
        }
    }
    Ok(())
}
