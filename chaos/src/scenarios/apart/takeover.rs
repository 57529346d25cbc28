//! Two processes for one partition: one that fell asleep and is replaced, and one that comes where another one lives.

use anyhow::{Context, ensure};

use super::pipeline::{LEASE, Pipeline};
use crate::clock;
use crate::ports::free_address;
use crate::stage::{Kind, Plan, Stage};

/// How long a refused or superseded process may take to end: a claim waits for the lease and a margin, an attempt at
/// the cluster for its time-out.
const END: std::time::Duration = std::time::Duration::from_secs(60);

/// A stage is held for longer than its lease. A second one takes over and works; then the first wakes: it must end by
/// itself, and what it does meanwhile must not be seen.
pub(super) fn take_over(pipeline: &mut Pipeline, kind: Kind) -> anyhow::Result<()> {
    let index = pipeline.draw(kind)?;
    pipeline.ready(index)?;
    pipeline.stage(index)?.pause()?;
    let mut second = Stage::new(beside(pipeline.stage(index)?.plan(), "second")?);
    clock::pause(LEASE * 2);
    let took = second.start().context("the second process does not take over")?;
    pipeline.outcome.recovered(took);
    pipeline.pause(500..3_000);
    pipeline.stage(index)?.resume()?;
    pipeline.outcome.fault(&format!("weir {} held for longer than its lease, taken over, woken", kind.command()));
    let ended = pipeline.stage(index)?.ends_within(END)?;
    let (status, words) =
        ended.with_context(|| format!("the first process goes on after it was taken over ({kind:?})"))?;
    ensure!(!status.success(), "the first process ended with success after it was taken over");
    ensure!(
        words.contains("taken over") || words.contains("may take over"),
        "the first process does not say why: {words}"
    );
    *pipeline.stage(index)? = second;
    Ok(())
}

/// A second process is started for the partitions of one that lives: it must end and say whose they are.
pub(super) fn refused(pipeline: &mut Pipeline, kind: Kind) -> anyhow::Result<()> {
    let index = pipeline.draw(kind)?;
    pipeline.ready(index)?;
    let mut second = Stage::new(beside(pipeline.stage(index)?.plan(), "refused")?);
    second.spawn()?;
    pipeline.outcome.fault(&format!("second weir {} beside one that lives", kind.command()));
    let ended = second.ends_within(END)?;
    let (status, words) =
        ended.with_context(|| format!("a second {kind:?} is not refused: {words}", words = said(&second)))?;
    ensure!(!status.success(), "a second process that was refused ended with success");
    ensure!(words.contains("which is alive"), "a second process does not say who has its partitions: {words}");
    Ok(())
}

/// The same stage once more, with files of its own; tables are shared.
fn beside(first: &Plan, name: &str) -> anyhow::Result<Plan> {
    let mut plan = first.clone();
    plan.http = free_address()?;
    plan.log = plan.log.with_extension(format!("{name}.{}.log", plan.http.port()));
    if plan.kind != Kind::Sink {
        let data = plan.log.with_extension("data");
        plan.environment.push(("WEIR_DATA__DIR".to_owned(), format!("\"{}\"", data.display())));
    }
    Ok(plan)
}

fn said(stage: &Stage) -> String {
    stage.running().map_or_else(|error| error.to_string(), crate::weir::Weir::last_words)
}
