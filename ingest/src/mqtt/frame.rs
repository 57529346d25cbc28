//! Bytes to whole packets. A packet is handed on only when all of it has arrived and it is within the limit,
//! so that nothing behind this has to think about halves or lengths.

use ntex::codec::Decoder;
use ntex::util::{Bytes, BytesMut};

/// Splits packets off the read buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frames {
    /// Largest packet, in bytes, its header included.
    pub(super) most_bytes: usize,
}

/// One packet, whole.
#[derive(Debug)]
pub(super) struct Frame {
    /// The packet, its fixed header included.
    pub(super) bytes: Bytes,
    /// Type and flags.
    pub(super) first: u8,
    header: usize,
}

impl Frame {
    /// What follows the fixed header.
    pub(super) fn body(&self) -> &[u8] {
        self.bytes.get(self.header..).unwrap_or_default()
    }

    /// The packet type, 1 to 15.
    pub(super) fn kind(&self) -> u8 {
        self.first >> 4
    }
}

/// Why no packet can be split off any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// The length field is longer than four bytes.
    #[error("malformed packet length")]
    Malformed,
    /// The packet is larger than allowed.
    #[error("packet of {bytes} bytes is over the limit")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

impl Decoder for Frames {
    type Item = Frame;
    type Error = FrameError;

    fn decode(&self, src: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some((&first, rest)) = src.split_first() else { return Ok(None) };
        let Some((length, length_bytes)) = variable_length(rest)? else { return Ok(None) };
        let header = 1 + length_bytes;
        let total = header + length;
        if total > self.most_bytes {
            return Err(FrameError::TooLarge { bytes: total });
        }
        Ok(src.split_to_checked(total).map(|bytes| Frame { bytes, first, header }))
    }
}

/// A variable-length integer at the start of `bytes`, and how many bytes it takes; `None` if more is needed.
pub(crate) fn variable_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, FrameError> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(FrameError::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Result<Option<(u8, Vec<u8>)>, FrameError> {
        let mut buffer = BytesMut::copy_from_slice(bytes);
        let frame = Frames { most_bytes: 300 }.decode(&mut buffer)?;
        Ok(frame.map(|frame| (frame.first, frame.body().to_vec())))
    }

    #[test]
    fn a_packet_comes_whole_or_not_at_all() {
        let mut packet = vec![0x32, 0xC8, 0x01];
        packet.extend([7; 200]);
        for length in 0..packet.len() {
            assert_eq!(decode(&packet[..length]), Ok(None), "{length} bytes");
        }
        packet.push(9);
        assert_eq!(decode(&packet), Ok(Some((0x32, vec![7; 200]))));
    }

    #[test]
    fn packets_over_the_limit_are_refused_by_their_header() {
        assert_eq!(decode(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]), Err(FrameError::TooLarge { bytes: 268_435_460 }));
        assert_eq!(decode(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF]), Err(FrameError::Malformed));
        assert_eq!(decode(&[0x30, 0xFF, 0xFF, 0xFF]), Ok(None));
    }

    #[test]
    fn lengths_are_read_as_the_specification_has_them() {
        for (bytes, value) in
            [(&[0][..], 0), (&[0x7F], 127), (&[0x80, 1], 128), (&[0xFF, 0xFF, 0xFF, 0x7F], 268_435_455)]
        {
            assert_eq!(variable_length(bytes), Ok(Some((value, bytes.len()))));
        }
    }
}
