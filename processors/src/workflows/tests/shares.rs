//! Several executors over the same streams, each with its own partitions.

use std::time::Duration;

use streams::{Partition, Position, StreamName, Streams};

use super::world::*;
use crate::firing::Firing;
use crate::workflows::backlog;
use crate::workflows::{EMIT_GROUP, GROUP, WorkflowsConfig, WorkflowsError, WorkflowsMetrics};

/// An executor with partition `own`, over the streams of `others` if given.
fn world_of(own: u32, others: Option<&World>) -> World {
    let mut world = World::with(WorkflowsConfig { partitions: Some(vec![own]), ..WorkflowsConfig::default() });
    if let Some(others) = others {
        world.streams = others.streams.clone();
    }
    world
}

fn of(firings: &[Firing], partition: u32) -> Vec<Firing> {
    let here = |firing: &&Firing| telemetry::partition::of_device(&firing.device_id, PARTITIONS) == partition;
    firings.iter().filter(here).cloned().collect()
}

fn sorted(mut keys: Vec<String>) -> Vec<String> {
    keys.sort();
    keys
}

async fn refused(world: &World) -> WorkflowsError {
    let started = crate::workflows::Workflows::start(
        world.config.clone(),
        world.dir.path(),
        world.streams.clone(),
        world.clock.clone(),
        world.tracing.clone(),
        WorkflowsMetrics::register(&prometheus::Registry::new()).unwrap(),
        std::sync::Arc::new(ScriptedTargets(world.script.clone())),
    );
    started.await.unwrap_err()
}

#[tokio::test]
async fn each_executor_runs_what_fires_in_its_partitions() {
    let first = world_of(0, None);
    let second = world_of(1, Some(&first));
    let firings: Vec<_> = (0..40).map(|n| firing(n, &format!("d-{}", n % 7), &[emit(), webhook("a")])).collect();
    let (a, b) = (first.start().await, second.start().await);
    first.fire(&firings).await;
    first.drained(&a, of(&firings, 0).len()).await;
    second.drained(&b, of(&firings, 1).len()).await;
    for (world, running, partition) in [(&first, &a, 0), (&second, &b, 1)] {
        assert_eq!(running.runs().await.len(), of(&firings, partition).len());
        assert_eq!(world.script.calls().len(), of(&firings, partition).len());
    }
    assert_eq!(sorted(first.events().await), sorted(keys(&firings, 0)));
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn crashes_of_one_repeat_nothing_and_leave_the_other_alone() {
    let first = world_of(0, None);
    let second = world_of(1, Some(&first));
    let firings: Vec<_> = (0..200).map(|n| firing(n, &format!("d-{}", n % 7), &[emit(), emit()])).collect();
    let (a, b) = (first.start().await, second.start().await);
    for part in firings.chunks(20) {
        first.fire(part).await;
    }
    first.until("some are emitted", async || first.events().await.len() >= 60).await;
    a.crash().await;
    let a = first.start().await;
    first.drained(&a, of(&firings, 0).len()).await;
    second.drained(&b, of(&firings, 1).len()).await;
    assert_eq!(sorted(first.events().await), sorted([keys(&firings, 0), keys(&firings, 1)].concat()));
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn dead_letters_of_all_go_to_one_partition_and_none_comes_twice() {
    let first = world_of(0, None);
    let second = world_of(1, Some(&first));
    // A stream that nobody opened: the step is refused, and becomes a letter.
    let missing = step(crate::plan::Action::Emit { stream: "nowhere".to_owned() });
    let firings: Vec<_> = (0..60).map(|n| firing(n, &format!("d-{}", n % 7), std::slice::from_ref(&missing))).collect();
    let (a, b) = (first.start().await, second.start().await);
    first.fire(&firings).await;
    first.until("some are given up", async || first.letters().await.len() >= 20).await;
    a.crash().await;
    let a = first.start().await;
    first.drained(&a, of(&firings, 0).len()).await;
    second.drained(&b, of(&firings, 1).len()).await;
    let expected = firings.iter().map(|firing| format!("workflows/{}/0", firing.run_id)).collect();
    assert_eq!(sorted(first.letters().await), sorted(expected));
    a.stop().await;
    b.stop().await;
    // Each kept its own place among them, and neither touched that of the other's events.
    let letters = Partition::new(StreamName::workflow_dead_letters(), 0);
    for group in [format!("{EMIT_GROUP}/0"), format!("{EMIT_GROUP}/1")] {
        assert!(first.streams.position(&group.as_str().into(), &letters).await.unwrap().is_some(), "{group}");
    }
    assert_eq!(first.streams.position(&EMIT_GROUP.into(), &letters).await.unwrap(), None);
}

#[tokio::test]
async fn an_outbox_is_not_opened_with_other_partitions() {
    let mut world = world_of(0, None);
    world.start().await.stop().await;
    world.config.partitions = Some(vec![1]);
    let error = refused(&world).await.to_string();
    assert!(error.contains("is of partitions 0 of 2") && error.contains("asked for are 1 of 2"), "{error}");
    world.config.partitions = None;
    assert!(matches!(refused(&world).await, WorkflowsError::OtherPartitions { .. }));
    world.config.partitions = Some(vec![2]);
    assert!(refused(&world).await.to_string().contains("there is no partition 2"));
    world.config.partitions = Some(vec![0]);
    world.start().await.stop().await;
}

#[tokio::test]
async fn a_position_that_another_outbox_committed_hides_no_event() {
    let mut world = world_of(0, None);
    let firings: Vec<_> = (0..40).map(|n| firing(n, &format!("d-{}", n % 7), &[emit(), emit()])).collect();
    let running = world.start().await;
    world.fire(&firings).await;
    // Events that are appended, and not yet known to be in the outbox: nothing is committed while time stands.
    world.until("some are emitted", async || !world.events().await.is_empty()).await;
    running.crash().await;
    // Another outbox has the partition for a while, and takes the position past all of them.
    let other = world_of(0, Some(&world));
    let running = other.start().await;
    other.drained(&running, of(&firings, 0).len()).await;
    running.stop().await;
    // The first one comes back; the group of the firings has moved on, so it is moved to where it stood.
    let firings_of = Partition::new(StreamName::workflows(), 0);
    let begin = vec![(firings_of, Position::default())];
    world.streams.commit(&GROUP.into(), begin).await.unwrap();
    world.config.keep = Duration::from_secs(3600);
    let running = world.start().await;
    world.drained(&running, of(&firings, 0).len()).await;
    running.stop().await;
    let here = of(&firings, 0);
    assert_eq!(sorted(world.events().await), sorted([keys(&here, 0), keys(&here, 1)].concat()));
}

#[tokio::test]
async fn a_firing_of_another_partition_is_not_taken_from_a_letter() {
    let world = world_of(0, None);
    let running = world.start().await;
    let firings: Vec<_> = (0..20).map(|n| firing(n, &format!("d-{n}"), &[webhook("a")])).collect();
    let (here, there) = (of(&firings, 0), of(&firings, 1));
    running.workflows.admit_letter(&backlog::payload(&here[0])).await.unwrap();
    let error = running.workflows.admit_letter(&backlog::payload(&there[0])).await.unwrap_err();
    assert!(
        error.to_string().contains(&format!("device `{}` is not in the partitions", there[0].device_id)),
        "{error}"
    );
    assert!(running.workflows.is_shared());
    world.drained(&running, 1).await;
    assert_eq!(running.runs().await.len(), 1);
    running.stop().await;
}
