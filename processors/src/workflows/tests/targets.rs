//! Targets fail alone.

use std::time::Duration;

use super::world::*;
use crate::workflows::target::Outcome;
use crate::workflows::{RunState, WorkflowsConfig};

#[tokio::test]
async fn the_order_of_a_device_is_kept_and_others_do_not_wait_for_it() {
    let world = World::new();
    let running = world.start().await;
    let slow: Vec<_> =
        (0..20).map(|n| firing(n, "slow", &[with(webhook("a"), 100, crate::plan::OnFailure::DeadLetter)])).collect();
    let quick: Vec<_> = (20..40).map(|n| firing(n, "quick", &[webhook("a")])).collect();
    for firing in &slow {
        world.script.next(&firing.step_key(0), [fails(), done()]);
    }
    for (slow, quick) in slow.iter().zip(&quick) {
        world.fire(&[slow.clone(), quick.clone()]).await;
    }
    // The clock stands still: the first of `slow` waits for its pause.
    let count = async || world.script.calls().iter().filter(|call| call.ended_well).count();
    world.until("the quick device is done", async || count().await == 20).await;
    world.drained(&running, 40).await;
    let done = |device: &str| -> Vec<String> {
        let calls = world.script.calls().into_iter();
        calls.filter(|call| call.device == device && call.ended_well).map(|call| call.key).collect()
    };
    assert_eq!(done("slow"), keys(&slow, 0));
    assert_eq!(done("quick"), keys(&quick, 0));
    running.stop().await;
}

#[tokio::test]
async fn a_dead_target_delays_no_other() {
    let world = World::new();
    let running = world.start().await;
    world.script.always(&hook("dead"), Act::Hangs);
    let dead: Vec<_> = (0..100).map(|n| firing(n, &format!("d-{n}"), &[webhook("dead")])).collect();
    let well: Vec<_> = (100..200).map(|n| firing(n, &format!("d-{n}"), &[webhook("well"), emit()])).collect();
    world.fire(&dead).await;
    world.fire(&well).await;
    world.until("the other target is done", async || world.events().await.len() == 100).await;
    world.until("the limit is used", async || world.script.hanging() == 16).await;
    assert_eq!(world.script.keys(&hook("dead")).len(), 16);
    running.crash().await;
}

#[tokio::test]
async fn a_breaker_opens_lets_one_through_and_closes() {
    let world = World::with(WorkflowsConfig { concurrency: 1, ..WorkflowsConfig::default() });
    let running = world.start().await;
    let state = |running: &Running| running.metric("weir_workflows_breaker_state")[&hook("a")];
    world.script.always(&hook("a"), fails());
    let patient = || with(webhook("a"), 100, crate::plan::OnFailure::DeadLetter);
    let firings: Vec<_> = (0..10).map(|n| firing(n, &format!("d-{n}"), &[patient()])).collect();
    world.fire(&firings).await;
    world
        .until("the breaker is open", async || {
            running.metric("weir_workflows_breaker_state").get(&hook("a")) == Some(&2.0)
        })
        .await;
    assert_eq!(world.script.calls().len(), 5);
    world.clock.advance(Duration::from_millis(4_990));
    // A look behind the owner's next turn: it has seen the time.
    running.runs().await;
    assert_eq!(world.script.calls().len(), 5, "waiting costs no attempt");
    world.clock.advance(Duration::from_millis(10));
    world.until("one attempt is let through", async || world.script.calls().len() == 6).await;
    world.until("it is open again", async || state(&running) == 2.0).await;
    world.clock.advance(Duration::from_secs(5));
    running.runs().await;
    assert_eq!(world.script.calls().len(), 6, "twice as long this time");
    world.script.always(&hook("a"), done());
    world.drained(&running, 10).await;
    assert_eq!(state(&running), 0.0);
    let transitions = running.metric("weir_workflows_breaker_transitions_total");
    let to = |state: &str| transitions[&format!("{} {state}", hook("a"))];
    assert!(to("open") >= 2.0 && to("half_open") >= 2.0 && to("closed") == 1.0, "{transitions:?}");
    assert!(running.runs().await.iter().all(|run| run.state == RunState::Done));
    running.stop().await;
}

#[tokio::test]
async fn a_busy_target_is_left_alone_and_its_breaker_closed() {
    let world = World::new();
    let running = world.start().await;
    let busy = Act::Ends(Outcome::Busy { reason: "429".to_owned(), after: Some(Duration::from_secs(30)) });
    let first = firing(1, "a", &[webhook("a")]);
    world.script.next(&first.step_key(0), [busy]);
    world.fire(std::slice::from_ref(&first)).await;
    world.until("it was tried", async || world.script.calls().len() == 1).await;
    world.until("it is known to be busy", async || running.runs().await[0].last == "429").await;
    world.fire(&[firing(2, "b", &[webhook("a")])]).await;
    world.until("the other is taken", async || running.runs().await.len() == 2).await;
    world.clock.advance(Duration::from_millis(29_900));
    running.runs().await;
    assert_eq!(world.script.calls().len(), 1, "nobody bothers it");
    world.clock.advance(Duration::from_millis(100));
    world.until("both are done", async || world.script.calls().len() == 3).await;
    assert_eq!(running.metric("weir_workflows_breaker_state")[&hook("a")], 0.0);
    running.stop().await;
}

#[tokio::test]
async fn steps_beyond_the_window_wait_in_the_store_in_order() {
    let world = World::with(WorkflowsConfig { window: 8, concurrency: 4, ..WorkflowsConfig::default() });
    let running = world.start().await;
    world.script.always(&hook("a"), Act::Hangs);
    let firings: Vec<_> = (0..300).map(|n| firing(n, &format!("d-{}", n % 3), &[webhook("b"), webhook("a")])).collect();
    for part in firings.chunks(50) {
        world.fire(part).await;
    }
    world
        .passing("all wait", Duration::from_millis(20), async || {
            running.metric("weir_workflows_pending").get(&hook("a")) == Some(&300.0)
        })
        .await;
    running.crash().await;
    world.script.always(&hook("a"), done());
    let running = world.start().await;
    world.drained(&running, 300).await;
    for device in 0..3 {
        let of = |target: &str| -> Vec<String> {
            let calls = world.script.calls().into_iter();
            let calls = calls.filter(|call| call.target == target && call.device == format!("d-{device}"));
            calls.filter(|call| call.ended_well).map(|call| call.key).collect()
        };
        let expected = |step| -> Vec<String> {
            let of_device = firings.iter().filter(|firing| firing.device_id == format!("d-{device}"));
            of_device.map(|firing| firing.step_key(step)).collect()
        };
        assert_eq!(of(&hook("a")), expected(1));
        // Those that were not durable at the crash were done again, in order too.
        let mut seen = std::collections::BTreeSet::new();
        let firsts: Vec<String> = of(&hook("b")).into_iter().filter(|key| seen.insert(key.clone())).collect();
        assert_eq!(firsts, expected(0));
    }
    running.stop().await;
}
