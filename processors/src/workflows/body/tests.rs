use super::*;
use crate::plan::Action;
use crate::workflows::outside::testing::{attempt, firing, plan};

fn of_template(template: &str) -> Result<Body, String> {
    render(&attempt(plan(Action::Log, Some(template))))
}

#[test]
fn without_a_template_the_body_is_a_cloud_event() {
    let body = render(&attempt(plan(Action::Log, None))).unwrap();
    assert_eq!(body.content_type, "application/cloudevents+json");
    let expected = concat!(
        r#"{"specversion":"1.0","id":"00112233445566778899aabbccddeeff-0","source":"/weir/rules/overheating","#,
        r#""type":"weir.rule.fired","subject":"oven-1","time":"2026-01-01T00:00:00Z","#,
        r#""datacontenttype":"application/json","data":{"run_id":"00112233445566778899aabbccddeeff","#,
        r#""rule":"overheating","version":2,"severity":"critical","message":"oven-1 is at 81.5 Cel","#,
        r#""labels":{"team":"ovens"},"device_id":"oven-1","site":"hall-1","boot":3,"seq":17,"#,
        r#""time":"2026-01-01T00:00:00Z","received_at":"2026-01-01T00:00:01.500Z","#,
        r#""metric":"temperature","unit":"Cel","value":81.5}}"#
    );
    assert_eq!(body.text, expected);
}

#[test]
fn what_was_measured_cannot_take_the_place_of_what_fired() {
    let firing = Firing { data: r#"{"metrics":{"a":1},"rule":"other","key":"other"}"#.to_owned(), ..firing() };
    let text = render_step(&firing, &plan(Action::Log, None), 0).unwrap().text;
    let event: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(event["data"]["rule"], "overheating");
    assert_eq!(event["data"]["metrics"]["a"], 1);
    assert_eq!(event["data"]["key"], Value::Null);
    let text = render_step(&firing, &plan(Action::Log, Some("{{ key }} {{ metrics.a }} {{ rule }}")), 0).unwrap().text;
    assert_eq!(text, "00112233445566778899aabbccddeeff-0 1 overheating");
}

#[test]
fn a_template_sees_the_names_of_the_event_and_nothing_is_escaped() {
    let body = of_template("{{ device_id }}: <{{ value }} {{ unit }}> {{ labels.team }} {{ message|upper }}").unwrap();
    assert_eq!(body.text, "oven-1: <81.5 Cel> ovens OVEN-1 IS AT 81.5 CEL");
    assert_eq!(body.content_type, "text/plain; charset=utf-8");
    let body =
        of_template(r#"{"device": {{ device_id|tojson }}, "site": {{ site|tojson }}, "m": {{ metrics|tojson }}}"#);
    let body = body.unwrap();
    assert_eq!(body.content_type, "application/json");
    let json: Value = serde_json::from_str(&body.text).unwrap();
    assert_eq!(json, serde_json::json!({"device": "oven-1", "site": "hall-1", "m": null}));
}

#[test]
fn each_rendering_gives_the_same_bytes() {
    let template = "{% for name, text in labels|items %}{{ name }}={{ text }}{% endfor %}{{ metrics }}{{ labels }}";
    for template in [None, Some(template)] {
        let attempt = attempt(plan(Action::Log, template));
        assert_eq!(render(&attempt), render(&attempt));
    }
}

#[test]
fn mistakes_of_a_template_are_found_by_the_check() {
    for (template, told) in [
        ("{{ devise_id }}", "unknown name `devise_id`"),
        ("a\n{{ value", "line 2 of template: syntax error"),
        ("{% include 'x' %}", "syntax error"),
        ("{{ value|tojsn }}", "tojsn"),
        ("{{ now() }}", "unknown name `now`"),
        ("{{ debug() }}", "unknown name `debug`"),
    ] {
        let problem = check(template).unwrap_err();
        assert!(problem.contains(told), "{template}: {problem}");
    }
    assert!(check("{{ devise_id }}").unwrap_err().contains("device_id"), "the nearest name");
    let long = "x".repeat(limits::TEMPLATE_BYTES + 1);
    assert!(check(&long).unwrap_err().contains("the limit is"));
}

#[test]
fn templates_of_readings_and_of_messages_pass_the_check() {
    for template in [
        "{{ value + 1 }} {{ unit }}",
        "{{ metrics.humidity }}",
        "{% for m in metrics|items %}{{ m }}{% endfor %}",
        "{% set x = 1 %}{{ x }}{% for i in range(3) %}{{ i }}{% endfor %}",
        "{{ key }}{{ run_id }}{{ rule }}{{ version }}{{ boot }}{{ seq }}{{ time }}{{ received_at }}{{ severity }}",
    ] {
        check(template).unwrap_or_else(|problem| panic!("{template}: {problem}"));
    }
}

#[test]
fn what_is_not_there_is_an_error_and_not_an_empty_text() {
    let problem = of_template("{{ labels.owner }}").unwrap_err();
    assert!(problem.contains("line 1 of template: undefined value"), "{problem}");
}

#[test]
fn output_and_time_of_a_template_are_bounded() {
    let problem = of_template("{% for i in range(300) %}{{ 'x' * 1000 }}{% endfor %}").unwrap_err();
    assert!(problem.contains("the output has more than 262144 bytes"), "{problem}");
    let problem =
        of_template("{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}").unwrap_err();
    assert!(problem.contains("the template runs for too long"), "{problem}");
    let most = of_template("{% for i in range(262) %}{{ 'x' * 1000 }}{% endfor %}").unwrap();
    assert_eq!(most.text.len(), 262_000);
}

#[test]
fn an_envelope_is_bounded_too() {
    let data = format!(r#"{{"metric":"a","value":"{}"}}"#, "x".repeat(limits::BODY_BYTES));
    let problem = render_step(&Firing { data, ..firing() }, &plan(Action::Log, None), 0).unwrap_err();
    assert!(problem.contains("the limit is 262144"), "{problem}");
}

#[test]
fn a_subject_is_one_line_and_the_message_without_a_template() {
    let plan = plan(Action::Log, None);
    assert_eq!(
        subject("{{ rule }}\r\nBcc: x@example.com", "k", &firing(), &plan).unwrap(),
        "overheating Bcc: x@example.com"
    );
    assert_eq!(subject("", "k", &firing(), &plan).unwrap(), "oven-1 is at 81.5 Cel");
}
