//! How long a firing takes to its first attempt, and how many runs a second there can be.

use std::sync::Arc;
use std::time::Duration;

use telemetry::clock::SystemClock;
use tokio::sync::watch;

use super::world::*;
use crate::workflows::{Workflows, WorkflowsMetrics};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn from_a_firing_to_its_first_attempt() {
    let world = World::new();
    let clock = SystemClock::shared();
    let metrics = WorkflowsMetrics::register(&prometheus::Registry::new()).unwrap();
    let targets = Arc::new(ScriptedTargets(world.script.clone()));
    let started = Workflows::start(
        world.config.clone(),
        world.dir.path(),
        world.streams.clone(),
        clock.clone(),
        telemetry::trace::Tracing::default(),
        metrics,
        targets,
    );
    let started = started.await.unwrap();
    let (_stop, stopped) = watch::channel(false);
    let executor = tokio::spawn(started.executor.run(stopped));
    let workflows = started.workflows;
    let mut times = Vec::new();
    for number in 0..2_000 {
        let begun = clock.monotonic();
        workflows.admit(vec![firing(number, &format!("d-{}", number % 50), &[webhook("a")])]).await.unwrap();
        while world.script.calls.lock().unwrap().len() <= usize::try_from(number).unwrap() {
            tokio::task::yield_now().await;
        }
        times.push(clock.monotonic().saturating_sub(begun));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    times.sort();
    println!("to the first attempt: p50 {:?}, p99 {:?}, longest {:?}", times[1_000], times[1_980], times[1_999]);
    let begun = clock.monotonic();
    let runs = 20_000_u32;
    for part in 0..runs / 100 {
        let firings = (0..100).map(|n| firing(10_000 + part * 100 + n, &format!("d-{n}"), &[webhook("a"), emit()]));
        workflows.admit(firings.collect()).await.unwrap();
    }
    while world.events().await.len() < usize::try_from(runs).unwrap() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    workflows.flush().await.unwrap();
    let seconds = clock.monotonic().saturating_sub(begun).as_secs_f64();
    println!("{:.0} runs of two steps a second", f64::from(runs) / seconds);
    executor.abort();
}
