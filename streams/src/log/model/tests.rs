//! The model itself, at a small size.

use super::*;

fn memory() -> std::path::PathBuf {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() }
}

#[test]
fn a_few_thousand_states_keep_the_promise() {
    let report = model(&memory(), 1, 2_000).unwrap();
    assert_eq!(report.violations, Vec::<String>::new());
    assert!(report.exhausted_moments > 0 && report.drawn > 0 && report.recoveries > 0, "{report:?}");
}

/// Seed 36 fails the sync of a commit of positions, restarts the process and cuts the power. Before a start wrote
/// the store over itself, redb built on pages that only the cache held, and both of its commits were lost.
#[test]
fn a_failed_sync_of_the_store_and_then_a_power_cut_leave_what_was_answered() {
    let report = model(&memory(), 36, 1).unwrap();
    assert_eq!(report.violations, Vec::<String>::new());
    assert_eq!(report.sequences, 1);
}

#[test]
#[ignore = "minutes: for a seed and a number of states from the environment"]
fn as_many_states_as_asked_for_keep_the_promise() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let (seed, states) = (number("MODEL_SEED").unwrap_or(1), number("MODEL_STATES").unwrap_or(200_000));
    let report = model(&memory(), seed, states).unwrap();
    assert_eq!(report.violations, Vec::<String>::new(), "{report:?}");
    println!("{report:?}");
}
