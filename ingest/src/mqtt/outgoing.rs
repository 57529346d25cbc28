//! The commands of one connection: those that wait for their turn, and those that wait for their PUBACK.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::errand::{Answer, Command, Reply};
use super::limits::{IN_FLIGHT, WAITING, WAITING_BYTES};

/// Commands in the order they came; nothing is written twice.
#[derive(Debug)]
pub(super) struct Outgoing {
    most_in_flight: usize,
    waiting: VecDeque<(Arc<Command>, Reply)>,
    waiting_bytes: usize,
    /// Written, the oldest first. One that was forgotten keeps its packet id: its PUBACK may still come.
    in_flight: VecDeque<(u16, Reply)>,
    last_id: u16,
}

impl Outgoing {
    /// Nothing yet, for a client that takes `receive_maximum` messages at a time.
    pub(super) fn new(receive_maximum: u16) -> Self {
        Self {
            most_in_flight: usize::from(receive_maximum.clamp(1, IN_FLIGHT)),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            in_flight: VecDeque::new(),
            last_id: 0,
        }
    }

    /// Queues a command. It is lost if too much waits already.
    pub(super) fn push(&mut self, command: Arc<Command>, reply: Reply) {
        if !self.has_room(&command) {
            self.forget();
        }
        if self.has_room(&command) {
            self.waiting_bytes += command.payload.len();
            self.waiting.push_back((command, reply));
        }
    }

    /// The next command to write, with its packet id: it is in flight from now on. None while too many are.
    pub(super) fn next(&mut self, now: Duration) -> Option<(u16, Arc<Command>)> {
        if self.in_flight.len() >= self.most_in_flight {
            return None;
        }
        while let Some((command, reply)) = self.waiting.pop_front() {
            self.waiting_bytes -= command.payload.len();
            // What nobody waits for, or expired here, is not sent.
            if reply.is_forgotten() || command.expires <= now {
                continue;
            }
            let id = self.free_id();
            self.in_flight.push_back((id, reply));
            return Some((id, command));
        }
        None
    }

    /// The client acknowledges packet `id`; an id that is not in use means nothing.
    pub(super) fn acknowledge(&mut self, id: u16, answer: Answer) {
        let found = self.in_flight.iter().position(|(in_flight, _)| *in_flight == id);
        if let Some((_, reply)) = found.and_then(|index| self.in_flight.remove(index)) {
            reply.answer(answer);
        }
    }

    fn has_room(&self, command: &Command) -> bool {
        self.waiting.is_empty()
            || (self.waiting.len() < WAITING && self.waiting_bytes + command.payload.len() <= WAITING_BYTES)
    }

    fn forget(&mut self) {
        self.waiting.retain(|(_, reply)| !reply.is_forgotten());
        self.waiting_bytes = self.waiting.iter().map(|(command, _)| command.payload.len()).sum();
    }

    /// A packet id that is not in use; with so few in flight one is found within a few steps.
    fn free_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.in_flight.iter().any(|(id, _)| *id == self.last_id) {
                return self.last_id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::sync::mpsc::Receiver;
    use tokio::sync::mpsc::error::TryRecvError;

    use super::*;

    const NOW: Duration = Duration::from_secs(10);

    fn command(bytes: usize, expires: Duration) -> Arc<Command> {
        Arc::new(Command {
            topic: "t".into(),
            payload: Bytes::from(vec![0; bytes]),
            key: "k".into(),
            expires,
            trace: None,
        })
    }

    /// Queues a command of so many bytes.
    fn push(outgoing: &mut Outgoing, bytes: usize) -> Receiver<Answer> {
        let (reply, answers) = Reply::new(1);
        outgoing.push(command(bytes, Duration::MAX), reply);
        answers
    }

    #[test]
    fn commands_are_in_flight_in_order_and_no_more_than_wanted() {
        let mut outgoing = Outgoing::new(2);
        let mut answers: Vec<_> = (0..3).map(|bytes| push(&mut outgoing, bytes)).collect();
        let next = |outgoing: &mut Outgoing| outgoing.next(NOW).map(|(id, command)| (id, command.payload.len()));
        assert_eq!((next(&mut outgoing), next(&mut outgoing), next(&mut outgoing)), (Some((1, 0)), Some((2, 1)), None));
        outgoing.acknowledge(7, Answer::Acknowledged);
        outgoing.acknowledge(2, Answer::Acknowledged);
        outgoing.acknowledge(2, Answer::Acknowledged);
        assert_eq!(answers[1].try_recv(), Ok(Answer::Acknowledged));
        assert_eq!(answers[0].try_recv(), Err(TryRecvError::Empty));
        assert_eq!((next(&mut outgoing), next(&mut outgoing)), (Some((3, 2)), None));
        drop(outgoing);
        assert_eq!(answers[0].try_recv(), Err(TryRecvError::Disconnected), "lost with the connection");
    }

    #[test]
    fn ids_in_use_are_not_given_again() {
        let mut outgoing = Outgoing::new(u16::MAX);
        let _first = push(&mut outgoing, 0);
        assert_eq!(outgoing.next(NOW).unwrap().0, 1);
        for _ in 1..=u32::from(u16::MAX) * 2 {
            let mut answers = push(&mut outgoing, 0);
            let (id, _) = outgoing.next(NOW).unwrap();
            assert!(id > 1);
            outgoing.acknowledge(id, Answer::Acknowledged);
            assert_eq!(answers.try_recv(), Ok(Answer::Acknowledged));
        }
    }

    #[test]
    fn what_waits_is_bounded_by_number_and_bytes_and_the_forgotten_make_room() {
        let mut outgoing = Outgoing::new(1);
        let mut kept: Vec<_> = (0..WAITING).map(|_| push(&mut outgoing, 0)).collect();
        assert_eq!(push(&mut outgoing, 0).try_recv(), Err(TryRecvError::Disconnected));
        kept.pop();
        assert_eq!(push(&mut outgoing, 0).try_recv(), Err(TryRecvError::Empty), "the forgotten makes room");
        let mut outgoing = Outgoing::new(1);
        let mut large = push(&mut outgoing, WAITING_BYTES * 2);
        assert_eq!(large.try_recv(), Err(TryRecvError::Empty), "one may be larger");
        assert_eq!(push(&mut outgoing, 1).try_recv(), Err(TryRecvError::Disconnected));
        drop(large);
        let mut small = push(&mut outgoing, 1);
        assert_eq!(small.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(outgoing.next(NOW).unwrap().1.payload.len(), 1);
    }

    #[test]
    fn what_expired_or_was_forgotten_is_not_sent() {
        let mut outgoing = Outgoing::new(1);
        let (reply, mut expired) = Reply::new(1);
        outgoing.push(command(1, NOW), reply);
        drop(push(&mut outgoing, 2));
        let _kept = push(&mut outgoing, 3);
        assert_eq!(outgoing.next(NOW).unwrap().1.payload.len(), 3);
        assert_eq!(expired.try_recv(), Err(TryRecvError::Disconnected));
    }
}
