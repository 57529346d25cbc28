//! The executor of workflows, as dead letters see it.

use async_trait::async_trait;
use processors::workflows::{Changed, RunState, Workflows};

use super::letter::StepName;
use super::runs::Runs;

#[async_trait]
impl Runs for Workflows {
    async fn attempts(&self, step: &StepName) -> Option<u32> {
        // Without an answer the letter is shown without attempts.
        let run = self.show(&step.run).await.ok().flatten()?;
        run.progress.get(step.step).map(|step| step.attempts)
    }

    async fn redrive(&self, step: &StepName) -> Result<(), String> {
        let changed = Workflows::redrive(self, &step.run, Some(step.step)).await;
        match changed.map_err(|error| error.to_string())? {
            Changed::Yes => Ok(()),
            Changed::Unknown if self.is_shared() => Err(elsewhere(step)),
            Changed::Unknown => Err(format!("run {} is not kept any more", step.run)),
            Changed::Not(state @ (RunState::Cancelled | RunState::Dropped)) => {
                Err(format!("run {} is {}", step.run, state.as_str()))
            }
            // It is past this step, or on its way: somebody redrove it, and the letter was not marked.
            Changed::Not(RunState::Pending | RunState::Dead | RunState::Done | RunState::Failed) => Ok(()),
        }
    }

    async fn admit(&self, payload: &[u8]) -> Result<(), String> {
        self.admit_letter(payload).await.map_err(|error| error.to_string())
    }

    async fn give_up(&self, step: &StepName) -> Result<(), String> {
        let run = self.show(&step.run).await.map_err(|error| error.to_string())?;
        if run.is_none() && self.is_shared() {
            return Err(elsewhere(step));
        }
        let waits = run.is_some_and(|run| {
            let newest = run.letter.is_none_or(|letter| letter == step.letter);
            run.summary.state == RunState::Dead && run.summary.step == Some(step.step) && newest
        });
        if waits {
            self.drop_dead(&step.run).await.map_err(|error| error.to_string())?;
        }
        // With an older letter no run waits.
        Ok(())
    }
}

/// Of a run that this process does not know, where others have other partitions.
fn elsewhere(step: &StepName) -> String {
    format!(
        "run {} is not in this process: it is in the `weir workflows` that has the partition of its device, or not kept \
         any more",
        step.run
    )
}
