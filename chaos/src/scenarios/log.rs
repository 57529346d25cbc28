//! The log by itself: crash states by a model of the disk, and damage at every byte. The binary built for it does
//! both, in processes of its own, one a core.

use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::outcome::Outcome;
use crate::setting::Setting;

/// Processes at once.
const PROCESSES: u32 = 2;

/// What `weir faults model` and `weir faults damage` print, last on stdout.
#[derive(Debug, Deserialize)]
struct Found {
    /// States or damages tried.
    tried: u64,
    violations: Vec<String>,
    /// More to tell, by name.
    #[serde(default)]
    figures: std::collections::BTreeMap<String, f64>,
}

/// Crash states.
pub(crate) fn model(setting: &Setting) -> anyhow::Result<Outcome> {
    let states = setting.count(20_000, 240_000, 2_000_000) / PROCESSES;
    let lots = (0..PROCESSES).map(|process| {
        vec![
            "model".to_owned(),
            format!("--seed={}", setting.seed.wrapping_add(u64::from(process) << 32)),
            format!("--states={states}"),
        ]
    });
    several(setting, lots.collect(), None, "simulated crash state")
}

/// Damage.
pub(crate) fn damage(setting: &Setting) -> anyhow::Result<Outcome> {
    let step = match setting.tier {
        crate::tier::Tier::Quick => 97,
        _ => 1,
    };
    let lots = vec![vec!["damage".to_owned(), format!("--seed={}", setting.seed), format!("--step={step}")]];
    several(setting, lots, None, "bit flipped or file cut")
}

/// A small part of both with a planted bug.
pub(super) fn planted(setting: &Setting, tooth: &str, action: &str) -> anyhow::Result<Outcome> {
    let size = if action == "model" { "--states=5000" } else { "--step=997" };
    let words = vec![action.to_owned(), format!("--seed={}", setting.seed), size.to_owned()];
    several(setting, vec![words], Some(tooth), "planted")
}

fn several(setting: &Setting, lots: Vec<Vec<String>>, tooth: Option<&str>, kind: &str) -> anyhow::Result<Outcome> {
    let start = |words: &Vec<String>| {
        let mut command = Command::new(&setting.binaries.faults);
        command.arg("faults").args(words).env("RUST_LOG", "off").stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(Stdio::piped()).envs(tooth.map(|tooth| ("WEIR_TOOTH", tooth)));
        command.spawn().context("start weir faults")
    };
    let children = lots.iter().map(start).collect::<anyhow::Result<Vec<_>>>()?;
    let mut outcome = Outcome::default();
    for (words, child) in lots.iter().zip(children) {
        let output = child.wait_with_output()?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let words = words.join(" ");
        let last = out.lines().last().unwrap_or_default();
        let found: Found =
            serde_json::from_str(last).with_context(|| format!("weir faults {words} ({}): {err}", output.status))?;
        ensure!(found.tried > 0, "weir faults {words} tried nothing");
        *outcome.faults.entry(kind.to_owned()).or_default() += found.tried;
        outcome.violations.extend(found.violations.into_iter().map(|what| format!("weir faults {words}: {what}")));
        for (name, value) in found.figures {
            *outcome.figures.entry(name).or_default() += value;
        }
    }
    Ok(outcome)
}
