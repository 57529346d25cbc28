//! Planted bugs: each must be caught, or the harness proves nothing.

use std::time::Duration;

use anyhow::ensure;
use rand::Rng;

use crate::lanes;
use crate::outcome::Outcome;
use crate::proxy;
use crate::round::{Plan, Round, play};
use crate::setting::Setting;
use crate::strace::{Call, Effect, Injection};
use crate::weir::Weir;
use crate::workflows::Workflows;

use super::names::Name;
use super::{audit, devices, log, names, power, workflows};

/// Rounds until a bug counts as missed.
const ATTEMPTS: u32 = 6;
/// How long to wait for a named point.
const REACH: Duration = Duration::from_secs(3);

/// How a bug is caught.
#[derive(Clone, Copy, Debug)]
enum Bait {
    /// Random kills.
    Kills,
    /// Kills at one named point.
    Point(&'static str),
    /// Kills after acknowledgements were lost, so that much is sent again.
    LostAcks,
    /// Power cuts.
    Power,
    /// Devices that send late messages.
    Devices,
    /// Writes of the log that fail.
    WriteErrors,
    /// A table that is held while the log is full of what it has not passed.
    HeldTable,
    /// An outbox whose commits are held while positions go on.
    HeldOutbox,
    /// The order of system calls.
    Audit,
    /// The model of the disk.
    Model,
    /// Damaged files.
    Damage,
    /// Kills at one named point, of rules with steps whose targets are in trouble.
    Steps(&'static str),
}

/// Which bait for which bug.
const BAITS: &[(&str, Bait)] = &[
    ("log_sync_skipped", Bait::Power),
    ("log_directory_sync_skipped", Bait::Model),
    ("sync_retried", Bait::Model),
    ("write_error_ignored", Bait::WriteErrors),
    ("ack_before_sync", Bait::Point("log_write")),
    ("stale_ack", Bait::Point("log_write")),
    ("checksum_skipped", Bait::Damage),
    ("retention_ignores_consumers", Bait::HeldTable),
    ("position_before_effect", Bait::Kills),
    ("dedupe_forgotten", Bait::LostAcks),
    ("late_dropped", Bait::Devices),
    ("alerts_repeated", Bait::Point("alerts_appended")),
    ("step_done_before_attempt", Bait::Steps("outbox_committed")),
    ("emit_recovery_skipped", Bait::Steps("event_appended")),
    ("outbox_after_position", Bait::HeldOutbox),
    ("keys_forgotten", Bait::Steps("position_commit")),
    ("parquet_sync_skipped", Bait::Power),
    ("rename_after_commit", Bait::Point("delta_synced")),
    ("delta_directory_sync_skipped", Bait::Audit),
    ("leftovers_kept", Bait::Point("table_placed")),
];

/// Runs it: whatever is missed is a violation.
pub(crate) fn run(setting: &Setting) -> anyhow::Result<Outcome> {
    let teeth = names::teeth(&setting.binaries)?;
    lanes::play(u32::try_from(teeth.len())?, 1, |number, _| {
        teeth.get(usize::try_from(number)?).map_or(Ok(Outcome::default()), |tooth| try_one(setting, tooth, number))
    })
}

fn try_one(setting: &Setting, tooth: &Name, number: u32) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    let Some((_, bait)) = BAITS.iter().find(|(name, _)| *name == tooth.name) else {
        outcome.violations.push(format!("planted bug {} has nothing that could catch it", tooth.name));
        return Ok(outcome);
    };
    match catch(setting, &tooth.name, *bait, number * ATTEMPTS)? {
        Caught::By(what) => {
            let about = tooth.about.trim_end_matches('.');
            eprintln!("caught {}: {about}: {what}", tooth.name);
            outcome.fault(&format!("planted bug caught by {bait:?}: {about}"));
        }
        Caught::Missed(rounds) => {
            outcome.violations.push(format!("planted bug {} not caught in {rounds} rounds", tooth.name));
        }
        Caught::NotTried(why) => outcome.not_run.push(format!("planted bug {}: {why}", tooth.name)),
    }
    Ok(outcome)
}

enum Caught {
    By(String),
    Missed(u32),
    NotTried(String),
}

fn catch(setting: &Setting, tooth: &str, bait: Bait, first: u32) -> anyhow::Result<Caught> {
    for round in first..first + ATTEMPTS {
        let outcome = once(setting, tooth, bait, round)?;
        if let Some(what) = outcome.violations.into_iter().next() {
            return Ok(Caught::By(what.chars().take(200).collect()));
        }
        if let Some(why) = outcome.not_run.into_iter().next() {
            return Ok(Caught::NotTried(why));
        }
    }
    Ok(Caught::Missed(ATTEMPTS))
}

fn once(setting: &Setting, tooth: &str, bait: Bait, number: u32) -> anyhow::Result<Outcome> {
    let planted = |plan: Plan| Plan {
        scenario: "teeth",
        binary: setting.binaries.faults.clone(),
        tooth: Some(tooth.to_owned()),
        must_break: true,
        ..plan
    };
    let plan = planted(Plan::new(setting, "teeth", number));
    match bait {
        Bait::Kills => play(setting, plan, |round| kills(round, 12)),
        Bait::Point(point) => play(setting, plan, |round| at_point(round, point)),
        Bait::LostAcks => play(setting, plan, lost_acks),
        Bait::Power => power::planted(setting, plan),
        Bait::Devices => play(setting, planted(devices::plan(setting, number)), |round| kills(round, 2)),
        Bait::WriteErrors => play(setting, plan, write_errors),
        Bait::HeldTable => play(setting, plan, held_table),
        Bait::HeldOutbox => play(setting, planted(workflows::plan(setting, "teeth", number)), held_outbox),
        Bait::Audit => play(setting, plan, audit::attack),
        Bait::Model => log::planted(setting, tooth, "model"),
        Bait::Damage => log::planted(setting, tooth, "damage"),
        Bait::Steps(point) => play(setting, planted(workflows::plan(setting, "teeth", number)), |round| {
            round.workflows.iter().for_each(Workflows::misbehave);
            at_point(round, point)
        }),
    }
}

fn kills(round: &mut Round, count: u32) -> anyhow::Result<()> {
    for _ in 0..count {
        round.pause(20..500);
        round.restart()?;
    }
    Ok(())
}

fn lost_acks(round: &mut Round) -> anyhow::Result<()> {
    let network = |round: &Round, plan| round.proxy.as_ref().map_or(Ok(()), |proxy| proxy.faults(plan));
    let faults = vec![proxy::Fault::LostAcks];
    let lossy = proxy::Plan { faults, up_bytes: 100_000, down_bytes: 200, longest_delay: Duration::ZERO };
    for _ in 0..3 {
        network(round, lossy.clone())?;
        // Long enough for positions to be committed past what nobody knows to be acknowledged.
        round.pause(1_000..1_500);
        round.kill()?;
        network(round, proxy::Plan::none())?;
        round.restart()?;
    }
    Ok(())
}

fn at_point(round: &mut Round, point: &str) -> anyhow::Result<()> {
    let launch = round.launch.clone();
    for _ in 0..5 {
        let nth = round.random.random_range(1..40);
        round.kill()?;
        let mut weir = Weir::spawn(&launch.clone().with("WEIR_FAULT", format!("{point}:{nth}:kill")))?;
        weir.wait(REACH)?;
        round.weir = Some(weir);
        round.restart()?;
    }
    Ok(())
}

/// The outbox stands still, and then the process is killed: no position may have moved past what is in it.
fn held_outbox(round: &mut Round) -> anyhow::Result<()> {
    round.workflows.iter().for_each(Workflows::misbehave);
    let hold = round.directory.join("hold");
    std::fs::write(&hold, "")?;
    let launch = round.launch.clone();
    for _ in 0..3 {
        let nth = round.random.random_range(1..20);
        round.kill()?;
        let held = launch.clone().with("WEIR_FAULT", format!("outbox_commit:{nth}:hold={}", hold.display()));
        round.weir = Some(Weir::spawn(&held)?);
        round.pause(1_500..2_500);
        round.kill()?;
        round.restart()?;
    }
    Ok(())
}

/// A disk that fails now and then, and a process that goes on.
fn write_errors(round: &mut Round) -> anyhow::Result<()> {
    let plain = round.launch.wrapper.clone();
    let segments = round.launch.data.join("log/segments");
    for _ in 0..3 {
        let injection = Injection {
            calls: vec![Call::Pwrite],
            effect: Effect::Eio,
            nth: Some(round.random.random_range(20..60)),
            paths: std::fs::read_dir(&segments)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?,
        };
        round.launch.wrapper = injection.wrapper(&round.directory.join("trace"));
        round.kill()?;
        let mut weir = Weir::spawn(&round.launch)?;
        weir.wait(REACH)?;
        round.weir = Some(weir);
        round.launch.wrapper.clone_from(&plain);
        round.restart()?;
    }
    Ok(())
}

/// The table stands still while small segments come and go.
fn held_table(round: &mut Round) -> anyhow::Result<()> {
    let hold = round.directory.join("hold");
    std::fs::write(&hold, "")?;
    round.launch = round
        .launch
        .clone()
        .with("WEIR_STREAMS__SEGMENT_BYTES", 65_536)
        .with("WEIR_STREAMS__RETENTION_BYTES", 131_072)
        .with("WEIR_FAULT", format!("parquet_write:1:hold={}", hold.display()));
    round.restart()?;
    round.pause(3_000..4_000);
    std::fs::remove_file(&hold)?;
    let status = match &mut round.weir {
        Some(weir) => weir.wait(REACH)?,
        None => None,
    };
    ensure!(status.is_none(), "weir ended: {status:?}");
    Ok(())
}
