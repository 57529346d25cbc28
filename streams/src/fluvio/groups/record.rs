//! What is said in the topic of groups, as bytes. All numbers little endian.
//!
//! ```text
//! record   0 "WG"   2 version u8   3 kind u8   4 crc32c u32 of kind and body   8 body
//!
//! kind 1 claim     group text, stream text, epoch expected u64, process u64, lease u64 ms, owner text
//!      2 renew     process u64
//!      3 release   group text, stream text, epoch u64, process u64
//!      4 commit    group text, process u64, count u32, then of each: stream text, epoch u64, version u64,
//!                  offset u64, state bytes
//!      5 base      stream text, version u64, offset u64
//!      6 carry     group text, stream text, epoch u64, process u64, lease u64 ms, owner text, released u8,
//!                  version u64, has a position u8, offset u64, state bytes
//! text, bytes = length u32, then the bytes
//! ```
//!
//! Old programs skip kinds they do not know, and bytes behind the fields they know; what may not be skipped gets a new
//! version.

use std::sync::Arc;

use bytes::Bytes;

use crate::contract::{GroupName, Position, StreamName};

/// Version of the records this code writes, and the newest it reads.
const VERSION: u8 = 1;
const MAGIC: &[u8; 2] = b"WG";
const HEADER_BYTES: usize = 8;

/// A group in one stream; the partition is that of the topic.
pub(super) type Key = (GroupName, StreamName);

/// A process that owns, as it says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// Different for each start of each process.
    pub(super) process: u64,
    /// How long it stays the owner in silence.
    pub(super) lease_ms: u64,
    /// Host, stage, process: for a person.
    pub(super) text: Arc<str>,
}

/// A position to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Committed {
    pub(super) stream: StreamName,
    pub(super) epoch: u64,
    /// Goes up with each commit of a group, over all epochs.
    pub(super) version: u64,
    pub(super) position: Position,
}

/// Where a group stands, said again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Carried {
    pub(super) epoch: u64,
    pub(super) owner: Owner,
    pub(super) released: bool,
    pub(super) version: u64,
    pub(super) position: Option<Position>,
}

/// One thing said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// `owner` wants to be the owner from the epoch after `expected` on.
    Claim { key: Key, expected: u64, owner: Owner },
    /// The process is alive.
    Renew { process: u64 },
    /// The owner goes, and nobody need wait for it.
    Release { key: Key, epoch: u64, process: u64 },
    /// Positions of one group, all or none.
    Commit { group: GroupName, process: u64, positions: Vec<Committed> },
    /// What offsets of the stream are counted from.
    Base { stream: StreamName, version: u64, offset: u64 },
    /// Where a group stands, for readers that come when its older records are gone.
    Carry { key: Key, carried: Carried },
}

/// What bytes of the topic are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    Record(Record),
    /// A kind of a newer program, that may be skipped.
    Unknown,
    /// Not what anybody wrote.
    Damaged,
    /// A newer program wrote it, and says that it may not be skipped.
    Newer(u8),
}

impl Record {
    /// The process that said it, if that shows it alive.
    pub(super) fn sign_of_life(&self) -> Option<u64> {
        match self {
            Self::Claim { owner, .. } => Some(owner.process),
            Self::Renew { process } | Self::Commit { process, .. } => Some(*process),
            Self::Release { .. } | Self::Base { .. } | Self::Carry { .. } => None,
        }
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut body = Vec::new();
        let kind = match self {
            Self::Claim { key, expected, owner } => {
                put_key(&mut body, key);
                put_u64(&mut body, *expected);
                put_owner(&mut body, owner);
                1
            }
            Self::Renew { process } => {
                put_u64(&mut body, *process);
                2
            }
            Self::Release { key, epoch, process } => {
                put_key(&mut body, key);
                put_u64(&mut body, *epoch);
                put_u64(&mut body, *process);
                3
            }
            Self::Commit { group, process, positions } => {
                put_bytes(&mut body, group.as_bytes());
                put_u64(&mut body, *process);
                put_length(&mut body, positions.len());
                positions.iter().for_each(|committed| put_committed(&mut body, committed));
                4
            }
            Self::Base { stream, version, offset } => {
                put_bytes(&mut body, stream.as_str().as_bytes());
                put_u64(&mut body, *version);
                put_u64(&mut body, *offset);
                5
            }
            Self::Carry { key, carried } => {
                put_key(&mut body, key);
                put_carried(&mut body, carried);
                6
            }
        };
        let mut record = Vec::with_capacity(HEADER_BYTES + body.len());
        record.extend_from_slice(MAGIC);
        record.extend_from_slice(&[VERSION, kind]);
        record.extend_from_slice(&check(kind, &body).to_le_bytes());
        record.extend_from_slice(&body);
        record.into()
    }
}

/// Decodes one record of the topic.
pub(super) fn decode(bytes: &[u8]) -> Decoded {
    let Some(([m0, m1, version, kind, c0, c1, c2, c3], body)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Decoded::Damaged;
    };
    if [*m0, *m1] != *MAGIC || u32::from_le_bytes([*c0, *c1, *c2, *c3]) != check(*kind, body) {
        return Decoded::Damaged;
    }
    if *version > VERSION {
        return Decoded::Newer(*version);
    }
    let mut fields = Fields(body);
    let record = match kind {
        1 => fields.claim(),
        2 => fields.u64().map(|process| Record::Renew { process }),
        3 => fields.release(),
        4 => fields.commit(),
        5 => fields.base(),
        6 => fields.carry(),
        _ => return Decoded::Unknown,
    };
    record.map_or(Decoded::Damaged, Decoded::Record)
}

pub(super) fn check(kind: u8, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&[kind]), body)
}

fn put_u64(to: &mut Vec<u8>, value: u64) {
    to.extend_from_slice(&value.to_le_bytes());
}

/// A length; those of records are far below 2^32 by the bound on states.
fn put_length(to: &mut Vec<u8>, length: usize) {
    to.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    put_length(to, bytes.len());
    to.extend_from_slice(bytes);
}

fn put_key(to: &mut Vec<u8>, (group, stream): &Key) {
    put_bytes(to, group.as_bytes());
    put_bytes(to, stream.as_str().as_bytes());
}

fn put_owner(to: &mut Vec<u8>, owner: &Owner) {
    put_u64(to, owner.process);
    put_u64(to, owner.lease_ms);
    put_bytes(to, owner.text.as_bytes());
}

fn put_committed(to: &mut Vec<u8>, committed: &Committed) {
    put_bytes(to, committed.stream.as_str().as_bytes());
    put_u64(to, committed.epoch);
    put_u64(to, committed.version);
    put_u64(to, committed.position.offset);
    put_bytes(to, &committed.position.state);
}

fn put_carried(to: &mut Vec<u8>, carried: &Carried) {
    put_u64(to, carried.epoch);
    put_owner(to, &carried.owner);
    to.push(u8::from(carried.released));
    put_u64(to, carried.version);
    to.push(u8::from(carried.position.is_some()));
    let nowhere = Position::default();
    let position = carried.position.as_ref().unwrap_or(&nowhere);
    put_u64(to, position.offset);
    put_bytes(to, &position.state);
}

/// Fields taken one after another from the front; `None` where the bytes end or are none.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn claim(&mut self) -> Option<Record> {
        Some(Record::Claim { key: self.key()?, expected: self.u64()?, owner: self.owner()? })
    }

    fn release(&mut self) -> Option<Record> {
        Some(Record::Release { key: self.key()?, epoch: self.u64()?, process: self.u64()? })
    }

    fn commit(&mut self) -> Option<Record> {
        let (group, process, count) = (self.text()?.into(), self.u64()?, self.length()?);
        let positions = (0..count).map(|_| self.committed()).collect::<Option<_>>()?;
        Some(Record::Commit { group, process, positions })
    }

    fn committed(&mut self) -> Option<Committed> {
        let (stream, epoch, version) = (self.stream()?, self.u64()?, self.u64()?);
        Some(Committed { stream, epoch, version, position: self.position()? })
    }

    fn base(&mut self) -> Option<Record> {
        Some(Record::Base { stream: self.stream()?, version: self.u64()?, offset: self.u64()? })
    }

    fn carry(&mut self) -> Option<Record> {
        let (key, epoch, owner) = (self.key()?, self.u64()?, self.owner()?);
        let (released, version, has_position) = (self.bool()?, self.u64()?, self.bool()?);
        let position = Some(self.position()?).filter(|_| has_position);
        Some(Record::Carry { key, carried: Carried { epoch, owner, released, version, position } })
    }

    fn key(&mut self) -> Option<Key> {
        Some((self.text()?.into(), self.stream()?))
    }

    fn owner(&mut self) -> Option<Owner> {
        Some(Owner { process: self.u64()?, lease_ms: self.u64()?, text: self.text()?.into() })
    }

    /// The state is copied: a slice would keep all of a read of some MiB in memory.
    fn position(&mut self) -> Option<Position> {
        Some(Position { offset: self.u64()?, state: Bytes::copy_from_slice(self.bytes()?) })
    }

    fn stream(&mut self) -> Option<StreamName> {
        StreamName::new(self.text()?)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.chunk()?)).ok()
    }

    fn bool(&mut self) -> Option<bool> {
        self.chunk::<1>().map(|[byte]| byte != 0)
    }

    fn u64(&mut self) -> Option<u64> {
        self.chunk().map(u64::from_le_bytes)
    }

    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*chunk)
    }
}
