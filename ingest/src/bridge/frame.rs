//! Bytes to packets, borrowed from the read buffer.

use super::limits::CONTROL_BYTES;
use super::problem::Problem;
use crate::mqtt::frame::variable_length;

/// Type of a PUBLISH, in the upper half of its first byte.
pub(super) const PUBLISH: u8 = 3;

/// A packet at the start of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// Type and flags.
    pub(super) first: u8,
    /// The packet, from its first byte on; of a PUBLISH over the limit only the beginning.
    pub(super) bytes: &'a [u8],
    /// What follows the fixed header, as far as it is in `bytes`.
    pub(super) body: &'a [u8],
    /// Size of the packet.
    pub(super) size: usize,
}

impl Frame<'_> {
    /// The packet type, 1 to 15.
    pub(super) fn kind(&self) -> u8 {
        self.first >> 4
    }

    /// Bytes of the packet that are not here.
    pub(super) fn missing(&self) -> usize {
        self.size - self.bytes.len()
    }
}

/// The packet at the start of `buffer`; `None` if more of it must come first. A PUBLISH of more than `most` bytes is
/// shown as soon as that many are there.
///
/// # Errors
/// The bytes are no packet, or one that no broker sends.
pub(super) fn next(buffer: &[u8], most: usize) -> Result<Option<Frame<'_>>, Problem> {
    let Some((&first, rest)) = buffer.split_first() else { return Ok(None) };
    let length = variable_length(rest).map_err(|error| Problem::protocol(error.to_string()))?;
    let Some((length, length_bytes)) = length else { return Ok(None) };
    let header = 1 + length_bytes;
    let size = header + length;
    if first >> 4 != PUBLISH && size > CONTROL_BYTES {
        return Err(Problem::protocol(format!("packet of type {} with {size} bytes", first >> 4)));
    }
    let shown = size.min(most.max(CONTROL_BYTES));
    let Some(bytes) = buffer.get(..shown) else { return Ok(None) };
    Ok(Some(Frame { first, bytes, body: bytes.get(header..).unwrap_or_default(), size }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_comes_whole_or_not_at_all() {
        let mut packet = vec![0x32, 0xC8, 0x01];
        packet.extend([7; 200]);
        for length in 0..packet.len() {
            assert_eq!(next(&packet[..length], 1000).unwrap(), None, "{length} bytes");
        }
        packet.push(9);
        let frame = next(&packet, 1000).unwrap().unwrap();
        assert_eq!((frame.kind(), frame.body, frame.size, frame.missing()), (PUBLISH, &[7; 200][..], 203, 0));
    }

    #[test]
    fn of_a_publish_over_the_limit_the_beginning_comes() {
        let most = CONTROL_BYTES + 10;
        let mut packet = vec![0x32, 0xFF, 0xFF, 0xFF, 0x7F];
        packet.resize(most - 1, 0);
        assert_eq!(next(&packet, most).unwrap(), None);
        packet.resize(most + 100, 0);
        let frame = next(&packet, most).unwrap().unwrap();
        assert_eq!((frame.bytes.len(), frame.size), (most, 268_435_460));
        assert_eq!(frame.missing(), 268_435_460 - most);
    }

    #[test]
    fn what_no_broker_sends_is_an_error() {
        assert!(next(&[0x20, 0xFF, 0xFF, 0xFF, 0x7F], 1 << 20).is_err());
        assert!(next(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF], 1 << 20).is_err());
    }
}
