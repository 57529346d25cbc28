//! The steps of a rule, from the file to a plan.

use std::ops::Range;
use std::sync::Arc;

use crate::addresses;
use crate::author::{Author, Checked};
use crate::file::{RetryEntry, RuleEntry, StepEntry, Text};
use crate::limits;
use crate::plan::{Action, Mqtt, Plan, Retry, Step, Webhook};
use crate::workflows::{body, broker};

/// What the author does not say.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
const TTL: std::time::Duration = std::time::Duration::from_secs(3600);
/// The message of the rule.
const SUBJECT: &str = "{{ message }}";

/// Labels and steps of `entry`, and the same as JSON.
pub(crate) fn plan(author: Author<'_>, entry: &RuleEntry) -> Checked<(Plan, Arc<str>)> {
    if entry.step.len() > limits::STEPS {
        let problem = format!("rule has {} steps, the limit is {}", entry.step.len(), limits::STEPS);
        return Err(author.problem(entry.id.span(), problem));
    }
    let over_messages = entry.when_message.is_some();
    let steps = entry.step.iter().map(|one| step(author, one.get_ref(), one.span(), over_messages));
    let plan = Plan { labels: labels(author, entry)?, steps: steps.collect::<Checked<_>>()? };
    let json = serde_json::to_string(&plan)
        .map_err(|error| author.problem(entry.id.span(), format!("cannot write the plan: {error}")))?;
    if json.len() > limits::PLAN_BYTES {
        let problem = format!("labels and steps have {} bytes, the limit is {}", json.len(), limits::PLAN_BYTES);
        return Err(author.problem(entry.id.span(), problem));
    }
    Ok((plan, json.into()))
}

fn labels(author: Author<'_>, entry: &RuleEntry) -> Checked<std::collections::BTreeMap<String, String>> {
    if entry.labels.len() > limits::LABELS {
        let problem = format!("rule has {} labels, the limit is {}", entry.labels.len(), limits::LABELS);
        return Err(author.problem(entry.id.span(), problem));
    }
    for (name, value) in &entry.labels {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let length = 1..=limits::LABEL_NAME_BYTES;
        if !length.contains(&name.get_ref().len()) || !name.get_ref().chars().all(allowed) {
            let limit = limits::LABEL_NAME_BYTES;
            let problem = format!("the name of a label has 1 to {limit} letters, digits, `_`, `-` or `.`");
            return Err(author.problem(name.span(), problem));
        }
        author.length("label", value, limits::LABEL_VALUE_BYTES)?;
    }
    Ok(entry.labels.iter().map(|(name, value)| (name.get_ref().clone(), value.get_ref().clone())).collect())
}

fn step(author: Author<'_>, entry: &StepEntry, span: Range<usize>, over_messages: bool) -> Checked<Step> {
    let kind = kind(author, entry, span)?;
    refuse_foreign(author, entry, kind)?;
    if let Some(text) = &entry.body {
        template(author, text)?;
    }
    Ok(Step {
        action: action(author, entry, over_messages)?,
        body: entry.body.as_ref().map(|text| text.get_ref().clone()),
        retry: retry(author, entry.retry.as_ref())?,
        on_failure: entry.on_failure.unwrap_or_default(),
    })
}

const KINDS: &str = "`webhook`, `mqtt`, `emit`, `email` or `log`";

/// Which one it is.
fn kind(author: Author<'_>, entry: &StepEntry, span: Range<usize>) -> Checked<&'static str> {
    let kinds = [
        ("webhook", entry.webhook.as_ref().map(Text::span)),
        ("mqtt", entry.mqtt.as_ref().map(Text::span)),
        ("emit", entry.emit.as_ref().map(Text::span)),
        ("email", entry.email.as_ref().map(toml::Spanned::span)),
        ("log", entry.log.as_ref().map(toml::Spanned::span)),
    ];
    let mut given = kinds.into_iter().filter_map(|(kind, span)| Some((kind, span?)));
    match (given.next(), given.next()) {
        (Some((kind, _)), None) => Ok(kind),
        (Some((first, _)), Some((second, span))) => {
            let problem = format!("a step is one thing, this is `{first}` and `{second}`; write two steps");
            Err(author.problem(span, problem))
        }
        (None, _) => Err(author.problem(span, format!("a step needs one of {KINDS}"))),
    }
}

/// Refuses what belongs to a step of another kind.
fn refuse_foreign(author: Author<'_>, entry: &StepEntry, kind: &str) -> Checked<()> {
    let keys = [
        ("headers", "webhook", entry.headers.as_ref().map(toml::Spanned::span)),
        ("secret", "webhook", entry.secret.as_ref().map(Text::span)),
        ("timeout", "webhook", entry.timeout.as_ref().map(Text::span)),
        ("broker", "mqtt", entry.broker.as_ref().map(Text::span)),
        ("ttl", "mqtt", entry.ttl.as_ref().map(Text::span)),
        ("subject", "email", entry.subject.as_ref().map(Text::span)),
    ];
    for (key, owner, span) in keys {
        if let Some(span) = span.filter(|_| owner != kind) {
            let problem = format!("`{key}` belongs to a step `{owner}`, this is a step `{kind}`");
            let secret = matches!(key, "headers" | "secret");
            return Err(if secret { author.hidden(span, problem) } else { author.problem(span, problem) });
        }
    }
    Ok(())
}

fn action(author: Author<'_>, entry: &StepEntry, over_messages: bool) -> Checked<Action> {
    if let Some(url) = &entry.webhook {
        return Ok(Action::Webhook(Webhook {
            url: addresses::url(author, url, over_messages)?,
            headers: entry
                .headers
                .as_ref()
                .map_or_else(|| Ok(Default::default()), |all| addresses::headers(author, all))?,
            secret: entry.secret.as_ref().map(|text| addresses::secret(author, text)).transpose()?,
            timeout: author.time(entry.timeout.as_ref(), limits::TIMEOUT, TIMEOUT)?,
        }));
    }
    if let Some(topic) = &entry.mqtt {
        if let Some(text) = &entry.broker {
            broker::check(text.get_ref()).map_err(|problem| author.hidden(text.span(), problem))?;
        }
        return Ok(Action::Mqtt(Mqtt {
            topic: addresses::topic(author, topic, over_messages)?,
            broker: entry.broker.as_ref().map(|text| text.get_ref().clone()),
            ttl: author.time(entry.ttl.as_ref(), limits::TTL, TTL)?,
        }));
    }
    if let Some(stream) = &entry.emit {
        return Ok(Action::Emit { stream: addresses::stream(author, stream)? });
    }
    if let Some(to) = &entry.email {
        if let Some(subject) = &entry.subject {
            author.length("subject", subject, limits::SUBJECT_BYTES)?;
            template(author, subject)?;
        }
        let subject = entry.subject.as_ref().map_or_else(|| SUBJECT.to_owned(), |text| text.get_ref().clone());
        return Ok(Action::Email { to: addresses::email(author, to)?, subject });
    }
    match &entry.log {
        Some(log) if !log.get_ref() => {
            Err(author.problem(log.span(), "`log` is false; write `log = true`, or no step"))
        }
        _ => Ok(Action::Log),
    }
}

fn template(author: Author<'_>, text: &Text) -> Checked<()> {
    body::check(text.get_ref()).map_err(|problem| author.problem(text.span(), problem))
}

fn retry(author: Author<'_>, entry: Option<&RetryEntry>) -> Checked<Retry> {
    let usual = Retry::default();
    let Some(entry) = entry else { return Ok(usual) };
    let attempts = match &entry.attempts {
        Some(attempts) => {
            let (fewest, most) = limits::ATTEMPTS;
            let attempts = author.number("`attempts`", attempts, (fewest.into(), most.into()))?;
            u32::try_from(attempts).unwrap_or(most)
        }
        None => usual.attempts,
    };
    let initial = author.time(entry.initial.as_ref(), limits::RETRY_INITIAL, usual.initial)?;
    // Where only the first pause is given, and it is longer than the longest by default, it is the longest.
    let cap = author.time(entry.cap.as_ref(), (initial, limits::RETRY_CAP), usual.cap.max(initial))?;
    Ok(Retry { attempts, initial, cap })
}
