//! Targets that do as they are told.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use crate::plan::Step;
use crate::workflows::target::{Attempt, Outcome, Target, Targets};

/// What a target does when it is tried.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Ends(Outcome),
    /// It never ends.
    Hangs,
    Panics,
}

pub(super) fn done() -> Act {
    Act::Ends(Outcome::Done("well".to_owned()))
}

pub(super) fn fails() -> Act {
    Act::Ends(Outcome::Failed("500".to_owned()))
}

pub(super) fn refuses() -> Act {
    Act::Ends(Outcome::Refused("404".to_owned()))
}

/// One call of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) target: String,
    pub(super) device: String,
    pub(super) key: String,
    pub(super) ended_well: bool,
}

/// All targets; they outlive the executor, as the world does.
#[derive(Default)]
pub(super) struct Script {
    /// What comes next, by key; then by target; else all is well.
    by_key: Mutex<HashMap<String, VecDeque<Act>>>,
    by_target: Mutex<HashMap<String, Act>>,
    pub(super) calls: Mutex<Vec<Call>>,
    hanging: Mutex<usize>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

impl Script {
    pub(super) fn next(&self, key: &str, acts: impl IntoIterator<Item = Act>) {
        self.by_key.lock().unwrap().entry(key.to_owned()).or_default().extend(acts);
    }

    pub(super) fn always(&self, target: &str, act: Act) {
        self.by_target.lock().unwrap().insert(target.to_owned(), act);
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// Keys in the order they were tried at `target`.
    pub(super) fn keys(&self, target: &str) -> Vec<String> {
        self.calls().into_iter().filter(|call| call.target == target).map(|call| call.key).collect()
    }

    pub(super) fn hanging(&self) -> usize {
        *self.hanging.lock().unwrap()
    }

    fn act(&self, target: &str, attempt: &Attempt) -> Act {
        let by_key = self.by_key.lock().unwrap().get_mut(&*attempt.key).and_then(VecDeque::pop_front);
        let act = by_key.or_else(|| self.by_target.lock().unwrap().get(target).cloned()).unwrap_or_else(done);
        self.calls.lock().unwrap().push(Call {
            target: target.to_owned(),
            device: attempt.firing.device_id.clone(),
            key: attempt.key.to_string(),
            ended_well: matches!(act, Act::Ends(Outcome::Done(_))),
        });
        act
    }
}

#[derive(Debug)]
struct Scripted {
    name: String,
    script: Arc<Script>,
}

#[async_trait]
impl Target for Scripted {
    async fn attempt(&self, attempt: &Attempt) -> Outcome {
        match self.script.act(&self.name, attempt) {
            Act::Ends(outcome) => outcome,
            // Without the hook, which prints.
            Act::Panics => std::panic::resume_unwind(Box::new("a target that panics")),
            Act::Hangs => {
                *self.script.hanging.lock().unwrap() += 1;
                std::future::pending().await
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct ScriptedTargets(pub(super) Arc<Script>);

impl Targets for ScriptedTargets {
    fn open(&self, step: &Step) -> Result<Arc<dyn Target>, String> {
        let name = step.action.target();
        if name == "email" {
            return Err("no SMTP server is configured".to_owned());
        }
        Ok(Arc::new(Scripted { name, script: self.0.clone() }))
    }
}
