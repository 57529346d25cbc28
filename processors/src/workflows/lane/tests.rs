use super::*;

const S: Duration = Duration::from_secs(1);

fn lane(window: usize, concurrency: usize) -> Lane {
    Lane::new(&WorkflowsConfig { window, ..WorkflowsConfig::default() }, concurrency)
}

fn step(ticket: u64, device: &str) -> Waiting {
    Waiting { ticket, number: ticket * 10, device: device.into() }
}

fn device(name: &str) -> Arc<str> {
    name.into()
}

/// What is given out now, as `device number`.
fn given(lane: &mut Lane, now: Duration) -> Vec<String> {
    std::iter::from_fn(|| lane.next(now)).map(|next| format!("{} {}", next.device, next.number)).collect()
}

#[test]
fn one_step_of_a_device_at_a_time_the_oldest_first() {
    let mut lane = lane(100, 10);
    for (ticket, device) in [(1, "b"), (2, "a"), (3, "b"), (4, "c")] {
        lane.push(&step(ticket, device));
    }
    assert_eq!(given(&mut lane, S), ["b 10", "a 20", "c 40"]);
    assert_eq!(lane.due(), None);
    lane.done(&device("b"), Health::Well, S);
    assert_eq!(given(&mut lane, S), ["b 30"]);
    assert_eq!(lane.pending(), 3);
    for name in ["a", "b", "c"] {
        lane.done(&device(name), Health::Well, S);
    }
    assert_eq!((lane.pending(), lane.devices.len()), (0, 0));
}

#[test]
fn concurrency_is_bounded() {
    let mut lane = lane(100, 2);
    (0..5).for_each(|n| lane.push(&step(n, &n.to_string())));
    assert_eq!(given(&mut lane, S).len(), 2);
    assert_eq!(lane.due(), None);
    lane.done(&device("0"), Health::Well, S);
    assert_eq!(given(&mut lane, S), ["2 20"]);
}

#[test]
fn a_retry_holds_its_device_only() {
    let mut lane = lane(100, 10);
    for (ticket, device) in [(1, "a"), (2, "a"), (3, "b")] {
        lane.push(&step(ticket, device));
    }
    assert_eq!(given(&mut lane, S), ["a 10", "b 30"]);
    lane.retry(&device("a"), Health::Ill, S, 5 * S);
    lane.done(&device("b"), Health::Well, S);
    assert_eq!(lane.due(), Some(5 * S));
    assert_eq!(given(&mut lane, 4 * S), Vec::<String>::new());
    assert_eq!(given(&mut lane, 5 * S), ["a 10"]);
}

#[test]
fn a_pause_holds_all() {
    let mut lane = lane(100, 10);
    lane.push(&step(1, "a"));
    lane.pause(9 * S);
    lane.pause(3 * S);
    assert_eq!((given(&mut lane, 8 * S), lane.due()), (vec![], Some(9 * S)));
    assert_eq!(given(&mut lane, 9 * S), ["a 10"]);
}

#[test]
fn the_absent_wait_for_their_topic_or_their_deadline() {
    let mut lane = lane(100, 10);
    for (ticket, device) in [(1, "a"), (2, "b"), (3, "c")] {
        lane.push(&step(ticket, device));
    }
    given(&mut lane, S);
    for name in ["a", "b", "c"] {
        lane.park(&device(name), format!("t/{name}").into(), S, 60 * S);
    }
    lane.arrived(Some("t/x"));
    assert_eq!(given(&mut lane, S), Vec::<String>::new());
    lane.arrived(Some("t/b"));
    assert_eq!(given(&mut lane, S), ["b 20"]);
    lane.remove("a", 1);
    assert_eq!(lane.due(), Some(60 * S));
    assert_eq!(given(&mut lane, 60 * S), ["c 30"]);
    lane.arrived(None);
    assert_eq!((lane.absent.len(), lane.delayed.len(), lane.pending()), (0, 0, 2));
}

#[test]
fn beyond_the_window_steps_are_loaded_in_order() {
    let mut lane = lane(4, 1);
    (1..=6).for_each(|n| lane.push(&step(n, "a")));
    assert_eq!((lane.in_memory, lane.spilled, lane.wants_load()), (4, 2, None));
    for _ in 0..2 {
        given(&mut lane, S);
        lane.done(&device("a"), Health::Well, S);
    }
    assert_eq!((lane.wants_load(), lane.room()), (Some(Some(4)), 2));
    lane.push(&step(7, "a"));
    assert_eq!(lane.spilled, 3, "nothing passes what waits in the store");
    (5..=6).for_each(|n| lane.loaded(&step(n, "a")));
    lane.remove("a", 7);
    assert_eq!((lane.spilled, lane.pending()), (0, 4));
    let mut order = Vec::new();
    while let Some(next) = lane.next(S) {
        order.push(next.number);
        lane.done(&next.device, Health::Well, S);
    }
    assert_eq!(order, [30, 40, 50, 60]);
}

#[test]
fn a_removed_step_is_passed_over_unless_it_runs() {
    let mut lane = lane(100, 1);
    for (ticket, device) in [(1, "a"), (2, "a"), (3, "a"), (4, "b")] {
        lane.push(&step(ticket, device));
    }
    assert_eq!(given(&mut lane, S), ["a 10"]);
    lane.remove("a", 1);
    lane.remove("a", 2);
    lane.remove("b", 4);
    assert_eq!(lane.pending(), 2);
    lane.done(&device("a"), Health::Well, S);
    assert_eq!(given(&mut lane, S), ["a 30"]);
}

#[test]
fn an_open_breaker_gives_nothing_out() {
    let mut lane = lane(100, 10);
    (0..7).for_each(|n| lane.push(&step(n, &n.to_string())));
    assert_eq!(given(&mut lane, S).len(), 7);
    for n in 0..7 {
        lane.retry(&device(&n.to_string()), Health::Ill, S, 2 * S);
    }
    assert_eq!(lane.breaker(), BreakerState::Open);
    assert_eq!((given(&mut lane, 3 * S), lane.due()), (vec![], Some(6 * S)));
    assert_eq!(given(&mut lane, 6 * S), ["0 0"], "one asks");
    assert_eq!(lane.due(), None, "all others wait for its answer");
    lane.done(&device("0"), Health::Well, 6 * S);
    assert_eq!(given(&mut lane, 6 * S).len(), 6);
}
