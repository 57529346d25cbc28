//! Three processes, one partition, and everything that can go wrong in any order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Act {
    /// Claims if nobody who may be alive owns it.
    Claim,
    Commit,
    /// Stops with a commit on its way.
    CommitAndStop,
    Renew,
    Release,
    /// Ends without a word, and starts anew.
    Restart,
    /// Time passes, and what was on its way arrives, or not.
    Pass {
        millis: u16,
        deliver: bool,
    },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => Just(Act::Claim),
        6 => Just(Act::Commit),
        2 => Just(Act::CommitAndStop),
        4 => Just(Act::Renew),
        1 => Just(Act::Release),
        1 => Just(Act::Restart),
        5 => (0..600_u16, any::<bool>()).prop_map(|(millis, deliver)| Act::Pass { millis, deliver }),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        8 => Just(Fault::None),
        1 => Just(Fault::Refuse),
        2 => Just(Fault::LoseAcknowledgement),
        2 => Just(Fault::Duplicate),
        2 => Just(Fault::Delay),
        1 => (0..600_u16).prop_map(Fault::Pause),
    ]
}

/// What became of a commit, as its caller knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Stands,
    Maybe,
}

struct Run {
    world: World,
    processes: Vec<Arc<Groups>>,
    /// Offsets asked for, each once.
    asked: BTreeMap<u64, Outcome>,
    /// Offsets whose commit returned, in order.
    stood: Vec<u64>,
}

impl Run {
    async fn new() -> Self {
        let world = World::new(1);
        let mut processes = Vec::new();
        for name in ["a", "b", "c"] {
            processes.push(world.process(name).await);
        }
        Self { world, processes, asked: BTreeMap::new(), stood: Vec::new() }
    }

    async fn act(&mut self, who: usize, act: Act) {
        let process = self.processes[who].clone();
        match act {
            Act::Claim => {
                if process.alive(&rules(), &readings(0)).is_ok() {
                    // What fails is tried again by a later act.
                    drop(process.try_claim(&process.seats[0], &key(&rules(), &readings(0))).await);
                }
            }
            Act::Commit => {
                let offset = self.asked.len() as u64;
                self.asked.insert(offset, Outcome::Maybe);
                match commit(&process, 0, offset).await {
                    Ok(()) => {
                        self.asked.insert(offset, Outcome::Stands);
                        self.stood.push(offset);
                    }
                    Err(Error::Unavailable(_) | Error::Fenced { .. } | Error::Positions(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            Act::CommitAndStop => {
                let offset = self.asked.len() as u64;
                let outcome = commit(&process, 0, offset).now_or_never();
                let stands = matches!(outcome, Some(Ok(())));
                self.asked.insert(offset, if stands { Outcome::Stands } else { Outcome::Maybe });
                self.stood.extend(stands.then_some(offset));
            }
            Act::Renew => drop(process.renew().await),
            Act::Release => process.release().await,
            Act::Restart => self.processes[who] = self.world.process("again").await,
            Act::Pass { millis, deliver } => {
                self.world.clock.advance(Duration::from_millis(millis.into()));
                if deliver {
                    self.world.topic.deliver_delayed();
                }
            }
        }
        self.at_most_one_is_sure_of_itself();
    }

    /// Nobody who believes to own it does so while somebody else does.
    fn at_most_one_is_sure_of_itself(&self) {
        let sure = |process: &&Arc<Groups>| {
            let held = process.seats[0].state().held.contains_key(&key(&rules(), &readings(0)));
            held && process.alive(&rules(), &readings(0)).is_ok()
        };
        let sure: Vec<_> = self.processes.iter().filter(sure).map(|process| process.me.text.clone()).collect();
        assert!(sure.len() <= 1, "{sure:?} believe to own it");
    }

    async fn judge(self) {
        self.world.topic.heal();
        self.world.topic.deliver_delayed();
        let counted = counted(&self.world.topic.records(0));
        let offsets: Vec<u64> = counted.iter().map(|(_, offset)| *offset).collect();
        assert!(counted.is_sorted_by_key(|(epoch, _)| *epoch), "{counted:?}");
        assert!(offsets.iter().all(|offset| self.asked.contains_key(offset)), "{offsets:?}");
        let among: Vec<u64> = offsets.iter().copied().filter(|offset| self.stood.contains(offset)).collect();
        assert_eq!(among, self.stood, "each that returned counted once, in order, among {offsets:?}");
        let fresh = self.world.process("fresh").await;
        assert_eq!(position(&fresh, 0).await, offsets.last().copied().map(at));
        for process in &self.processes {
            assert_eq!(position(process, 0).await, position(&fresh, 0).await, "all read the same");
            assert_eq!(process.seats[0].follower.base(&StreamName::readings()), (0, 0));
        }
    }
}

/// Epoch and offset of each commit that counts, by looking at all records before each: slow, and unlike the ledger.
fn counted(records: &[Record]) -> Vec<(u64, u64)> {
    let mut counted: Vec<(u64, u64, u64)> = Vec::new();
    for (at, record) in records.iter().enumerate() {
        let Record::Commit { process, positions, .. } = record else { continue };
        let [committed] = positions.as_slice() else { panic!("{record:?}") };
        let newest = counted.iter().map(|(_, version, _)| *version).max().unwrap_or(0);
        if owner(&records[..at]) == Some((committed.epoch, *process)) && committed.version > newest {
            counted.push((committed.epoch, committed.version, committed.position.offset));
        }
    }
    counted.into_iter().map(|(epoch, _, offset)| (epoch, offset)).collect()
}

/// Epoch and process of the owner behind these records.
fn owner(records: &[Record]) -> Option<(u64, u64)> {
    let mut claims: Vec<u64> = Vec::new();
    let mut released = false;
    for record in records {
        match record {
            Record::Claim { expected, owner, .. } if *expected == claims.len() as u64 => {
                claims.push(owner.process);
                released = false;
            }
            Record::Release { epoch, process, .. } => {
                released |= *epoch == claims.len() as u64 && claims.last() == Some(process);
            }
            _ => {}
        }
    }
    claims.last().filter(|_| !released).map(|process| (claims.len() as u64, *process))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_two_owners_commit_in_one_epoch_and_what_returned_stands(
        acts in prop::collection::vec((0..3_usize, act(), fault()), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::new().await;
            for (who, act, fault) in acts {
                run.world.topic.heal();
                run.world.topic.fail([fault]);
                run.act(who, act).await;
            }
            run.judge().await;
        });
    }
}
