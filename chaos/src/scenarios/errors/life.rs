//! Errors in a life of Weir under load: start, recovery, and a second or so of work.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use super::{Fault, NAME, faults, kind, merge, missed};
use crate::clock;
use crate::outcome::Outcome;
use crate::round::{Plan, Round, play};
use crate::setting::Setting;
use crate::strace::{self, Effect};
use crate::tier::Tier;
use crate::weir::{Launch, Weir};

/// Lives of a round, in the tiers that do not do all.
const PER_ROUND: u32 = 100;
/// How long a life is.
const LIFE: Duration = Duration::from_millis(900);
/// How long to wait for a call that came in a recorded life: threads share the work differently each time.
const REACH: Duration = Duration::from_millis(2_500);
/// How long a process that goes on after an error may take until it acknowledges again.
const PATIENCE: Duration = Duration::from_secs(15);
const ACKNOWLEDGED: &str = "weir_ingest_acknowledged_messages_total";
const EFFECTS: &[Effect] = &[Effect::Eio, Effect::NoSpace, Effect::Kill];

/// Runs it.
pub(super) fn run(setting: &Setting) -> anyhow::Result<Outcome> {
    if setting.tier == Tier::Long {
        return round(setting, 0, usize::MAX);
    }
    let (mut left, mut outcome, mut number) = (setting.count(8, 250, 0), Outcome::default(), 0);
    while left > 0 {
        let lives = left.min(PER_ROUND);
        merge(&mut outcome, round(setting, number, usize::try_from(lives)?)?);
        (left, number) = (left - lives, number + 1);
    }
    Ok(outcome)
}

fn round(setting: &Setting, number: u32, lives: usize) -> anyhow::Result<Outcome> {
    let mut plan = Plan::new(setting, NAME, number);
    // Little load, so that the calls of a life can be counted, and each of them failed.
    (plan.fleet.devices, plan.fleet.rate) = (10, 150.0);
    play(setting, plan, |round| attack(round, lives))
}

fn attack(round: &mut Round, lives: usize) -> anyhow::Result<()> {
    for (name, value) in [
        ("WEIR_STREAMS__SEGMENT_BYTES", "65536"),
        ("WEIR_STREAMS__RETENTION_BYTES", "131072"),
        ("WEIR_SINK__ROLL_AGE_SECONDS", "0.1"),
        ("WEIR_CONSUMERS__COMMIT_INTERVAL_SECONDS", "0.1"),
    ] {
        round.launch = round.launch.clone().with(name, value);
    }
    let trace = round.directory.join("trace");
    let honest = round.launch.clone();
    round.launch.wrapper = strace::recorder(&trace);
    spawn(round)?;
    clock::pause(LIFE);
    round.kill()?;
    let sites = strace::sites(&trace, &honest.data)?;
    let calls = sites.iter().map(|site| f64::from(site.calls)).sum();
    round.outcome.figures.insert("system_calls_of_a_life".to_owned(), calls);
    let all = faults(&sites, EFFECTS, &mut round.random);
    ensure!(!all.is_empty(), "strace has seen no call below {}", honest.data.display());
    for fault in all.into_iter().take(lives) {
        let wrapper = fault.injection.wrapper(&trace);
        life(round, &honest, wrapper, &fault).with_context(|| fault.name.clone())?;
    }
    Ok(())
}

/// One life with a fault, and the start after it.
fn life(round: &mut Round, honest: &Launch, wrapper: Vec<std::ffi::OsString>, fault: &Fault) -> anyhow::Result<()> {
    let said = fs::metadata(&honest.log).map_or(0, |file| file.len());
    round.launch = Launch { wrapper, ..honest.clone() };
    round.kill()?;
    spawn(round)?;
    let (ended, hit) = reach(round, fault.injection.effect)?;
    if hit {
        round.outcome.fault(&kind(&fault.injection));
    } else {
        missed(&mut round.outcome);
    }
    match ended {
        Some(status) if fault.injection.effect == Effect::Kill => {
            ensure!(status.signal() == Some(9), "ended by itself: {status}");
        }
        Some(status) => {
            let words = fs::read(&honest.log).context("read the log of weir")?;
            let words = words.get(usize::try_from(said)?..).unwrap_or_default();
            let words = String::from_utf8_lossy(words).into_owned();
            ensure!(status.code() == Some(1), "ended with {status}: {words}");
            ensure!(words.contains("error: ") && !words.contains("panicked"), "ended without a clear error: {words}");
        }
        None => goes_on(round)?,
    }
    round.launch = honest.clone();
    round.restart()
}

/// Waits until the fault has come: how the process ended, if it did, and whether the fault was done.
fn reach(round: &mut Round, effect: Effect) -> anyhow::Result<(Option<ExitStatus>, bool)> {
    let trace = round.directory.join("trace");
    let Some(weir) = &mut round.weir else { bail!("weir does not run") };
    clock::wait_for(REACH, || {
        let waiting = matches!(weir.exited(), Ok(None)) && strace::hits(&trace).is_ok_and(|hits| hits == 0);
        (!waiting).then_some(())
    });
    // An error takes its time through the stages.
    let hit = strace::hits(&trace)? > 0;
    let ended = if hit { weir.wait(LIFE)? } else { weir.exited()? };
    // Killed processes leave no line in the trace.
    Ok((ended, hit || (effect == Effect::Kill && ended.is_some())))
}

/// A process that did not end must acknowledge: it may not hang.
fn goes_on(round: &Round) -> anyhow::Result<()> {
    let Some(weir) = &round.weir else { bail!("weir does not run") };
    let before = weir.metric(ACKNOWLEDGED).unwrap_or(0.0);
    let more = || weir.metric(ACKNOWLEDGED).filter(|now| *now > before);
    if clock::wait_for(PATIENCE, more).is_none() {
        bail!("neither ends nor acknowledges for {PATIENCE:?}: {}", weir.last_words());
    }
    Ok(())
}

fn spawn(round: &mut Round) -> anyhow::Result<()> {
    round.kill()?;
    round.weir = Some(Weir::spawn(&round.launch)?);
    Ok(())
}
