//! One way through a connection: what was read and is not written yet, and the fault to come.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::packet::Splitter;
use super::plan::{Dice, Fault, Strike, Way};
use super::record::Record;
use super::session::{Mark, Session};

/// Bytes read at once. No more are read until all are written, so this bounds what waits.
const BUFFER: usize = 16 * 1024;
/// Between two writes of a way that dribbles.
const DRIBBLE_PAUSE: Duration = Duration::from_micros(500);

/// How the side that is read from ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// FIN: the other side is told when all before it is written.
    Finished,
    /// RST, or another error.
    Broken,
}

#[derive(Debug)]
pub(super) struct Flow {
    way: Way,
    buffer: Vec<u8>,
    /// What of the buffer is still to be written.
    from: usize,
    to: usize,
    /// Bytes that have passed since the connection opened.
    passed: u64,
    splitter: Splitter,
    /// What to note when so many bytes have passed; at most one for each packet in the buffer.
    marks: VecDeque<(u64, Mark)>,
    strike: Option<Strike>,
    /// Nothing is written before.
    held_until: Option<Instant>,
    /// Bytes still to be written a few at a time.
    dribble: usize,
    /// What is read goes nowhere.
    discards: bool,
    /// The side that is written to takes nothing at the moment.
    pub(super) blocked: bool,
    pub(super) end: Option<End>,
}

impl Flow {
    pub(super) fn new(way: Way, dice: &mut Dice) -> Self {
        Self {
            way,
            buffer: vec![0; BUFFER],
            from: 0,
            to: 0,
            passed: 0,
            splitter: Splitter::new(),
            marks: VecDeque::new(),
            strike: dice.strike(way, 0),
            held_until: None,
            dribble: 0,
            discards: false,
            blocked: false,
            end: None,
        }
    }

    /// Whether to read: only when all that was read before is written.
    pub(super) fn reads(&self) -> bool {
        self.end.is_none() && self.is_empty()
    }

    /// Reads what is there into the buffer, and along.
    pub(super) fn read(&mut self, mut source: &TcpStream, session: &mut Session, record: &mut Record) {
        let count = match source.read(&mut self.buffer) {
            Ok(0) => {
                self.end = Some(End::Finished);
                return;
            }
            Ok(count) => count,
            Err(error) if is_temporary(error.kind()) => return,
            Err(_) => {
                self.end = Some(End::Broken);
                return;
            }
        };
        (self.from, self.to) = (0, count);
        let mut rest = self.buffer.get(..count).unwrap_or_default();
        let end = self.passed + count as u64;
        while let Some(packet) = self.splitter.next(&mut rest) {
            if let Some(mark) = session.packet(self.way, packet, record) {
                self.marks.push_back((end - rest.len() as u64, mark));
            }
        }
        if self.discards {
            self.drop_rest();
        }
    }

    /// Writes as much as `sink` takes and the faults allow; returns the fault whose place it came to, with which
    /// the caller deals before it calls again.
    ///
    /// # Errors
    /// If the record cannot be written. A sink that fails is none: what it does not take is dropped.
    pub(super) fn write(
        &mut self,
        mut sink: &TcpStream,
        now: Instant,
        dice: &mut Dice,
        session: &mut Session,
        record: &mut Record,
    ) -> anyhow::Result<Option<Fault>> {
        while !self.discards && !self.blocked && !self.is_held(now) {
            if let Some(strike) = self.strike.take_if(|strike| strike.at <= self.passed) {
                self.strike = dice.strike(self.way, self.passed);
                return Ok(Some(strike.fault));
            }
            if self.is_empty() {
                break;
            }
            let most = self.most(dice);
            match sink.write(self.buffer.get(self.from..self.to.min(self.from + most)).unwrap_or_default()) {
                Ok(count) => self.advance(count, now, session, record)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.blocked = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.discard(),
            }
        }
        Ok(None)
    }

    /// Drops what is there and what will come.
    pub(super) fn discard(&mut self) {
        self.discards = true;
        self.blocked = false;
        self.held_until = None;
        self.drop_rest();
    }

    pub(super) fn hold(&mut self, until: Instant) {
        self.held_until = Some(until);
    }

    pub(super) fn dribble(&mut self, bytes: usize) {
        self.dribble = bytes;
    }

    /// Faults come by a new plan.
    pub(super) fn replan(&mut self, dice: &mut Dice) {
        self.strike = dice.strike(self.way, self.passed);
    }

    /// When there is something to do although no socket says so.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.held_until
    }

    /// All is written that ever will be, and the source said how it ended.
    pub(super) fn ended(&self) -> Option<End> {
        self.end.filter(|_| self.is_empty() && self.held_until.is_none())
    }

    pub(super) fn discards(&self) -> bool {
        self.discards
    }

    fn is_empty(&self) -> bool {
        self.from == self.to
    }

    fn is_held(&mut self, now: Instant) -> bool {
        self.held_until.take_if(|until| *until <= now);
        self.held_until.is_some()
    }

    /// How many bytes may be written at once: not beyond the place of the next fault.
    fn most(&self, dice: &mut Dice) -> usize {
        let to_strike = self.strike.map_or(BUFFER as u64, |strike| strike.at - self.passed);
        let to_strike = usize::try_from(to_strike).unwrap_or(BUFFER);
        if self.dribble > 0 { to_strike.min(dice.drop()) } else { to_strike }
    }

    fn advance(
        &mut self,
        count: usize,
        now: Instant,
        session: &mut Session,
        record: &mut Record,
    ) -> anyhow::Result<()> {
        self.from += count;
        self.passed += count as u64;
        while let Some((_, mark)) = self.marks.pop_front_if(|(end, _)| *end <= self.passed) {
            session.passed(mark, record)?;
        }
        if self.dribble > 0 {
            self.dribble = self.dribble.saturating_sub(count);
            self.held_until = Some(now + DRIBBLE_PAUSE);
        }
        Ok(())
    }

    fn drop_rest(&mut self) {
        self.from = self.to;
        self.marks.clear();
    }
}

fn is_temporary(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
