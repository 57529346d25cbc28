//! `kill -9` at named points: between two particular steps, which a random moment rarely hits.

use std::time::Duration;

use rand::Rng;

use crate::lanes;
use crate::outcome::Outcome;
use crate::round::{Plan, Round, play};
use crate::setting::Setting;
use crate::workflows::Workflows;

use super::{names, workflows};

/// Faults of a round.
const PER_ROUND: u32 = 92;
/// How long to wait until a point is reached.
const REACH: Duration = Duration::from_secs(3);
/// The same for a checkpoint, which comes every hundred commits.
const REACH_CHECKPOINT: Duration = Duration::from_secs(15);

/// Runs it.
pub(crate) fn run(setting: &Setting) -> anyhow::Result<Outcome> {
    let points = names::points(&setting.binaries)?;
    let mut outcome = lanes::play(setting.count(46, 1_200, 6_000), PER_ROUND, |number, faults| {
        // With workflows, or the points on their way would never be reached.
        let plan = Plan { binary: setting.binaries.faults.clone(), ..workflows::plan(setting, "points", number) };
        play(setting, plan, |round| attack(round, &points, number * faults, faults))
    })?;
    let missed = points.iter().filter(|point| !outcome.faults.contains_key(&fault(point)));
    let missed: Vec<&str> = missed.map(String::as_str).collect();
    if !missed.is_empty() {
        outcome.not_run.push(format!("never reached: {}", missed.join(", ")));
    }
    Ok(outcome)
}

fn attack(round: &mut Round, points: &[String], first: u32, faults: u32) -> anyhow::Result<()> {
    round.workflows.iter().for_each(Workflows::misbehave);
    let launch = round.launch.clone();
    for point in points.iter().cycle().skip(usize::try_from(first)? % points.len()).take(usize::try_from(faults)?) {
        let rare = point.starts_with("checkpoint");
        let (nth, reach) = if rare { (1, REACH_CHECKPOINT) } else { (round.random.random_range(1..6), REACH) };
        round.launch = launch.clone().with("WEIR_FAULT", format!("{point}:{nth}:kill"));
        round.kill()?;
        // It may be reached before it is ready.
        round.weir = Some(crate::weir::Weir::spawn(&round.launch)?);
        let reached = match &mut round.weir {
            Some(weir) => weir.wait(reach)?.is_some(),
            None => false,
        };
        if reached {
            round.outcome.fault(&fault(point));
        }
        round.launch = launch.clone();
        round.restart()?;
    }
    Ok(())
}

fn fault(point: &str) -> String {
    format!("SIGKILL at {point}")
}
