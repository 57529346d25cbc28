//! The positions store is damaged between two starts, under a live fleet: Weir puts it aside and goes on by itself,
//! and readings and alerts stay exactly once, because the log still has what the store knew.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use anyhow::Context;
use rand::Rng;

use crate::lanes;
use crate::outcome::Outcome;
use crate::round::{Plan, Round, play};
use crate::setting::Setting;

/// Damages of a round.
const PER_ROUND: u32 = 6;
/// Bytes overwritten at once, at most.
const MOST_BYTES: usize = 4096;

/// Runs it.
pub(crate) fn run(setting: &Setting) -> anyhow::Result<Outcome> {
    lanes::play(setting.count(6, 120, 1_000), PER_ROUND, |number, damages| {
        play(setting, Plan::new(setting, "store", number), |round| attack(round, damages))
    })
}

fn attack(round: &mut Round, damages: u32) -> anyhow::Result<()> {
    // What is no longer in the log cannot teach the deduplication: docs/adr/0009 says so, and it is not tried here.
    round.launch = round.launch.clone().with("WEIR_STREAMS__RETENTION_BYTES", 8_u64 << 30);
    round.restart()?;
    for _ in 0..damages {
        round.pause(300..1_200);
        round.kill()?;
        damage(round)?;
        round.restart()?;
    }
    Ok(())
}

/// Overwrites a part of the store, or cuts it.
fn damage(round: &mut Round) -> anyhow::Result<()> {
    let path = round.launch.data.join("log/positions.redb");
    let file = OpenOptions::new().write(true).open(&path).with_context(|| path.display().to_string())?;
    let length = file.metadata()?.len();
    if round.random.random_ratio(1, 4) {
        file.set_len(round.random.random_range(0..length))?;
        round.outcome.fault("positions store cut");
    } else {
        let mut bytes = vec![0; round.random.random_range(1..MOST_BYTES)];
        round.random.fill(&mut bytes[..]);
        // The beginning is what every start reads; elsewhere much of the file is empty.
        let from = if round.random.random() { 0 } else { round.random.random_range(0..length) };
        file.write_all_at(&bytes, from)?;
        round.outcome.fault("positions store overwritten");
    }
    let aside = fs::read_dir(path.parent().unwrap_or(&path))?.flatten();
    let aside = aside.filter(|entry| entry.file_name().to_string_lossy().contains(".damaged-")).count();
    #[expect(clippy::cast_precision_loss, reason = "a count for a report")]
    round.outcome.figures.insert("stores_put_aside_before_the_last_damage_of_a_round".to_owned(), aside as f64);
    Ok(())
}
