//! Commands to devices that come and go.

use std::sync::Arc;
use std::time::Duration;

use super::world::*;
use crate::firing::Firing;
use crate::workflows::target::Outcome;
use crate::workflows::{RunState, StepState};

const HOUR: Duration = Duration::from_secs(3600);

fn absent(firing: &Firing) -> Act {
    Act::Ends(Outcome::Absent { topic: format!("{}/commands", firing.device_id).into() })
}

#[tokio::test]
async fn commands_wait_for_their_device_and_cost_no_attempt() {
    let world = World::new();
    let running = world.start().await;
    let firings: Vec<_> = (0..3).map(|n| firing(n, "pump", &[command(HOUR)])).collect();
    let other = firing(9, "fan", &[command(HOUR)]);
    for firing in &firings {
        world.script.next(&firing.step_key(0), vec![absent(firing); if firing.seq == Some(0) { 5 } else { 0 }]);
    }
    world.fire(&firings).await;
    world.fire(std::slice::from_ref(&other)).await;
    world.until("the other device has its command", async || running.state(&other).await == Some(RunState::Done)).await;
    for seen in 1..5 {
        world
            .until("it was absent", async || {
                running.metric("weir_workflows_attempts_total")["absent mqtt devices"] == f64::from(seen)
            })
            .await;
        running.workflows.arrived("elsewhere/commands".into()).await.unwrap();
        running.workflows.arrived("pump/commands".into()).await.unwrap();
    }
    world
        .until("it was absent again", async || {
            running.metric("weir_workflows_attempts_total")["absent mqtt devices"] == 5.0
        })
        .await;
    assert!(running.runs().await.iter().filter(|run| run.device == "pump").all(|run| run.attempts == 0));
    running.workflows.arrived_all().await.unwrap();
    world
        .until("all commands are sent", async || {
            world.script.calls().iter().filter(|call| call.ended_well).count() == 4
        })
        .await;
    let sent: Vec<String> = world
        .script
        .calls()
        .into_iter()
        .filter(|call| call.ended_well && call.device == "pump")
        .map(|call| call.key)
        .collect();
    assert_eq!(sent, keys(&firings, 0));
    running.stop().await;
}

#[tokio::test]
async fn a_command_is_a_dead_letter_when_its_time_is_over() {
    let world = World::new();
    let running = world.start().await;
    let firing = firing(1, "pump", &[command(HOUR)]);
    world.script.next(&firing.step_key(0), vec![absent(&firing); 100]);
    world.fire(std::slice::from_ref(&firing)).await;
    world.until("it waits", async || world.script.calls().len() == 1).await;
    world.clock.advance(HOUR - Duration::from_secs(1));
    assert_eq!(running.state(&firing).await, Some(RunState::Pending));
    world.clock.advance(Duration::from_secs(2));
    world.drained(&running, 1).await;
    let shown = running.show(&firing.run_id).await;
    assert_eq!((shown.summary.state, shown.progress[0].state), (RunState::Dead, StepState::Dead));
    assert_eq!(shown.summary.last, "no device subscribed to pump/commands within 3600 s");
    assert_eq!(world.letters().await.len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn a_device_that_comes_while_its_absence_is_told_is_not_missed() {
    let world = World::new();
    let running = world.start().await;
    let firing = firing(1, "pump", &[command(HOUR)]);
    world.script.next(&firing.step_key(0), [absent(&firing)]);
    // It arrives over and over, so also between the answer and its being read.
    let arrivals = tokio::spawn({
        let workflows = running.workflows.clone();
        async move {
            while workflows.arrived(Arc::from("pump/commands")).await.is_ok() {
                tokio::task::yield_now().await
            }
        }
    });
    world.fire(std::slice::from_ref(&firing)).await;
    world.until("the command is sent", async || world.script.calls().iter().any(|call| call.ended_well)).await;
    arrivals.abort();
    running.stop().await;
}

#[tokio::test]
async fn commands_wait_over_a_restart() {
    let world = World::new();
    let running = world.start().await;
    let firing = firing(1, "pump", &[command(HOUR)]);
    world.script.next(&firing.step_key(0), [absent(&firing), absent(&firing)]);
    world.fire(std::slice::from_ref(&firing)).await;
    world.until("it waits", async || world.script.calls().len() == 1).await;
    world.until("it is durable", async || running.state(&firing).await == Some(RunState::Pending)).await;
    running.crash().await;
    let running = world.start().await;
    world.until("it is tried after the start", async || world.script.calls().len() == 2).await;
    world
        .until("it waits", async || running.metric("weir_workflows_attempts_total")["absent mqtt devices"] == 1.0)
        .await;
    running.workflows.arrived("pump/commands".into()).await.unwrap();
    world.until("it is sent", async || running.state(&firing).await == Some(RunState::Done)).await;
    running.stop().await;
}
