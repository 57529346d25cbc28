use std::time::Duration;

use super::*;
use crate::plan::{Mqtt, OnFailure, Retry, Secret, Step, Webhook};

/// A rule with the steps in `toml`; the steps begin in line 6.
fn with(toml: &str) -> String {
    format!("{}{toml}\n", rule("r", "value > 80", "m"))
}

fn step(toml: &str) -> Step {
    let set = RuleSet::parse(&with(&format!("[[rule.step]]\n{toml}")), "f").unwrap_or_else(|error| panic!("{error}"));
    set.rules()[0].plan().steps[0].clone()
}

#[test]
fn a_whole_rule_is_read() {
    let toml = r#"
[[rule]]
id = "overheating"
version = 2
when_message = "temperature > 80 AND humidity < 20"
severity = "critical"
message = "{device_id} is hot"
cooldown = "10m"
labels = { team = "ovens", "a.b" = "" }
[[rule.step]]
webhook = "https://ops.example.com:8443/hook/{device_id}?site={site}"
headers = { Authorization = "Bearer ${env:OPS_TOKEN}" }
secret = "env:OPS_HMAC_KEY"
timeout = "1500ms"
body = "{{ device_id }}"
retry = { attempts = 3, initial = "2s", cap = "1m" }
on_failure = "continue"
[[rule.step]]
mqtt = "{site}/{device_id}/commands"
broker = "mqtt://10.0.0.5:1883"
ttl = "2h"
[[rule.step]]
emit = "maintenance"
on_failure = "stop"
[[rule.step]]
email = ["ops@example.com", "on.call@example.com"]
subject = "{{ rule }} on {{ device_id }}"
[[rule.step]]
log = true
"#;
    let set = RuleSet::parse(toml, "f").unwrap_or_else(|error| panic!("{error}"));
    let rule = &set.rules()[0];
    assert!(rule.is_over_messages());
    assert_eq!((rule.version(), rule.cooldown()), (2, Some(Duration::from_secs(600))));
    assert_eq!(rule.labels()["team"], "ovens");
    assert_eq!(rule.metrics(), ["humidity", "temperature"]);
    assert_eq!(set.emits().into_iter().collect::<Vec<_>>(), ["maintenance"]);
    let steps = &rule.plan().steps;
    let kinds: Vec<_> = steps.iter().map(|step| step.action.kind()).collect();
    assert_eq!(kinds, ["webhook", "mqtt", "emit", "email", "log"]);
    let failures: Vec<_> = steps.iter().map(|step| step.on_failure).collect();
    use OnFailure::{Continue, DeadLetter, Stop};
    assert_eq!(failures, [Continue, DeadLetter, Stop, DeadLetter, DeadLetter]);
    let Action::Webhook(webhook) = &steps[0].action else { panic!("{steps:?}") };
    assert_eq!(webhook.headers["Authorization"], "Bearer ${env:OPS_TOKEN}");
    assert_eq!((&webhook.secret, webhook.timeout.as_millis()), (&Some(Secret::Env("OPS_HMAC_KEY".to_owned())), 1500));
    let retry = Retry { attempts: 3, initial: Duration::from_secs(2), cap: Duration::from_secs(60) };
    assert_eq!((steps[0].retry, steps[1].retry), (retry, Retry::default()));
    assert_eq!(serde_json::from_str::<Plan>(&rule.plan_json).unwrap(), *rule.plan());
}

#[test]
fn what_is_left_out_is_as_documented() {
    let webhook = step("webhook = 'http://example.com'");
    let expected = Webhook {
        url: "http://example.com".to_owned(),
        headers: BTreeMap::new(),
        secret: None,
        timeout: Duration::from_secs(10),
    };
    assert_eq!(webhook.action, Action::Webhook(expected));
    assert_eq!((webhook.body, webhook.on_failure), (None, OnFailure::DeadLetter));
    let mqtt = Mqtt { topic: "a/{device_id}".to_owned(), broker: None, ttl: Duration::from_secs(3600) };
    assert_eq!(step("mqtt = 'a/{device_id}'").action, Action::Mqtt(mqtt));
    let email = Action::Email { to: vec!["a@b".to_owned()], subject: "{{ message }}".to_owned() };
    assert_eq!(step("email = ['a@b']").action, email);
    let plain = RuleSet::parse(&rule("r", "true", "m"), "f").unwrap();
    assert_eq!((plain.rules()[0].version(), plain.rules()[0].cooldown()), (1, None));
    // A first pause above the longest by default is the longest.
    let retry = step("log = true\nretry = { initial = '10m' }").retry;
    assert_eq!((retry.initial, retry.cap), (Duration::from_secs(600), Duration::from_secs(600)));
}

#[test]
fn every_mistake_in_a_step_has_its_place() {
    let url = "webhook = 'https://example.com'\n";
    let cases: &[(&str, (usize, usize), &str)] = &[
        ("body = 'x'", (6, 1), "needs one of `webhook`, `mqtt`, `emit`, `email` or `log`"),
        ("log = true\nemit = 'a'", (7, 7), "this is `emit` and `log`"),
        ("log = false", (7, 7), "write `log = true`"),
        ("log = true\nheders = {}", (8, 1), "did you mean `headers`?"),
        ("log = true\nheaders = { a = 'b' }", (8, 11), "`headers` belongs to a step `webhook`, this is a step `log`"),
        ("mqtt = 'a'\nsecret = 'env:A'", (8, 10), "`secret` belongs to a step `webhook`"),
        ("emit = 'a'\ntimeout = '1s'", (8, 11), "`timeout` belongs to a step `webhook`"),
        ("log = true\nbroker = 'mqtt://a'", (8, 10), "`broker` belongs to a step `mqtt`"),
        ("log = true\nttl = '1s'", (8, 7), "`ttl` belongs to a step `mqtt`"),
        ("log = true\nsubject = 's'", (8, 11), "`subject` belongs to a step `email`"),
        ("webhook = 'example.com/x'", (7, 11), "is not a URL"),
        ("webhook = 'ftp://example.com/x'", (7, 11), "is not a URL of `http` or `https`"),
        ("webhook = 'https://u:p@example.com'", (7, 11), "cannot hold user and password"),
        ("webhook = 'https://{site}.example.com'", (7, 20), "may stand in path and query"),
        ("webhook = 'https://example.com/{sit}'", (7, 32), "unknown place `{sit}`; did you mean `site`?"),
        ("webhook = 'https://example.com/{site'", (7, 32), "`{` without `}`"),
        ("webhook = 'https://example.com'\ntimeout = '6m'", (8, 11), "not a time from 100ms to 5m"),
        ("webhook = 'https://example.com'\nsecret = 'hunter2'", (8, 10), "expected `env:NAME` or `file:/PATH`"),
        ("webhook = 'https://example.com'\nheaders = { Host = 'a' }", (8, 13), "`Host` is set by Weir"),
        ("webhook = 'https://example.com'\nheaders = { 'a b' = 'c' }", (8, 13), "not the name of a header"),
        ("webhook = 'https://example.com'\nheaders = { aB = 'c', Ab = 'd' }", (8, 13), "occurs twice"),
        ("webhook = 'https://example.com'\nheaders = { a = '${env:B' }", (8, 17), "`${` without `}`"),
        ("webhook = 'https://example.com'\nheaders = { a = \"b\\n\" }", (8, 17), "cannot hold"),
        ("mqtt = 'a/+/b'", (7, 11), "no wildcard"),
        ("mqtt = '$SYS/x'", (7, 8), "begins with `$`"),
        ("mqtt = ''", (7, 8), "is not a topic"),
        ("mqtt = 'a/{devic_id}'", (7, 11), "did you mean `device_id`?"),
        ("mqtt = 'a'\nttl = '8d'", (8, 7), "not a time from 1s to 7d"),
        ("mqtt = 'a'\nbroker = 'http://a'", (8, 10), "broker `http://a`"),
        ("emit = 'Maintenance'", (7, 8), "lower case letters"),
        ("emit = 'alerts'", (7, 8), "is Weir's own"),
        ("email = []", (7, 9), "expected 1 to 20"),
        ("email = ['a@b', 'ops.example.com']", (7, 17), "is not an address"),
        ("email = ['a@b, c@d']", (7, 10), "is not an address"),
        ("email = ['a@b']\nsubject = '{{ mesage }}'", (8, 11), "did you mean `message`?"),
        ("log = true\nbody = '{{ device_id'", (8, 8), "template"),
        ("log = true\nretry = { attempts = 0 }", (8, 22), "from 1 to 100"),
        ("log = true\nretry = { attempts = 101 }", (8, 22), "from 1 to 100"),
        ("log = true\nretry = { initial = '2h' }", (8, 21), "from 1ms to 1h"),
        ("log = true\nretry = { initial = '10s', cap = '5s' }", (8, 34), "from 10s to 1d"),
        ("log = true\nretry = { cap = '25h' }", (8, 17), "from 1s to 1d"),
        ("log = true\nretry = { atempts = 3 }", (8, 11), "did you mean `attempts`?"),
        ("log = true\non_failure = 'ignore'", (8, 14), "unknown variant `ignore`"),
    ];
    assert_eq!(step(url).action.kind(), "webhook");
    for (toml, place, expected) in cases {
        let problem = refused(&with(&format!("[[rule.step]]\n{toml}")));
        assert!(problem.problem.contains(expected), "{toml}: {problem}");
        assert_eq!((problem.line, problem.column), *place, "{toml}: {problem}");
    }
}

#[test]
fn every_mistake_in_a_rule_has_its_place() {
    let good = "[[rule]]\nid = 'r'\nseverity = 'info'\nmessage = 'm'\n";
    let cases: &[(&str, (usize, usize), &str)] = &[
        ("", (2, 6), "a rule needs `when` or `when_message`"),
        ("when = 'true'\nwhen_message = 'a > 1'", (6, 16), "not both"),
        ("when = 'true'\nversion = 0", (6, 11), "`version` is 0, expected a whole number at least 1"),
        ("when = 'true'\ncooldown = '500ms'", (6, 12), "not a time from 1s to 1d"),
        ("when = 'true'\ncooldown = '2d'", (6, 12), "not a time from 1s to 1d"),
        ("when = 'true'\nlabels = { 'a b' = '' }", (6, 12), "the name of a label"),
        ("when = 'true'\nserverity = 'info'", (6, 1), "did you mean `severity`?"),
        ("when_message = 'true'", (5, 16), "names no metric"),
        ("when_message = 'device_id = 1 OR seq = 2'", (5, 16), "names no metric"),
        ("when_message = 'temperature > 80 AND value > 3'", (5, 38), "`value` is a column of one reading"),
        ("when_message = 'a.b > 3'", (5, 17), "stands in double quotes"),
        ("when_message = 'now() > time AND a > 1'", (5, 17), "`now` is refused"),
        ("when_message = 'max(a) > 1'", (5, 17), "one message at a time"),
        ("when_message = 'temperature'", (5, 16), "a rule needs a Boolean"),
        ("when_message = 'temperature > '", (5, 31), "syntax error"),
    ];
    for (toml, place, expected) in cases {
        let problem = refused(&format!("{good}{toml}\n"));
        assert!(problem.problem.contains(expected), "{toml}: {problem}");
        assert_eq!((problem.line, problem.column), *place, "{toml}: {problem}");
    }
    let over_messages = format!("{good}when_message = 'a > 1'\n[[rule.step]]\nmqtt = '{{device_id}}/{{metric}}'\n");
    let problem = refused(&over_messages);
    assert!(problem.problem.contains("`{metric}` is of one reading"), "{problem}");
    assert_eq!((problem.line, marked(&problem).as_str()), (7, "{metric}"));
}

#[test]
fn counts_and_sizes_are_limited() {
    let webhook = "[[rule.step]]\nwebhook = 'https://example.com'\n";
    let many = |one: fn(usize) -> String, count| (0..count).map(one).collect::<Vec<_>>().join(", ");
    let labels = |count| many(|at| format!("l{at} = ''"), count);
    let headers = |count| many(|at| format!("h{at} = ''"), count);
    let labelled = |labels: String| format!("{}labels = {{ {labels} }}\n", rule("r", "true", "m"));
    let cases = [
        (with(&"[[rule.step]]\nlog = true\n".repeat(17)), "17 steps, the limit is 16"),
        (
            with(&format!("[[rule.step]]\nlog = true\nbody = '{}'\n", "x".repeat(15_000)).repeat(5)),
            "the limit is 65536",
        ),
        (with(&format!("[[rule.step]]\nlog = true\nbody = '{}'\n", "x".repeat(17_000))), "template has 17000 bytes"),
        (with(&format!("{webhook}headers = {{ {} }}", headers(33))), "33 headers, the limit is 32"),
        (with(&format!("{webhook}headers = {{ a = '{}' }}", "x".repeat(5000))), "value has 5000 bytes"),
        (with(&format!("[[rule.step]]\nwebhook = 'https://example.com/{}'", "x".repeat(3000))), "URL has 3020 bytes"),
        (with(&format!("[[rule.step]]\nmqtt = '{}'", "x".repeat(1025))), "topic has 1025 bytes"),
        (with(&format!("[[rule.step]]\nemail = [{}]", many(|at| format!("'a{at}@b'"), 21))), "21 addresses"),
        (labelled(labels(17)), "17 labels, the limit is 16"),
        (labelled(format!("a = '{}'", "x".repeat(257))), "label has 257 bytes"),
    ];
    for (toml, expected) in cases {
        let problem = refused(&toml);
        assert!(problem.problem.contains(expected), "{problem}");
    }
    let metrics: Vec<_> = (0..65).map(|at| format!("m{at}")).collect();
    let when = format!("coalesce({}) > 0", metrics.join(", "));
    let file = rule("r", &when, "m").replace("when =", "when_message =");
    assert!(refused(&file).problem.contains("more than 64 metrics"));
}

#[test]
fn a_mistake_near_a_secret_does_not_show_it() {
    let lines = [
        "webhook = 'https://user:hunter2@example.com'",
        "webhook = 'https://a'\nsecret = 'hunter2'",
        "webhook = 'https://a'\nsecret = ['hunter2']",
        "webhook = 'https://a'\nsecrt = 'hunter2'",
        "webhook = 'https://a'\nheaders = 'hunter2'",
        "webhook = 'https://a'\n[rule.step.headers]\na = 'hunter2', b = 3",
        "webhook = 'https://a'\n[rule.step.headers]\na = ['hunter2']",
        "webhook = 'https://a'\nheaders = { a = \"hunter2\\n\" }",
        "webhook = 'https://a'\nheaders = { 'a b' = 'hunter2' }",
        "webhook = 'https://a'\nheaders = { host = 'hunter2' }",
        "webhook = 'https://a'\nheaders = { a = '${hunter2' }",
        "webhook = 'https://a'\nheaders = { a = '${hunter2}' }",
        "webhook = 'https://a'\nheaders = { a = 'hunter2', b = 3 }",
        "log = true\nsecret = 'hunter2'",
        "log = true\nheaders = { a = 'hunter2' }",
        "mqtt = 'a'\nbroker = 'mqtt://user:hunter2@b'",
    ];
    for line in lines {
        let error = RuleSet::parse(&with(&format!("[[rule.step]]\n{line}")), "f").unwrap_err();
        assert!(!error.to_string().contains("hunter2") && !format!("{error:?}").contains("hunter2"), "{error}");
    }
}
