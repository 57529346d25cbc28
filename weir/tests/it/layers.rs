//! The picture of the architecture stays true.

use std::collections::BTreeMap;
use std::process::Command;

/// Crate to the crates of the workspace it may use.
const ARROWS: [(&str, &[&str]); 8] = [
    ("telemetry", &[]),
    ("streams", &["telemetry"]),
    ("ingest", &["streams", "telemetry"]),
    ("processors", &["streams", "telemetry"]),
    ("sink", &["streams", "telemetry"]),
    ("simulator", &["telemetry"]),
    // The harness stands outside, and speaks to the binary only.
    ("chaos", &[]),
    ("weir", &["ingest", "processors", "simulator", "sink", "streams", "telemetry"]),
];

#[test]
fn crates_use_only_what_the_architecture_allows() {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let found: BTreeMap<&str, Vec<&str>> = packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap();
            let local =
                dependencies.iter().filter(|dependency| dependency["path"].is_string() && dependency["kind"].is_null());
            let mut names: Vec<&str> = local.map(|dependency| dependency["name"].as_str().unwrap()).collect();
            names.sort_unstable();
            (package["name"].as_str().unwrap(), names)
        })
        .collect();
    let allowed: BTreeMap<&str, Vec<&str>> = ARROWS.iter().map(|(name, uses)| (*name, uses.to_vec())).collect();
    assert_eq!(found, allowed);
}

#[test]
fn only_the_wiring_names_a_concrete_backend() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut naming = Vec::new();
    let mut folders = vec![source.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            if ["streams::log", "streams::fluvio"].iter().any(|backend| text.contains(backend)) {
                naming.push(path.strip_prefix(&source).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let elsewhere: Vec<_> = naming.iter().filter(|file| *file != "wiring.rs" && !file.starts_with("wiring/")).collect();
    assert!(elsewhere.is_empty() && !naming.is_empty(), "{naming:?}");
}
