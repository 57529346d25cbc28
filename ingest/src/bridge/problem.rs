//! Why a connection ended or could not be made. The session makes a new one whatever it is; the words are for people.

use std::fmt::Debug;
use std::io;
use std::time::Duration;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("closed by the broker")]
    Closed,
    #[error("no answer to {to} within {within:?}")]
    NoAnswer { to: &'static str, within: Duration },
    #[error("the broker has been silent for {0:?}")]
    Silent(Duration),
    #[error("the broker has taken nothing of what was written to it for {0:?}")]
    Stuck(Duration),
    #[error("the broker refused the connection: {0}")]
    Refused(String),
    #[error("the broker refused filter `{filter}`: {why}")]
    NotGranted { filter: String, why: String },
    #[error("the broker closed the connection: {0}")]
    Dismissed(String),
    #[error("the broker broke the protocol: {0}")]
    Protocol(String),
    #[error("{0}")]
    Login(String),
    #[error("TLS: {0}")]
    Tls(String),
    /// The intake took a message no more; what is owed for is still waited for, unless it failed.
    #[error("the intake is closed")]
    IntakeClosed,
}

impl Problem {
    /// Whether a person must act.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::NotGranted { .. } | Self::Login(_) | Self::Tls(_))
    }

    pub(super) fn protocol(what: impl Into<String>) -> Self {
        Self::Protocol(what.into())
    }
}

impl From<rumqttc::mqttbytes::Error> for Problem {
    fn from(error: rumqttc::mqttbytes::Error) -> Self {
        Self::protocol(error.to_string())
    }
}

impl From<rumqttc::v5::mqttbytes::Error> for Problem {
    fn from(error: rumqttc::v5::mqttbytes::Error) -> Self {
        Self::protocol(error.to_string())
    }
}

/// A reason code in words: `NotAuthorized` is "not authorized".
pub(super) fn words(code: impl Debug) -> String {
    let name = format!("{code:?}");
    let mut words = String::with_capacity(name.len() + 8);
    for character in name.chars() {
        if character.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(character.to_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use rumqttc::v5::mqttbytes::v5::ConnectReturnCode;

    use super::*;

    #[test]
    fn codes_have_words() {
        assert_eq!(words(ConnectReturnCode::NotAuthorized), "not authorized");
        assert_eq!(words(ConnectReturnCode::BadUserNamePassword), "bad user name password");
    }

    #[test]
    fn refusals_need_a_person() {
        assert!(Problem::Refused("banned".to_owned()).is_refusal());
        assert!(!Problem::Closed.is_refusal());
    }
}
