//! What a round has besides, if its rules have steps: hooks that are called, rules that call them, and the end of it:
//! every run finished, no dead letter left.

mod drain;
mod rules;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

pub(crate) use self::drain::{breaker, dead, drain, redrive, settle, settle_apart};
use self::rules::{RULES, Rule};
use crate::hook::{Hook, Mood, Plan, Record, Tally};
use crate::outcome::Outcome;

/// The stream that rules emit to, and its table.
pub(crate) const EVENTS: &str = "maintenance";
/// How long the mood of a hook lasts.
const EPISODE: Duration = Duration::from_millis(300);

/// Bytes of the log that are retained where there are dead letters: more than a round makes.
const RETENTION: u64 = 1 << 30;

/// The names of the hooks.
pub(crate) mod name {
    /// Fails in every way, and is tried until it does what is asked: order is kept.
    pub(crate) const TROUBLED: &str = "troubled";
    /// Is given up after two attempts: dead letters.
    pub(crate) const REFUSING: &str = "refusing";
    /// Always does well: trouble of others is none of its business.
    pub(crate) const WELL: &str = "well";
}

/// The hooks of a round.
#[derive(Debug)]
pub(crate) struct Workflows {
    record: Arc<Mutex<Record>>,
    hooks: Vec<(&'static str, Hook)>,
    /// What the judge is told.
    terms: PathBuf,
    wanted: Wanted,
}

/// Which of the rules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// One that sends commands to devices.
    pub(crate) commands: bool,
    /// One whose steps are given up. Letters live as long as the log retains them, so it retains much; without, it
    /// retains as little as the round says.
    pub(crate) letters: bool,
}

impl Workflows {
    /// Starts hooks that write to `directory`, and writes there what the judge must know.
    ///
    /// # Errors
    /// If a hook cannot listen, or a file not be written.
    pub(crate) fn start(directory: &Path, seed: u64, wanted: Wanted) -> anyhow::Result<Self> {
        let record = Arc::new(Mutex::new(Record::create(&directory.join("hooks.csv"))?));
        let mut hooks = Vec::new();
        for hook in [name::TROUBLED, name::REFUSING, name::WELL] {
            hooks.push((hook, Hook::start(hook, crate::ports::free_address()?, &record, seed)?));
        }
        let terms = directory.join("workflows.json");
        let workflows = Self { record, hooks, terms, wanted };
        let text = json!({ "rules": workflows.rules().map(Rule::terms).collect::<Vec<Value>>() });
        fs::write(&workflows.terms, text.to_string()).with_context(|| workflows.terms.display().to_string())?;
        Ok(workflows)
    }

    /// The rules, as text of a rule file.
    pub(crate) fn text(&self) -> String {
        let rule = |rule: &Rule| rule.text(|hook| self.hook(hook).map(Hook::address));
        self.rules().map(rule).collect::<Vec<_>>().join("\n")
    }

    /// The rules by id, as conditions for the judge of alerts.
    pub(crate) fn conditions(&self) -> Vec<(String, String)> {
        self.rules().map(|rule| (rule.id.to_owned(), rule.judged.to_owned())).collect()
    }

    /// Settings of Weir: the stream exists, hooks may be called, and what takes long is quick.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        let retention =
            self.wanted.letters.then(|| ("WEIR_STREAMS__RETENTION_BYTES".to_owned(), RETENTION.to_string()));
        let settings = [
            ("WEIR_STREAMS__EMIT", format!("[\"{EVENTS}\"]")),
            ("WEIR_WORKFLOWS__BREAKER_OPEN_SECONDS", "0.2".to_owned()),
            ("WEIR_WORKFLOWS__BREAKER_LONGEST_OPEN_SECONDS", "1".to_owned()),
        ];
        settings
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .chain([Self::allow()])
            .chain(retention)
            .collect()
    }

    /// The setting that hooks on this machine may be called.
    pub(crate) fn allow() -> (String, String) {
        ("WEIR_WORKFLOWS__ALLOW_ADDRESSES".to_owned(), "[\"127.0.0.0/8\"]".to_owned())
    }

    /// What the judge is told.
    pub(crate) fn terms(&self) -> &Path {
        &self.terms
    }

    /// Whether a rule sends commands to devices.
    pub(crate) fn commands(&self) -> bool {
        self.wanted.commands
    }

    /// Whether steps of a rule are given up.
    pub(crate) fn letters(&self) -> bool {
        self.wanted.letters
    }

    /// From now on hooks are as they are: one well, two moody.
    pub(crate) fn misbehave(&self) {
        self.plan(name::TROUBLED, Plan::moody(&Mood::ALL, EPISODE));
        self.plan(name::REFUSING, Plan::moody(&[Mood::Well, Mood::Fails, Mood::Resets, Mood::Mute], EPISODE));
    }

    /// From now on all do well.
    pub(crate) fn recover(&self) {
        self.hooks.iter().for_each(|(_, hook)| hook.plan(Plan::always(Mood::Well)));
    }

    /// From now on the moods of a hook come by `plan`.
    pub(crate) fn plan(&self, hook: &str, plan: Plan) {
        if let Some(hook) = self.hook(hook) {
            hook.plan(plan);
        }
    }

    /// What a hook has seen.
    pub(crate) fn tally(&self, hook: &str) -> Tally {
        self.hook(hook).map(Hook::tally).unwrap_or_default()
    }

    /// The target of a hook, as labels of metrics have it.
    pub(crate) fn target(&self, hook: &str) -> String {
        self.hook(hook).map_or_else(String::new, |hook| format!("webhook http://{}", hook.address()))
    }

    /// Ends the hooks, when nothing calls them any more, and tells what they saw.
    ///
    /// # Errors
    /// If something could not be written down, or a request was not what its key says.
    pub(crate) fn finish(self, outcome: &mut Outcome) -> anyhow::Result<()> {
        let mut misshapen = 0;
        for (_, hook) in self.hooks {
            let tally = hook.finish()?;
            for (mood, count) in tally.moods.into_iter().filter(|(mood, _)| *mood != Mood::Well) {
                *outcome.faults.entry(format!("request {}", mood.name())).or_default() += count;
            }
            misshapen += tally.misshapen;
        }
        self.record.lock().unwrap_or_else(PoisonError::into_inner).flush()?;
        ensure!(misshapen == 0, "{misshapen} requests whose body is not the event that their key names");
        Ok(())
    }

    fn rules(&self) -> impl Iterator<Item = &'static Rule> {
        let Wanted { commands, letters } = self.wanted;
        RULES.iter().filter(move |rule| (commands || !rule.command) && (letters || !rule.letters))
    }

    fn hook(&self, name: &str) -> Option<&Hook> {
        self.hooks.iter().find(|(found, _)| *found == name).map(|(_, hook)| hook)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_judge_is_told_of_every_rule_and_step() {
        let directory = tempfile::tempdir().unwrap();
        let workflows = Workflows::start(directory.path(), 1, Wanted { commands: false, letters: true }).unwrap();
        let terms: Value = serde_json::from_str(&fs::read_to_string(workflows.terms()).unwrap()).unwrap();
        let rules = terms["rules"].as_array().unwrap();
        let text = workflows.text();
        assert_eq!(rules.len(), text.matches("[[rule]]").count());
        for rule in rules {
            assert!(text.contains(&format!("id = {}", rule["id"])), "{rule}");
        }
        let emits = rules.iter().filter(|rule| rule["emit_step"].is_number()).count();
        assert_eq!(emits, text.matches(&format!("emit = \"{EVENTS}\"")).count());
        let port = workflows.hook(name::WELL).unwrap().address().port();
        assert!(text.contains(&format!("webhook = \"http://127.0.0.1:{port}/hook/{{device_id}}\"")), "{text}");
        assert!(!text.contains("mqtt = "), "no commands were asked for");
    }
}
