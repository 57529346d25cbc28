//! `weir verify`: a ledger against a table.

use std::process::ExitCode;

use crate::cli::Verify;
use crate::verify::{self, Range, Verdict};

/// Ranges named per fault; the counts are exact in any case.
const NAMED: usize = 10;

/// Prints the comparison; success if the promise was kept.
pub(crate) fn run(arguments: &Verify) -> anyhow::Result<ExitCode> {
    let verdict = verify::verify(&verify::read_ledger(&arguments.ledger)?, &arguments.table)?;
    if arguments.json {
        println!("{}", json(&verdict));
    } else {
        print(&verdict);
    }
    Ok(if verdict.kept() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints `verdict` for a person.
pub(crate) fn print(verdict: &Verdict) {
    println!("acknowledged  {:>12} readings", verdict.acknowledged);
    println!(
        "stored        {:>12} ({} of them without an acknowledgement)",
        verdict.stored, verdict.unacknowledged_stored
    );
    println!("lost          {:>12}", verdict.lost);
    println!("duplicated    {:>12}", verdict.duplicated);
    if verdict.unlisted > 0 {
        println!("unlisted      {:>12} stored, of these devices, but in no line of the ledger", verdict.unlisted);
    }
    name("lost", &verdict.lost_ranges);
    name("duplicated", &verdict.duplicated_ranges);
}

fn name(fault: &str, ranges: &[Range]) {
    for range in ranges.iter().take(NAMED) {
        println!("{fault}: {range}");
    }
    if ranges.len() > NAMED {
        println!("{fault}: and {} more ranges", ranges.len() - NAMED);
    }
}

fn json(verdict: &Verdict) -> serde_json::Value {
    let ranges = |ranges: &[Range]| -> Vec<String> { ranges.iter().take(NAMED).map(ToString::to_string).collect() };
    serde_json::json!({
        "acknowledged": verdict.acknowledged,
        "stored": verdict.stored,
        "unacknowledged_stored": verdict.unacknowledged_stored,
        "lost": verdict.lost,
        "duplicated": verdict.duplicated,
        "unlisted": verdict.unlisted,
        "table_rows": verdict.table_rows,
        "lost_ranges": ranges(&verdict.lost_ranges),
        "duplicated_ranges": ranges(&verdict.duplicated_ranges),
    })
}
