//! With the executor that the process has, and a target that works or does not.

use std::sync::atomic::AtomicBool;

use processors::plan::{Action, OnFailure, Plan, Retry, Step, Webhook};
use processors::workflows::target::{Attempt, Outcome, Target, Targets};
use processors::workflows::{RunDetail, RunState, Workflows, WorkflowsConfig, WorkflowsMetrics};
use processors::{Firing, Severity};

use super::*;

/// A web server that works or does not.
#[derive(Debug, Default)]
struct Server {
    works: AtomicBool,
    keys: Mutex<Vec<String>>,
}

#[async_trait]
impl Target for Server {
    async fn attempt(&self, attempt: &Attempt) -> Outcome {
        self.keys.lock().unwrap().push(attempt.key.to_string());
        if self.works.load(Ordering::SeqCst) {
            Outcome::Done("200 OK".to_owned())
        } else {
            Outcome::Refused("404 Not Found".to_owned())
        }
    }
}

#[derive(Debug)]
struct OneServer(Arc<Server>);

impl Targets for OneServer {
    fn open(&self, _step: &Step) -> Result<Arc<dyn Target>, String> {
        Ok(self.0.clone())
    }
}

/// Letters, and the executor behind them.
pub(crate) struct Running {
    pub(crate) fixture: Fixture,
    pub(crate) workflows: Workflows,
    server: Arc<Server>,
    _stop: watch::Sender<bool>,
}

impl Running {
    pub(crate) async fn new() -> Self {
        let mut fixture = Fixture::new().await;
        let server = Arc::new(Server::default());
        let started = Workflows::start(
            WorkflowsConfig::default(),
            fixture.dir.path(),
            fixture.streams.clone(),
            fixture.clock.clone(),
            telemetry::trace::Tracing::default(),
            WorkflowsMetrics::register(&Registry::new()).unwrap(),
            Arc::new(OneServer(server.clone())),
        );
        let started = started.await.unwrap();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(started.executor.run(stopped));
        let workflows = started.workflows;
        fixture.dlq.runs = Some(Arc::new(workflows.clone()));
        Self { fixture, workflows, server, _stop: stop }
    }

    /// A firing of two steps at the server.
    pub(crate) fn firing(run_id: &str) -> Firing {
        let webhook = Webhook {
            url: "http://127.0.0.1:1/hook".to_owned(),
            headers: BTreeMap::new(),
            secret: None,
            timeout: Duration::from_secs(1),
        };
        let step = Step {
            action: Action::Webhook(webhook),
            body: None,
            retry: Retry { attempts: 1, ..Retry::default() },
            on_failure: OnFailure::DeadLetter,
        };
        let plan = Plan { labels: BTreeMap::new(), steps: vec![step.clone(), step] };
        Firing {
            run_id: run_id.to_owned(),
            rule_id: "hot".to_owned(),
            rule_version: 1,
            severity: Severity::Warning,
            message: "pump-1 is hot".to_owned(),
            device_id: "pump-1".to_owned(),
            site: None,
            time: Timestamp::from_micros(NOW),
            received_at: Timestamp::from_micros(NOW),
            boot: Some(1),
            seq: Some(5),
            data: "{}".to_owned(),
            plan: serde_json::to_string(&plan).unwrap().into(),
            trace: None,
        }
    }

    /// Admits a firing, and waits until its run has come to this state.
    pub(crate) async fn admit(&self, run_id: &str, state: RunState) -> RunDetail {
        self.workflows.admit(vec![Self::firing(run_id)]).await.unwrap();
        self.until(run_id, state).await
    }

    async fn until(&self, run_id: &str, state: RunState) -> RunDetail {
        loop {
            let run = self.workflows.show(run_id).await.unwrap().unwrap();
            if run.summary.state == state {
                return run;
            }
            tokio::task::yield_now().await;
        }
    }

    /// From now on the server works, or does not.
    pub(crate) fn works(&self, works: bool) {
        self.server.works.store(works, Ordering::SeqCst);
    }

    fn keys(&self) -> Vec<String> {
        std::mem::take(&mut self.server.keys.lock().unwrap())
    }
}

const RUN: &str = "0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn a_run_goes_on_at_its_step_with_the_same_key() {
    let mut running = Running::new().await;
    running.admit(RUN, RunState::Dead).await;
    assert_eq!(running.keys(), [format!("{RUN}-0")]);
    assert_eq!(running.fixture.waiting().await, ["workflow-0-0"]);
    let letter = running.fixture.dlq.show(id("workflow-0-0")).await.unwrap().unwrap();
    assert_eq!((letter.reason.as_str(), letter.topic), ("workflow_step", format!("workflows/{RUN}/0")));
    assert_eq!((letter.client_id.as_str(), letter.attempts), ("hot", Some(1)));

    // Refused again: a letter of its own.
    running.fixture.dlq.redrive(all()).await.unwrap();
    running.until(RUN, RunState::Dead).await;
    assert_eq!(running.fixture.waiting().await, ["workflow-1-0"]);
    assert_eq!(running.keys(), [format!("{RUN}-0")]);

    running.works(true);
    assert_eq!(running.fixture.dlq.redrive(all()).await.unwrap().failed, []);
    running.until(RUN, RunState::Done).await;
    assert_eq!(running.keys(), [format!("{RUN}-0"), format!("{RUN}-1")]);
    assert_eq!(running.fixture.waiting().await, Vec::<String>::new());

    // The marks are lost: both letters wait again, and nothing is done twice.
    std::fs::remove_file(running.fixture.dir.path().join("dlq.redb")).unwrap();
    let runs = running.fixture.dlq.runs.clone();
    running.fixture.reopen();
    running.fixture.dlq.runs = runs;
    let changed = running.fixture.dlq.redrive(all()).await.unwrap();
    assert_eq!((changed.done, changed.failed), (2, vec![]));
    assert_eq!(running.keys(), Vec::<String>::new());
    running.until(RUN, RunState::Done).await;
}

#[tokio::test]
async fn a_dropped_letter_ends_the_run_that_waits_with_it_and_an_older_one_does_not() {
    let running = Running::new().await;
    running.admit(RUN, RunState::Dead).await;
    running.workflows.redrive(RUN, Some(0)).await.unwrap();
    running.until(RUN, RunState::Dead).await;
    assert_eq!(running.fixture.waiting().await, ["workflow-0-0", "workflow-1-0"]);
    assert_eq!(running.fixture.dlq.drop_letters(named(&["workflow-0-0"])).await.unwrap().done, 1);
    running.until(RUN, RunState::Dead).await;
    assert_eq!(running.fixture.dlq.drop_letters(named(&["workflow-1-0"])).await.unwrap().done, 1);
    running.until(RUN, RunState::Dropped).await;
}

#[tokio::test]
async fn a_run_that_was_cancelled_or_is_not_kept_is_told() {
    let running = Running::new().await;
    running.admit(RUN, RunState::Dead).await;
    running.workflows.cancel(RUN).await.unwrap();
    running.fixture.give_up(&[("workflow_step", "workflows/ffffffffffffffffffffffffffffffff/0")]).await;
    let changed = running.fixture.dlq.redrive(all()).await.unwrap();
    let errors = errors(&changed);
    assert_eq!(errors[0], format!("workflow-0-0: run {RUN} is cancelled"));
    assert!(errors[1].ends_with("is not kept any more"), "{errors:?}");
    assert_eq!(running.fixture.dlq.drop_letters(all()).await.unwrap().done, 2);
    assert_eq!(running.fixture.waiting().await, Vec::<String>::new());
}
