use std::net::{Ipv4Addr, SocketAddr};

use super::*;
use crate::snapshot::{
    Alert, Balance, Breaker, Devices, Fleet, Group, Latency, Ready, Rule, Snapshot, Table, Totals, Workflows,
};

const SECOND: Duration = Duration::from_secs(1);
/// 2023-11-14T22:13:20Z.
const BEGIN_MS: i64 = 1_700_000_000_000;

fn addresses(count: u16) -> Vec<SocketAddr> {
    (1..=count).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, 9000 + port))).collect()
}

/// A process with everything, `second` seconds after it had counted nothing: 1,000 readings a second.
pub(in crate::top) fn everything(second: u64) -> Snapshot {
    let group = |group: &str, stream: &str, lag: u64, rows| Group {
        group: group.to_owned(),
        stream: stream.to_owned(),
        lag_records: lag,
        lag_seconds: float(lag) / 10.0,
        read_rows: second * rows,
        deduplicated_rows: 3,
    };
    let table = |table: &str, rows, files| Table {
        table: table.to_owned(),
        rows: second * rows,
        files: second * files,
        bytes: second * rows * 12,
        buffered_rows: 250,
    };
    let fleet = |metric: &str, site: &str, mean: f64| Fleet {
        metric: metric.to_owned(),
        site: site.to_owned(),
        readings: second * 500,
        min: Some(mean - 1.5),
        mean: Some(mean),
        max: Some(mean + 1.5),
        last_seconds: Some(1_700_000_000.0 + float(second)),
    };
    let breaker = |target: &str, state: &str, pending| Breaker { target: target.into(), state: state.into(), pending };
    Snapshot {
        time_ms: BEGIN_MS + i64::try_from(second * 1000).unwrap(),
        version: "0.1.0".to_owned(),
        stage: "up".to_owned(),
        started_ms: Some(BEGIN_MS),
        ready: Ready { ok: true, reason: None },
        totals: Totals {
            received_messages: Some(second * 100),
            received_readings: Some(second * 1000),
            acknowledged_messages: Some(second * 100),
            acknowledged_readings: Some(second * 1000),
            unacknowledged_messages: Some(7),
            connections: Some(12),
            appended_records: Some(second * 20),
            appended_bytes: Some(second * 65_536),
            log_bytes: Some(900 << 20),
            log_quota_bytes: Some(1 << 30),
            rejected: [("invalid_time".to_owned(), second * 2), ("topic".to_owned(), 1), ("payload".to_owned(), 0)]
                .into(),
            cpu_seconds: Some(float(second) * 0.35),
            resident_bytes: Some(62 << 20),
        },
        streams: Vec::new(),
        groups: vec![
            group("rules", "readings", 4, 1000),
            group("sink/readings", "readings", 120, 1000),
            group("workflows", "workflows", 0, 1),
        ],
        tables: vec![table("readings", 990, 1), table("alerts", 2, 1)],
        rules: vec![
            Rule { rule: "hot".to_owned(), matches: second * 2, errors: 0 },
            Rule { rule: "odd".to_owned(), matches: 0, errors: 5 },
        ],
        workflows: Some(Workflows {
            firings: second,
            open_runs: 3,
            dead_runs: 1,
            runs: [("done".to_owned(), 40), ("dead".to_owned(), 1)].into(),
            breakers: vec![breaker("webhook http://a", "open", 4), breaker("webhook http://b", "closed", 0)],
        }),
        fleet: vec![fleet("temperature", "hall", 21.5), fleet("pressure", "日本", 1013.2)],
        devices: Some(Devices { active: 11, silent: 1 }),
        balance: Some(Balance {
            readings: [("received", 1000), ("stored", 985), ("deduplicated", 5), ("in_flight", 10)]
                .map(|(part, share)| (part.to_owned(), i64::try_from(second).unwrap() * share))
                .into(),
            difference_readings: Some(0),
            messages: [("dead_lettered".to_owned(), 2)].into(),
            difference_messages: Some(0),
        }),
        latencies: vec![Latency {
            hop: "acknowledge".to_owned(),
            count: second * 100,
            buckets: vec![(0.005, second * 98), (0.01, second * 100)],
        }],
        alerts: vec![Alert {
            id: "01".to_owned(),
            time_ms: BEGIN_MS,
            rule: "hot".to_owned(),
            severity: "critical".to_owned(),
            device: "pump-1".to_owned(),
            site: Some("hall".to_owned()),
            metric: "temperature".to_owned(),
            value: Some(81.25),
            message: "pump-1 is at 81.25".to_owned(),
        }],
    }
}

/// One process, watched for three seconds.
pub(in crate::top) fn watched(view: View) -> State {
    let mut state = State::new(&addresses(1), view);
    for second in 1..=3 {
        let now = SECOND * u32::try_from(second).unwrap();
        state.take(0, Ok(everything(second)), now);
        state.tick(now);
    }
    state
}

#[test]
fn rates_are_of_two_snapshots() {
    let mut state = State::new(&addresses(1), View::Overview);
    assert_eq!(state.rate(&Series::ReceivedReadings), None);
    state.take(0, Ok(everything(1)), SECOND);
    assert_eq!(state.rate(&Series::ReceivedReadings), None, "one snapshot has no rate");
    state.take(0, Ok(everything(3)), SECOND * 5);
    assert_eq!(state.rate(&Series::ReceivedReadings), Some(500.0));
    assert_eq!(state.rate(&Series::Fleet("temperature".into(), "hall".into())), Some(250.0));
    assert_eq!(state.rate(&Series::Matches("nobody".into())), Some(0.0));
    assert_eq!(state.delays().quantile("acknowledge", 0.5).map(|p50| p50.is_ok_and(|p50| p50 < 0.005)), Some(true));
}

#[test]
fn a_count_that_went_back_is_a_start() {
    let mut state = State::new(&addresses(1), View::Overview);
    state.take(0, Ok(everything(100)), SECOND);
    state.take(0, Ok(everything(4)), SECOND * 3);
    assert_eq!(state.rate(&Series::ReceivedReadings), Some(2000.0), "4,000 since the start, in 2 seconds");
    assert_eq!(state.sources()[0].restarts(), 1);

    let mut later = everything(200);
    later.started_ms = Some(BEGIN_MS + 1);
    state.take(0, Ok(later), SECOND * 4);
    assert_eq!(state.sources()[0].restarts(), 2, "its counts are higher, but it says when it was started");
    assert_eq!(state.rate(&Series::ReceivedReadings), Some(200_000.0));
}

#[test]
fn cpu_is_told_of_a_time_that_its_whole_seconds_fit() {
    let mut state = State::new(&addresses(1), View::Overview);
    for second in 1..=60_u32 {
        let mut snapshot = everything(u64::from(second));
        // Half a CPU for half a minute, then none.
        snapshot.totals.cpu_seconds = Some((f64::from(second.min(30)) * 0.5).floor());
        state.take(0, Ok(snapshot), SECOND * second);
        let cpu = state.sources()[0].cpu().unwrap();
        let expected = if second <= 30 { 0.4..=0.55 } else { 0.0..=0.5 };
        assert!(second < 4 || expected.contains(&cpu), "{second}: {cpu}");
    }
    assert_eq!(state.sources()[0].cpu(), Some(0.0));
    state.take(0, Err("nobody".to_owned()), SECOND * 61);
    assert_eq!(state.sources()[0].cpu(), None);
}

#[test]
fn who_is_away_has_no_rates_and_comes_back() {
    let mut state = watched(View::Overview);
    state.take(0, Err("nobody".to_owned()), SECOND * 4);
    state.take(0, Err("nobody".to_owned()), SECOND * 5);
    assert_eq!(state.sources()[0].presence(), &Presence::Away(SECOND * 4, "nobody".to_owned()));
    assert_eq!(state.rate(&Series::ReceivedReadings), None);
    assert_eq!(state.picture().tables["readings"].rows, 2970, "the last that is known");
    state.take(0, Ok(everything(6)), SECOND * 6);
    assert_eq!(state.sources()[0].presence(), &Presence::Here);
    assert_eq!(state.rate(&Series::ReceivedReadings), Some(1000.0), "over all the time that it was away");
}

#[test]
fn processes_add_up_and_the_worst_state_counts() {
    let mut state = State::new(&addresses(3), View::Overview);
    let mut other = everything(1);
    other.fleet[0].readings = 1500;
    other.fleet[0].mean = Some(25.5);
    if let Some(workflows) = &mut other.workflows {
        workflows.breakers[1].state = "half_open".to_owned();
    }
    state.take(0, Ok(everything(1)), SECOND);
    state.take(1, Ok(other), SECOND);
    state.take(2, Err("nobody".to_owned()), SECOND);
    let picture = state.picture();
    assert_eq!((picture.tables["readings"].rows, picture.tables.len()), (1980, 2));
    let group = &picture.groups[&("sink/readings".to_owned(), "readings".to_owned())];
    assert_eq!((group.lag_records, group.lag_seconds), (240, 12.0));
    let values = &picture.fleet[&("temperature".to_owned(), "hall".to_owned())];
    assert_eq!((values.readings, values.mean, values.min), (2000, Some(24.5), Some(20.0)));
    let states: Vec<_> = picture.breakers.values().map(|target| target.state.as_str()).collect();
    assert_eq!(states, ["open", "half_open"]);
    assert_eq!(picture.alerts.len(), 1, "both read the same stream of alerts");
    assert_eq!((picture.readings.part("stored"), picture.readings.difference), (1970, Some(0)));
    state.take(0, Ok(everything(2)), SECOND * 2);
    let mut later = everything(2);
    later.fleet[0].readings = 1600;
    state.take(1, Ok(later), SECOND * 2);
    assert_eq!(state.rate(&Series::ReceivedReadings), Some(2000.0));
}

#[test]
fn a_stage_apart_leaves_things_out() {
    let mut state = State::new(&addresses(1), View::Overview);
    for second in 1..=2 {
        state.take(0, Ok(Snapshot { stage: "sink".to_owned(), ..Snapshot::default() }), SECOND * second);
    }
    assert_eq!(state.rate(&Series::ReceivedReadings), Some(0.0));
    assert_eq!(state.picture().readings.difference, None);
}

#[test]
fn histories_follow_what_there_is() {
    let mut state = watched(View::Overview);
    let lag = Trace::Lag("rules".into(), "readings".into());
    assert_eq!(state.history(&lag).unwrap().bars_above_zero(3), "███");
    let rate = Trace::Rate(Series::ReceivedReadings);
    assert_eq!(state.history(&rate).unwrap().bars_above_zero(3), " ██", "the first second has no rate");
    let mean = Trace::Mean("temperature".into(), "hall".into());
    assert_eq!(state.history(&mean).unwrap().bars_above_lowest(3), "  ▁", "one of the minute");
    state.take(0, Ok(Snapshot::default()), SECOND * 4);
    state.tick(SECOND * 4);
    assert_eq!((state.history(&lag), state.history(&mean)), (None, None));
}

#[test]
fn the_number_of_histories_is_bounded() {
    let mut state = State::new(&addresses(1), View::Overview);
    let pairs = (0..10_000).map(|number| Fleet { metric: format!("m{number}"), ..Fleet::default() });
    state.take(0, Ok(Snapshot { fleet: pairs.collect(), ..everything(1) }), SECOND);
    state.tick(SECOND);
    assert_eq!(state.histories.len(), HISTORIES);
    assert!(state.history(&Trace::Lag("rules".into(), "readings".into())).is_some());
}

#[test]
fn keys_change_what_is_shown() {
    let mut state = watched(View::Overview);
    assert!(state.act(Action::Next));
    assert_eq!(state.view(), View::Fleet);
    assert!(state.act(Action::Down(usize::MAX)) && state.scroll() == 2, "not beyond the longest list");
    assert!(state.act(Action::Previous) && state.act(Action::Previous));
    assert_eq!((state.view(), state.scroll()), (View::Storage, 0));
    assert!(state.act(Action::Help) && state.shows_help());
    assert!(state.act(Action::Next) && !state.shows_help());
    assert_eq!(state.view(), View::Storage, "a key that leaves the help does nothing else");
    assert!(state.act(Action::Pause) && state.is_paused());
    state.take(0, Ok(everything(9)), SECOND * 9);
    assert_eq!(state.picture().tables["readings"].rows, 2970, "it stands still");
    assert!(state.act(Action::Pause));
    state.take(0, Ok(everything(9)), SECOND * 9);
    assert_eq!(state.picture().tables["readings"].rows, 8910);
    assert!(!state.act(Action::Quit));
}
