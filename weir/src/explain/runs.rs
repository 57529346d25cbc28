//! The workflows that a message started: in the executor of this process, or as it left them.

use std::sync::Arc;

use processors::workflows::{RunDetail, StoppedRuns, Workflows};

use super::fired::Firing;
use super::view::{Alert, Run, Who};

/// Where runs are looked up.
#[derive(Clone, Debug)]
pub(crate) enum Runs {
    /// In this process.
    Running(Workflows),
    /// In the outbox that a process left.
    Stopped(Arc<StoppedRuns>),
    /// Not from here; why.
    Elsewhere(String),
}

impl Runs {
    async fn show(&self, id: &str) -> Result<Option<RunDetail>, String> {
        match self {
            Self::Running(workflows) => workflows.show(id).await.map_err(|error| error.to_string()),
            Self::Stopped(runs) => {
                let (runs, id) = (runs.clone(), id.to_owned());
                let shown = tokio::task::spawn_blocking(move || runs.show(&id)).await;
                shown.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
            }
            Self::Elsewhere(why) => Err(why.clone()),
        }
    }

    /// The runs of `firings`, and those of `alerts` that another reading started: a cool-down covers several.
    pub(super) async fn of(&self, who: &Who, firings: Vec<Firing>, alerts: &[Alert]) -> Vec<Run> {
        let mut runs = Vec::new();
        for Firing { run: id, rule, offset } in firings {
            let (detail, note) = match self.show(&id).await {
                Ok(Some(detail)) => {
                    let note =
                        (!is_of(&detail, who)).then(|| "started by another reading within its cool-down".to_owned());
                    (Some(detail), note)
                }
                Ok(None) => (None, Some("not in the outbox: not taken yet, or not kept any more".to_owned())),
                Err(why) => (None, Some(why)),
            };
            runs.push(Run { id, rule, offset: Some(offset), detail, note });
        }
        for alert in alerts {
            if runs.iter().any(|run| run.id == alert.alert_id) {
                continue;
            }
            // A rule without steps starts none; so nothing found is nothing to tell.
            if let Ok(Some(detail)) = self.show(&alert.alert_id).await {
                let note = if is_of(&detail, who) {
                    "its firing is no longer in the stream"
                } else {
                    "started by another reading within its cool-down"
                };
                let (id, rule, note) = (alert.alert_id.clone(), alert.rule.clone(), Some(note.to_owned()));
                runs.push(Run { id, rule, offset: None, detail: Some(detail), note });
            }
        }
        runs
    }
}

fn is_of(run: &RunDetail, who: &Who) -> bool {
    run.summary.device == who.device && run.boot == Some(who.boot) && run.seq == Some(who.seq)
}
