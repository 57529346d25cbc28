//! Where steps go: URLs, headers, topics, streams and addresses of e-mail, as rule files have them.

use std::collections::BTreeMap;

use reqwest::header::{HeaderName, HeaderValue};
use streams::StreamName;
use telemetry::schema;
use toml::Spanned;
use url::Url;

use crate::author::{Author, Checked};
use crate::file::Text;
use crate::limits;
use crate::names::MESSAGE_COLUMNS;
use crate::plan::Secret;
use crate::template::Template;
use crate::workflows::{secret, webhook};

/// An absolute URL of `http` or `https` without user and password, with places in path and query only.
pub(crate) fn url(author: Author<'_>, text: &Text, over_messages: bool) -> Checked<String> {
    let given = text.get_ref();
    author.length("URL", text, limits::URL_BYTES)?;
    let begin = given.find("://").map_or(0, |at| at + 3);
    let length = given.get(begin..).unwrap_or_default().find(['/', '?', '#']);
    let end = length.map_or(given.len(), |length| begin + length);
    let (origin, rest) = given.split_at_checked(end).unwrap_or((given, ""));
    if origin.contains('@') {
        let problem = "the URL of a webhook cannot hold user and password; use a header with `${env:NAME}`";
        return Err(author.hidden(text.span(), problem));
    }
    if let Some(at) = origin.find(['{', '}']) {
        let problem = "places such as `{device_id}` may stand in path and query of a URL, not before them";
        return Err(author.inside(text, Some(at..at + 1), problem));
    }
    let expected = "expected an absolute one such as `https://host/path`";
    let parsed = Url::parse(given)
        .map_err(|error| author.inside(text, None, format!("`{given}` is not a URL: {error}; {expected}")))?;
    if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() {
        let problem = format!("`{given}` is not a URL of `http` or `https`; {expected}");
        return Err(author.inside(text, None, problem));
    }
    places(author, text, rest, end, over_messages)?;
    Ok(given.clone())
}

/// Checks the places of `part`, which stands in `text` from byte `begin` on.
fn places(author: Author<'_>, text: &Text, part: &str, begin: usize, over_messages: bool) -> Checked<()> {
    let template = Template::parse(part)
        .map_err(|(problem, at)| author.inside(text, Some(begin + at.start..begin + at.end), problem))?;
    if let Some((column, at)) = template.places().find(|(column, _)| over_messages && !MESSAGE_COLUMNS.contains(column))
    {
        let name = schema::readings().fields().get(column).map_or_else(String::new, |field| field.name().clone());
        let problem = format!("`{{{name}}}` is of one reading, and this rule is over messages");
        return Err(author.inside(text, Some(begin + at.start..begin + at.end), problem));
    }
    Ok(())
}

/// A topic to publish to, with places.
pub(crate) fn topic(author: Author<'_>, text: &Text, over_messages: bool) -> Checked<String> {
    let given = text.get_ref();
    author.length("topic", text, limits::TOPIC_BYTES)?;
    if let Some(at) = given.find(['+', '#', '\0']) {
        let problem = "a topic to publish to has no wildcard `+` or `#`, and no NUL";
        return Err(author.inside(text, Some(at..at + 1), problem));
    }
    places(author, text, given, 0, over_messages)?;
    if given.is_empty() || given.starts_with('$') {
        let problem = format!("`{given}` is not a topic to publish to: it is empty or begins with `$`");
        return Err(author.inside(text, None, problem));
    }
    Ok(given.clone())
}

/// Headers that the rule may set.
pub(crate) fn headers(author: Author<'_>, all: &Spanned<BTreeMap<Text, Text>>) -> Checked<BTreeMap<String, String>> {
    if all.get_ref().len() > limits::HEADERS {
        let problem = format!("step has {} headers, the limit is {}", all.get_ref().len(), limits::HEADERS);
        return Err(author.hidden(all.span(), problem));
    }
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in all.get_ref() {
        let given = name.get_ref();
        if HeaderName::from_bytes(given.as_bytes()).is_err() {
            return Err(author.mark_only(name.span(), format!("`{given}` is not the name of a header")));
        }
        if webhook::is_reserved(given) {
            let problem = format!("the header `{given}` is set by Weir, or is the connection's");
            return Err(author.mark_only(name.span(), problem));
        }
        if headers.keys().any(|known| known.eq_ignore_ascii_case(given)) {
            return Err(author.mark_only(name.span(), format!("the header `{given}` occurs twice")));
        }
        header_value(value.get_ref())
            .map_err(|problem| author.hidden(value.span(), format!("header `{given}`: {problem}")))?;
        headers.insert(given.clone(), value.get_ref().clone());
    }
    Ok(headers)
}

fn header_value(value: &str) -> Result<(), String> {
    if value.len() > limits::HEADER_BYTES {
        return Err(format!("value has {} bytes, the limit is {}", value.len(), limits::HEADER_BYTES));
    }
    secret::check(value)?;
    HeaderValue::from_str(value).map(drop).map_err(|_| "value has characters that a header cannot hold".to_owned())
}

/// The place of a secret.
pub(crate) fn secret(author: Author<'_>, text: &Text) -> Checked<Secret> {
    Secret::try_from(text.get_ref().clone()).map_err(|problem| author.hidden(text.span(), problem))
}

/// A stream that rules may append to.
pub(crate) fn stream(author: Author<'_>, text: &Text) -> Checked<String> {
    let given = text.get_ref();
    let problem = match StreamName::new(given) {
        Some(name) if !name.is_reserved() => return Ok(given.clone()),
        Some(_) => format!("the stream `{given}` is Weir's own; emit to one of another name"),
        None => format!("`{given}` is not a stream: expected 1 to 64 lower case letters, digits, `_` or `-`"),
    };
    Err(author.problem(text.span(), problem))
}

/// Addresses of e-mail.
pub(crate) fn email(author: Author<'_>, all: &Spanned<Vec<Text>>) -> Checked<Vec<String>> {
    let count = all.get_ref().len();
    if !(1..=limits::RECEIVERS).contains(&count) {
        let problem = format!("`email` has {count} addresses, expected 1 to {}", limits::RECEIVERS);
        return Err(author.problem(all.span(), problem));
    }
    for text in all.get_ref() {
        let given = text.get_ref();
        author.length("address", text, limits::ADDRESS_BYTES)?;
        let refused = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | ',' | ';');
        let parts = given.rsplit_once('@').filter(|(user, host)| !user.is_empty() && !host.is_empty());
        if parts.is_none() || given.contains(refused) {
            let problem = format!("`{given}` is not an address; expected one such as `ops@example.com`");
            return Err(author.problem(text.span(), problem));
        }
    }
    Ok(all.get_ref().iter().map(|text| text.get_ref().clone()).collect())
}
