//! Runs the stages behind the door: one that fails stops all, and is named.
//!
//! They have a runtime of their own: a consumer computes for milliseconds between two waits, and HTTP and the
//! signals must not wait for it.

use std::fmt;

use anyhow::{Context, bail};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, JoinSet};

/// The stages behind the door, in the order in which they stop.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Rules,
    /// Hands firings to the executor.
    Workflows,
    /// Does their steps.
    Executor,
    ReadingsTable,
    AlertsTable,
    /// A table of what workflows emit.
    EventsTable(String),
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rules => "rules",
            Self::Workflows => "workflows",
            Self::Executor => "workflows/executor",
            Self::ReadingsTable => "sink/readings",
            Self::AlertsTable => "sink/alerts",
            Self::EventsTable(name) => return write!(f, "sink/{name}"),
        })
    }
}

type Ended = (Stage, anyhow::Result<()>);

/// The running stages and their stop signals.
pub(crate) struct Supervisor {
    /// Taken when dropped: a runtime must not be dropped where it would have to wait.
    runtime: Option<Runtime>,
    running: JoinSet<Ended>,
    stops: Vec<(Stage, watch::Sender<bool>)>,
    servers: Vec<JoinHandle<()>>,
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Supervisor {
    /// No stages yet.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread().thread_name("weir-consume").enable_all().build();
        let runtime = runtime.context("threads of the consumers")?;
        Ok(Self { runtime: Some(runtime), running: JoinSet::new(), stops: Vec::new(), servers: Vec::new() })
    }

    /// Spawns the stage that `start` makes of its stop signal.
    pub(crate) fn spawn<F, E>(&mut self, stage: Stage, start: impl FnOnce(watch::Receiver<bool>) -> F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::error::Error + Send + Sync + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        let work = start(stopped);
        self.stops.push((stage.clone(), stop));
        let work = async move {
            let ended = work.await.with_context(|| format!("stage {stage} failed"));
            (stage, ended)
        };
        if let Some(runtime) = &self.runtime {
            self.running.spawn_on(work, runtime.handle());
        }
    }

    /// Keeps a server until the end; it is aborted then, for it holds nothing.
    pub(crate) fn keep(&mut self, server: JoinHandle<()>) {
        self.servers.push(server);
    }

    /// Resolves when a stage has ended although nobody stopped it.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        match self.running.join_next().await {
            Some(ended) => failure(ended),
            None => std::future::pending().await,
        }
    }

    /// Stops the stages one after the other, each when it has drained.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.stops.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (stage, stop) in std::mem::take(&mut self.stops) {
            stop.send_replace(true);
            // Another stage that ends now has failed.
            match self.running.join_next().await {
                Some(Ok((ended, Ok(())))) if ended == stage => {}
                Some(other) => return Err(failure(other)),
                None => bail!("stage {stage} is not running"),
            }
        }
        for server in &self.servers {
            server.abort();
        }
        Ok(())
    }
}

fn failure(ended: Result<Ended, JoinError>) -> anyhow::Error {
    match ended {
        Ok((stage, Ok(()))) => anyhow::anyhow!("stage {stage} ended without being stopped"),
        Ok((_, Err(error))) => error,
        Err(panic) => anyhow::Error::new(panic).context("a stage panicked"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use streams::consume::{ConsumeError, EffectError};

    use super::*;

    #[tokio::test]
    async fn stages_stop_in_the_order_of_the_stream() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut supervisor = Supervisor::new().unwrap();
        for stage in [Stage::AlertsTable, Stage::Rules, Stage::ReadingsTable] {
            let order = order.clone();
            supervisor.spawn(stage.clone(), move |mut stop| async move {
                stop.wait_for(|stop| *stop).await.unwrap();
                order.lock().unwrap().push(stage.clone());
                Ok::<(), ConsumeError>(())
            });
        }
        supervisor.stop().await.unwrap();
        assert_eq!(*order.lock().unwrap(), [Stage::Rules, Stage::ReadingsTable, Stage::AlertsTable]);
    }

    #[tokio::test]
    async fn a_stage_that_fails_is_named() {
        let mut supervisor = Supervisor::new().unwrap();
        supervisor.spawn(Stage::AlertsTable, |_stop| async {
            Err(ConsumeError::Effect { group: "sink/alerts".into(), source: EffectError::new("rename", "disk full") })
        });
        supervisor.spawn(Stage::Rules, |_stop| std::future::pending::<Result<(), ConsumeError>>());
        let error = format!("{:#}", supervisor.failed().await);
        assert!(error.contains("stage sink/alerts failed") && error.contains("disk full"), "{error}");
    }

    #[tokio::test]
    async fn a_stage_that_panics_ends_the_wait() {
        let mut supervisor = Supervisor::new().unwrap();
        supervisor.spawn(Stage::Rules, |_stop| async { panic!("a bug") as Result<(), ConsumeError> });
        assert!(format!("{:#}", supervisor.failed().await).contains("panicked"));
    }
}
