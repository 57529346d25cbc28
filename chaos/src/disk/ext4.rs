//! An ext4 file system on a file: made, mounted through a loop device, and taken away again.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use rustix::event::{Timespec, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// How often unmounting is tried: who was killed may hold its files a moment longer.
const TRIES: u32 = 200;
const BETWEEN_TRIES: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// A mounted ext4; unmounted, and its files removed, when dropped.
#[derive(Debug)]
pub(super) struct Ext4 {
    image: PathBuf,
    mount_point: PathBuf,
    device: PathBuf,
    mounted: bool,
    /// Held as long as the disk is: two harnesses in one directory would cut each other's power.
    _lock: OwnedFd,
}

/// Why this machine cannot have one.
pub(super) fn available() -> Result<(), String> {
    if !cfg!(target_os = "linux") {
        return Err("the shutdown of ext4 is Linux only".to_owned());
    }
    if !rustix::process::geteuid().is_root() {
        return Err("mounting needs root".to_owned());
    }
    if !Path::new("/dev/loop-control").exists() {
        return Err("no loop devices (/dev/loop-control)".to_owned());
    }
    for program in ["mkfs.ext4", "losetup"] {
        run(Command::new(program).arg(if program == "losetup" { "--version" } else { "-V" }))
            .map_err(|error| format!("{error:#}"))?;
    }
    Ok(())
}

impl Ext4 {
    /// Makes and mounts one of `bytes` in `dir`.
    pub(super) fn create(dir: &Path, bytes: u64, options: &str) -> anyhow::Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        let dir = dir.canonicalize().with_context(|| format!("path of {}", dir.display()))?;
        let (image, mount_point) = (dir.join("disk.img"), dir.join("disk"));
        let lock = lock(&image)?;
        fs::create_dir_all(&mount_point).with_context(|| format!("create {}", mount_point.display()))?;
        blank(&image, bytes)?;
        // No reserved blocks: a disk that is full is full for root too.
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-b", "4096", "-m", "0", "-J", "size=4"]).arg(&image))?;
        let device = attach(&image)?;
        let mut disk = Self { image, mount_point, device, mounted: false, _lock: lock };
        disk.mount(options)?;
        Ok(disk)
    }

    pub(super) fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    /// Unmounts and mounts again.
    pub(super) fn remount(&mut self, options: &str) -> anyhow::Result<()> {
        self.unmount()?;
        self.mount(options)
    }

    /// Makes it `bytes` large, unmounted meanwhile.
    pub(super) fn grow(&mut self, bytes: u64, options: &str) -> anyhow::Result<()> {
        self.unmount()?;
        let image = OpenOptions::new().write(true).open(&self.image);
        let grown = image.and_then(|image| image.set_len(bytes));
        grown.with_context(|| format!("size {} to {bytes} bytes", self.image.display()))?;
        run(Command::new("losetup").arg("--set-capacity").arg(&self.device))?;
        run(Command::new("e2fsck").args(["-f", "-p"]).arg(&self.device))?;
        run(Command::new("resize2fs").arg(&self.device))?;
        self.mount(options)
    }

    fn mount(&mut self, options: &str) -> anyhow::Result<()> {
        let data = CString::new(options).context("mount options")?;
        mount(&self.device, &self.mount_point, "ext4", MountFlags::empty(), data.as_c_str()).with_context(|| {
            format!("mount {} at {} -o {options}", self.device.display(), self.mount_point.display())
        })?;
        self.mounted = true;
        Ok(())
    }

    fn unmount(&mut self) -> anyhow::Result<()> {
        for _ in 0..TRIES {
            match unmount(&self.mount_point, UnmountFlags::empty()) {
                Err(Errno::BUSY) => pause()?,
                other => {
                    self.mounted = false;
                    return other.with_context(|| format!("unmount {}", self.mount_point.display()));
                }
            }
        }
        anyhow::bail!("unmount {}: still in use; a process has files there", self.mount_point.display())
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        let mut left = Vec::new();
        if self.mounted && self.unmount().is_err() {
            // Whoever still has files open keeps them; the name is free.
            left.extend(unmount(&self.mount_point, UnmountFlags::DETACH).err().map(|error| error.to_string()));
        }
        left.extend(run(Command::new("losetup").arg("--detach").arg(&self.device)).err().map(|e| format!("{e:#}")));
        left.extend(fs::remove_file(&self.image).err().map(|error| error.to_string()));
        if !left.is_empty() {
            eprintln!("disk {} not taken away: {}", self.image.display(), left.join(", "));
        }
    }
}

/// Opens the image and locks it, or says that another harness has it.
fn lock(image: &Path) -> anyhow::Result<OwnedFd> {
    let options = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(image);
    let file = OwnedFd::from(options.with_context(|| format!("open {}", image.display()))?);
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .with_context(|| format!("{} is the disk of another harness", image.display()))?;
    Ok(file)
}

fn blank(image: &Path, bytes: u64) -> anyhow::Result<()> {
    let file = File::create(image).with_context(|| format!("create {}", image.display()))?;
    file.set_len(bytes).with_context(|| format!("size {} to {bytes} bytes", image.display()))
}

fn attach(image: &Path) -> anyhow::Result<PathBuf> {
    let device = run(Command::new("losetup").args(["--find", "--show"]).arg(image))?;
    ensure!(device.starts_with("/dev/"), "losetup printed {device:?}");
    Ok(PathBuf::from(device))
}

/// Runs a program to its end. Gives what it printed, without the line end.
fn run(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("run {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program}: {}: {}", output.status, said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn pause() -> anyhow::Result<()> {
    match poll(&mut [], Some(&BETWEEN_TRIES)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error).context("wait for the disk"),
    }
}
