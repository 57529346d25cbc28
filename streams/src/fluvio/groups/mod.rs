//! Groups of several processes: who reads which partition, and how far each group has come.
//!
//! One topic is the judge. Its partition p holds everything about partition p of every stream, and every process folds
//! it in the same way (`ledger`); the order of records decides. In reading order: `record` (bytes), `ledger` (what they
//! mean), `follower` (reading them), this file (claiming and committing), `keeper` (staying alive), `limits`.
//!
//! Nobody compares wall clocks. An owner renews its lease by a record; who wants its place waits until it has seen no
//! sign of it for the time of a lease by its own clock. An owner that cannot renew gives up before that.
//! See docs/adr/0014-groups-on-a-log.md.

mod follower;
mod keeper;
mod ledger;
pub(in crate::fluvio) mod limits;
mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use telemetry::Clock;
use tokio::sync::{Mutex, watch};
use tokio::task::AbortHandle;

use self::follower::{Follower, Owned};
use self::limits::{COMMIT_LOOKS, LOOKS, MARGIN, RENEWALS, STATE_BYTES};
use self::record::{Committed, Key, Owner, Record};
use super::topic::Topic;
use crate::contract::{Error, GroupName, GroupPosition, Partition, Position};

/// The group whose position marks partitions that were moved here; its state says of what they are a copy.
pub(in crate::fluvio) const COPY: &str = "weir/copy";
/// How the mark of a copy begins that is not done.
const UNFINISHED: &[u8] = b"unfinished";

/// The groups, as one process sees them.
#[derive(Debug)]
pub(in crate::fluvio) struct Groups {
    me: Owner,
    lease: Duration,
    clock: Arc<dyn Clock>,
    /// By index of the partition.
    seats: Vec<Seat>,
    failed: watch::Sender<Option<String>>,
    keepers: StdMutex<Vec<AbortHandle>>,
}

/// One partition of the topic, and what this process has there.
#[derive(Debug)]
struct Seat {
    follower: Follower,
    state: StdMutex<SeatState>,
    /// Held over a commit, so that versions go up in the order of the topic.
    committing: Mutex<()>,
}

#[derive(Debug, Default)]
struct SeatState {
    /// Epoch under which each group is owned here, and the version of its last commit, even one that failed.
    held: BTreeMap<Key, Held>,
    /// When this process must consider itself lost; none while it owns nothing here.
    deadline: Option<Duration>,
    /// When all that was said before `carried_to` was last said again because of its age.
    carried_at: Duration,
    carried_to: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    epoch: u64,
    version: u64,
}

/// How an attempt to claim stands.
#[derive(Debug)]
enum Claim {
    Held,
    /// Somebody else owns it, and may be alive.
    Waits(Owned),
}

impl Groups {
    /// The groups of `topic`, whose partitions are those of the streams. Reads all that is there.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; [`Error::Incompatible`] if a newer program wrote to the topic.
    pub(in crate::fluvio) async fn open(
        topic: Arc<dyn Topic>,
        partitions: u32,
        owner: String,
        lease: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, Error> {
        let groups = Self::open_still(topic, partitions, &owner, lease, clock).await?;
        *groups.keepers() = keeper::spawn(&groups);
        Ok(groups)
    }

    /// As [`Groups::open`], without anything that runs by itself.
    async fn open_still(
        topic: Arc<dyn Topic>,
        partitions: u32,
        owner: &str,
        lease: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, Error> {
        let lease_ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        let me = Owner { process: process_id(owner, clock.as_ref()), lease_ms, text: owner.into() };
        let opened_at = clock.monotonic();
        let seat = |partition| Seat {
            follower: Follower::new(topic.clone(), partition, clock.clone()),
            state: StdMutex::new(SeatState { carried_at: opened_at, ..SeatState::default() }),
            committing: Mutex::default(),
        };
        let seats = (0..partitions).map(seat).collect();
        let (failed, keepers) = (watch::Sender::new(None), StdMutex::default());
        let groups = Self { me, lease, clock, seats, failed, keepers };
        try_join_all(groups.seats.iter().map(|seat| seat.follower.catch_up())).await?;
        Ok(Arc::new(groups))
    }

    /// Becomes the owner of `partitions` for `group`; see [`crate::Streams::claim`]. Waits up to a lease and a margin
    /// for an owner that is silent. A dropped future leaves nothing to undo.
    ///
    /// # Errors
    /// [`Error::Owned`], [`Error::Unavailable`] if the cluster does not answer for as long as a lease.
    pub(in crate::fluvio) async fn claim(&self, group: &GroupName, partitions: &[Partition]) -> Result<(), Error> {
        let claims = partitions.iter().map(|of| self.claim_one(group, of));
        // All to their end: who gives one up has the others to release.
        join_all(claims).await.into_iter().collect()
    }

    /// Where `group` stands, whoever owns it.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(in crate::fluvio) async fn position(
        &self,
        group: &GroupName,
        of: &Partition,
    ) -> Result<Option<Position>, Error> {
        let seat = self.seat(of)?;
        seat.follower.catch_up().await?;
        Ok(seat.follower.position(&key(group, of)))
    }

    /// Commits `positions`, all of one partition index in one step. Tries again while the cluster does not answer and
    /// the lease lasts. After an error the positions may or may not stand.
    ///
    /// # Errors
    /// [`Error::Fenced`] if another process took over; [`Error::Positions`] if the group was not claimed, or a state is
    /// too large; [`Error::Unavailable`] if the lease ran out.
    pub(in crate::fluvio) async fn commit(
        &self,
        group: &GroupName,
        positions: Vec<(Partition, Position)>,
    ) -> Result<(), Error> {
        let mut by_index: BTreeMap<u32, Vec<(Partition, Position)>> = BTreeMap::new();
        for (of, position) in positions {
            self.check(group, &of, &position)?;
            by_index.entry(of.index).or_default().push((of, position));
        }
        let commits = by_index.into_values().map(|positions| self.commit_in(group, positions));
        // All to their end: which of them stand is then known to the topic alone.
        join_all(commits).await.into_iter().collect()
    }

    /// Every position there is.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(in crate::fluvio) async fn all(&self) -> Result<Vec<GroupPosition>, Error> {
        try_join_all(self.seats.iter().map(|seat| seat.follower.catch_up())).await?;
        let mut all: Vec<_> = self.seats.iter().flat_map(|seat| seat.follower.positions()).collect();
        all.retain(|at| &*at.group != COPY);
        all.sort_unstable();
        Ok(all)
    }

    /// What is added to the cluster's offsets of a partition: 0, unless its stream was moved here. As of the last
    /// reading.
    pub(in crate::fluvio) fn base(&self, of: &Partition) -> u64 {
        self.seat(of).map_or(0, |seat| seat.follower.base(&of.stream).0)
    }

    /// Sets what is added to the cluster's offsets of a partition. Only for streams that nobody reads yet.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(in crate::fluvio) async fn set_base(&self, of: &Partition, offset: u64) -> Result<(), Error> {
        let seat = self.seat(of)?;
        seat.follower.catch_up().await?;
        let (_, version) = seat.follower.base(&of.stream);
        let record = Record::Base { stream: of.stream.clone(), version: version + 1, offset };
        seat.follower.append(&record, self.lease).await?;
        seat.follower.catch_up().await?;
        if self.base(of) != offset {
            return Err(Error::Positions(format!("the base of {of} was set by another process at the same time")));
        }
        Ok(())
    }

    /// Becomes the reason once another process took over, or may have. Nothing is committed any more, and the process
    /// must end.
    pub(in crate::fluvio) fn failed(&self) -> watch::Receiver<Option<String>> {
        self.failed.subscribe()
    }

    /// Gives up all that is owned, so that nobody waits for it. What cannot be told within a lease is left to expire.
    pub(in crate::fluvio) async fn release(&self) {
        self.keepers().drain(..).for_each(|keeper| keeper.abort());
        join_all(self.seats.iter().map(|seat| self.release_seat(seat))).await;
    }

    async fn release_seat(&self, seat: &Seat) {
        let _no_commit_under_way = seat.committing.lock().await;
        let held = std::mem::take(&mut seat.state().held);
        seat.state().deadline = None;
        for (key, Held { epoch, .. }) in held {
            let record = Record::Release { key, epoch, process: self.me.process };
            if let Err(error) = seat.follower.append(&record, self.lease / RENEWALS).await {
                tracing::warn!(%error, "a lease could not be released, others wait until it expires");
                return;
            }
        }
    }

    async fn claim_one(&self, group: &GroupName, of: &Partition) -> Result<(), Error> {
        let (seat, key) = (self.seat(of)?, key(group, of));
        let (began, mut first): (_, Option<Owned>) = (self.clock.monotonic(), None);
        loop {
            self.alive(group, of)?;
            match self.try_claim(seat, &key).await {
                Ok(Claim::Held) => return Ok(()),
                Ok(Claim::Waits(now)) => {
                    let same = first.as_ref().filter(|first| first.entry.owner.process == now.entry.owner.process);
                    if same.is_some_and(|first| now.sign.count > first.sign.count) {
                        let (group, partition, owner) = (group.clone(), of.clone(), now.entry.owner.text.to_string());
                        return Err(Error::Owned { group, partition, owner });
                    }
                    if same.is_none() {
                        let (owner, lease) = (&now.entry.owner.text, self.patience(&now));
                        tracing::info!(%group, partition = %of, %owner, ?lease, "waiting for the lease of the owner");
                        first = Some(now);
                    }
                }
                Err(Error::Unavailable(why)) if self.clock.monotonic().saturating_sub(began) < self.lease => {
                    tracing::warn!(%group, partition = %of, why, "cannot claim yet");
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(self.lease / LOOKS).await;
        }
    }

    /// One look, and one attempt if nobody who may be alive is in the way.
    async fn try_claim(&self, seat: &Seat, key: &Key) -> Result<Claim, Error> {
        if seat.state().held.contains_key(key) {
            return Ok(Claim::Held);
        }
        seat.follower.catch_up().await?;
        self.refuse_half_copies(seat, key)?;
        let now = self.clock.monotonic();
        let expected = match seat.follower.owned(key) {
            None => 0,
            // Ours by an attempt whose outcome was not seen: once more, because its lease may have run out.
            Some(owned) if owned.entry.released || owned.entry.owner.process == self.me.process => owned.entry.epoch,
            Some(owned) if now.saturating_sub(owned.sign.seen) >= self.patience(&owned) => {
                let (group, owner) = (&key.0, &owned.entry.owner.text);
                tracing::warn!(%group, stream = %key.1, %owner, "the owner is silent, taking over");
                owned.entry.epoch
            }
            Some(owned) => return Ok(Claim::Waits(owned)),
        };
        let record = Record::Claim { key: key.clone(), expected, owner: self.me.clone() };
        seat.follower.append(&record, self.lease / RENEWALS).await?;
        seat.follower.catch_up().await?;
        match seat.follower.owned(key) {
            Some(Owned { entry, .. }) if entry.owner.process == self.me.process && !entry.released => {
                let mut state = seat.state();
                state.held.insert(key.clone(), Held { epoch: entry.epoch, version: entry.version });
                // An earlier deadline stays: it is that of a renewal that others saw.
                state.deadline.get_or_insert(self.deadline(now));
                Ok(Claim::Held)
            }
            Some(owned) => Ok(Claim::Waits(owned)),
            None => Err(Error::Unavailable("a claim that the cluster took is not in the topic of groups".to_owned())),
        }
    }

    /// Nobody but who moves streams here may take half of them for all.
    fn refuse_half_copies(&self, seat: &Seat, key: &Key) -> Result<(), Error> {
        let copy = (GroupName::from(COPY), key.1.clone());
        let mark = seat.follower.position(&copy).map(|mark| mark.state);
        let Some(mark) = mark.filter(|mark| mark.starts_with(UNFINISHED)) else { return Ok(()) };
        if key.0 == copy.0 || seat.state().held.contains_key(&copy) {
            return Ok(());
        }
        let (of, what) = (Partition::new(key.1.clone(), self.index(seat)), String::from_utf8_lossy(&mark));
        Err(Error::Incompatible(format!("{of} is an {what}: finish it with `weir streams copy`, or delete the topics")))
    }

    async fn commit_in(&self, group: &GroupName, positions: Vec<(Partition, Position)>) -> Result<(), Error> {
        let Some((first, _)) = positions.first() else { return Ok(()) };
        let (seat, first) = (self.seat(first)?, first.clone());
        let _in_order = seat.committing.lock().await;
        let mut committed = Vec::with_capacity(positions.len());
        for (of, position) in positions {
            let mut state = seat.state();
            let Some(held) = state.held.get_mut(&key(group, &of)) else { return Err(not_claimed(group, &of)) };
            held.version += 1;
            let (stream, Held { epoch, version }) = (of.stream, *held);
            committed.push(Committed { stream, epoch, version, position });
        }
        let record = Record::Commit { group: group.clone(), process: self.me.process, positions: committed.clone() };
        let mut looks = 0;
        loop {
            self.alive(group, &first)?;
            let appended = seat.follower.append(&record, self.lease / RENEWALS).await;
            let counted = self.counted(seat, group, &committed).await;
            match (appended, counted) {
                (_, Ok(true)) => return Ok(()),
                (Ok(()), Ok(false)) if looks == COMMIT_LOOKS => {
                    return Err(Error::Positions(format!("a commit of group {group} in {first} does not count")));
                }
                (Ok(()), Ok(false)) => looks += 1,
                (Err(Error::Unavailable(why)), Ok(false)) | (_, Err(Error::Unavailable(why))) => {
                    tracing::warn!(%group, partition = %first, why, "cannot commit yet");
                }
                (Err(error), Ok(false)) | (_, Err(error)) => return Err(error),
            }
            tokio::time::sleep(self.lease / LOOKS).await;
        }
    }

    /// Whether a commit is in the topic, and counts.
    async fn counted(&self, seat: &Seat, group: &GroupName, commit: &[Committed]) -> Result<bool, Error> {
        seat.follower.catch_up().await?;
        let mut counted = true;
        for Committed { stream, epoch, version, .. } in commit {
            let Some(Owned { entry, .. }) = seat.follower.owned(&(group.clone(), stream.clone())) else {
                return Ok(false);
            };
            if entry.epoch > *epoch || (entry.epoch == *epoch && entry.owner.process != self.me.process) {
                let (partition, owner) =
                    (Partition::new(stream.clone(), self.index(seat)), entry.owner.text.to_string());
                self.lose(&format!("group {group} in {partition} was taken over by {owner}"));
                return Err(Error::Fenced { group: group.clone(), partition, owner });
            }
            counted &= entry.epoch == *epoch && entry.version >= *version;
        }
        Ok(counted)
    }

    fn check(&self, group: &GroupName, of: &Partition, position: &Position) -> Result<(), Error> {
        let seat = self.seat(of)?;
        if position.state.len() > STATE_BYTES {
            let bytes = position.state.len();
            return Err(Error::Positions(format!(
                "the state of group {group} in {of} has {bytes} bytes, {STATE_BYTES} are allowed on a cluster: use more partitions"
            )));
        }
        let held = seat.state().held.contains_key(&key(group, of));
        // Whoever lost a group must learn that, not that it has none.
        self.alive(group, of)?;
        if held { Ok(()) } else { Err(not_claimed(group, of)) }
    }

    /// Refuses everything once this process may have been superseded.
    fn alive(&self, group: &GroupName, of: &Partition) -> Result<(), Error> {
        self.watch_deadlines();
        let Some(why) = self.failed.borrow().clone() else { return Ok(()) };
        let owner = self.seat(of)?.follower.owned(&key(group, of)).map(|owned| owned.entry.owner);
        match owner.filter(|owner| owner.process != self.me.process) {
            Some(owner) => {
                let (group, partition, owner) = (group.clone(), of.clone(), owner.text.to_string());
                Err(Error::Fenced { group, partition, owner })
            }
            None => Err(Error::Unavailable(why)),
        }
    }

    /// Gives up if a deadline has passed.
    fn watch_deadlines(&self) {
        let now = self.clock.monotonic();
        if self.seats.iter().any(|seat| seat.state().deadline.is_some_and(|deadline| now >= deadline)) {
            let lease = self.lease.as_secs_f64();
            self.lose(&format!(
                "no renewal got through within the lease of {lease:.1} s: another process may take over"
            ));
        }
    }

    fn lose(&self, why: &str) {
        let first = self.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            failed.get_or_insert_with(|| why.to_owned());
            first
        });
        if first {
            tracing::error!(why, "the groups of this process are lost, nothing more is committed");
        }
    }

    /// How long an owner may be silent before others take over.
    fn patience(&self, owned: &Owned) -> Duration {
        let lease = self.lease.max(Duration::from_millis(owned.entry.owner.lease_ms));
        lease + lease / MARGIN
    }

    /// When this process is lost that showed a sign of life at `sent`.
    fn deadline(&self, sent: Duration) -> Duration {
        sent + self.lease - self.lease / MARGIN
    }

    fn seat(&self, of: &Partition) -> Result<&Seat, Error> {
        let index = usize::try_from(of.index).unwrap_or(usize::MAX);
        self.seats.get(index).ok_or_else(|| Error::UnknownPartition(of.clone()))
    }

    fn index(&self, of: &Seat) -> u32 {
        let index = self.seats.iter().position(|seat| std::ptr::eq(seat, of));
        index.and_then(|index| u32::try_from(index).ok()).unwrap_or(u32::MAX)
    }

    fn keepers(&self) -> MutexGuard<'_, Vec<AbortHandle>> {
        self.keepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.keepers().drain(..).for_each(|keeper| keeper.abort());
    }
}

impl Seat {
    fn state(&self) -> MutexGuard<'_, SeatState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(group: &GroupName, of: &Partition) -> Key {
    (group.clone(), of.stream.clone())
}

fn not_claimed(group: &GroupName, of: &Partition) -> Error {
    Error::Positions(format!("group {group} has not claimed {of}"))
}

/// A number that no other start of a process has.
fn process_id(owner: &str, clock: &dyn Clock) -> u64 {
    static STARTS: AtomicU64 = AtomicU64::new(0);
    let mut hasher = DefaultHasher::new();
    (owner, std::process::id(), clock.now(), STARTS.fetch_add(1, Ordering::Relaxed)).hash(&mut hasher);
    hasher.finish()
}
