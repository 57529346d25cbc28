use clap::Parser;

use super::*;

/// The command line around the commands.
#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    command: WorkflowsCommand,
}

#[test]
fn the_command_lines_parse() {
    let parse = |line: &str| Line::try_parse_from(line.split(' ')).map(|line| line.command);
    for good in [
        "workflows list",
        "workflows list --state dead --rule hot --device pump-1 --limit 5000 --json --http 127.0.0.1:9999",
        "workflows show 0f --json",
        "workflows cancel 0f",
    ] {
        assert!(parse(good).is_ok(), "{good}: {}", parse(good).unwrap_err());
    }
    for bad in ["workflows", "workflows show", "workflows cancel", "workflows list --limit 0"] {
        assert!(parse(bad).is_err(), "{bad}");
    }
    let error = parse("workflows list --state lost").unwrap_err().to_string();
    assert!(error.contains("lost") && error.contains("pending"), "{error}");
}

fn detail() -> RunDetail {
    let json = serde_json::json!({
        "id": "0f", "number": 7, "rule": "hot", "rule_version": 2, "severity": "warning", "device": "pump-1",
        "state": "dead", "steps": 2, "step": 1, "target": "emit maintenance", "attempts": 8,
        "last": "500\u{1b}[2J", "received_at": 1_785_229_200_000_000_i64, "admitted_at": 1_785_229_200_000_000_i64,
        "ended_at": null, "message": "pump-1 is hot", "site": null, "time": 1_785_229_200_000_000_i64, "boot": 1,
        "seq": null, "data": {"value": 99.5}, "labels": {"team": "ovens"}, "redrives": 0, "letter": 3,
        "progress": [],
    });
    serde_json::from_value(json).unwrap()
}

#[test]
fn a_run_is_described_with_its_steps() {
    let step = |index, state: &str| -> StepView {
        let json = serde_json::json!({
            "index": index, "kind": "log", "target": "log", "key": "0f-0", "state": state, "attempts": 1,
            "last": "200 OK", "begun_at": 1_785_229_200_000_000_i64, "ended_at": null,
        });
        serde_json::from_value(json).unwrap()
    };
    let run = RunDetail { progress: vec![step(0, "done"), step(1, "dead")], ..detail() };
    let text = described(&run).unwrap();
    for part in ["hot version 2, warning", "team=ovens", r#"{"value":99.5}"#, "2026-07-28T09:00:00", "200 OK"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("site"), "what is not there is not shown: {text}");
}

#[test]
fn a_list_is_a_table_that_cannot_steer_the_terminal() {
    let text = listing(&[detail().summary]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[1].contains("1/2") && lines[1].contains("emit maintenance"), "{text}");
    assert!(!text.contains('\u{1b}'));
    assert_eq!(listing(&[]), "no runs\n");
}
