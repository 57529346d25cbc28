//! The step `email`: a message to the SMTP server of the configuration.
//!
//! SMTP has no idempotency keys. The `Message-ID` is made of the step's key, so that mail stores that look at it show a
//! message that was sent twice once.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use telemetry::{Clock, Timestamp};
use tokio::time::timeout;

use crate::plan::{Action, Secret, Step};
use crate::workflows::body;
use crate::workflows::outside::reason::{brief, foreign};
use crate::workflows::outside::{EmailConfig, limits};
use crate::workflows::secret::{self, Hidden};
use crate::workflows::target::{Attempt, Outcome, Target};

/// One SMTP server. Each message has a connection of its own.
#[derive(Debug)]
pub struct Email {
    host: String,
    port: u16,
    tls: Tls,
    from: Mailbox,
    login: Option<(String, Secret)>,
    clock: Arc<dyn Clock>,
}

impl Email {
    /// The server of `config`.
    ///
    /// # Errors
    /// A text for a person: which setting is wrong.
    pub fn new(config: &EmailConfig, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let from = config.from.parse().map_err(|error| format!("email.from `{}`: {error}", config.from))?;
        let login = match (&config.user, &config.password) {
            (Some(user), Some(password)) => Some((user.clone(), password.clone())),
            (None, None) => None,
            _ => return Err("email: expected both of `user` and `password`, or none".to_owned()),
        };
        let (host, port, wrapped) = server(&config.url)?;
        let tls = security(&host, wrapped, login.is_some())?;
        Ok(Self { host, port, tls, from, login, clock })
    }

    async fn send(&self, message: Message) -> Outcome {
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&self.host)
            .port(self.port)
            .tls(self.tls.clone())
            .timeout(Some(limits::EMAIL));
        let mut secrets = Vec::new();
        if let Some((user, password)) = &self.login {
            match secret::read(password).await {
                Ok(password) => {
                    let credentials = Credentials::new(user.clone(), password.reveal().to_owned());
                    transport = transport.credentials(credentials);
                    secrets.push(password);
                }
                Err(problem) => return Outcome::Failed(brief(&problem)),
            }
        }
        match timeout(limits::EMAIL, transport.build().send(message)).await {
            Ok(Ok(response)) => Outcome::Done(format!("{} accepted", response.code())),
            Ok(Err(error)) => judge(&error, &secrets),
            Err(_) => Outcome::Failed(format!("no answer within {:?}", limits::EMAIL)),
        }
    }
}

/// Host, port, and whether TLS begins with the first byte.
fn server(url: &str) -> Result<(String, u16, bool), String> {
    let wrong = || format!("email.url `{url}`: expected `smtp://host:port` or `smtps://host:port`");
    let parsed = url::Url::parse(url).map_err(|_| wrong())?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err("email.url cannot hold user and password: set `user` and `password`".to_owned());
    }
    let (port, wrapped) = match parsed.scheme() {
        "smtp" => (587, false),
        "smtps" => (465, true),
        _ => return Err(wrong()),
    };
    let host = parsed.host_str().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
    // The transport wants IPv6 without brackets.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok((host.to_owned(), parsed.port().unwrap_or(port), wrapped))
}

fn security(host: &str, wrapped: bool, login: bool) -> Result<Tls, String> {
    // Where clear text is good enough for want of an offer, an unknown certificate is no worse.
    let opportunistic = !wrapped && !login;
    let parameters = TlsParameters::builder(host.to_owned())
        .dangerous_accept_invalid_certs(opportunistic)
        .build()
        .map_err(|error| format!("email: cannot use TLS with `{host}`: {error}"))?;
    Ok(match (wrapped, login) {
        (true, _) => Tls::Wrapper(parameters),
        (false, true) => Tls::Required(parameters),
        (false, false) => Tls::Opportunistic(parameters),
    })
}

#[async_trait]
impl Target for Email {
    async fn attempt(&self, attempt: &Attempt) -> Outcome {
        match self.message(attempt) {
            Ok(message) => self.send(message).await,
            Err(problem) => Outcome::Refused(brief(&problem)),
        }
    }
}

impl Email {
    fn message(&self, attempt: &Attempt) -> Result<Message, String> {
        let Some(Step { action: Action::Email { to, subject }, .. }) = attempt.step() else {
            return Err("the step is not an e-mail".to_owned());
        };
        let body = body::render(attempt)?;
        let content_type = ContentType::parse(body.content_type).map_err(|error| error.to_string())?;
        let mut message = Message::builder()
            .from(self.from.clone())
            .subject(body::subject(subject, &attempt.key, &attempt.firing, &attempt.plan)?)
            .message_id(Some(format!("<{}@weir>", attempt.key)))
            .date(UNIX_EPOCH + since_epoch(self.clock.now()))
            .header(content_type);
        for address in to {
            message = message.to(address.parse().map_err(|error| format!("address `{address}`: {error}"))?);
        }
        message.body(body.text).map_err(|error| format!("cannot write the message: {error}"))
    }
}

fn since_epoch(time: Timestamp) -> Duration {
    time.since(Timestamp::from_micros(0))
}

fn judge(error: &Error, secrets: &[Hidden]) -> Outcome {
    let reason = foreign(&error.to_string(), secrets);
    // 53x: the login is wrong, which the configuration can mend.
    let login = error.status().is_some_and(|code| u16::from(code) / 10 == 53);
    if error.is_permanent() && !login { Outcome::Refused(reason) } else { Outcome::Failed(reason) }
}

#[cfg(test)]
mod tests;
