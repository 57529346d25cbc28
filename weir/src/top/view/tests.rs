use std::path::Path;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::*;
use crate::snapshot::Snapshot;
use crate::top::frame;
use crate::top::input::Action;
use crate::top::state::tests::{everything, watched};

const SIZES: [(u16, u16); 3] = [(120, 40), (80, 24), (60, 15)];

fn screen(state: &State, coloured: bool, (width, height): (u16, u16)) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(state, Theme::new(coloured), frame.area(), frame.buffer_mut())).unwrap();
    terminal.backend().buffer().clone()
}

fn shown(state: &State, size: (u16, u16)) -> String {
    frame::text(&screen(state, true, size))
}

/// Compares with the file of `name`. `WEIR_WRITE_FRAMES=1` writes it, to be read before it is kept.
fn expect(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/top/view/frames").join(format!("{name}.txt"));
    if std::env::var_os("WEIR_WRITE_FRAMES").is_some() {
        std::fs::write(&file, text).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap();
    assert!(text == expected, "{name} looks different:\n{text}\nexpected:\n{expected}");
}

#[test]
fn every_view_looks_as_it_did() {
    for (name, view) in
        [("overview", View::Overview), ("fleet", View::Fleet), ("rules", View::Rules), ("storage", View::Storage)]
    {
        for (width, height) in SIZES {
            expect(&format!("{name}-{width}x{height}"), &shown(&watched(view), (width, height)));
        }
    }
}

#[test]
fn no_size_and_no_state_panics() {
    let mut states: Vec<State> = View::ALL.into_iter().map(watched).collect();
    let nothing = State::new(&["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()], View::Overview);
    let mut help = nothing.clone();
    assert!(help.act(Action::Help));
    let mut empty = nothing.clone();
    empty.take(0, Ok(Snapshot::default()), Duration::ZERO);
    empty.take(1, Err("x".repeat(500)), Duration::ZERO);
    let mut scrolled = watched(View::Fleet);
    assert!(scrolled.act(Action::Down(usize::MAX)));
    states.extend([nothing, help, empty, scrolled]);
    for state in &states {
        for width in [0, 1, 9, 23, 24, 40, 60, 75, 76, 99, 100, 130] {
            for height in (0..10).chain([15, 24, 45]) {
                let area = Rect::new(0, 0, width, height);
                let mut buffer = Buffer::empty(area);
                draw(state, Theme::new(true), area, &mut buffer);
            }
        }
    }
}

#[test]
fn without_colours_no_cell_has_one_and_no_character_is_lost() {
    for view in View::ALL {
        let state = watched(view);
        let (coloured, plain) = (screen(&state, true, (120, 40)), screen(&state, false, (120, 40)));
        assert!(coloured.content().iter().any(|cell| cell.fg != Color::Reset));
        assert!(plain.content().iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
        assert_eq!(frame::text(&coloured), frame::text(&plain));
    }
}

#[test]
fn what_is_wrong_has_a_sign() {
    let mut bad = everything(4);
    bad.ready.ok = false;
    bad.ready.reason = Some("disk full".to_owned());
    bad.totals.received_readings = Some(3000);
    if let Some(balance) = &mut bad.balance {
        balance.readings.insert("in_flight".to_owned(), 0);
        balance.difference_readings = Some(12);
    }
    let mut state = watched(View::Overview);
    state.take(0, Ok(bad), Duration::from_secs(4));
    let text = shown(&state, (120, 40));
    for sign in ["! not ready: disk full", "! 12 readings are not accounted for", "refused 9 messages", "! 12 s"] {
        assert!(text.contains(sign), "{sign}\n{text}");
    }
    state.take(0, Err("no weir answers".to_owned()), Duration::from_secs(5));
    let text = shown(&state, (120, 40));
    assert!(text.contains("! away for 0 s, its last figures are shown: no weir answers"), "{text}");
    let text = shown(&watched(View::Rules), (80, 24));
    assert!(text.contains("! open") && text.contains("! 5") && text.contains("! 1 given up"), "{text}");
    assert!(shown(&watched(View::Storage), (80, 24)).contains("! 87.9 %"));
}

#[test]
fn stages_apart_stand_side_by_side() {
    let addresses = ["10.0.0.1:9464".parse().unwrap(), "10.0.0.2:9464".parse().unwrap()];
    let mut state = State::new(&addresses, View::Overview);
    for second in 1..=2_u32 {
        for (source, stage) in ["ingest", "sink"].into_iter().enumerate() {
            let snapshot = Snapshot { stage: stage.to_owned(), ..everything(u64::from(second)) };
            state.take(source, Ok(snapshot), Duration::from_secs(1) * second);
        }
    }
    let text = shown(&state, (120, 40));
    assert!(text.contains("ingest     10.0.0.1:9464") && text.contains("sink       10.0.0.2:9464"), "{text}");
    assert!(text.contains("2000/s"), "both together\n{text}");
}

#[test]
fn paused_and_help_are_said() {
    let mut state = watched(View::Overview);
    assert!(state.act(Action::Pause) && state.act(Action::Help));
    let text = shown(&state, (60, 15));
    assert!(text.contains("PAUSED") && text.contains("other keys         leave this help"), "{text}");
}
