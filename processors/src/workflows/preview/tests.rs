use super::*;
use crate::plan::Secret;
use crate::workflows::outside::testing::{firing, mqtt, plan, webhook};

fn of(action: Action, body: Option<&str>) -> Preview {
    preview(&firing(), &plan(action, body)).remove(0)
}

#[test]
fn a_webhook_is_shown_as_it_would_be_sent_without_its_secrets() {
    let mut webhook = webhook("https://ops.example.com/{device_id}");
    webhook.headers.insert("authorization".to_owned(), "Bearer ${env:CARGO_MANIFEST_DIR}".to_owned());
    webhook.secret = Some(Secret::Env("CARGO_MANIFEST_DIR".to_owned()));
    let preview = of(Action::Webhook(webhook), None);
    assert_eq!(preview.method.as_deref(), Some("POST"));
    assert_eq!(preview.url.as_deref(), Some("https://ops.example.com/oven-1"));
    assert_eq!(preview.target, "webhook https://ops.example.com");
    assert_eq!(preview.key, "00112233445566778899aabbccddeeff-0");
    let header = |name: &str| preview.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
    assert_eq!(header("authorization"), Some("Bearer ${env:CARGO_MANIFEST_DIR}"));
    assert_eq!(header("weir-signature"), Some("sha256=<HMAC-SHA256 with ${env:CARGO_MANIFEST_DIR}>"));
    assert_eq!(header("content-type"), Some("application/cloudevents+json"));
    assert_eq!(header("idempotency-key"), Some(preview.key.as_str()));
    let json = serde_json::to_string(&preview).unwrap();
    assert!(json.contains("weir.rule.fired") && !json.contains(env!("CARGO_MANIFEST_DIR")), "{json}");
    assert!(!json.contains("topic"), "what a step does not have is left out: {json}");
}

#[test]
fn the_other_kinds_show_what_they_have() {
    let command = of(mqtt("{site}/{device_id}/set", Some("mqtt://10.0.0.5".to_owned())), Some("off"));
    assert_eq!((command.topic.as_deref(), command.body.as_deref()), (Some("hall-1/oven-1/set"), Some("off")));
    assert_eq!(command.ttl_seconds, Some(60.0));
    let email = Action::Email { to: vec!["ops@example.com".to_owned()], subject: "{{ rule }}".to_owned() };
    let email = of(email, None);
    assert_eq!((email.subject.as_deref(), email.to.len()), (Some("overheating"), 1));
    assert_eq!(of(Action::Emit { stream: "m".to_owned() }, None).stream.as_deref(), Some("m"));
    assert_eq!(of(Action::Log, None).body.as_deref(), Some("oven-1 is at 81.5 Cel"));
}

#[test]
fn what_would_be_refused_says_why() {
    for (action, body, told) in [
        (Action::Log, Some("{{ labels.owner }}"), "undefined value"),
        (mqtt("{value_text}", None), None, "has no value"),
        (mqtt("a", Some("mqtts://x".to_owned())), None, "needs TLS"),
        (Action::Webhook(webhook("ftp://x/")), None, "expected `http` or `https`"),
    ] {
        let error = of(action, body).error.unwrap();
        assert!(error.contains(told), "{error}");
    }
}
