//! The thread of the proxy: waits for sockets, orders and moments, and lets links do the rest.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use super::link::{Context, Link, Peer};
use super::plan::{Dice, Plan};
use super::record::{Record, Witness};
use super::socket;
use crate::clock;

/// Events taken at once.
const EVENTS: usize = 256;
/// Connections accepted before others get their turn.
const ACCEPTS: usize = 64;
/// What an event is about: one of these, or twice the number of a link, plus one for the server's side.
const LISTENER: u64 = 0;
const WAKER: u64 = 1;

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Order {
    Plan(Plan),
    /// Reset all connections, and say how many.
    Cut(SyncSender<u64>),
    /// Say what was seen so far.
    Tell(SyncSender<Witness>),
    Finish,
}

#[derive(Debug)]
pub(super) struct Engine {
    epoll: OwnedFd,
    listener: TcpListener,
    target: SocketAddr,
    waker: Arc<OwnedFd>,
    orders: Receiver<Order>,
    record: Record,
    seed: u64,
    plan: Arc<Plan>,
    links: HashMap<u64, Link>,
    /// Number of the last link; they begin at 1.
    last: u64,
    /// When links want to be woken. Some may not any more: then nothing happens.
    moments: BinaryHeap<Reverse<(Instant, u64)>>,
}

impl Engine {
    pub(super) fn new(
        listener: TcpListener,
        target: SocketAddr,
        waker: Arc<OwnedFd>,
        orders: Receiver<Order>,
        record: Record,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("make an epoll")?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN).context("watch the listener")?;
        epoll::add(&epoll, &*waker, EventData::new_u64(WAKER), EventFlags::IN).context("watch for orders")?;
        Ok(Self {
            epoll,
            listener,
            target,
            waker,
            orders,
            record,
            seed,
            plan: Arc::new(Plan::none()),
            links: HashMap::new(),
            last: 0,
            moments: BinaryHeap::new(),
        })
    }

    /// Runs until told to finish.
    pub(super) fn run(mut self) -> anyhow::Result<Witness> {
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            self.wait(&mut events)?;
            let now = clock::now();
            let (mut accepts, mut ordered) = (false, false);
            for event in events.drain(..) {
                match event.data.u64() {
                    LISTENER => accepts = true,
                    WAKER => ordered = true,
                    token => {
                        let peer = if token.is_multiple_of(2) { Peer::Device } else { Peer::Server };
                        let flags = event.flags;
                        self.turn(token / 2, now, |link, context| link.event(peer, flags, context))?;
                    }
                }
            }
            while let Some(number) = self.due(now) {
                self.turn(number, now, Link::tick)?;
            }
            if accepts {
                self.accept(now)?;
            }
            if ordered && self.obey(now)? {
                self.links.clear();
                return self.record.finish();
            }
        }
    }

    fn wait(&self, events: &mut Vec<Event>) -> anyhow::Result<()> {
        let next = self.moments.peek().map(|Reverse((at, _))| at.saturating_duration_since(clock::now()));
        // Rounded up by a little, so that a moment has come when it is looked at.
        let timeout = next.map(|next| Timespec::try_from(next + Duration::from_micros(10))).transpose()?;
        match epoll::wait(&self.epoll, spare_capacity(events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("wait for sockets"),
        }
    }

    /// Lets a link do something, and drops it if it is over.
    fn turn(
        &mut self,
        number: u64,
        now: Instant,
        act: impl FnOnce(&mut Link, &mut Context<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        // One that was over earlier in this round may still have an event.
        let Some(link) = self.links.get_mut(&number) else { return Ok(()) };
        let before = link.wake_at();
        act(link, &mut Context { epoll: &self.epoll, record: &mut self.record, now })?;
        if link.is_over() {
            self.links.remove(&number);
        } else if let Some(at) = link.wake_at().filter(|at| before != Some(*at)) {
            self.moments.push(Reverse((at, number)));
        }
        Ok(())
    }

    /// A link whose moment has come.
    fn due(&mut self, now: Instant) -> Option<u64> {
        self.moments.peek().filter(|Reverse((at, _))| *at <= now)?;
        self.moments.pop().map(|Reverse((_, number))| number)
    }

    fn accept(&mut self, now: Instant) -> anyhow::Result<()> {
        for _ in 0..ACCEPTS {
            let Some(device) = socket::accept(&self.listener).context("accept a connection")? else { break };
            self.record.witness.connections += 1;
            let Ok(server) = socket::begin_connect(self.target) else {
                self.record.witness.refused += 1;
                socket::reset(device);
                continue;
            };
            self.last += 1;
            let dice = Dice::new(Arc::clone(&self.plan), self.seed, self.last);
            self.links.insert(self.last, Link::new(device, server, (self.last * 2, self.last * 2 + 1), dice));
            self.turn(self.last, now, Link::tick)?;
        }
        Ok(())
    }

    /// Does what was ordered; true for the end.
    fn obey(&mut self, now: Instant) -> anyhow::Result<bool> {
        socket::woken(&self.waker).context("take an order")?;
        loop {
            match self.orders.try_recv() {
                Ok(Order::Plan(plan)) => self.replan(plan, now)?,
                Ok(Order::Cut(answer)) => self.cut(&answer),
                // An error, here and in `cut`: nobody waits for the answer any more.
                Ok(Order::Tell(answer)) => drop(answer.send(self.record.witness.clone())),
                Ok(Order::Finish) | Err(TryRecvError::Disconnected) => return Ok(true),
                Err(TryRecvError::Empty) => return Ok(false),
            }
        }
    }

    fn replan(&mut self, plan: Plan, now: Instant) -> anyhow::Result<()> {
        self.plan = Arc::new(plan);
        let mut numbers: Vec<u64> = self.links.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            let plan = Arc::clone(&self.plan);
            self.turn(number, now, |link, context| {
                link.replan(&plan);
                link.tick(context)
            })?;
        }
        Ok(())
    }

    fn cut(&mut self, answer: &SyncSender<u64>) {
        let count = self.links.len() as u64;
        self.record.cut(count);
        for (_, mut link) in self.links.drain() {
            link.reset();
        }
        answer.send(count).ok();
    }
}
