//! From an address to a connection that the broker took.

use super::config::BridgeConfig;
use super::frame;
use super::login;
use super::packets::{self, Accepted, Answer};
use super::problem::Problem;
use super::wire::Wire;

/// Connects as `config` says, and waits for CONNACK; all within its patience.
pub(super) async fn shake(config: &BridgeConfig) -> Result<(Wire, Accepted), Problem> {
    let within = config.patience;
    let shaken = tokio::time::timeout(within, try_shake(config)).await;
    shaken.unwrap_or(Err(Problem::NoAnswer { to: "connect", within }))
}

async fn try_shake(config: &BridgeConfig) -> Result<(Wire, Accepted), Problem> {
    let address = config.address().map_err(|wrong| Problem::Login(wrong.to_string()))?;
    let password = config.login.as_ref().map(login::password).transpose().map_err(Problem::Login)?;
    let mut wire = Wire::dial(&address, &config.tls).await?;
    packets::connect(config, &password.unwrap_or_default(), &mut wire.outgoing)?;
    loop {
        if let Some(frame) = frame::next(&wire.incoming, packets::most_bytes(config))? {
            let size = frame.size;
            let answer = packets::answer(config.protocol, frame.bytes)?;
            // Messages may stand behind it already.
            bytes::Buf::advance(&mut wire.incoming, size);
            return match answer {
                Answer::Accepted(accepted) => Ok((wire, accepted)),
                Answer::Refused(why) => Err(Problem::Refused(why)),
                Answer::Dismissed(why) => Err(Problem::Dismissed(why)),
                other => Err(Problem::protocol(format!("{other:?} instead of CONNACK"))),
            };
        }
        wire.exchange(true).await?;
    }
}
