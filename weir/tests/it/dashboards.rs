//! Dashboards, alerts and runbook: that they agree with each other and with what there is. What a real Prometheus says
//! of them, while it scrapes a running pipeline, is in [`running`].

mod alerts;
mod running;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{python, succeed};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A script of `dashboards/`.
fn script(name: &str) -> Command {
    let mut command = python(&format!("../../../dashboards/{name}"));
    // Nothing is left behind in the sources.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

#[test]
#[ignore = "needs python"]
fn the_dashboards_are_what_their_sources_build() {
    succeed(script("build.py").arg("--check"));
}

#[test]
#[ignore = "needs python"]
fn the_check_finds_what_is_planted_in_a_dashboard_and_nothing_in_ours() {
    succeed(&mut script("test_check.py"));
    let output = succeed(script("check.py").arg("--metrics").arg(root().join("docs/metrics.md")));
    println!("{}", String::from_utf8_lossy(&output.stdout).trim_end());
}
