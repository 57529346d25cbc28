//! Random outcomes and crashes: in the end each step is done, under one key, in the order of its device, and each
//! event is there once.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::world::*;
use crate::plan::OnFailure;
use crate::workflows::target::Outcome;
use crate::workflows::{RunFilter, RunState, WorkflowsConfig};

/// How one step goes, attempt by attempt, before all is well.
fn acts() -> impl Strategy<Value = Vec<Act>> {
    let absent = Outcome::Absent { topic: "x/commands".into() };
    let busy = |after| Act::Ends(Outcome::Busy { reason: "429".to_owned(), after });
    let act = prop_oneof![
        4 => Just(fails()),
        1 => Just(busy(None)),
        1 => Just(busy(Some(Duration::from_millis(300)))),
        1 => Just(refuses()),
        1 => Just(Act::Panics),
        1 => Just(Act::Ends(absent)),
    ];
    proptest::collection::vec(act, 0..4)
}

fn steps() -> Vec<crate::plan::Step> {
    let step = |step| with(step, 3, OnFailure::DeadLetter);
    vec![step(webhook("a")), step(emit()), step(webhook("b")), step(emit())]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, max_shrink_iters: 40, ..ProptestConfig::default() })]
    #[test]
    fn each_step_is_done_and_each_event_is_there_once(
        scripts in proptest::collection::vec((0_u32..4, acts(), acts()), 1..40),
        crashes in proptest::collection::vec((0_usize..90, 0_u64..300), 0..8),
        window in prop_oneof![Just(2_usize), Just(1_000)],
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(scenario(scripts, crashes, window));
    }
}

async fn scenario(scripts: Vec<(u32, Vec<Act>, Vec<Act>)>, crashes: Vec<(usize, u64)>, window: usize) {
    let world = World::with(WorkflowsConfig { window, breaker_failures: 3, ..WorkflowsConfig::default() });
    let firings: Vec<_> = (0..)
        .zip(&scripts)
        .map(|(n, (device, first, second))| {
            let firing = firing(n, &format!("d-{device}"), &steps());
            world.script.next(&firing.step_key(0), first.clone());
            world.script.next(&firing.step_key(2), second.clone());
            firing
        })
        .collect();
    let mut running = world.start().await;
    for part in firings.chunks(5) {
        world.fire(part).await;
    }
    for (calls, advance) in crashes {
        let mut looks = 0;
        world
            .passing("some calls", Duration::from_millis(advance / 10), async || {
                looks += 1;
                looks > 20 || world.script.calls().len() >= calls
            })
            .await;
        running.crash().await;
        running = world.start().await;
    }
    while {
        world.drained(&running, firings.len()).await;
        running.workflows.redrive_all(RunFilter::default()).await.unwrap() > 0
    } {}
    check(&world, &running, &firings).await;
    running.stop().await;
}

async fn check(world: &World, running: &Running, firings: &[crate::Firing]) {
    let runs = running.runs().await;
    assert_eq!(runs.len(), firings.len());
    assert!(runs.iter().all(|run| run.state == RunState::Done));
    for (step, target) in [(0, hook("a")), (2, hook("b"))] {
        let well: BTreeSet<String> = world
            .script
            .calls()
            .into_iter()
            .filter(|call| call.target == target && call.ended_well)
            .map(|call| call.key)
            .collect();
        assert_eq!(well, keys(firings, step).into_iter().collect());
    }
    check_order(world, firings).await;
    let mut events = world.events().await;
    events.sort();
    let mut expected = [keys(firings, 1), keys(firings, 3)].concat();
    expected.sort();
    assert_eq!(events, expected);
    let mut letters = world.column("workflow_dead_letters", "topic").await;
    letters.sort();
    let all = letters.len();
    letters.dedup();
    // A step is given up at most once a redrive: refusals are scripted at most three times a step.
    assert!(all <= 3 * letters.len(), "{all} letters of {} steps", letters.len());
}

/// Steps are first tried in the order of their device; a run that waited for a redrive comes later.
async fn check_order(world: &World, firings: &[crate::Firing]) {
    let letters: BTreeSet<String> = world.letters().await.into_iter().collect();
    let was_dead =
        |firing: &crate::Firing| (0..4).any(|n| letters.contains(&format!("workflows/{}/{n}", firing.run_id)));
    for (step, target) in [(0, hook("a")), (2, hook("b"))] {
        let calls = world.script.keys(&target);
        let first = |key: &String| calls.iter().position(|call| call == key);
        for device in 0..4 {
            let of_device = firings.iter().filter(|firing| firing.device_id == format!("d-{device}"));
            let keys: Vec<String> =
                of_device.filter(|firing| step == 0 || !was_dead(firing)).map(|firing| firing.step_key(step)).collect();
            assert!(keys.iter().map(first).is_sorted(), "{target}: {keys:?} {calls:?}");
        }
    }
}
