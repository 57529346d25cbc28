//! What goes wrong in a round, and when.

use std::ops::Range;
use std::time::Duration;

use anyhow::Context;
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::pipeline::Pipeline;
use super::takeover;
use crate::clock;
use crate::stage::Kind;

/// How long the fleet may take to the next fault: a hold of an SPU, and what a slow machine takes for its share.
const PROGRESS: Duration = Duration::from_secs(300);
/// How long an SPU is held, or away.
const LONG: Duration = Duration::from_secs(20);
/// Milliseconds that a killed process stays dead.
const DEAD: Range<u64> = 0..3_000;

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    KillIngest,
    KillProcess,
    KillWorkflows,
    KillSink,
    KillSpu,
    /// Held for 20 s: connections stay open, and nobody answers.
    HoldSpu,
    /// One of two is dead for 20 s: the other one leads.
    SpuAway,
    EndController,
    TakeOverProcess,
    TakeOverSink,
    SecondProcess,
    SecondSink,
}

/// Does `faults`, each so many times, in an order that is drawn, spread over the first `messages` of the fleet.
///
/// # Errors
/// If something does not come back, or ends though nobody killed it.
pub(super) fn attack(pipeline: &mut Pipeline, faults: &[(Fault, u32)], messages: u32) -> anyhow::Result<()> {
    let all = order(faults, &mut pipeline.random);
    let steps = u64::try_from(all.len())? + 1;
    for (number, fault) in (1_u64..).zip(all) {
        reach(pipeline, u64::from(messages) * number / steps)?;
        pipeline.pause(1..1_000);
        happen(pipeline, fault).with_context(|| format!("{fault:?}"))?;
        pipeline.supervise().with_context(|| format!("after {fault:?}"))?;
    }
    reach(pipeline, u64::from(messages))
}

/// Each fault as often as it is wanted, in an order that is drawn.
pub(super) fn order(faults: &[(Fault, u32)], random: &mut ChaCha8Rng) -> Vec<Fault> {
    let mut all: Vec<Fault> = Vec::new();
    for (fault, count) in faults {
        all.extend((0..*count).map(|_| *fault));
    }
    all.shuffle(random);
    all
}

/// Waits until the fleet has this many acknowledgements.
fn reach(pipeline: &mut Pipeline, messages: u64) -> anyhow::Result<()> {
    let (mut since, mut progressed) = (clock::now(), pipeline.acknowledged()?);
    loop {
        let acknowledged = pipeline.acknowledged()?;
        if acknowledged >= messages {
            return Ok(());
        }
        if acknowledged > progressed {
            (progressed, since) = (acknowledged, clock::now());
        }
        pipeline.supervise()?;
        anyhow::ensure!(
            clock::since(since) < PROGRESS,
            "nothing is acknowledged for {PROGRESS:?}, {acknowledged} messages were before"
        );
        clock::pause(Duration::from_millis(50));
    }
}

fn happen(pipeline: &mut Pipeline, fault: Fault) -> anyhow::Result<()> {
    match fault {
        Fault::KillIngest => kill(pipeline, Kind::Ingest),
        Fault::KillProcess => kill(pipeline, Kind::Process),
        Fault::KillWorkflows => kill(pipeline, Kind::Workflows),
        Fault::KillSink => kill(pipeline, Kind::Sink),
        Fault::KillSpu => kill_spu(pipeline),
        Fault::HoldSpu => hold_spu(pipeline),
        Fault::SpuAway => spu_away(pipeline),
        Fault::EndController => end_controller(pipeline),
        Fault::TakeOverProcess => takeover::take_over(pipeline, Kind::Process),
        Fault::TakeOverSink => takeover::take_over(pipeline, Kind::Sink),
        Fault::SecondProcess => takeover::refused(pipeline, Kind::Process),
        Fault::SecondSink => takeover::refused(pipeline, Kind::Sink),
    }
}

fn kill(pipeline: &mut Pipeline, kind: Kind) -> anyhow::Result<()> {
    let index = pipeline.draw(kind)?;
    pipeline.stage(index)?.kill()?;
    pipeline.outcome.fault(&format!("SIGKILL of weir {}", kind.command()));
    pipeline.pause(DEAD);
    pipeline.restart(index)
}

/// The SPU is killed, and now and then a stage with it, which then has to begin without it.
fn kill_spu(pipeline: &mut Pipeline) -> anyhow::Result<()> {
    let spu = pipeline.random.random_range(0..pipeline.cluster.spus.len());
    pipeline.cluster.spus.get_mut(spu).context("no such SPU")?.kill()?;
    pipeline.outcome.fault("SIGKILL of an SPU");
    let stage = pipeline.random.random_bool(0.5).then(|| pipeline.draw(Kind::Process)).transpose()?;
    if let Some(index) = stage {
        pipeline.pause(DEAD);
        pipeline.stage(index)?.kill()?;
        // Dead for good until its SPU is back, or tried again and again: as the supervisor finds it.
        pipeline.stage(index)?.spawn()?;
        pipeline.outcome.fault("SIGKILL of weir process without its SPU");
    }
    pipeline.pause(DEAD);
    pipeline.cluster.spus.get_mut(spu).context("no such SPU")?.start()?;
    pipeline.cluster.wait_online()?;
    stage.map_or(Ok(()), |index| pipeline.restart(index))
}

fn hold_spu(pipeline: &mut Pipeline) -> anyhow::Result<()> {
    let drawn = pipeline.random.random_range(0..pipeline.cluster.spus.len());
    pipeline.cluster.spus.get(drawn).context("no such SPU")?.pause();
    pipeline.outcome.fault("SIGSTOP of an SPU for 20 s");
    pipeline.pass(LONG)?;
    pipeline.cluster.spus.get(drawn).context("no such SPU")?.resume();
    pipeline.cluster.wait_online()
}

/// Only when the other one has everything: with one replica in sync an acknowledgement says no more.
fn spu_away(pipeline: &mut Pipeline) -> anyhow::Result<()> {
    pipeline.cluster.wait_replicated()?;
    let drawn = pipeline.random.random_range(0..pipeline.cluster.spus.len());
    pipeline.cluster.spus.get_mut(drawn).context("no such SPU")?.kill()?;
    pipeline.outcome.fault("SIGKILL of one of two SPUs, away for 20 s");
    pipeline.pass(LONG).context("while one of two SPUs is away")?;
    pipeline.cluster.spus.get_mut(drawn).context("no such SPU")?.start()?;
    pipeline.cluster.wait_online()?;
    pipeline.cluster.wait_replicated()
}

fn end_controller(pipeline: &mut Pipeline) -> anyhow::Result<()> {
    if pipeline.random.random_bool(0.5) {
        pipeline.cluster.controller.kill()?;
        pipeline.outcome.fault("SIGKILL of the controller");
    } else {
        pipeline.cluster.controller.stop()?;
        pipeline.outcome.fault("SIGTERM of the controller");
    }
    pipeline.pause(DEAD);
    pipeline.cluster.controller.start()?;
    pipeline.cluster.wait_online()
}
