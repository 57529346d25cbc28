//! One connection of a device with its counterpart towards the server.

use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::net::sockopt;

use super::flow::{End, Flow};
use super::plan::{Dice, Fault, Plan, Way};
use super::record::Record;
use super::session::Session;
use super::socket;

/// Which of the two sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Device,
    Server,
}

/// What a link works with.
pub(super) struct Context<'a> {
    pub(super) epoll: &'a OwnedFd,
    pub(super) record: &'a mut Record,
    pub(super) now: Instant,
}

/// Why a link is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Closed,
    Reset,
}

#[derive(Debug)]
pub(super) struct Link {
    device: Side,
    server: Side,
    /// The server has not answered yet.
    connecting: bool,
    up: Flow,
    down: Flow,
    session: Session,
    dice: Dice,
    /// Nothing is read or written any more; each side stays open until its peer closes.
    black: bool,
    /// Acknowledgements are being lost until then.
    cut_at: Option<Instant>,
    over: Option<Over>,
}

impl Link {
    /// Between the sockets `device` and `server`, the second of which is still connecting. Their events carry
    /// the numbers `tokens`.
    pub(super) fn new(device: TcpStream, server: TcpStream, tokens: (u64, u64), mut dice: Dice) -> Self {
        Self {
            device: Side::new(device, tokens.0),
            server: Side::new(server, tokens.1),
            connecting: true,
            up: Flow::new(Way::Up, &mut dice),
            down: Flow::new(Way::Down, &mut dice),
            session: Session::default(),
            dice,
            black: false,
            cut_at: None,
            over: None,
        }
    }

    /// One of the sockets says something.
    ///
    /// # Errors
    /// If the record cannot be written, or epoll fails.
    pub(super) fn event(&mut self, peer: Peer, flags: EventFlags, context: &mut Context<'_>) -> anyhow::Result<()> {
        let gone = flags.intersects(EventFlags::HUP | EventFlags::ERR);
        if self.black {
            if gone || flags.contains(EventFlags::RDHUP) {
                self.side(peer).stream = None;
            }
            return self.settle(context);
        }
        if self.connecting && peer == Peer::Server && !self.connected() {
            context.record.witness.refused += 1;
            self.over = Some(Over::Reset);
            return Ok(());
        }
        if gone || flags.contains(EventFlags::IN) {
            self.read(peer, context.record);
        }
        if gone || flags.contains(EventFlags::OUT) {
            self.flow_to(peer).blocked = false;
        }
        self.drive(context)?;
        if gone && !self.flow_from(peer).reads() {
            self.side(peer).mute(context.epoll)?;
        }
        self.settle(context)
    }

    /// Does what is due, and begins to listen to the sockets.
    ///
    /// # Errors
    /// As for [`Link::event`].
    pub(super) fn tick(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        if self.cut_at.is_some_and(|at| at <= context.now) {
            self.over = Some(Over::Reset);
        }
        self.drive(context)?;
        self.settle(context)
    }

    /// When to call [`Link::tick`].
    pub(super) fn wake_at(&self) -> Option<Instant> {
        if self.black {
            return None;
        }
        [self.up.wake_at(), self.down.wake_at(), self.cut_at].into_iter().flatten().min()
    }

    /// Faults come by a new plan.
    pub(super) fn replan(&mut self, plan: &Arc<Plan>) {
        self.dice.plan = Arc::clone(plan);
        self.up.replan(&mut self.dice);
        self.down.replan(&mut self.dice);
    }

    /// To be dropped.
    pub(super) fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// To be dropped, with RST to both.
    pub(super) fn reset(&mut self) {
        self.over = Some(Over::Reset);
    }

    /// Whether the server took the connection.
    fn connected(&mut self) -> bool {
        self.connecting = false;
        let server = self.server.stream.as_ref();
        server.is_some_and(|server| matches!(sockopt::socket_error(server), Ok(Ok(()))))
    }

    fn read(&mut self, peer: Peer, record: &mut Record) {
        let (flow, side) = match peer {
            Peer::Device => (&mut self.up, &self.device),
            Peer::Server => (&mut self.down, &self.server),
        };
        if let Some(source) = side.stream.as_ref().filter(|_| flow.reads()) {
            flow.read(source, &mut self.session, record);
        }
    }

    /// Writes what can be written, and does the faults on the way.
    fn drive(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        for way in [Way::Up, Way::Down] {
            while !self.black && !self.connecting && self.over.is_none() {
                let (flow, side) = match way {
                    Way::Up => (&mut self.up, &self.server),
                    Way::Down => (&mut self.down, &self.device),
                };
                let Some(sink) = &side.stream else { break };
                let struck = flow.write(sink, context.now, &mut self.dice, &mut self.session, context.record)?;
                let Some(fault) = struck else { break };
                self.strike(way, fault, context);
            }
        }
        Ok(())
    }

    fn strike(&mut self, way: Way, fault: Fault, context: &mut Context<'_>) {
        if fault == Fault::LostAcks && self.cut_at.is_some() {
            // They are being lost already.
            return;
        }
        context.record.fault(fault);
        let now = context.now;
        let (flow, sink) = match way {
            Way::Up => (&mut self.up, &self.server),
            Way::Down => (&mut self.down, &self.device),
        };
        match fault {
            Fault::Reset => self.over = Some(Over::Reset),
            Fault::HalfClose => {
                flow.discard();
                sink.finish();
            }
            Fault::BlackHole => self.black = true,
            Fault::LostAcks => {
                self.cut_at = Some(now + self.dice.delay());
                self.down.discard();
            }
            Fault::Delay => flow.hold(now + self.dice.delay()),
            Fault::Dribble => flow.dribble(self.dice.dribble()),
        }
    }

    /// Passes ends on, and listens to what matters now.
    fn settle(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        if self.black {
            if self.device.stream.is_none() && self.server.stream.is_none() {
                self.over = Some(Over::Closed);
            }
        } else if !self.connecting {
            self.pass_ends();
        }
        if self.over.is_some() {
            return Ok(());
        }
        let (device, server) = self.interests();
        self.device.listen(context.epoll, device)?;
        self.server.listen(context.epoll, server)?;
        Ok(())
    }

    fn pass_ends(&mut self) {
        let ends = [self.up.ended(), self.down.ended()];
        if ends.contains(&Some(End::Broken)) {
            self.over.get_or_insert(Over::Reset);
        } else if ends == [Some(End::Finished); 2] {
            self.over.get_or_insert(Over::Closed);
        }
        for (flow, sink) in [(&self.up, &mut self.server), (&self.down, &mut self.device)] {
            if flow.ended().is_some() && !flow.discards() && !sink.finished {
                sink.finished = true;
                sink.finish();
            }
        }
    }

    /// What to listen for at the device, and at the server.
    fn interests(&self) -> (EventFlags, EventFlags) {
        if self.black {
            return (EventFlags::RDHUP, EventFlags::RDHUP);
        }
        let interest = |from: &Flow, to: &Flow| {
            let mut interest = EventFlags::empty();
            interest.set(EventFlags::IN, from.reads());
            interest.set(EventFlags::OUT, to.blocked);
            interest
        };
        let server = if self.connecting { EventFlags::OUT } else { interest(&self.down, &self.up) };
        (interest(&self.up, &self.down), server)
    }

    fn side(&mut self, peer: Peer) -> &mut Side {
        match peer {
            Peer::Device => &mut self.device,
            Peer::Server => &mut self.server,
        }
    }

    fn flow_from(&self, peer: Peer) -> &Flow {
        match peer {
            Peer::Device => &self.up,
            Peer::Server => &self.down,
        }
    }

    fn flow_to(&mut self, peer: Peer) -> &mut Flow {
        match peer {
            Peer::Device => &mut self.down,
            Peer::Server => &mut self.up,
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if self.over == Some(Over::Reset) {
            [&mut self.device, &mut self.server]
                .into_iter()
                .filter_map(|side| side.stream.take())
                .for_each(socket::reset);
        }
    }
}

/// A socket, and what epoll knows of it.
#[derive(Debug)]
struct Side {
    stream: Option<TcpStream>,
    token: u64,
    /// What epoll tells; `None` if it does not know the socket. It tells of errors and of a hang-up whether one
    /// listens or not, again and again: a socket with neither interest nor news is taken from it.
    listens: Option<EventFlags>,
    /// The peer has been sent a FIN.
    finished: bool,
}

impl Side {
    fn new(stream: TcpStream, token: u64) -> Self {
        Self { stream: Some(stream), token, listens: None, finished: false }
    }

    fn listen(&mut self, epoll: &OwnedFd, interest: EventFlags) -> rustix::io::Result<()> {
        let Some(stream) = &self.stream else { return Ok(()) };
        let data = EventData::new_u64(self.token);
        match self.listens {
            Some(listens) if listens == interest => return Ok(()),
            Some(_) => epoll::modify(epoll, stream, data, interest)?,
            None if interest.is_empty() => return Ok(()),
            None => epoll::add(epoll, stream, data, interest)?,
        }
        self.listens = Some(interest);
        Ok(())
    }

    fn mute(&mut self, epoll: &OwnedFd) -> rustix::io::Result<()> {
        match (&self.stream, self.listens.take()) {
            (Some(stream), Some(_)) => epoll::delete(epoll, stream),
            _ => Ok(()),
        }
    }

    /// Sends FIN.
    fn finish(&self) {
        if let Some(stream) = &self.stream {
            // It fails if the peer has reset the connection, and then reading says so.
            stream.shutdown(Shutdown::Write).ok();
        }
    }
}
