//! Rules with steps, one of each sort, so that some fire a hundred times a second under the load of a round.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{EVENTS, name};

/// A rule, and how the judge finds out by itself where it must have fired.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: &'static str,
    /// Key and condition in the rule file.
    when: (&'static str, &'static str),
    /// The condition in DuckDB, on a row of the table `stored`.
    pub(super) judged: &'static str,
    /// Cool-down in seconds.
    cooldown: Option<u32>,
    /// It calls this hook in its first step.
    hook: Option<Call>,
    /// It sends a command to the device.
    pub(super) command: bool,
    /// Its steps are given up, and become dead letters.
    pub(super) letters: bool,
}

/// How a hook is called.
#[derive(Debug)]
struct Call {
    hook: &'static str,
    /// Attempts until it is given up.
    attempts: u32,
    /// Whether calls for a device come in order: not when some are given up and taken up again later.
    ordered: bool,
}

/// All of them. Conditions on `seq` spread over what devices send; those on values come in bursts.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "insisting",
        when: ("when", "metric = 'temperature' AND seq % 97 = 5"),
        judged: "metric = 'temperature' AND seq % 97 = 5",
        cooldown: None,
        hook: Some(Call { hook: name::TROUBLED, attempts: 100, ordered: true }),
        command: false,
        letters: false,
    },
    Rule {
        id: "given-up",
        when: ("when", "metric = 'humidity' AND seq % 199 = 7"),
        judged: "metric = 'humidity' AND seq % 199 = 7",
        cooldown: None,
        hook: Some(Call { hook: name::REFUSING, attempts: 2, ordered: false }),
        command: false,
        letters: true,
    },
    Rule {
        id: "undisturbed",
        when: ("when", "metric = 'pressure' AND seq % 101 = 11"),
        judged: "metric = 'pressure' AND seq % 101 = 11",
        cooldown: None,
        hook: Some(Call { hook: name::WELL, attempts: 100, ordered: true }),
        command: false,
        letters: false,
    },
    Rule {
        id: "cooled",
        when: ("when", "metric = 'temperature' AND value > 23"),
        judged: "metric = 'temperature' AND value > 23",
        cooldown: Some(2),
        hook: Some(Call { hook: name::WELL, attempts: 100, ordered: true }),
        command: false,
        letters: false,
    },
    Rule {
        id: "both",
        when: ("when_message", "temperature > 15 AND humidity < 99 AND seq % 103 = 13"),
        // The alert of a message is made of the first reading that the rule names.
        judged: "metric = 'temperature' AND value > 15 AND seq % 103 = 13 AND EXISTS (SELECT 1 FROM stored AS other \
                 WHERE other.device_id = stored.device_id AND other.boot = stored.boot AND other.seq = stored.seq \
                 AND other.metric = 'humidity' AND other.value < 99)",
        cooldown: None,
        hook: None,
        command: false,
        letters: false,
    },
    Rule {
        id: "commanding",
        when: ("when", "metric = 'battery' AND seq % 211 = 17"),
        judged: "metric = 'battery' AND seq % 211 = 17",
        cooldown: None,
        hook: None,
        command: true,
        letters: false,
    },
];

impl Rule {
    /// As a rule of a file: the steps are webhook, command, emit, as far as it has them.
    pub(super) fn text(&self, address: impl Fn(&str) -> Option<SocketAddr>) -> String {
        let (key, condition) = self.when;
        let mut text = format!(
            "[[rule]]\nid = \"{}\"\n{key} = \"{condition}\"\nseverity = \"info\"\nmessage = \"{{device_id}}\"\n",
            self.id
        );
        if let Some(seconds) = self.cooldown {
            text.push_str(&format!("cooldown = \"{seconds}s\"\n"));
        }
        let called = self.hook.as_ref().and_then(|call| Some((call, address(call.hook)?)));
        if let Some((Call { attempts, .. }, address)) = called {
            text.push_str(&format!(
                "[[rule.step]]\nwebhook = \"http://{address}/hook/{{device_id}}\"\ntimeout = \"500ms\"\n\
                 retry = {{ attempts = {attempts}, initial = \"20ms\", cap = \"500ms\" }}\n"
            ));
        }
        if self.command {
            text.push_str("[[rule.step]]\nmqtt = \"{site}/{device_id}/commands\"\nttl = \"1h\"\n");
        }
        text.push_str(&format!("[[rule.step]]\nemit = \"{EVENTS}\"\n"));
        text
    }

    /// What the judge must know.
    pub(super) fn terms(&self) -> Value {
        let first = u32::from(self.hook.is_some());
        json!({
            "id": self.id,
            "when": self.judged,
            "per": if self.when.0 == "when_message" { "message" } else { "reading" },
            "cooldown_us": self.cooldown.map(|seconds| u64::from(seconds) * 1_000_000),
            "hook": self.hook.as_ref().map(|call| call.hook),
            "hook_step": self.hook.as_ref().map(|_| 0),
            "ordered": self.hook.as_ref().is_some_and(|call| call.ordered),
            "command_step": self.command.then_some(first),
            "emit_step": first + u32::from(self.command),
        })
    }
}
