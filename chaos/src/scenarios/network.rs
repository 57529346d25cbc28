//! A bad network under a live fleet: connections are reset in the middle of a packet, half-closed, held, and
//! vanish without a word, so that devices come back while the server still believes in the old connection.
//! Acknowledgements get lost, and what they were for is sent again. Now and then the process is killed as well.

use std::time::Duration;

use anyhow::{Context, ensure};
use rand::Rng;

use crate::outcome::Outcome;
use crate::proxy::{self, Fault, Proxy};
use crate::round::{Plan, Round, play};
use crate::setting::Setting;

/// Kills of a round; the network is bad all the time between them.
const KILLS: u32 = 5;
/// Bytes of a device between two faults. It sends 60 KB and gets 400 bytes of acknowledgements a second.
const UP_BYTES: std::ops::Range<u64> = 30_000..200_000;
const DOWN_BYTES: std::ops::Range<u64> = 200..1_500;
/// Shorter than the patience of a device, or all delays would end in a new connection.
const LONGEST_DELAY: Duration = Duration::from_millis(700);

/// Runs it.
pub(crate) fn run(setting: &Setting) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    for number in 0..setting.count(1, 30, 300) {
        let mut plan = Plan::new(setting, "network", number);
        plan.fleet.options.push("--patience=1s".into());
        outcome.merge(play(setting, plan, attack)?);
    }
    Ok(outcome)
}

fn attack(round: &mut Round) -> anyhow::Result<()> {
    let faults = proxy::Plan {
        faults: Fault::ALL.to_vec(),
        up_bytes: round.random.random_range(UP_BYTES),
        down_bytes: round.random.random_range(DOWN_BYTES),
        longest_delay: LONGEST_DELAY,
    };
    network(round)?.faults(faults)?;
    for _ in 0..KILLS {
        round.pause(500..2_500);
        if round.random.random_ratio(1, 3) {
            network(round)?.cut_all()?;
            round.pause(1..300);
        }
        round.kill()?;
        round.outcome.fault("SIGKILL under a bad network");
        round.restart()?;
    }
    round.pause(500..2_500);
    network(round)?.faults(proxy::Plan::none())?;
    let witness = network(round)?.witness()?;
    for (kind, count) in witness.faults {
        *round.outcome.faults.entry(kind.to_owned()).or_default() += count;
    }
    let disordered = witness.disordered;
    ensure!(disordered == 0, "{disordered} acknowledgements came before that of an earlier message");
    Ok(())
}

fn network(round: &Round) -> anyhow::Result<&Proxy> {
    round.proxy.as_ref().context("the proxy has ended")
}
