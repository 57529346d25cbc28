//! `weir rules list`: the rules in force.

use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::arguments::List;
use crate::admin::table;
use crate::config::Config;

/// What the process says; it may say more.
#[derive(Debug, Serialize, Deserialize)]
struct Rules {
    rules: Vec<InForce>,
}

#[derive(Debug, Serialize, Deserialize)]
struct InForce {
    id: String,
    version: i64,
    severity: String,
    matches: u64,
    errors: u64,
}

/// Prints the rules of the running process.
pub(super) async fn run(arguments: &List, config: &Config) -> anyhow::Result<ExitCode> {
    let client = arguments.process.client(config);
    if arguments.json {
        let answer: serde_json::Value = client.get("/api/v1/rules").await?;
        println!("{answer}");
    } else {
        let answer: Rules = client.get("/api/v1/rules").await?;
        print!("{}", shown(&answer));
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(answer: &Rules) -> String {
    let row = |rule: &InForce| {
        let state = if rule.errors > 0 { "errors" } else { "ok" };
        [
            rule.id.clone(),
            rule.version.to_string(),
            rule.severity.clone(),
            rule.matches.to_string(),
            rule.errors.to_string(),
            state.to_owned(),
        ]
    };
    let rows: Vec<_> = answer.rules.iter().map(row).collect();
    table::text(["id", "version", "severity", "matches", "errors", "state"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_fails_on_readings_is_seen() {
        let answer = r#"{"rules":[{"id":"hot","version":2,"severity":"critical","matches":5,"errors":0,"when":"x"},
            {"id":"cold","version":1,"severity":"info","matches":0,"errors":3}]}"#;
        let shown = shown(&serde_json::from_str(answer).unwrap());
        let words: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[0], ["id", "version", "severity", "matches", "errors", "state"]);
        assert_eq!(words[1], ["hot", "2", "critical", "5", "0", "ok"]);
        assert_eq!(words[2], ["cold", "1", "info", "0", "3", "errors"]);
    }
}
