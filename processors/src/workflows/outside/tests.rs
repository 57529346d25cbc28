use axum::response::IntoResponse;

use super::testing::{Stub, StubDevices, attempt, clock, mqtt, plan, webhook};
use super::*;
use crate::plan::Plan;
use crate::workflows::target::Outcome;

fn outside(config: &OutsideConfig) -> Arc<dyn Targets> {
    Outside::new(config, StubDevices::new(Ok(())), clock())
}

fn open(config: &OutsideConfig, plan: &Plan) -> Result<Arc<dyn Target>, String> {
    outside(config).open(&plan.steps[0])
}

#[tokio::test]
async fn each_kind_of_step_has_its_target() {
    let stub = Stub::start(|_| "".into_response()).await;
    let config = OutsideConfig { allow_addresses: vec!["127.0.0.1".parse().unwrap()], email: None };
    for action in [Action::Log, Action::Webhook(webhook(&stub.url("/"))), mqtt("a", None)] {
        let plan = plan(action, None);
        let target = open(&config, &plan).unwrap();
        let outcome = target.attempt(&attempt(plan)).await;
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    }
    assert_eq!(stub.seen()[0].headers["content-type"], "application/cloudevents+json");
}

#[test]
fn what_cannot_be_done_says_why() {
    let email = || Action::Email { to: vec!["ops@example.com".to_owned()], subject: String::new() };
    for (action, told) in [
        (mqtt("a", Some("mqtts://broker.example".to_owned())), "needs TLS"),
        (Action::Emit { stream: "maintenance".to_owned() }, "the executor appends to it"),
        (email(), "no SMTP server is configured"),
    ] {
        let problem = open(&OutsideConfig::default(), &plan(action, None)).unwrap_err();
        assert!(problem.contains(told), "{problem}");
    }
    if cfg!(not(feature = "email")) {
        let server = EmailConfig {
            url: "smtp://mail.example".to_owned(),
            from: "weir@example.com".to_owned(),
            user: None,
            password: None,
        };
        let config = OutsideConfig { email: Some(server), ..OutsideConfig::default() };
        let problem = open(&config, &plan(email(), None)).unwrap_err();
        assert!(problem.contains("without the feature `email`"), "{problem}");
    }
}

#[tokio::test]
async fn a_template_that_fails_is_refused_by_every_target() {
    let config = OutsideConfig::default();
    for action in [Action::Log, Action::Webhook(webhook("http://1.1.1.1/")), mqtt("a", None)] {
        let plan = plan(action, Some("{{ labels.owner }}"));
        let outcome = open(&config, &plan).unwrap().attempt(&attempt(plan)).await;
        let Outcome::Refused(reason) = &outcome else { panic!("{outcome:?}") };
        assert!(reason.contains("undefined value"), "{reason}");
    }
}

#[test]
fn a_configuration_has_networks_as_texts_and_no_unknown_keys() {
    let config: OutsideConfig = toml::from_str(r#"allow_addresses = ["10.0.0.0/8", "::1"]"#).unwrap();
    assert_eq!(config.allow_addresses, ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
    let error = toml::from_str::<OutsideConfig>(r#"allow_addresses = ["10.0.0.0/40"]"#).unwrap_err().to_string();
    assert!(error.contains("`10.0.0.0/40` is not a network"), "{error}");
    assert!(toml::from_str::<OutsideConfig>("allow = []").is_err());
}
