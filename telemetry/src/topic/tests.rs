use super::{Filter, TemplateError, TopicFields, TopicTemplate};

fn fields<'t>(template: &str, topic: &'t str) -> TopicFields<'t> {
    TopicTemplate::parse(template).unwrap().fields(topic)
}

#[test]
fn the_default_template_gives_site_and_device() {
    let found = fields("{site}/{device_id}/telemetry", "plant-3/press-07/telemetry");
    assert_eq!(found, TopicFields { device_id: Some("press-07"), site: Some("plant-3"), metric: None });
}

#[test]
fn a_topic_that_does_not_match_gives_nothing() {
    for topic in [
        "",
        "plant-3",
        "plant-3/press-07",
        "plant-3/press-07/telemetr",
        "plant-3/press-07/telemetry/",
        "plant-3/press-07/telemetry/x",
        "/press-07/telemetry",
        "plant-3//telemetry",
    ] {
        assert_eq!(fields("{site}/{device_id}/telemetry", topic), TopicFields::default(), "{topic}");
    }
}

#[test]
fn wildcards_skip_levels() {
    assert_eq!(fields("+/{device_id}/#", "v1/d1").device_id, Some("d1"));
    assert_eq!(fields("+/{device_id}/#", "v1/d1/a/b/c").device_id, Some("d1"));
    assert_eq!(fields("+/{device_id}/#", "/d1/a").device_id, Some("d1"), "`+` takes an empty level");
    assert_eq!(fields("+/{device_id}/#", "v1").device_id, None);
    assert_eq!(fields("+/{device_id}/+", "v1/d1"), TopicFields::default());
    assert_eq!(fields("#", "anything/at/all"), TopicFields::default());
    let found = fields("{device_id}/sensor/{metric}", "d1/sensor/temperature");
    assert_eq!((found.device_id, found.metric), (Some("d1"), Some("temperature")));
}

#[test]
fn mistakes_in_templates_are_named() {
    let invalid = |level: &str| TemplateError::InvalidLevel { level: level.into() };
    for (template, error) in [
        ("", TemplateError::Empty),
        ("{device}/x", TemplateError::UnknownPlace { level: "{device}".into() }),
        ("{site}/{site}", TemplateError::RepeatedPlace { level: "{site}".into() }),
        ("dev-{device_id}", invalid("dev-{device_id}")),
        ("{site", invalid("{site")),
        ("a+/b", invalid("a+")),
        ("#/{site}", invalid("#")),
        ("a/b#", invalid("b#")),
        ("a/\0", invalid("\0")),
    ] {
        assert_eq!(TopicTemplate::parse(template), Err(error), "{template}");
    }
    assert_eq!(
        TopicTemplate::parse("{device}").unwrap_err().to_string(),
        "unknown place `{device}` in topic template, expected {device_id}, {site} or {metric}"
    );
}

#[test]
fn filters_match_as_the_specification_says() {
    for (filter, topic, expected) in [
        ("sport/tennis/player1/#", "sport/tennis/player1", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
        ("sport/tennis/player1/#", "sport/tennis/player10", false),
        ("sport/#", "sport", true),
        ("#", "sport/tennis", true),
        ("#", "/", true),
        ("sport/tennis/+", "sport/tennis/player1", true),
        ("sport/tennis/+", "sport/tennis/player1/ranking", false),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("+", "/finance", false),
        ("+/tennis/#", "sport/tennis", true),
        ("a/+/c", "a/b/c", true),
        ("a/b", "a/b", true),
        ("a/b", "A/b", false),
        ("a/b", "a/b/", false),
        ("a/b/", "a/b", false),
        ("#", "$SYS/broker", false),
        ("+/monitor/Clients", "$SYS/monitor/Clients", false),
        ("$SYS/#", "$SYS/broker/load", true),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
        ("weir/live/#", "weir/live/plant/d1", true),
    ] {
        assert_eq!(Filter::parse(filter).unwrap().matches(topic), expected, "{filter} on {topic}");
    }
}

#[test]
fn broken_filters_are_refused() {
    for filter in ["", "sport/tennis#", "sport/tennis/#/ranking", "sport+", "sport/+x/y", "#/", "a\0b"] {
        assert_eq!(Filter::parse(filter), None, "{filter}");
    }
    assert!(Filter::parse(&"a".repeat(65_535)).is_some());
    assert!(Filter::parse(&"a".repeat(65_536)).is_none());
    assert_eq!(Filter::parse("+/tennis/#").unwrap().as_str(), "+/tennis/#");
}
