//! Events and dead letters over crashes.

use std::time::Duration;

use streams::{Partition, StreamName, Streams};

use super::world::*;
use crate::workflows::{Changed, EMIT_GROUP, RunFilter, RunState};

async fn emit_positions(world: &World) -> Vec<u64> {
    let mut offsets = Vec::new();
    for index in 0..PARTITIONS {
        let partition = Partition::new(StreamName::new("events").unwrap(), index);
        let position = world.streams.position(&EMIT_GROUP.into(), &partition).await.unwrap();
        offsets.push(position.unwrap().offset);
    }
    offsets
}

#[tokio::test]
async fn an_event_is_not_emitted_again_whatever_the_outbox_forgot() {
    let world = World::new();
    let firings: Vec<_> =
        (0..40).map(|n| firing(n, &format!("d-{}", n % 7), &[emit(), webhook("a"), emit()])).collect();
    let running = world.start().await;
    world.fire(&firings).await;
    world.drained(&running, 40).await;
    running.stop().await;
    assert_eq!(world.events().await.len(), 80);
    // The outbox is gone, so everything retained is done again.
    std::fs::remove_file(store_path(world.dir.path())).unwrap();
    let running = world.start().await;
    world.drained(&running, 40).await;
    let mut events = world.events().await;
    events.sort();
    let mut expected = [keys(&firings, 0), keys(&firings, 2)].concat();
    expected.sort();
    assert_eq!(events, expected);
    assert_eq!(world.script.calls().len(), 80, "a webhook is called again, with the same key");
    running.stop().await;
}

#[tokio::test]
async fn events_appended_before_a_crash_are_found() {
    for wait in [0, 1, 3, 7, 12, 20] {
        let world = World::new();
        let firings: Vec<_> = (0..200).map(|n| firing(n, &format!("d-{}", n % 7), &[emit(), emit()])).collect();
        let running = world.start().await;
        for part in firings.chunks(20) {
            world.fire(part).await;
        }
        // Crash somewhere on the way: nothing is durable in the outbox before 200 ms have passed.
        let seen = wait * 15;
        world.until("some are emitted", async || world.events().await.len() >= seen).await;
        running.crash().await;
        let running = world.start().await;
        world.drained(&running, 200).await;
        let mut events = world.events().await;
        events.sort();
        let mut expected = [keys(&firings, 0), keys(&firings, 1)].concat();
        expected.sort();
        assert_eq!(events, expected, "crash after {seen}");
        running.stop().await;
    }
}

#[tokio::test]
async fn the_position_follows_so_that_the_log_is_not_held() {
    let world = World::new();
    let running = world.start().await;
    let hanging = firing(99, "d-0", &[webhook("a"), emit()]);
    world.script.next(&hanging.step_key(0), [Act::Hangs]);
    world.fire(&[hanging]).await;
    for n in 0..10 {
        world.fire(&[firing(n, &format!("e-{n}"), &[emit()])]).await;
    }
    world
        .passing("all events are passed", Duration::from_millis(100), async || {
            let mut ends = Vec::new();
            for index in 0..PARTITIONS {
                ends.push(
                    world.streams.bounds(&Partition::new(StreamName::new("events").unwrap(), index)).unwrap().end,
                );
            }
            world.events().await.len() == 10 && emit_positions(&world).await == ends
        })
        .await;
    running.crash().await;
}

#[tokio::test]
async fn a_dead_letter_is_written_once_and_again_only_after_a_redrive() {
    let world = World::new();
    let firings: Vec<_> = (0..50).map(|n| firing(n, &format!("d-{n}"), &[webhook("a"), webhook("b")])).collect();
    world.script.always(&hook("a"), refuses());
    let mut running = world.start().await;
    world.fire(&firings).await;
    for seen in [1, 10, 50] {
        world.until("letters are written", async || world.letters().await.len() >= seen).await;
        running.crash().await;
        running = world.start().await;
    }
    world.drained(&running, 50).await;
    assert_eq!(world.letters().await.len(), 50);
    // Redriven, and refused again: a letter more each. Then it is well.
    assert_eq!(running.workflows.redrive_all(RunFilter::default()).await.unwrap(), 50);
    world.until("they are refused again", async || world.letters().await.len() == 100).await;
    running.crash().await;
    running = world.start().await;
    world.drained(&running, 50).await;
    assert_eq!(world.letters().await.len(), 100);
    world.script.always(&hook("a"), done());
    assert_eq!(running.workflows.redrive(&firings[0].run_id, Some(1)).await.unwrap(), Changed::Not(RunState::Dead));
    assert_eq!(running.workflows.redrive_all(RunFilter::default()).await.unwrap(), 50);
    world.drained(&running, 50).await;
    assert!(running.runs().await.iter().all(|run| run.state == RunState::Done));
    assert_eq!(running.metric("weir_workflows_open_runs")["dead"], 0.0);
    let mut done: Vec<String> = world.script.keys(&hook("b"));
    done.sort();
    assert_eq!(done, keys(&firings, 1));
    running.stop().await;
}
