use super::*;
use crate::error::RuleProblem;
use crate::functions;
use crate::limits;
use crate::testing::{numbers, rule};

mod files;
mod steps;

fn refused(toml: &str) -> RuleProblem {
    match RuleSet::parse(toml, "rules.toml") {
        Err(RuleError::Invalid(problem)) => *problem,
        other => panic!("{toml}: {other:?}"),
    }
}

fn when_refused(when: &str) -> RuleProblem {
    let problem = refused(&rule("hot", when, "m"));
    assert_eq!(problem.rule.as_deref(), Some("hot"));
    problem
}

/// What the caret line marks.
fn marked(problem: &RuleProblem) -> String {
    problem.excerpt.chars().skip(problem.mark.0).take(problem.mark.1).collect()
}

#[test]
fn a_file_is_compiled_in_its_order() {
    let rules = RuleSet::parse(crate::SAMPLE_RULES, "demo.toml").unwrap();
    let ids: Vec<_> = rules.rules().iter().map(Rule::id).collect();
    assert_eq!(ids, ["overheating", "strong-vibration", "battery-low"]);
    assert_eq!(rules.rules()[0].severity(), Severity::Critical);
    assert_eq!(rules.rules()[1].when(), "metric = 'vibration' AND value > 12");
    assert_eq!(rules.rules()[2].message(), "battery of {device_id} is at {value} {unit}");
    assert!(RuleSet::parse("", "empty.toml").unwrap().rules().is_empty());
}

#[test]
fn an_unknown_column_is_named_with_its_place_and_the_nearest() {
    let toml = "[[rule]]\nid = \"hot\"\nseverity = \"info\"\nmessage = \"m\"\n\
                when = \"\"\"\nvalue > 80\n  AND metrik = 'temperature'\"\"\"\n";
    let problem = refused(toml);
    assert_eq!((problem.line, problem.column), (7, 7));
    assert_eq!(marked(&problem), "metrik");
    let shown = problem.to_string();
    assert!(
        shown.starts_with("rules.toml:7:7: rule `hot`: unknown column `metrik`; did you mean `metric`?"),
        "{shown}"
    );
    assert!(shown.ends_with("7 |   AND metrik = 'temperature'\"\"\"\n  |       ^^^^^^"), "{shown}");
}

#[test]
fn mistakes_of_names_are_explained() {
    let cases = [
        ("valeu > 80", "valeu", "did you mean `value`?"),
        ("value > 80 AND devce_id = 'a'", "devce_id", "did you mean `device_id`?"),
        ("row = 0", "row", "unknown column `row`"),
        ("metric = \"temperature\"", "\"temperature\"", "single quotes: 'temperature'"),
        ("readings.value > 80", "readings", "no prefix"),
        ("uper(metric) = 'A'", "uper", "did you mean `upper`?"),
        ("frobnicate(metric) = 'A'", "frobnicate", "unknown function `frobnicate`"),
        ("value > 80 AND now() > time", "now", "`now` is refused"),
        ("time > CURRENT_TIMESTAMP", "CURRENT_TIMESTAMP", "`current_timestamp` is refused"),
        ("time > current_date", "current_date", "`current_date` is refused"),
        ("random() > 0.5", "random", "`random` is refused"),
        ("uuid() = 'a'", "uuid", "`uuid` is refused"),
        ("repeat('x', 3) = 'xxx'", "repeat", "`repeat` is refused"),
        ("max(value) > 80", "max", "aggregate"),
        ("avg(value) OVER (PARTITION BY device_id) > 3", "avg", "window functions are refused"),
        ("lag(value) > 3", "lag", "one reading at a time"),
        ("upper(DISTINCT metric) = 'A'", "upper", "plain arguments"),
        ("upper(metric) FILTER (WHERE true) = 'A'", "upper", "plain arguments"),
    ];
    for (when, mark, expected) in cases {
        let problem = when_refused(when);
        assert!(problem.problem.contains(expected), "{when}: {problem}");
        assert_eq!(marked(&problem), mark, "{when}: {problem}");
    }
}

#[test]
fn subqueries_are_refused() {
    for when in ["value > (SELECT 1)", "EXISTS (SELECT 1)", "value IN (SELECT value FROM readings)"] {
        let problem = when_refused(when);
        assert!(problem.problem.contains("subqueries are refused"), "{problem}");
    }
}

#[test]
fn an_expression_must_be_boolean() {
    for (when, name) in
        [("value + 1", "Float64"), ("metric", "Utf8"), ("5", "Int64"), ("NULL", "Null"), ("time", "Timestamp")]
    {
        let problem = when_refused(when);
        assert!(problem.problem.contains(name) && problem.problem.contains("Boolean"), "{when}: {problem}");
    }
}

#[test]
fn types_that_do_not_fit_are_refused() {
    for when in ["value AND true", "value = true", "upper(value, 1) = 'A'", "-metric > 3", "time > 5 + 'x'"] {
        let problem = when_refused(when);
        assert!(!problem.problem.contains("Error") && !problem.problem.contains('\n'), "{when}: {problem}");
    }
}

#[test]
fn syntax_errors_have_a_place() {
    let cases = [
        ("value >", 7 + 9),
        ("value > 80 AND", 14 + 9),
        ("value > 80; DROP TABLE readings", 11 + 8),
        ("value > 80 metric = 'a'", 12 + 8),
        ("metric = 'open", 10 + 8),
        ("value > )", 9 + 8),
    ];
    for (when, column) in cases {
        let problem = when_refused(when);
        assert_eq!(problem.line, 3, "{problem}");
        // `when = "` stands before the expression.
        assert_eq!(problem.column, column, "{problem}");
    }
    assert!(when_refused("").problem.contains("syntax error"));
}

#[test]
fn hostile_expressions_are_refused_without_harm() {
    let chain = |operator: &str| format!("value > 0{}", format!(" {operator} value > 0").repeat(200));
    let hostile = [
        format!("{}true{}", "(".repeat(2000), ")".repeat(2000)),
        "(".repeat(4096),
        format!("{}true", "NOT ".repeat(1000)),
        format!("{}value > 0", "- ".repeat(2000)),
        format!("value{} > 0", "+1".repeat(2000)),
        format!("value{} > 0", "::float".repeat(500)),
        format!("value{}", " IS NULL".repeat(500)),
        format!("{}value{} > 0", "abs(".repeat(800), ")".repeat(800)),
        format!("{}value > 0{}", "CASE WHEN ".repeat(200), " THEN true END".repeat(200)),
        chain("AND"),
        chain("OR"),
        "x".repeat(4097),
    ];
    for when in hostile {
        let problem = when_refused(&when);
        // Where the parser has no depth left for a NOT, it ends the expression there.
        let refused = ["limit", "after the end"].iter().any(|why| problem.problem.contains(why));
        assert!(refused, "{}: {problem}", &when[..20]);
    }
}

#[test]
fn the_deepest_and_longest_allowed_compile() {
    let deep = format!("{}value > 0{}", "(".repeat(40), ")".repeat(40));
    let chain = format!("value > 0{}", " AND value > 0".repeat(120));
    let list = format!("metric IN ('a'{})", ", 'metric'".repeat(400));
    for when in [deep, chain, list] {
        assert!(when.len() <= limits::EXPRESSION_BYTES);
        let rules = RuleSet::parse(&rule("r", &when, "m"), "f").unwrap_or_else(|error| panic!("{error}"));
        // Evaluation recurses too, on a stack of the usual size.
        let batch = numbers("metric", &[1.0]);
        let evaluation = rules.evaluate(0, 0, &batch).unwrap();
        assert_eq!(evaluation.rules[0].matches, 1);
    }
}

#[test]
fn keys_ids_and_limits_are_checked() {
    let good = rule("a", "true", "m");
    let cases = [
        (format!("{good}cooldwn = '5s'\n"), "did you mean `cooldown`?"),
        (format!("version = 1\n{good}"), "unknown field `version`"),
        ("[[rules]]\nid = 'a'\n".to_owned(), "unknown field `rules`"),
        (good.replace("warning", "bad"), "unknown variant `bad`"),
        ("[[rule]]\nid = 'a'\n".to_owned(), "missing field"),
        ("[[rule]\n".to_owned(), ""),
        (format!("{good}\n{good}"), "`a` occurs twice"),
        (rule("", "true", "m"), "rule id"),
        (rule("a b", "true", "m"), "rule id"),
        (rule(&"a".repeat(65), "true", "m"), "rule id"),
        (rule("a", "true", &"m".repeat(1025)), "limit is 1024"),
        (good.repeat(1001), "there are 1001 rules, the limit is 1000"),
        (format!("#{}", "x".repeat(limits::FILE_BYTES)), "bytes, the limit"),
    ];
    for (toml, expected) in cases {
        let problem = refused(&toml);
        assert!(problem.problem.contains(expected), "{problem}");
    }
    let twice = refused(&format!("{good}\n{good}"));
    assert_eq!((twice.line, twice.column), (8, 6));
}

#[test]
fn a_place_that_is_no_column_is_refused_with_the_nearest() {
    let problem = refused(&rule("r", "true", "hello {devise_id}"));
    assert!(problem.problem.contains("did you mean `device_id`?"), "{problem}");
    assert_eq!((problem.line, marked(&problem).as_str()), (5, "{devise_id}"));
}

#[test]
fn files_are_read_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.toml");
    let error = RuleSet::load(&path).unwrap_err();
    assert!(matches!(&error, RuleError::System { path: named, .. } if *named == path), "{error}");
    std::fs::write(&path, rule("r", "valu > 1", "m")).unwrap();
    let error = RuleSet::load(&path).unwrap_err();
    assert!(error.to_string().starts_with(&format!("{}:3:9: rule `r`", path.display())), "{error}");
    std::fs::write(&path, rule("r", "value > 1", "m")).unwrap();
    assert_eq!(RuleSet::load(&path).unwrap().rules().len(), 1);
}

#[test]
fn no_function_depends_on_clock_or_chance() {
    for name in ["now", "current_timestamp", "current_date", "today", "current_time", "random", "uuid", "version"] {
        assert!(!functions::all().names().any(|allowed| allowed == name), "{name}");
    }
    for name in ["abs", "upper", "coalesce", "date_trunc", "regexp_like", "to_timestamp"] {
        assert!(functions::all().names().any(|allowed| allowed == name), "{name}");
    }
}
