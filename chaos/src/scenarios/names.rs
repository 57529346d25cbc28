//! Names of crash points and planted bugs, as the binary built with them tells.

use std::process::Command;

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::binaries::Binaries;

/// What `weir faults list` prints.
#[derive(Debug, Deserialize)]
struct Names {
    points: Vec<Name>,
    teeth: Vec<Name>,
}

/// A name, and what it is.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Name {
    pub(crate) name: String,
    pub(crate) about: String,
}

/// The named points.
pub(crate) fn points(binaries: &Binaries) -> anyhow::Result<Vec<String>> {
    Ok(list(binaries)?.points.into_iter().map(|point| point.name).collect())
}

/// The planted bugs.
pub(crate) fn teeth(binaries: &Binaries) -> anyhow::Result<Vec<Name>> {
    Ok(list(binaries)?.teeth)
}

fn list(binaries: &Binaries) -> anyhow::Result<Names> {
    let output = Command::new(&binaries.faults).args(["faults", "list"]).output().context("start weir faults list")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "weir faults list, of {}: {error}", binaries.faults.display());
    Ok(serde_json::from_slice(&output.stdout)?)
}
