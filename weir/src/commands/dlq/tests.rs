use clap::Parser;

use super::*;
use crate::dlq::view::Failure;

/// The command line around the commands.
#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    command: DlqCommand,
}

fn parse(line: &str) -> Result<DlqCommand, clap::Error> {
    Line::try_parse_from(line.split(' ')).map(|line| line.command)
}

#[test]
fn letters_are_chosen_by_name_or_all_and_never_both() {
    for good in [
        "dlq list",
        "dlq list --source ingest --reason future_time --state dropped --limit 5000 --after ingest-3-0 --json",
        "dlq list --any-state --http 127.0.0.1:9999",
        "dlq show workflow-12-0 --json",
        "dlq redrive ingest-1-2 workflow-3-4 --again",
        "dlq redrive --all --reason workflow_step --source workflows --json",
        "dlq drop --all",
        "dlq drop ingest-1-2",
    ] {
        assert!(parse(good).is_ok(), "{good}: {}", parse(good).unwrap_err());
    }
    for bad in [
        "dlq redrive",
        "dlq drop",
        "dlq redrive ingest-1-2 --all",
        "dlq redrive ingest-1-2 --reason future_time",
        "dlq redrive --all --again",
        "dlq drop ingest-1-2 --again",
        "dlq show ingest-1",
        "dlq list --limit 0",
        "dlq list --source door",
        "dlq list --state redriven --any-state",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

fn letter() -> Detail {
    Detail {
        id: "ingest-7-1".parse().unwrap(),
        source: Source::Ingest,
        state: State::Redriven,
        reason: "undecodable".to_owned(),
        detail: "expected JSON\u{7}".to_owned(),
        topic: "hall/pump-1/telemetry".to_owned(),
        client_id: "pump-1".to_owned(),
        received_at: "2026-07-28T09:00:00.000000Z".to_owned(),
        boot: None,
        seq: Some(5),
        attempts: Some(2),
        redrives: 1,
        marked_at: Some("2026-07-29T09:00:00.000000Z".to_owned()),
        bytes: 8,
        text: Some("a\u{1b}[2J\nb".to_owned()),
        base64: "YRtbMkoKYg==".to_owned(),
    }
}

#[test]
fn a_letter_is_described_and_cannot_steer_the_terminal() {
    let text = described(&letter()).unwrap();
    for part in ["ingest-7-1", "redriven", "2026-07-29", "expected JSON", "client      pump-1", "seq         5"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("boot") && !text.contains('\u{1b}') && !text.contains('\u{7}'), "{text:?}");
    assert!(text.ends_with("a\u{fffd}[2J\nb\n"), "{text:?}");
    let binary = described(&Detail { text: None, ..letter() }).unwrap();
    assert!(binary.ends_with("base64:\nYRtbMkoKYg==\n"), "{binary}");
}

#[test]
fn what_was_not_done_is_named_with_its_reason() {
    let id = |text: &str| text.parse::<LetterId>().unwrap();
    let failed = vec![Failure { id: id("ingest-1-0"), error: "dropped at noon".to_owned() }];
    let sum = Changed { done: 3, refused: vec![id("ingest-2-0")], failed, ..Changed::default() };
    let text = summed(&sum, "redriven");
    assert_eq!(
        text,
        "3 redriven\n1 of them were refused again, and are new letters\ningest-1-0: not redriven: dropped at noon\n"
    );
}

#[test]
fn a_list_is_a_table() {
    let Detail { id, source, state, reason, detail, topic, client_id, received_at, bytes, attempts, .. } = letter();
    let summary = Summary { id, source, state, reason, detail, topic, client_id, received_at, bytes, attempts };
    let text = listing(&[summary]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0].find("reason"), lines[1].find("undecodable"), "{text}");
    assert_eq!(listing(&[]), "no dead letters\n");
}
