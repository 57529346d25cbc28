//! A disk that is soon full.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::fs::{FallocateFlags, fallocate};

use super::Journal;
use super::ext4::Ext4;

/// A mounted file system of a few MiB, with a ballast file that can be thrown off; gone when dropped.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    disk: Ext4,
}

impl SmallDisk {
    /// A disk of `bytes` in the directory `dir`, of which `ballast` bytes are taken from the start.
    ///
    /// # Errors
    /// As [`super::PowerDisk::create`]; also if the ballast does not fit.
    pub(crate) fn create(dir: &Path, bytes: u64, ballast: u64) -> anyhow::Result<Self> {
        let disk = Ext4::create(dir, bytes, &Journal::DEFAULT.options())?;
        let small = Self { disk };
        if ballast > 0 {
            let path = small.ballast();
            let file = OpenOptions::new().create_new(true).write(true).open(&path).context("create ballast")?;
            fallocate(&file, FallocateFlags::empty(), 0, ballast)
                .with_context(|| format!("{ballast} bytes of ballast"))?;
        }
        Ok(small)
    }

    /// Where its files are.
    pub(crate) fn mount_point(&self) -> &Path {
        self.disk.mount_point()
    }

    /// Removes the ballast: what a person does who finds a disk full.
    pub(crate) fn throw_ballast(&self) -> anyhow::Result<()> {
        let path = self.ballast();
        fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))
    }

    /// Grows the disk to `bytes`, off line: nobody may use it meanwhile. (On line the kernel asks for a capability
    /// that root in a container lacks.)
    pub(crate) fn grow(&mut self, bytes: u64) -> anyhow::Result<()> {
        self.disk.grow(bytes, &Journal::DEFAULT.options())
    }

    fn ballast(&self) -> PathBuf {
        self.mount_point().join("ballast")
    }
}
