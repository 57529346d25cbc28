//! `kill -9` at random moments, and a stop for a while now and then.

use rand::Rng;
use rustix::process::Signal;

use crate::lanes;
use crate::outcome::Outcome;
use crate::round::{Plan, Round, play};
use crate::setting::Setting;

/// Faults of a round.
const PER_ROUND: u32 = 100;

/// Runs it.
pub(crate) fn run(setting: &Setting) -> anyhow::Result<Outcome> {
    lanes::play(setting.count(30, 1_200, 10_000), PER_ROUND, |number, faults| {
        play(setting, Plan::new(setting, "kills", number), |round| attack(round, faults))
    })
}

fn attack(round: &mut Round, faults: u32) -> anyhow::Result<()> {
    for _ in 0..faults {
        round.pause(1..700);
        if round.random.random_ratio(1, 10) {
            stop_for_a_while(round);
        }
        round.kill()?;
        round.outcome.fault("SIGKILL at a random moment");
        round.restart()?;
    }
    Ok(())
}

/// Holds the whole process, as a machine does that is suspended.
fn stop_for_a_while(round: &mut Round) {
    round.outcome.fault("SIGSTOP");
    if let Some(weir) = &round.weir {
        weir.signal(Signal::STOP);
    }
    round.pause(50..500);
    if let Some(weir) = &round.weir {
        weir.signal(Signal::CONT);
    }
    round.pause(1..200);
}
