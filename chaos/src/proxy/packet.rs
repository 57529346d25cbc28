//! Cuts a stream of bytes into MQTT packets, which may come in any pieces. All versions frame them alike.

/// Longest packet that is kept whole; of a longer one only the length is heeded.
const MAX_KEPT: usize = 1024 * 1024;
/// Bits of the length that come before its last possible byte.
const LAST_SHIFT: u32 = 21;

/// A whole packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    /// Type and flags.
    pub(super) first: u8,
    /// What follows the length.
    pub(super) body: &'a [u8],
}

/// Where in a packet the stream stands.
#[derive(Debug)]
enum State {
    Start,
    Length {
        first: u8,
        value: usize,
        shift: u32,
    },
    Body {
        first: u8,
        length: usize,
        left: usize,
    },
    /// The body was handed out.
    Whole,
    /// What came was no MQTT, so nothing more can be told apart.
    Blind,
}

/// The state between two pieces.
#[derive(Debug)]
pub(super) struct Splitter {
    state: State,
    /// What has come of the body, if it came in pieces.
    body: Vec<u8>,
}

impl Splitter {
    pub(super) fn new() -> Self {
        Self { state: State::Start, body: Vec::new() }
    }

    /// Takes bytes off `piece` until a packet is whole; `None` when the piece is used up.
    pub(super) fn next<'a, 'p: 'a>(&'a mut self, piece: &mut &'p [u8]) -> Option<Packet<'a>> {
        if matches!(self.state, State::Whole) {
            self.body.clear();
            self.state = State::Start;
        }
        loop {
            if let State::Body { first, length, left } = self.state {
                let (part, rest) = piece.split_at(left.min(piece.len()));
                *piece = rest;
                if part.len() == length {
                    self.state = State::Start;
                    return Some(Packet { first, body: part });
                }
                if length <= MAX_KEPT {
                    self.body.extend_from_slice(part);
                }
                if part.len() < left {
                    self.state = State::Body { first, length, left: left - part.len() };
                    return None;
                }
                if length <= MAX_KEPT {
                    self.state = State::Whole;
                    return Some(Packet { first, body: &self.body });
                }
                self.state = State::Start;
            } else {
                let (byte, rest) = piece.split_first()?;
                *piece = rest;
                self.head(*byte);
            }
        }
    }

    /// A byte outside a body.
    fn head(&mut self, byte: u8) {
        self.state = match self.state {
            State::Length { first, value, shift } => {
                let value = value | usize::from(byte & 0x7F) << shift;
                match byte & 0x80 {
                    0 => State::Body { first, length: value, left: value },
                    _ if shift == LAST_SHIFT => State::Blind,
                    _ => State::Length { first, value, shift: shift + 7 },
                }
            }
            State::Blind => State::Blind,
            _ => State::Length { first: byte, value: 0, shift: 0 },
        };
    }
}

/// Reads the fields of a packet off its front.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.bytes(1)?.first().copied()
    }

    pub(super) fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.bytes(2)?.try_into().ok()?))
    }

    /// Bytes behind their length in two bytes.
    pub(super) fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.bytes(length.into())
    }

    /// Skips the properties of MQTT 5.
    pub(super) fn skip_properties(&mut self) -> Option<()> {
        let mut length = 0;
        for shift in (0..=LAST_SHIFT).step_by(7) {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return self.bytes(length).map(|_| ());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets of several lengths, as bytes and as what they hold.
    fn packets() -> (Vec<u8>, Vec<(u8, Vec<u8>)>) {
        let (mut bytes, mut packets) = (Vec::new(), Vec::new());
        for (first, length) in [(0x10, 0), (0x32, 1), (0x40, 127), (0x32, 128), (0x32, 16_383), (0x30, 16_384)] {
            let body: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
            bytes.push(first);
            let mut left = length;
            while left >= 128 {
                bytes.push(u8::try_from(left % 128).unwrap() | 0x80);
                left /= 128;
            }
            bytes.push(u8::try_from(left).unwrap());
            bytes.extend_from_slice(&body);
            packets.push((first, body));
        }
        (bytes, packets)
    }

    fn split(pieces: impl Iterator<Item = Vec<u8>>) -> Vec<(u8, Vec<u8>)> {
        let mut splitter = Splitter::new();
        let mut found = Vec::new();
        for piece in pieces {
            let mut piece = &*piece;
            while let Some(packet) = splitter.next(&mut piece) {
                found.push((packet.first, packet.body.to_vec()));
            }
            assert!(piece.is_empty());
        }
        found
    }

    #[test]
    fn packets_are_found_in_pieces_of_any_size() {
        let (bytes, packets) = packets();
        for size in [1, 2, 3, 5, 130, 131, 1_000, 20_000, bytes.len()] {
            assert_eq!(split(bytes.chunks(size).map(<[u8]>::to_vec)), packets, "pieces of {size}");
        }
    }

    #[test]
    fn a_packet_too_long_to_keep_is_skipped_and_the_next_one_found() {
        // 2 MiB: lengths 0, 0, 128 in seven bits each.
        let mut bytes = vec![0x32, 0x80, 0x80, 0x80, 0x01];
        bytes.resize(bytes.len() + 2 * MAX_KEPT, 7);
        bytes.extend([0xC0, 0x00]);
        assert_eq!(split(bytes.chunks(10_000).map(<[u8]>::to_vec)), [(0xC0, Vec::new())]);
        assert_eq!(split(std::iter::once(bytes)).last(), Some(&(0xC0, Vec::new())));
    }

    #[test]
    fn what_is_no_mqtt_ends_the_reading_along() {
        let bytes = [[0x32, 0xFF, 0xFF, 0xFF, 0xFF].as_slice(), &[0xC0, 0x00]].concat();
        assert_eq!(split(std::iter::once(bytes)), []);
    }
}
