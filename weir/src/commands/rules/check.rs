//! `weir rules check`: whether rules can be used, and what may be missing when they fire.

use std::collections::BTreeSet;
use std::process::ExitCode;

use processors::plan::{Action, Mqtt, Secret, Step};
use processors::{Rule, RuleSet, ShownDuration};

use super::arguments::Check;
use crate::admin::table;
use crate::config::{Backend, Config};

/// Prints a line for each rule, and warnings; a mistake is an error.
pub(super) fn run(arguments: &Check, config: &Config) -> anyhow::Result<ExitCode> {
    let rules = RuleSet::load(&arguments.rules)?;
    print!("{}", lines(&rules));
    for warning in warnings(&rules, config) {
        eprintln!("warning: {warning}");
    }
    Ok(ExitCode::SUCCESS)
}

fn lines(rules: &RuleSet) -> String {
    let rows: Vec<_> = rules.rules().iter().map(line).collect();
    table::text(["rule", "version", "severity", "kind", "cooldown", "steps"], &rows)
}

fn line(rule: &Rule) -> [String; 6] {
    let kinds: Vec<&str> = steps(rule).iter().map(|step| step.action.kind()).collect();
    [
        rule.id().to_owned(),
        rule.version().to_string(),
        rule.severity().as_str().to_owned(),
        if rule.is_over_messages() { "message" } else { "reading" }.to_owned(),
        rule.cooldown().map_or_else(|| "-".to_owned(), |time| ShownDuration(time).to_string()),
        if kinds.is_empty() { "-".to_owned() } else { kinds.join(", ") },
    ]
}

/// The steps of a rule; none of one that only makes alerts.
pub(super) fn steps(rule: &Rule) -> &[Step] {
    &rule.plan().steps
}

/// What is not wrong with the rules, but with where they would run now.
fn warnings(rules: &RuleSet, config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    for stream in rules.emits() {
        if !config.streams.emit.iter().any(|open| *open == *stream) {
            warnings.push(format!(
                "a step emits to `{stream}`, which streams.emit of the configuration does not name: weir refuses these rules"
            ));
        }
    }
    let used: BTreeSet<Secret> = rules.rules().iter().flat_map(steps).flat_map(secrets).collect();
    for secret in used {
        match &secret {
            Secret::Env(name) if std::env::var_os(name).is_none() => {
                warnings.push(format!("the environment variable {name} is not set here: steps that need it fail"));
            }
            Secret::File(path) if !std::path::Path::new(path).is_file() => {
                warnings.push(format!("the file {path} is not there now: steps that need it fail"));
            }
            Secret::Env(_) | Secret::File(_) => {}
        }
    }
    let to_devices = |step: &Step| matches!(step.action, Action::Mqtt(Mqtt { broker: None, .. }));
    if config.streams.backend == Backend::Fluvio && rules.rules().iter().flat_map(steps).any(to_devices) {
        warnings.push(
            "a step sends to devices of the endpoint, which works in `weir up`; where stages run apart, `weir workflows` \
             refuses it: let the step name a `broker`"
                .to_owned(),
        );
    }
    let emails = rules.rules().iter().flat_map(steps).any(|step| matches!(step.action, Action::Email { .. }));
    if emails && !cfg!(feature = "email") {
        warnings.push("a step sends e-mail, which this build of weir cannot: it lacks the feature `email`".to_owned());
    } else if emails && config.email.url.is_empty() {
        warnings.push("a step sends e-mail, and email.url of the configuration is empty".to_owned());
    }
    warnings
}

/// The places of secrets that a step names.
fn secrets(step: &Step) -> Vec<Secret> {
    let Action::Webhook(webhook) = &step.action else { return Vec::new() };
    let mut secrets: Vec<Secret> = webhook.secret.iter().cloned().collect();
    for value in webhook.headers.values() {
        let mut rest = value.as_str();
        while let Some((_, after)) = rest.split_once("${") {
            let (place, behind) = after.split_once('}').unwrap_or((after, ""));
            secrets.extend(Secret::try_from(place.to_owned()).ok());
            rest = behind;
        }
    }
    secrets
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"
        [[rule]]
        id = "hot"
        version = 3
        when = "metric = 'temperature' AND value > 80"
        severity = "critical"
        message = "{device_id}"
        cooldown = "10m"
        [[rule.step]]
        webhook = "https://ops.example.com/hook"
        headers = { authorization = "Bearer ${env:WEIR_TEST_NOT_SET_1} ${file:/nowhere/token}" }
        secret = "env:WEIR_TEST_NOT_SET_2"
        [[rule.step]]
        emit = "maintenance"
        [[rule]]
        id = "dry"
        when_message = "temperature > 80 AND humidity < 20"
        severity = "info"
        message = "{device_id}"
    "#;

    #[test]
    fn a_line_says_what_a_rule_is() {
        let shown = lines(&RuleSet::parse(RULES, "test").unwrap());
        let words: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[1], ["hot", "3", "critical", "reading", "10m", "webhook,", "emit"]);
        assert_eq!(words[2], ["dry", "1", "info", "message", "-", "-"]);
    }

    #[test]
    fn what_is_missing_here_is_a_warning() {
        let rules = RuleSet::parse(RULES, "test").unwrap();
        let all = warnings(&rules, &Config::default()).join("\n");
        for missing in ["`maintenance`", "WEIR_TEST_NOT_SET_1", "WEIR_TEST_NOT_SET_2", "/nowhere/token"] {
            assert!(all.contains(missing), "{missing}: {all}");
        }
        let mut config = Config::default();
        config.streams.emit = vec!["maintenance".to_owned()];
        assert!(!warnings(&rules, &config).join("\n").contains("maintenance"));
    }

    #[test]
    fn commands_to_devices_are_warned_of_where_stages_may_be_apart() {
        let rule = RULES.split("[[rule.step]]").next().unwrap();
        let to_devices = format!("{rule}[[rule.step]]\nmqtt = \"commands\"\n");
        let to_broker = format!("{to_devices}broker = \"mqtt://10.0.0.5:1883\"\n");
        let warned = |text: &str, backend| {
            let mut config = Config::default();
            config.streams.backend = backend;
            warnings(&RuleSet::parse(text, "test").unwrap(), &config).join("\n").contains("weir workflows")
        };
        assert!(warned(&to_devices, Backend::Fluvio));
        assert!(!warned(&to_devices, Backend::Embedded) && !warned(&to_broker, Backend::Fluvio));
    }
}
