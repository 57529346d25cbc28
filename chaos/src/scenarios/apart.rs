//! Four stages, each a process of its own, over a Fluvio cluster. Stages and the processes of the cluster are killed,
//! held and replaced one by one under a live fleet; then everything is judged as for one process.
//!
//! Needs the program of a cluster, which is not part of this repository. Its servers never sync their files, so an
//! acknowledgement stands for the page cache: that outlives a kill, and not a power cut, which is therefore not tried.

mod faults;
mod pipeline;
mod takeover;

use std::path::Path;

use self::faults::Fault;
use self::pipeline::{Pipeline, Shape};
use crate::outcome::Outcome;
use crate::setting::Setting;
use crate::tier::Tier;

/// Messages of a round, of five readings each: a million readings.
const MESSAGES: u32 = 200_000;

/// What is not tried here, and why.
const NOT_POWER: &str = "power cuts of a cluster: it never syncs its files, so an acknowledgement means the page cache \
                         of the leader. A kill of an SPU leaves that as it is: no test of what a power cut would take";

/// What happens in a round.
#[derive(Clone, Copy, Debug)]
struct Kind {
    about: &'static str,
    shape: Shape,
    /// Each with how often.
    faults: &'static [(Fault, u32)],
}

/// The rounds, in turn.
const KINDS: [Kind; 4] = [
    Kind {
        about: "every stage killed five times, the SPU twice",
        shape: Shape { spus: 1, sinks: 1, processors: 1 },
        faults: &[
            (Fault::KillSpu, 2),
            (Fault::KillIngest, 5),
            (Fault::KillProcess, 5),
            (Fault::KillWorkflows, 5),
            (Fault::KillSink, 5),
        ],
    },
    Kind {
        about: "two sinks of one table, the SPU held and killed, the controller ended",
        shape: Shape { spus: 1, sinks: 2, processors: 1 },
        faults: &[
            (Fault::KillSink, 6),
            (Fault::KillIngest, 2),
            (Fault::KillProcess, 2),
            (Fault::HoldSpu, 1),
            (Fault::KillSpu, 1),
            (Fault::EndController, 2),
        ],
    },
    Kind {
        about: "two SPUs, one of them away for a while",
        shape: Shape { spus: 2, sinks: 2, processors: 2 },
        faults: &[
            (Fault::SpuAway, 2),
            (Fault::EndController, 1),
            (Fault::KillSink, 2),
            (Fault::KillProcess, 2),
            (Fault::KillIngest, 1),
            (Fault::KillWorkflows, 2),
        ],
    },
    Kind {
        about: "stages held for longer than their lease, taken over, and woken; second owners refused",
        shape: Shape { spus: 1, sinks: 1, processors: 1 },
        faults: &[
            (Fault::TakeOverProcess, 2),
            (Fault::TakeOverSink, 2),
            (Fault::SecondProcess, 1),
            (Fault::SecondSink, 1),
            (Fault::KillSpu, 1),
        ],
    },
];

/// Runs it.
pub(crate) fn run(setting: &Setting) -> anyhow::Result<Outcome> {
    let Some(program) = setting.fluvio_run.clone() else {
        let flag = crate::cluster::PROGRAM;
        return Ok(Outcome::not_run(format!("no program of a Fluvio cluster was given (--fluvio-run, or {flag})")));
    };
    if setting.tier == Tier::Quick {
        return Ok(Outcome::not_run("not part of the quick tier"));
    }
    let rounds = match setting.tier {
        Tier::Quick | Tier::Hour => 4,
        Tier::Long => 24,
    };
    let messages = setting.count(MESSAGES, MESSAGES, MESSAGES);
    let mut outcome = Outcome::not_run(NOT_POWER);
    // Not beside each other: a cluster, four stages, and a fleet are enough for a machine.
    for (number, kind) in (0..rounds).zip(KINDS.iter().cycle()) {
        eprintln!("   round {number}: {}", kind.about);
        outcome.merge(play(setting, &program, number, kind, messages)?);
    }
    Ok(outcome)
}

/// Plays a round. Whatever fails is a violation, and the files of that round are kept.
fn play(setting: &Setting, program: &Path, number: u32, kind: &Kind, messages: u32) -> anyhow::Result<Outcome> {
    let mut pipeline = Pipeline::begin(setting, program, number, kind.shape)?;
    let ended = faults::attack(&mut pipeline, kind.faults, messages).and_then(|()| pipeline.settle(setting));
    let mut outcome = std::mem::take(&mut pipeline.outcome);
    let (name, directory) = (pipeline.name.clone(), pipeline.directory.clone());
    // Whatever still runs is killed.
    drop(pipeline);
    match ended {
        Ok(()) => std::fs::remove_dir_all(&directory)?,
        Err(error) => {
            let violation = format!("{name} ({}): {error:#}; see {}", kind.about, directory.display());
            eprintln!("VIOLATION {violation}");
            outcome.violations.push(violation);
        }
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn the_first_round_is_what_was_promised_to_be_shown() {
        let readings_per_message = 5;
        assert_eq!(MESSAGES * readings_per_message, 1_000_000);
        let faults = KINDS[0].faults;
        let count = |fault| faults.iter().find(|(found, _)| *found == fault).map(|(_, count)| *count);
        let stages = [Fault::KillIngest, Fault::KillProcess, Fault::KillSink].map(count);
        assert_eq!((count(Fault::KillSpu), stages), (Some(2), [Some(5); 3]));
    }

    #[test]
    fn the_order_of_faults_follows_from_the_seed_and_has_each_as_often_as_wanted() {
        for kind in KINDS {
            let drawn = |seed| faults::order(kind.faults, &mut ChaCha8Rng::seed_from_u64(seed));
            assert_eq!(drawn(7), drawn(7));
            for (fault, count) in kind.faults {
                let found = drawn(7).iter().filter(|drawn| *drawn == fault).count();
                assert_eq!(u32::try_from(found).unwrap(), *count, "{fault:?}");
            }
        }
        let orders: Vec<Vec<Fault>> =
            (0..20).map(|seed| faults::order(KINDS[0].faults, &mut ChaCha8Rng::seed_from_u64(seed))).collect();
        assert!(orders.windows(2).any(|pair| pair[0] != pair[1]), "{orders:?}");
    }
}
