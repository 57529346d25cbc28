//! Steps of one run.

use super::world::*;
use crate::plan::{Action, OnFailure};
use crate::workflows::{RunState, StepState};

#[tokio::test]
async fn steps_are_done_in_order_and_each_under_its_key() {
    let world = World::new();
    let running = world.start().await;
    let firing = firing(1, "pump", &[webhook("a"), emit(), webhook("b")]);
    world.fire(std::slice::from_ref(&firing)).await;
    world.drained(&running, 1).await;
    let calls: Vec<(String, String)> = world.script.calls().into_iter().map(|call| (call.target, call.key)).collect();
    assert_eq!(calls, [(hook("a"), firing.step_key(0)), (hook("b"), firing.step_key(2))]);
    assert_eq!(world.events().await, [firing.step_key(1)]);
    let shown = running.show(&firing.run_id).await;
    assert_eq!(shown.summary.state, RunState::Done);
    assert_eq!(
        shown.progress.iter().map(|step| (step.state, step.attempts)).collect::<Vec<_>>(),
        [(StepState::Done, 1); 3]
    );
    assert_eq!(shown.data["value"], 81.5);
    assert_eq!(running.metric("weir_workflows_firings_total")["taken"], 1.0);
    assert_eq!(running.metric("weir_workflows_runs_total")["done"], 1.0);
    assert_eq!(running.metric("weir_workflows_pending")[&hook("b")], 0.0);
    running.stop().await;
}

#[tokio::test]
async fn an_event_holds_the_firing_and_the_body() {
    let world = World::new();
    let running = world.start().await;
    let firing = firing(1, "pump", &[emit()]);
    world.fire(std::slice::from_ref(&firing)).await;
    world.drained(&running, 1).await;
    assert_eq!(world.column("events", "device_id").await, ["pump"]);
    assert_eq!(world.column("events", "seq").await, ["1"]);
    let body: serde_json::Value = serde_json::from_str(&world.column("events", "data").await[0]).unwrap();
    assert_eq!(body["id"], firing.step_key(0));
    running.stop().await;
}

#[tokio::test]
async fn a_failed_step_is_tried_as_often_as_it_says_and_then_is_a_dead_letter() {
    let world = World::new();
    let running = world.start().await;
    let firing = firing(1, "pump", &[webhook("a"), webhook("b")]);
    world.script.always(&hook("a"), fails());
    world.fire(std::slice::from_ref(&firing)).await;
    world.drained(&running, 1).await;
    assert_eq!(world.script.keys(&hook("a")), vec![firing.step_key(0); 3]);
    assert_eq!(world.script.keys(&hook("b")), Vec::<String>::new());
    assert_eq!(running.state(&firing).await, Some(RunState::Dead));
    assert_eq!(world.letters().await, [format!("workflows/{}/0", firing.run_id)]);
    assert_eq!(world.column("workflow_dead_letters", "reason").await, ["workflow_step"]);
    assert_eq!(world.column("workflow_dead_letters", "client_id").await, ["hot"]);
    let detail = &world.column("workflow_dead_letters", "detail").await[0];
    assert_eq!(*detail, "rule hot step 0 (webhook http://a) given up after 3 attempts: 500");
    assert_eq!(running.metric("weir_workflows_open_runs")["dead"], 1.0);
    assert_eq!(running.metric("weir_workflows_attempts_total")["failed webhook http://a"], 3.0);
    running.stop().await;
}

#[tokio::test]
async fn what_is_refused_is_not_tried_again() {
    let world = World::new();
    let running = world.start().await;
    let email = step(Action::Email { to: vec![], subject: String::new() });
    let nowhere = step(Action::Emit { stream: "nowhere".to_owned() });
    let firings = [firing(1, "a", &[webhook("a")]), firing(2, "b", &[email]), firing(3, "c", &[nowhere])];
    world.script.always(&hook("a"), refuses());
    world.fire(&firings).await;
    world.drained(&running, 3).await;
    assert_eq!(world.script.calls().len(), 1);
    for (firing, why) in
        firings.iter().zip(["404", "no SMTP server is configured", "stream `nowhere` is not one of `streams.emit`"])
    {
        let shown = running.show(&firing.run_id).await;
        assert_eq!((shown.summary.state, shown.progress[0].state), (RunState::Dead, StepState::Dead));
        assert_eq!((&*shown.summary.last, shown.summary.attempts), (why, 1));
    }
    running.stop().await;
}

#[tokio::test]
async fn on_failure_says_how_a_run_goes_on() {
    let world = World::new();
    let running = world.start().await;
    let first = |on_failure| with(webhook("a"), 2, on_failure);
    let goes_on = firing(1, "pump", &[first(OnFailure::Continue), webhook("b")]);
    let stops = firing(2, "fan", &[first(OnFailure::Stop), webhook("b")]);
    world.script.always(&hook("a"), fails());
    world.fire(&[goes_on.clone(), stops.clone()]).await;
    world.drained(&running, 2).await;
    assert_eq!(running.state(&goes_on).await, Some(RunState::Done));
    assert_eq!(running.state(&stops).await, Some(RunState::Failed));
    assert_eq!(world.script.keys(&hook("b")), [goes_on.step_key(1)]);
    assert_eq!(running.show(&goes_on.run_id).await.progress[0].state, StepState::Failed);
    assert!(world.letters().await.is_empty());
    running.stop().await;
}

#[tokio::test]
async fn a_run_without_steps_is_done() {
    let world = World::new();
    let running = world.start().await;
    world.fire(&[firing(1, "pump", &[])]).await;
    world.drained(&running, 1).await;
    assert_eq!(running.runs().await[0].state, RunState::Done);
    assert_eq!(running.metric("weir_workflows_open_runs")["pending"], 0.0);
    running.stop().await;
}

#[tokio::test]
async fn a_target_that_panics_has_failed() {
    let world = World::new();
    let running = world.start().await;
    let firing = firing(1, "pump", &[webhook("a")]);
    world.script.next(&firing.step_key(0), [Act::Panics]);
    world.fire(std::slice::from_ref(&firing)).await;
    world.drained(&running, 1).await;
    assert_eq!(running.state(&firing).await, Some(RunState::Done));
    assert_eq!(world.script.calls().len(), 2);
    running.stop().await;
}

#[tokio::test]
async fn a_key_that_comes_again_is_not_run_again() {
    let world = World::new();
    let running = world.start().await;
    let first = firing(1, "pump", &[webhook("a")]);
    world.fire(&[first.clone(), first.clone()]).await;
    world.drained(&running, 1).await;
    // Another reading in the same cool-down: the same key in another record.
    world.fire(std::slice::from_ref(&first)).await;
    world.fire(&[firing(2, "pump", &[webhook("a")])]).await;
    world.drained(&running, 2).await;
    let running = {
        running.stop().await;
        world.start().await
    };
    world.fire(&[first.clone(), firing(3, "pump", &[webhook("a")])]).await;
    world.drained(&running, 3).await;
    assert_eq!(world.script.keys(&hook("a")).iter().filter(|key| **key == first.step_key(0)).count(), 1);
    assert_eq!(running.metric("weir_workflows_firings_total")["repeated"], 1.0);
    assert_eq!(world.script.calls().len(), 3);
    running.stop().await;
}
