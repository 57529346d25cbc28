//! The files in which a run says what it did: the ledger, and, if asked for, everything sent and every command.

use std::path::Path;

use crate::commands;
use crate::ledger;
use crate::lines::{self, Error};
use crate::sent;

/// The files of a run, being written.
#[derive(Debug)]
pub(crate) struct Writers {
    ledger: ledger::Writer,
    sent: Option<lines::Writer>,
    commands: Option<lines::Writer>,
}

/// Handles to them, for one device.
#[derive(Clone, Debug)]
pub(crate) struct Senders {
    pub(crate) ledger: ledger::Sender,
    pub(crate) sent: Option<lines::Sender>,
    pub(crate) commands: Option<lines::Sender>,
}

impl Writers {
    /// Opens them; files that exist are continued.
    ///
    /// # Errors
    /// If one cannot be written, holds something else, or is written by another fleet.
    pub(crate) fn open(ledger: &Path, sent: Option<&Path>, commands: Option<&Path>) -> Result<Self, Error> {
        Ok(Self {
            ledger: ledger::Writer::open(ledger)?,
            sent: sent.map(sent::open).transpose()?,
            commands: commands.map(commands::open).transpose()?,
        })
    }

    pub(crate) fn senders(&self) -> Senders {
        Senders {
            ledger: self.ledger.sender(),
            sent: self.sent.as_ref().map(lines::Writer::sender),
            commands: self.commands.as_ref().map(lines::Writer::sender),
        }
    }

    /// Waits until all handles are gone and what they sent is in the files.
    ///
    /// # Errors
    /// If one could not be written.
    pub(crate) async fn finish(self) -> Result<(), Error> {
        let ledger = self.ledger.finish().await;
        for writer in [self.sent, self.commands].into_iter().flatten() {
            writer.finish().await?;
        }
        ledger
    }
}
