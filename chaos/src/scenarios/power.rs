//! Power cuts under a live fleet: the process stops in mid-step, the file system stops where it is, and what a
//! disk would hold comes back.
//!
//! The control is the same with syncs that lie: if the judge does not find losses then, the cuts cut nothing.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use rand::Rng;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::clock;
use crate::disk::{Journal, PowerDisk};
use crate::lanes;
use crate::outcome::Outcome;
use crate::round::{Plan, Round, play};
use crate::setting::Setting;
use crate::strace::{self, Call, Effect, Injection};
use crate::weir::Weir;

use super::workflows;

const NAME: &str = "power";
const CONTROL: &str = "power-control";
/// Cuts of a round.
const PER_ROUND: u32 = 100;
/// Size of a disk. The file is sparse: it takes what is written.
pub(super) const DISK_BYTES: u64 = 4 << 30;
/// Rounds of the control, of one cut each, until losses are found.
const CONTROLS: u32 = 5;
/// Cuts of a round with a planted bug.
const PLANTED: u32 = 6;
/// How long threads may take to stop.
const FREEZE: Duration = Duration::from_secs(10);

/// Runs it.
pub(crate) fn run(setting: &Setting) -> anyhow::Result<Outcome> {
    if let Err(why) = PowerDisk::available() {
        return Ok(Outcome::not_run(format!("power cuts: {why}")));
    }
    let cuts = setting.count(40, 2_100, 10_000);
    let mut outcome = lanes::play(cuts, PER_ROUND, |number, cuts| round(setting, number, cuts))?;
    outcome.merge(control(setting)?);
    Ok(outcome)
}

fn round(setting: &Setting, number: u32, cuts: u32) -> anyhow::Result<Outcome> {
    // Apart from the random numbers of the round, which has begun when the disk is there.
    let journal = Journal::draw(&mut setting.random("power-disk", number));
    let directory = place(setting, NAME, number)?;
    let mut disk = PowerDisk::with_journal(directory.path(), DISK_BYTES, journal)?;
    let data = disk.mount_point().join("data");
    // Every other round with the outbox, which is another file to lose.
    let plan = if number.is_multiple_of(2) {
        workflows::plan(setting, NAME, number)
    } else {
        Plan::new(setting, NAME, number)
    };
    let plan = Plan { data: Some(data), ..plan };
    play(setting, plan, |round| {
        for _ in 0..cuts {
            attack(round, &mut disk)?;
        }
        Ok(())
    })
    .with_context(|| format!("on a disk with {}", journal.options()))
}

/// A round of a few cuts with a planted bug.
pub(super) fn planted(setting: &Setting, plan: Plan) -> anyhow::Result<Outcome> {
    if let Err(why) = PowerDisk::available() {
        return Ok(Outcome::not_run(format!("power cuts: {why}")));
    }
    let directory = place(setting, plan.scenario, plan.number)?;
    let mut disk = PowerDisk::create(directory.path(), DISK_BYTES)?;
    let plan = Plan { data: Some(disk.mount_point().join("data")), ..plan };
    play(setting, plan, |round| (0..PLANTED).try_for_each(|_| attack(round, &mut disk)))
}

/// One cut: in the run, or in the start after the cut before.
fn attack(round: &mut Round, disk: &mut PowerDisk) -> anyhow::Result<()> {
    let recovering = round.random.random_ratio(1, 5);
    if recovering {
        round.kill()?;
        round.weir = Some(Weir::spawn(&round.launch)?);
        round.pause(1..80);
    } else {
        round.pause(30..400);
    }
    let half_committed = round.random.random_ratio(1, 4);
    if half_committed {
        disk.commit_journal()?;
    }
    cut(round, disk)?;
    round.outcome.fault(match (recovering, half_committed) {
        (true, _) => "power cut during a start",
        (false, true) => "power cut after a commit of the journal",
        (false, false) => "power cut",
    });
    round.restart()
}

/// Process and disk lose power together: nothing that the process does after the cut is seen by anybody.
pub(super) fn cut(round: &mut Round, disk: &mut PowerDisk) -> anyhow::Result<()> {
    if let Some(weir) = &round.weir {
        freeze(weir)?;
    }
    disk.cut()?;
    round.kill()?;
    disk.remount()
}

/// Stops all threads; one that is inside a system call does not return from it any more.
fn freeze(weir: &Weir) -> anyhow::Result<()> {
    weir.signal(Signal::STOP);
    let tasks = format!("/proc/{}/task", weir.pid().as_raw_nonzero());
    clock::wait_for(FREEZE, || frozen(Path::new(&tasks)).then_some(())).context("weir does not stop at SIGSTOP")
}

/// Whether no thread runs in user mode: stopped, inside the kernel, or ended. So is a process that is gone.
fn frozen(tasks: &Path) -> bool {
    let Ok(threads) = fs::read_dir(tasks) else { return true };
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat"));
        stat.map_or(true, |stat| {
            // The state follows the name, which is in parentheses and may hold anything.
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['T', 't', 'D', 'Z', 'X']))
        })
    })
}

/// Where the disk of a round is: in memory if there is room, for little latency, else beside the rounds.
pub(super) fn place(setting: &Setting, scenario: &str, number: u32) -> anyhow::Result<TempDir> {
    let name = format!("weir-chaos-{scenario}-{}-{number}-", setting.seed);
    let parent = memory().unwrap_or_else(|| setting.directory.clone());
    let directory = tempfile::Builder::new().prefix(&name).tempdir_in(&parent);
    directory.with_context(|| format!("a directory in {}", parent.display()))
}

fn memory() -> Option<PathBuf> {
    let path = Path::new("/dev/shm");
    let stat = rustix::fs::statvfs(path).ok()?;
    (stat.f_bavail * stat.f_frsize >= DISK_BYTES).then(|| path.to_owned())
}

/// The same with syncs that do nothing. A violation is what must come of it.
fn control(setting: &Setting) -> anyhow::Result<Outcome> {
    if let Err(why) = strace::available() {
        return Ok(Outcome::not_run(format!("control of the power cuts, a disk that lies: {why}")));
    }
    let mut outcome = Outcome::default();
    for number in 0..CONTROLS {
        let lied = lying_round(setting, number)?;
        outcome.fault("power cut of a disk that lies (control)");
        if lied.verdict.lost > 0 {
            outcome.figures.insert("readings_lost_by_the_lying_disk".to_owned(), figure(lied.verdict.lost));
            return Ok(outcome);
        }
    }
    outcome.violations.push(format!(
        "{CONTROL}, seed {}: {CONTROLS} power cuts of a disk that lies lost nothing: the cuts cut nothing, or the judge is blind",
        setting.seed
    ));
    Ok(outcome)
}

fn lying_round(setting: &Setting, number: u32) -> anyhow::Result<Outcome> {
    let directory = place(setting, CONTROL, number)?;
    let mut disk = PowerDisk::create(directory.path(), DISK_BYTES)?;
    let data = Some(disk.mount_point().join("data"));
    let plan = Plan { data, must_break: true, ..Plan::new(setting, CONTROL, number) };
    play(setting, plan, |round| {
        let honest = round.launch.clone();
        round.launch.wrapper = lie(&round.directory.join("trace"));
        round.restart()?;
        round.pause(1_000..2_000);
        cut(round, &mut disk)?;
        round.launch = honest;
        round.restart()
    })
}

/// Syncs do nothing, and say that they did.
fn lie(trace: &Path) -> Vec<OsString> {
    let calls = vec![Call::Fdatasync, Call::Fsync];
    Injection { calls, effect: Effect::Lie, nth: None, paths: Vec::new() }.wrapper(trace)
}

#[expect(clippy::cast_precision_loss, reason = "a count for a report")]
fn figure(count: u64) -> f64 {
    count as f64
}
