//! Disks that lose power: ext4 on a loop file, cut by the shutdown ioctl of ext4.
//!
//! A cut with NOLOGFLUSH stops the file system where it stands. What stays is what a disk would hold: every
//! block that writeback has brought there, and the journal up to its last commit. Everything that an `fsync`
//! returned for is among that; what was only in memory is gone, and so is a name that no commit had.
//!
//! Whoever writes must be stopped first. An `fdatasync` that is under way at the cut can return success although
//! the journal was aborted in its middle: jbd2 looks only whether the transaction is still there. (Measured on
//! Linux 6.18 with nothing but a loop of write and fdatasync: 34 of 150 cuts lost the last one that returned; 0
//! of 150 when the process was stopped before the cut.) A machine without power does not return from anything.

mod ext4;
mod small;

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rand::Rng;
use rustix::ioctl::{Opcode, Setter, ioctl, opcode};

use self::ext4::Ext4;
pub(crate) use self::small::SmallDisk;

/// A mounted file system whose power can be cut; gone when dropped.
#[derive(Debug)]
pub(crate) struct PowerDisk {
    disk: Ext4,
    journal: Journal,
}

/// How ext4 brings data and names to the disk: what a cut leaves depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Journal {
    /// Names may become durable before the data of their files (`data=writeback`).
    pub(crate) writeback: bool,
    /// Whether ext4 repairs programs that rename or truncate without an fsync.
    pub(crate) auto_da_alloc: bool,
    /// Seconds between two commits of the journal that nobody asked for.
    pub(crate) commit_seconds: u32,
}

impl Journal {
    /// What ext4 does when nobody says otherwise.
    pub(crate) const DEFAULT: Self = Self { writeback: false, auto_da_alloc: true, commit_seconds: 5 };

    /// One way of many.
    pub(crate) fn draw(random: &mut impl Rng) -> Self {
        Self {
            writeback: random.random(),
            auto_da_alloc: random.random(),
            commit_seconds: if random.random() { 1 } else { 5 },
        }
    }

    /// As options of mount.
    pub(crate) fn options(self) -> String {
        let data = if self.writeback { "data=writeback" } else { "data=ordered" };
        let alloc = if self.auto_da_alloc { "" } else { ",noauto_da_alloc" };
        format!("{data}{alloc},commit={}", self.commit_seconds)
    }
}

impl PowerDisk {
    /// Why there are none on this machine.
    ///
    /// # Errors
    /// The text says what is missing.
    pub(crate) fn available() -> Result<(), String> {
        ext4::available()
    }

    /// A disk of `bytes` on files in the directory `dir`, which is made. 16 MiB at least.
    ///
    /// # Errors
    /// If a program or a loop device is missing, or the directory is in use for another disk.
    pub(crate) fn create(dir: &Path, bytes: u64) -> anyhow::Result<Self> {
        Self::with_journal(dir, bytes, Journal::DEFAULT)
    }

    /// Like [`Self::create`], mounted with `journal`.
    pub(crate) fn with_journal(dir: &Path, bytes: u64, journal: Journal) -> anyhow::Result<Self> {
        let disk = Ext4::create(dir, bytes, &journal.options())?;
        Ok(Self { disk, journal })
    }

    /// Where its files are; another path than that of any other disk.
    pub(crate) fn mount_point(&self) -> &Path {
        self.disk.mount_point()
    }

    /// Cuts the power, now. From here on every change fails, until [`Self::remount`]. Whoever uses the disk must
    /// have been stopped, or has seen successes that are none.
    pub(crate) fn cut(&self) -> anyhow::Result<()> {
        let directory = File::open(self.mount_point()).context("open the mount point")?;
        shutdown(&directory).with_context(|| format!("shut down {}", self.mount_point().display()))
    }

    /// Power comes back: unmounts, and mounts again, which replays the journal. Whoever used the disk must be
    /// dead and reaped.
    pub(crate) fn remount(&mut self) -> anyhow::Result<()> {
        self.disk.remount(&self.journal.options())
    }

    /// Makes the journal commit what it holds, by an fsync of a file that matters to nobody: names that no
    /// program synced become durable, the data of their files need not. A cut after it finds files of no length.
    pub(crate) fn commit_journal(&self) -> anyhow::Result<()> {
        let path: PathBuf = self.mount_point().join("journal-commit");
        // A new name, so that there is something to commit.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => bail!("remove {}: {error}", path.display()),
            _ => {}
        }
        let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
        file.sync_all().with_context(|| format!("sync {}", path.display()))
    }
}

/// EXT4_IOC_SHUTDOWN: `_IOR('X', 125, __u32)`.
const SHUTDOWN: Opcode = opcode::read::<u32>(b'X', 125);
/// Neither data nor journal are flushed first.
const NO_LOG_FLUSH: u32 = 2;

#[expect(unsafe_code, reason = "no crate wraps the shutdown of ext4; the kernel reads one u32 through the pointer")]
fn shutdown(directory: &File) -> rustix::io::Result<()> {
    // SAFETY: the opcode is that of ext4, its input is a u32, and it keeps no pointer.
    unsafe { ioctl(directory, Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH)) }
}

#[cfg(test)]
mod tests;
