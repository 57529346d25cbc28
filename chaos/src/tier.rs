//! How much is done.

/// How long a campaign is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tier {
    /// At most five minutes, for every change.
    Quick,
    /// About an hour.
    Hour,
    /// Many hours.
    Long,
}
