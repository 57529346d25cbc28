//! Rules call a server that fails, hangs, resets and lies while the process is killed; then everybody recovers, and
//! what fired must be done: once where the key is honoured, in order, with no dead letter left.

use std::time::Duration;

use anyhow::{Context, ensure};
use rand::Rng;

use crate::clock;
use crate::hook::{self, Mood};
use crate::lanes;
use crate::outcome::Outcome;
use crate::round::{Plan, Round, play};
use crate::setting::Setting;
use crate::weir::Weir;
use crate::workflows::{self, Workflows, name};

/// Kills of a round.
const PER_ROUND: u32 = 25;
/// How long a breaker may take to open or to close, dead letters to appear, and a target that is well to be called.
const PATIENCE: Duration = Duration::from_secs(60);
/// New calls of the target that is well, while the other is dead, until it counts as undisturbed: more than can have
/// been under way before. Devices fire together, fifty at once.
const UNDISTURBED: u64 = 200;
/// Open, as a metric.
const OPEN: f64 = 2.0;

/// Runs it.
pub(crate) fn run(setting: &Setting) -> anyhow::Result<Outcome> {
    lanes::play(setting.count(6, 250, 2_000), PER_ROUND, |number, kills| {
        play(setting, plan(setting, "workflows", number), |round| attack(round, kills))
    })
}

/// A round with workflows, under half the load: each of its rules fires ten to thirty times a second.
pub(super) fn plan(setting: &Setting, scenario: &'static str, number: u32) -> Plan {
    let mut plan = Plan { workflows: true, ..Plan::new(setting, scenario, number) };
    plan.fleet.rate /= 2.0;
    plan
}

fn attack(round: &mut Round, kills: u32) -> anyhow::Result<()> {
    hooks(round)?.misbehave();
    for _ in 0..kills {
        round.pause(1..1_000);
        round.kill()?;
        round.outcome.fault("SIGKILL at a random moment, targets in trouble");
        round.restart()?;
    }
    dead_target(round)?;
    if hooks(round)?.letters() {
        dead_letters(round)?;
        redriven_and_killed(round)?;
    }
    Ok(())
}

/// One target is dead: its breaker opens, the other one does not notice, and the breaker closes when it is well.
fn dead_target(round: &mut Round) -> anyhow::Result<()> {
    let moods = Mood::DEAD;
    let mood = moods.get(round.random.random_range(0..moods.len())).copied().unwrap_or(Mood::Fails);
    let (workflows, weir) = (hooks(round)?, weir(round)?);
    workflows.plan(name::TROUBLED, hook::Plan::always(mood));
    let target = workflows.target(name::TROUBLED);
    let state = || workflows::breaker(weir, &target);
    let opened = clock::wait_for(PATIENCE, || state().filter(|state| *state == OPEN));
    opened.with_context(|| format!("the breaker of a dead target ({mood:?}) does not open: {:?}", state()))?;
    let before = workflows.tally(name::WELL).keys;
    let new = || workflows.tally(name::WELL).keys - before;
    let undisturbed = clock::wait_for(PATIENCE, || (new() >= UNDISTURBED).then_some(()));
    undisturbed.with_context(|| format!("a dead target holds up another, which got {} calls meanwhile", new()))?;
    workflows.plan(name::TROUBLED, hook::Plan::always(Mood::Well));
    let closed = clock::wait_for(PATIENCE, || state().filter(|state| *state == 0.0));
    closed.with_context(|| format!("the breaker of a target that is well again does not close: {:?}", state()))?;
    round.outcome.fault("breaker opened and closed");
    Ok(())
}

/// One target refuses until some steps are given up.
fn dead_letters(round: &mut Round) -> anyhow::Result<()> {
    let (workflows, weir) = (hooks(round)?, weir(round)?);
    workflows.plan(name::REFUSING, hook::Plan::always(Mood::Fails));
    let dead = clock::wait_for(PATIENCE, || workflows::dead(weir).filter(|dead| *dead >= 1.0));
    let dead = dead.context("nothing is given up though a target fails all the time")?;
    ensure!(workflows.tally(name::REFUSING).requests > 0, "{dead} runs are given up that were never tried");
    workflows.recover();
    round.outcome.fault("target that steps were given up for");
    Ok(())
}

/// Dead letters are put back, and the process is killed about then. The rest is put back at the end of the round.
fn redriven_and_killed(round: &mut Round) -> anyhow::Result<()> {
    workflows::redrive(&round.launch.binary, weir(round)?)?;
    round.pause(0..50);
    round.kill()?;
    round.outcome.fault("SIGKILL after a redrive");
    round.restart()
}

fn hooks(round: &Round) -> anyhow::Result<&Workflows> {
    round.workflows.as_ref().context("the round has no workflows")
}

fn weir(round: &Round) -> anyhow::Result<&Weir> {
    round.weir.as_ref().context("weir is dead")
}
