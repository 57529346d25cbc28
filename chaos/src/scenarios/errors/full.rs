//! A disk that fills up under load, is given room, fills up again, and is replaced by a larger one.

use std::time::Duration;

use anyhow::{Context, ensure};

use crate::disk::{PowerDisk, SmallDisk};
use crate::outcome::Outcome;
use crate::round::{Plan, Round, play};
use crate::scenarios::power;
use crate::setting::Setting;
use crate::weir::Weir;

const NAME: &str = "errors-full";
const DISK_BYTES: u64 = 40 << 20;
const BALLAST_BYTES: u64 = 8 << 20;
const GROWN_BYTES: u64 = 2 << 30;
/// How long it may take until the disk is full.
const FILL: Duration = Duration::from_secs(90);

/// Runs it.
pub(super) fn run(setting: &Setting) -> anyhow::Result<Outcome> {
    if let Err(why) = PowerDisk::available() {
        return Ok(Outcome::not_run(format!("a disk that fills up: {why}")));
    }
    let mut outcome = Outcome::default();
    for number in 0..setting.count(1, 6, 40) {
        let directory = power::place(setting, NAME, number)?;
        let mut disk = SmallDisk::create(directory.path(), DISK_BYTES, BALLAST_BYTES)?;
        let plan = Plan { data: Some(disk.mount_point().join("data")), ..Plan::new(setting, NAME, number) };
        outcome.merge(play(setting, plan, |round| attack(round, &mut disk))?);
    }
    Ok(outcome)
}

fn attack(round: &mut Round, disk: &mut SmallDisk) -> anyhow::Result<()> {
    // Nothing is deleted for age or size: the disk is full before.
    round.launch = round.launch.clone().with("WEIR_STREAMS__RETENTION_BYTES", GROWN_BYTES);
    round.restart()?;
    fills_up(round)?;
    stays_full(round)?;
    disk.throw_ballast()?;
    round.restart().context("8 MiB were freed")?;
    fills_up(round)?;
    disk.grow(GROWN_BYTES)?;
    round.restart().context("the disk has grown")
}

/// Waits until it stops for want of room, and says so.
fn fills_up(round: &mut Round) -> anyhow::Result<()> {
    let mut weir = round.weir.take().context("weir does not run")?;
    let status = weir.wait(FILL)?.with_context(|| format!("the disk is not full after {FILL:?}"))?;
    round.outcome.fault("ENOSPC, a full disk");
    says_so(&weir, status.code())
}

/// A start on a full disk works, or stops and says why.
fn stays_full(round: &mut Round) -> anyhow::Result<()> {
    let mut weir = Weir::spawn(&round.launch)?;
    if let Some(status) = weir.wait(Duration::from_secs(2))? {
        says_so(&weir, status.code())?;
    }
    round.outcome.fault("start on a full disk");
    weir.kill()
}

fn says_so(weir: &Weir, code: Option<i32>) -> anyhow::Result<()> {
    let words = weir.last_words();
    ensure!(code == Some(1) && words.contains("No space left"), "ended with {code:?}, without a clear error: {words}");
    Ok(())
}
