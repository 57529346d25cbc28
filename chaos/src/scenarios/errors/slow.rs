//! A slow disk: each sync of the log takes long, and the power goes while it does. What was acknowledged before
//! its sync had returned is then gone.

use std::time::Duration;

use crate::disk::PowerDisk;
use crate::outcome::Outcome;
use crate::round::{Plan, Round, play};
use crate::scenarios::power;
use crate::setting::Setting;
use crate::strace::{Call, Effect, Injection};

const NAME: &str = "errors-slow";
const DELAY: Duration = Duration::from_millis(200);
/// Cuts of a round.
const PER_ROUND: u32 = 20;

/// Runs it.
pub(super) fn run(setting: &Setting) -> anyhow::Result<Outcome> {
    if let Err(why) = PowerDisk::available() {
        return Ok(Outcome::not_run(format!("power cuts of a slow disk: {why}")));
    }
    let (mut left, mut outcome, mut number) = (setting.count(3, 60, 400), Outcome::default(), 0);
    while left > 0 {
        let cuts = left.min(PER_ROUND);
        outcome.merge(round(setting, number, cuts)?);
        (left, number) = (left - cuts, number + 1);
    }
    Ok(outcome)
}

fn round(setting: &Setting, number: u32, cuts: u32) -> anyhow::Result<Outcome> {
    let directory = power::place(setting, NAME, number)?;
    let mut disk = PowerDisk::create(directory.path(), power::DISK_BYTES)?;
    let plan = Plan { data: Some(disk.mount_point().join("data")), ..Plan::new(setting, NAME, number) };
    play(setting, plan, |round| attack(round, &mut disk, cuts))
}

fn attack(round: &mut Round, disk: &mut PowerDisk, cuts: u32) -> anyhow::Result<()> {
    let honest = round.launch.clone();
    let slow = Injection { calls: vec![Call::Fdatasync], effect: Effect::Slow(DELAY), nth: None, paths: Vec::new() };
    round.launch.wrapper = slow.wrapper(&round.directory.join("trace"));
    round.restart()?;
    for _ in 0..cuts {
        round.pause(500..1_500);
        power::cut(round, disk)?;
        round.outcome.fault("power cut of a disk with slow syncs");
        round.restart()?;
    }
    round.launch = honest;
    // Starts on a disk as slow as this say nothing of others.
    round.outcome.recovery_ms.clear();
    round.restart()
}
