//! What is bounded.

use std::time::Duration;

use super::world::*;
use crate::firing::Firing;
use crate::plan::Plan;
use crate::workflows::{RunState, WorkflowsConfig, firing_of};
use arrow::array::AsArray;
use streams::{Partition, StreamName, Streams};
use telemetry::{ipc, schema};

async fn payloads(world: &World) -> Vec<Vec<u8>> {
    let partition = Partition::new(StreamName::workflow_dead_letters(), 0);
    let mut decoder = ipc::Decoder::new(schema::dead_letters()).unwrap();
    let mut found = Vec::new();
    for record in world.streams.read(&partition, 0, usize::MAX).await.unwrap().records {
        let batch = decoder.decode(record.payload).unwrap();
        let column = batch.column_by_name("payload").unwrap();
        found.extend(column.as_binary::<i32>().iter().map(|bytes| bytes.unwrap().to_vec()));
    }
    found
}

#[tokio::test]
async fn what_fires_beyond_the_bound_is_a_dead_letter_whole_and_can_be_admitted_later() {
    let world = World::with(WorkflowsConfig { max_pending: 5, ..WorkflowsConfig::default() });
    let running = world.start().await;
    world.script.always(&hook("a"), Act::Hangs);
    let firings: Vec<_> = (0..8).map(|n| firing(n, &format!("d-{n}"), &[webhook("a")])).collect();
    for firing in &firings {
        world.fire(std::slice::from_ref(firing)).await;
    }
    world.until("three are letters", async || world.letters().await.len() == 3).await;
    assert_eq!(running.runs().await.len(), 5);
    // Read again after a crash: neither run nor written again.
    running.crash().await;
    let running = world.start().await;
    world.fire(&firings).await;
    world
        .until("they are read again", async || {
            running.metric("weir_workflows_firings_total")["repeated"] >= 8.0 && running.runs().await.len() == 5
        })
        .await;
    assert_eq!(world.letters().await.len(), 3);
    assert!(world.letters().await.iter().all(|topic| topic.ends_with("/admit")));
    let payloads = payloads(&world).await;
    for payload in &payloads {
        let whole = firing_of(payload).unwrap();
        let firing = firings.iter().find(|firing| firing.run_id == whole.run_id).unwrap();
        assert_eq!(Firing { plan: firing.plan.clone(), ..whole.clone() }, *firing);
        let plan = |firing: &Firing| serde_json::from_str::<Plan>(&firing.plan).unwrap();
        assert_eq!(plan(&whole), plan(firing));
    }
    running.crash().await;
    world.script.always(&hook("a"), done());
    let running = world.start().await;
    world.drained(&running, 5).await;
    for payload in &payloads {
        running.workflows.admit_letter(payload).await.unwrap();
        running.workflows.admit_letter(payload).await.unwrap();
    }
    world.drained(&running, 8).await;
    assert!(running.runs().await.iter().all(|run| run.state == RunState::Done));
    assert!(running.workflows.admit_letter(b"{}").await.is_err());
    running.stop().await;
}

#[tokio::test]
async fn ended_runs_are_forgotten_and_their_keys_as_long_as_is_said() {
    let keep = Duration::from_secs(3600);
    let world = World::with(WorkflowsConfig { keep, keep_runs: 3, ..WorkflowsConfig::default() });
    let running = world.start().await;
    let firings: Vec<_> = (0..8).map(|n| firing(n, "pump", &[webhook("a")])).collect();
    for firing in &firings {
        world.fire(std::slice::from_ref(firing)).await;
        world.until("it is done", async || running.state(firing).await == Some(RunState::Done)).await;
    }
    world.clock.advance(Duration::from_secs(31));
    world.until("details are forgotten", async || running.runs().await.len() == 3).await;
    assert_eq!(running.runs().await.iter().map(|run| run.id.clone()).collect::<Vec<_>>(), {
        firings.iter().rev().take(3).map(|firing| firing.run_id.clone()).collect::<Vec<_>>()
    });
    world.fire(&firings).await;
    world.until("all are known", async || running.metric("weir_workflows_firings_total")["repeated"] == 8.0).await;
    world.clock.advance(keep);
    world.until("all are forgotten", async || running.runs().await.is_empty()).await;
    world.fire(&firings[..1]).await;
    world.until("it runs again", async || world.script.calls().len() == 9).await;
    running.stop().await;
}

#[tokio::test]
async fn a_plan_that_cannot_be_understood_is_a_dead_letter_whole() {
    let world = World::new();
    let running = world.start().await;
    let mut strange = firing(1, "pump", &[]);
    strange.plan = r#"{"steps":[{"action":{"fax":{}}}]}"#.into();
    world.fire(std::slice::from_ref(&strange)).await;
    world.until("it is a letter", async || world.letters().await.len() == 1).await;
    assert_eq!(world.column("workflow_dead_letters", "reason").await, ["workflow_plan"]);
    assert_eq!(firing_of(&payloads(&world).await[0]).unwrap(), strange);
    running.stop().await;
}
