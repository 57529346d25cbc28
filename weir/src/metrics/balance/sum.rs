//! The sums of the balance. Pure: what the ends counted goes in, parts and differences come out.

use ingest::Passage;
use streams::metrics;

/// What both ends counted, as far as they are in this process.
#[derive(Clone, Debug, Default)]
pub(super) struct Ends {
    pub(super) door: Option<Passage>,
    /// What the group of the table passed; rows committed since the start, and rows in the buffer.
    pub(super) table: Option<(metrics::Passage, (u64, u64))>,
    /// Whether nothing is being committed and the group stands at the end of all that is durable.
    pub(super) at_rest: bool,
    /// Whether both ends are there, and nobody else has one.
    pub(super) whole: bool,
}

/// Where the readings are that this process received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Readings {
    received: Option<i64>,
    stored: Option<i64>,
    deduplicated: Option<i64>,
    in_flight: i64,
}

/// Where the messages are that this process received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Messages {
    received: i64,
    accepted: i64,
    dead_lettered: i64,
    rejected: i64,
    in_flight: i64,
}

impl Readings {
    pub(super) fn of(Ends { door, table, at_rest, whole }: &Ends) -> Self {
        let mut readings = Self::default();
        if let Some(door) = door {
            readings.received = Some(signed(door.received_readings));
            readings.in_flight += signed(door.committing_readings);
        }
        if let Some((group, (committed, held))) = table {
            readings.stored = Some(signed(*committed) - signed(group.earlier_flushed_rows));
            readings.deduplicated = Some(signed(group.deduplicated_rows));
            readings.in_flight += signed(*held) - signed(group.earlier_held_rows);
        }
        if let (true, false, Some(door), Some((group, _))) = (whole, at_rest, door, table) {
            // What is read may be ahead of what the door knows to be durable; the sum of all in flight is right.
            readings.in_flight += signed(door.durable_readings) - signed(group.read_rows);
        }
        readings
    }

    /// What is missing; below 0 if there is too much.
    pub(super) fn difference(&self) -> i64 {
        match (self.received, self.stored, self.deduplicated) {
            (Some(received), Some(stored), Some(deduplicated)) => received - stored - deduplicated - self.in_flight,
            _ => 0,
        }
    }

    /// The parts that this process has. None is below 0: a commit moves rows from one to the other in two steps.
    pub(super) fn parts(&self) -> Vec<(&'static str, i64)> {
        let parts = [
            ("received", self.received),
            ("stored", self.stored),
            ("deduplicated", self.deduplicated),
            ("in_flight", (self.received.is_some() || self.stored.is_some()).then_some(self.in_flight)),
        ];
        parts.into_iter().filter_map(|(part, count)| Some((part, count?.max(0)))).collect()
    }
}

impl Messages {
    pub(super) fn of(door: &Passage) -> Self {
        Self {
            received: signed(door.received_messages),
            accepted: signed(door.accepted_messages),
            dead_lettered: signed(door.dead_lettered_messages),
            rejected: signed(door.rejected_messages),
            in_flight: signed(door.committing_messages),
        }
    }

    /// What is missing; below 0 if there is too much.
    pub(super) fn difference(&self) -> i64 {
        self.received - self.accepted - self.dead_lettered - self.rejected - self.in_flight
    }

    pub(super) fn parts(&self) -> [(&'static str, i64); 5] {
        [
            ("received", self.received),
            ("accepted", self.accepted),
            ("dead_lettered", self.dead_lettered),
            ("rejected", self.rejected),
            ("in_flight", self.in_flight),
        ]
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 100 readings came in: 60 stored, 5 left out, 10 in the buffer, 20 in the log, 5 being committed. 30 of an earlier
    /// life are in the table, and 7 in the buffer.
    fn moving() -> Ends {
        let door = Passage {
            received_readings: 100,
            durable_readings: 95,
            committing_readings: 5,
            received_messages: 14,
            accepted_messages: 9,
            dead_lettered_messages: 2,
            rejected_messages: 1,
            committing_messages: 2,
        };
        let group = metrics::Passage {
            read_rows: 75,
            deduplicated_rows: 5,
            earlier_held_rows: 7,
            earlier_flushed_rows: 30,
            ..metrics::Passage::default()
        };
        Ends { door: Some(door), table: Some((group, (90, 17))), at_rest: false, whole: true }
    }

    #[test]
    fn what_moves_is_accounted_for() {
        let readings = Readings::of(&moving());
        assert_eq!(readings.parts(), [("received", 100), ("stored", 60), ("deduplicated", 5), ("in_flight", 35)]);
        assert_eq!(readings.difference(), 0);
        let messages = Messages::of(&moving().door.unwrap());
        assert_eq!((messages.difference(), messages.parts()[0]), (0, ("received", 14)));
    }

    #[test]
    fn what_the_log_lost_is_missing_once_all_is_read() {
        let mut ends = moving();
        let (door, group) = (ends.door.as_mut().unwrap(), &mut ends.table.as_mut().unwrap().0);
        (door.durable_readings, door.committing_readings) = (100, 0);
        group.read_rows = 97;
        ends.table.as_mut().unwrap().1 = (119, 10);
        assert_eq!(Readings::of(&ends).difference(), 0, "the rest may still come");
        ends.at_rest = true;
        assert_eq!(Readings::of(&ends).difference(), 3);
    }

    #[test]
    fn what_the_door_or_the_sink_drops_is_missing_at_once() {
        let mut ends = moving();
        ends.table.as_mut().unwrap().1.0 -= 2;
        assert_eq!(Readings::of(&ends).difference(), 2);
        let mut ends = moving();
        ends.door.as_mut().unwrap().durable_readings -= 4;
        assert_eq!(Readings::of(&ends).difference(), 4);
        let mut ends = moving();
        ends.table.as_mut().unwrap().0.deduplicated_rows += 1;
        assert_eq!(Readings::of(&ends).difference(), -1);
        let mut door = moving().door.unwrap();
        door.accepted_messages -= 1;
        assert_eq!(Messages::of(&door).difference(), 1);
    }

    #[test]
    fn a_stage_apart_shows_what_it_has() {
        let door = Ends { table: None, whole: false, ..moving() };
        assert_eq!(Readings::of(&door).parts(), [("received", 100), ("in_flight", 5)]);
        let table = Ends { door: None, whole: false, ..moving() };
        assert_eq!(Readings::of(&table).parts(), [("stored", 60), ("deduplicated", 5), ("in_flight", 10)]);
        assert_eq!((Readings::of(&door).difference(), Readings::of(&table).difference()), (0, 0));
    }
}
