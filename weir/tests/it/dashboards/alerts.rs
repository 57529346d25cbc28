//! Each alert is tested, and has an entry in the runbook that leads to a dashboard and to commands.

use std::collections::{BTreeMap, BTreeSet};

use super::{read, root};

struct Alert {
    name: String,
    severity: String,
    text: String,
}

fn alerts() -> Vec<Alert> {
    let text = read("deploy/prometheus/alerts.yml");
    let alerts = text.split("- alert: ").skip(1).map(|text| {
        let (name, _) = text.split_once('\n').unwrap();
        let severity = text.split_once("severity: ").unwrap().1.split(' ').next().unwrap();
        Alert { name: name.trim().to_owned(), severity: severity.to_owned(), text: text.to_owned() }
    });
    let alerts: Vec<Alert> = alerts.collect();
    assert!(!alerts.is_empty());
    alerts
}

/// The entries of the runbook by their headings.
fn entries() -> BTreeMap<String, String> {
    let text = read("docs/runbook.md");
    let entries = text.split("\n## ").skip(1).map(|entry| {
        let (heading, text) = entry.split_once('\n').unwrap();
        // The next chapter is not of it.
        (heading.to_owned(), text.split("\n# ").next().unwrap().to_owned())
    });
    entries.collect()
}

#[test]
fn every_alert_has_its_entry_in_the_runbook_and_every_entry_its_alert() {
    let (alerts, entries) = (alerts(), entries());
    let names: BTreeSet<&String> = alerts.iter().map(|alert| &alert.name).collect();
    assert_eq!(names, entries.keys().collect());
    for Alert { name, severity, text } in &alerts {
        assert!(["critical", "warning"].contains(&severity.as_str()), "{name}: {severity}");
        assert!(text.contains("summary: "), "{name} has no summary");
        let address = format!("runbook_url: docs/runbook.md#{}\n", name.to_lowercase());
        assert!(format!("{text}\n").contains(&address), "{name}: expected {address}");

        let entry = &entries[name];
        assert!(entry.starts_with(&format!("\n*{severity}* · dashboard ")), "{name}: {entry}");
        let parts = ["**Means.** ", "**Look at.** ", "**Do.** ", "```sh\n"].map(|part| entry.find(part));
        assert!(parts.iter().all(Option::is_some) && parts.is_sorted(), "{name}: {parts:?}");
        let commands = entry.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
        assert!(commands.lines().any(|line| !line.trim().is_empty()), "{name}: no command");
    }
}

#[test]
fn links_of_the_runbook_lead_somewhere() {
    let (entries, text) = (entries(), read("docs/runbook.md"));
    let anchors: BTreeSet<String> = entries.keys().map(|name| name.to_lowercase()).collect();
    let mut followed = 0;
    for target in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
        match target.split_once('#') {
            Some(("", anchor)) => assert!(anchors.contains(anchor), "{target}"),
            Some((file, anchor)) => {
                let heading = |line: &str| line.trim_start_matches(['#', ' ']).to_lowercase().replace(' ', "-");
                let there = read(&format!("docs/{file}"));
                assert!(there.lines().any(|line| line.starts_with('#') && heading(line) == anchor), "{target}");
            }
            None => assert!(root().join("docs").join(target).exists(), "{target}"),
        }
        followed += 1;
    }
    assert!(followed > 20, "{followed}");
}

/// `dashboard NAME` or `dashboard NAME: PANEL`, of which the title may go on.
#[test]
fn the_runbook_names_dashboards_and_panels_that_are_there() {
    let mut titles: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in std::fs::read_dir(root().join("dashboards/json")).unwrap() {
        let board: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
        let name = board["title"].as_str().unwrap().strip_prefix("Weir: ").unwrap();
        let panels =
            board["panels"].as_array().unwrap().iter().map(|panel| panel["title"].as_str().unwrap().to_owned());
        titles.insert(name.to_owned(), panels.collect());
    }
    for (name, entry) in entries() {
        let line = entry.lines().nth(1).unwrap();
        let place = line.split_once(" · dashboard ").unwrap().1;
        let (board, panel) = place.split_once(": ").unwrap_or((place, ""));
        let panels = titles.get(board).unwrap_or_else(|| panic!("{name}: no dashboard {board}"));
        assert!(panels.iter().any(|title| title.starts_with(panel)), "{name}: no panel {panel} on {board}");
    }
}

#[test]
fn every_alert_is_seen_to_fire_and_not_to_fire() {
    let text = read("deploy/prometheus/alerts.test.yml");
    let (mut fires, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for case in text.split("eval_time: ").skip(1) {
        let name = case.split_once("alertname: ").unwrap().1;
        let name: String = name.chars().take_while(char::is_ascii_alphanumeric).collect();
        // What follows is of this case until the next one begins.
        if case.contains("exp_alerts:") {
            fires.insert(name)
        } else {
            silent.insert(name)
        };
    }
    let names: BTreeSet<String> = alerts().into_iter().map(|alert| alert.name).collect();
    assert_eq!(fires, names);
    assert_eq!(silent, names);
}

/// How many there are, for the test that has them evaluated.
pub(super) fn count() -> usize {
    alerts().len()
}
