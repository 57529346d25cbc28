//! The campaign at every hundredth byte or so; `weir faults damage` does all of them.

use super::*;

fn memory() -> std::path::PathBuf {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() }
}

#[test]
fn damage_is_counted_and_never_returned() {
    let report = damage(&memory(), 1, 211).unwrap();
    assert_eq!(report.violations().collect::<Vec<_>>(), Vec::<String>::new());
    assert!(report.files.len() >= 6 && report.files.iter().all(|file| file.flips > 0 && file.cuts > 0), "{report:?}");
    let lossy: Vec<_> = report.files.iter().filter(|file| file.lossy > 0).map(|file| file.file).collect();
    assert_eq!(lossy, ["full segment", "active segment", "full segment without index"]);
    println!("{report:#?}");
}

#[test]
#[ignore = "minutes: every so many bytes as the environment says, or all"]
fn damage_to_any_byte_is_counted_and_never_returned() {
    let step = std::env::var("DAMAGE_STEP").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let report = damage(&memory(), 1, step).unwrap();
    assert_eq!(report.violations().collect::<Vec<_>>(), Vec::<String>::new());
    println!("{report:#?}");
}
