//! Reads a ledger.

use std::path::Path;

use super::{Ledger, Message, Run};

/// The messages of the ledger `file`, by run and sequence number.
pub(super) fn read(file: &Path) -> anyhow::Result<Ledger> {
    let mut ledger = Ledger::new();
    for entry in simulator::ledger::read(file)? {
        let entry = entry?;
        let run = Run { device: entry.device.to_string(), boot: entry.boot };
        let acknowledged = entry.acknowledged_at.is_some();
        let message = Message { readings: u64::from(entry.readings), acknowledged };
        // A message resent after a restart of the simulator can have two lines: acknowledged wins.
        let known = ledger.entry(run).or_default().entry(entry.seq).or_insert(message);
        known.acknowledged |= acknowledged;
    }
    Ok(ledger)
}
