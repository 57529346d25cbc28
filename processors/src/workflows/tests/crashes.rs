//! Restarts in the middle, and damage.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use streams::{Partition, StreamName, Streams};

use super::world::*;
use crate::plan::OnFailure;
use crate::workflows::{Changed, GROUP, RunState, WorkflowsConfig};

#[tokio::test]
async fn a_run_goes_on_at_its_step_after_a_restart() {
    let world = World::new();
    let firing = firing(1, "pump", &[webhook("a"), webhook("b"), webhook("c")]);
    world.script.next(&firing.step_key(1), [fails(), Act::Hangs]);
    let running = world.start().await;
    world.fire(std::slice::from_ref(&firing)).await;
    world.passing("the second step hangs", Duration::from_millis(20), async || world.script.hanging() == 1).await;
    assert_eq!(running.show(&firing.run_id).await.progress[1].attempts, 1);
    running.crash().await;
    let running = world.start().await;
    world.drained(&running, 1).await;
    let shown = running.show(&firing.run_id).await;
    assert_eq!(shown.summary.state, RunState::Done);
    assert_eq!(shown.progress.iter().map(|step| step.attempts).collect::<Vec<_>>(), [1, 2, 1]);
    assert_eq!(world.script.keys(&hook("a")).len(), 1, "what is durably done is not done again");
    running.stop().await;
}

#[tokio::test]
async fn a_firing_that_only_the_stream_holds_is_run_after_a_crash() {
    let world = World::new();
    let running = world.start().await;
    let firing = firing(1, "pump", &[webhook("a")]);
    world.script.next(&firing.step_key(0), [Act::Hangs]);
    world.fire(std::slice::from_ref(&firing)).await;
    // The clock stands still, so nothing was written.
    world.until("it is tried before it is in the outbox", async || world.script.hanging() == 1).await;
    running.crash().await;
    let running = world.start().await;
    world.drained(&running, 1).await;
    assert_eq!(world.script.keys(&hook("a")), vec![firing.step_key(0); 2]);
    running.stop().await;
}

#[tokio::test]
async fn the_position_is_committed_only_behind_the_outbox() {
    // Nothing but the flush of the consumer makes the outbox durable.
    let commit_interval = Duration::from_secs(24 * 3600);
    let world = World::with(WorkflowsConfig { commit_interval, ..WorkflowsConfig::default() });
    let running = world.start().await;
    let firing = firing(1, "pump", &[webhook("a")]);
    world.script.next(&firing.step_key(0), [Act::Hangs]);
    world.fire(std::slice::from_ref(&firing)).await;
    let partition = telemetry::partition::of_device("pump", PARTITIONS);
    let partition = Partition::new(StreamName::workflows(), partition);
    let position =
        async || world.streams.position(&GROUP.into(), &partition).await.unwrap().map(|position| position.offset);
    world.passing("the firing is passed", Duration::from_millis(50), async || position().await == Some(1)).await;
    running.crash().await;
    let running = world.start().await;
    world.until("it is done", async || world.script.calls().len() == 2).await;
    assert_eq!(world.script.keys(&hook("a")), vec![firing.step_key(0); 2]);
    running.crash().await;
}

#[tokio::test]
async fn dead_and_ended_runs_stay_so_over_a_restart() {
    let world = World::new();
    let running = world.start().await;
    let steps = |on_failure| [with(webhook("a"), 1, on_failure)];
    let dead = firing(1, "a", &steps(OnFailure::DeadLetter));
    let failed = firing(2, "b", &steps(OnFailure::Stop));
    let done = firing(3, "c", &steps(OnFailure::Continue));
    let dropped = firing(4, "d", &steps(OnFailure::DeadLetter));
    world.script.always(&hook("a"), fails());
    world.fire(&[dead.clone(), failed.clone(), done.clone(), dropped.clone()]).await;
    world.drained(&running, 4).await;
    assert_eq!(running.workflows.drop_dead(&dropped.run_id).await.unwrap(), Changed::Yes);
    assert_eq!(running.workflows.drop_dead(&dropped.run_id).await.unwrap(), Changed::Not(RunState::Dropped));
    assert_eq!(running.workflows.redrive(&failed.run_id, None).await.unwrap(), Changed::Not(RunState::Failed));
    running.crash().await;
    let running = world.start().await;
    for (firing, state) in
        [(&dead, RunState::Dead), (&failed, RunState::Failed), (&done, RunState::Done), (&dropped, RunState::Dropped)]
    {
        assert_eq!(running.state(firing).await, Some(state));
    }
    assert_eq!(running.metric("weir_workflows_open_runs")["dead"], 1.0);
    world.script.always(&hook("a"), super::world::done());
    assert_eq!(running.workflows.redrive(&dead.run_id, Some(0)).await.unwrap(), Changed::Yes);
    world.drained(&running, 4).await;
    assert_eq!(running.state(&dead).await, Some(RunState::Done));
    running.stop().await;
}

#[tokio::test]
async fn a_cancelled_run_begins_no_step_any_more() {
    let world = World::new();
    let running = world.start().await;
    world.script.always(&hook("a"), Act::Hangs);
    let under_way = firing(1, "pump", &[webhook("a"), webhook("b")]);
    let behind = firing(2, "pump", &[webhook("a"), webhook("b")]);
    let last = firing(3, "pump", &[webhook("b")]);
    world.fire(&[under_way.clone(), behind.clone()]).await;
    world.until("the first is tried", async || world.script.hanging() == 1).await;
    world.until("both are taken", async || running.runs().await.len() == 2).await;
    for firing in [&behind, &under_way] {
        assert_eq!(running.workflows.cancel(&firing.run_id).await.unwrap(), Changed::Yes);
        assert_eq!(running.workflows.cancel(&firing.run_id).await.unwrap(), Changed::Not(RunState::Cancelled));
    }
    assert_eq!(running.workflows.cancel("no such run").await.unwrap(), Changed::Unknown);
    assert_eq!(running.metric("weir_workflows_open_runs")["pending"], 0.0);
    running.crash().await;
    world.script.always(&hook("a"), done());
    let running = world.start().await;
    world.fire(std::slice::from_ref(&last)).await;
    world.drained(&running, 3).await;
    assert_eq!(running.state(&under_way).await, Some(RunState::Cancelled));
    assert_eq!(running.state(&behind).await, Some(RunState::Cancelled));
    assert_eq!(world.script.keys(&hook("a")), [under_way.step_key(0)]);
    assert_eq!(world.script.keys(&hook("b")), [last.step_key(0)]);
    running.stop().await;
}

#[tokio::test]
async fn a_run_that_is_cancelled_while_it_is_tried_makes_room_for_the_next() {
    let world = World::new();
    let running = world.start().await;
    let first = firing(1, "pump", &[webhook("a"), webhook("b")]);
    let second = firing(2, "pump", &[webhook("a")]);
    world.script.next(&first.step_key(0), [fails()]);
    world.fire(&[first.clone(), second.clone()]).await;
    world.until("the first failed", async || running.runs().await.iter().any(|run| run.attempts == 1)).await;
    assert_eq!(running.workflows.cancel(&first.run_id).await.unwrap(), Changed::Yes);
    world.until("the second is done", async || running.state(&second).await == Some(RunState::Done)).await;
    assert_eq!(world.script.keys(&hook("a")), [first.step_key(0), second.step_key(0)]);
    running.stop().await;
}

#[tokio::test]
async fn a_stop_waits_for_what_is_under_way_and_leaves_nothing_to_repeat() {
    let world = World::new();
    let running = world.start().await;
    let firings: Vec<_> = (0..100).map(|n| firing(n, &format!("d-{n}"), &[webhook("a"), emit()])).collect();
    world.fire(&firings).await;
    world.until("some are done", async || world.script.calls().len() > 10).await;
    running.stop().await;
    let before = world.script.calls().len();
    let running = world.start().await;
    world.drained(&running, 100).await;
    assert_eq!(world.script.calls().len(), 100, "{before} before the stop");
    assert_eq!(world.events().await.len(), 100);
    running.stop().await;
}

#[tokio::test]
async fn a_damaged_outbox_is_put_aside_and_what_is_retained_done_again() {
    let world = World::new();
    let running = world.start().await;
    let firings: Vec<_> = (0..10).map(|n| firing(n, "pump", &[emit(), webhook("a")])).collect();
    world.fire(&firings).await;
    world.drained(&running, 10).await;
    running.stop().await;
    let path = store_path(world.dir.path());
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    for at in (512..file.metadata().unwrap().len()).step_by(256) {
        file.write_all_at(&[0xa5; 16], at).unwrap();
    }
    drop(file);
    let running = world.start().await;
    assert!(world.dir.path().join("workflows.redb.damaged-1").exists());
    world.drained(&running, 10).await;
    assert_eq!(world.events().await.len(), 10);
    assert_eq!(world.script.keys(&hook("a")), [keys(&firings, 1), keys(&firings, 1)].concat());
    running.stop().await;
    let running = world.start().await;
    assert_eq!(running.runs().await.len(), 10);
    assert_eq!(world.script.calls().len(), 20, "only once");
    running.stop().await;
}
