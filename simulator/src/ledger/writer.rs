//! Writes a ledger: many devices, one thread that owns the file.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::{Entry, Error, HEADER, read, whole_lines};

/// Entries on their way to the file; when it is full, devices wait.
const QUEUE: usize = 8192;
/// Entries written between two looks at the time.
const BATCH: usize = 1024;
/// Bytes between two writes to the file.
const BUFFER: usize = 64 * 1024;
/// The most that a kill of the simulator takes from the ledger.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// A ledger that is being written.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    sender: Sender,
    task: JoinHandle<io::Result<()>>,
}

/// A handle to a [`Writer`], for one device.
#[derive(Clone, Debug)]
pub struct Sender(mpsc::Sender<Entry>);

impl Writer {
    /// Opens the ledger at `path`. One that exists is continued, its torn last line cut: a device that
    /// restarts goes on with a higher boot, and what it was promised before still counts.
    ///
    /// Must be called in a tokio runtime.
    ///
    /// # Errors
    /// If the file cannot be written, holds something else, or is written by another fleet.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        let lines = open_lines(&path)?;
        let (sender, entries) = mpsc::channel(QUEUE);
        let runtime = Handle::current();
        let task = tokio::task::spawn_blocking(move || runtime.block_on(write(lines, entries)));
        Ok(Self { path, sender: Sender(sender), task })
    }

    /// A handle to write entries with.
    #[must_use]
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// Waits until all handles are gone and what they sent is in the file.
    ///
    /// # Errors
    /// If the file could not be written.
    pub async fn finish(self) -> Result<(), Error> {
        let Self { path, sender, task } = self;
        drop(sender);
        let written = task.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        written.map_err(|source| Error::Io { path, source })
    }
}

impl Sender {
    /// Hands `entry` over; waits while the queue is full.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the file could not be written: what is published now is not accounted for, so
    /// the device must stop.
    pub async fn send(&self, entry: Entry) -> Result<(), Error> {
        self.0.send(entry).await.map_err(|_| Error::Stopped)
    }
}

fn open_lines(path: &Path) -> Result<csv::Writer<File>, Error> {
    let failed = |source| Error::Io { path: path.to_owned(), source };
    if path.exists() {
        // Refuses a file that is no ledger, before anything is cut off it.
        read(path)?;
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
    // Held until the file is closed, or the process dies.
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => Error::InUse { path: path.to_owned() },
        TryLockError::Error(source) => failed(source),
    })?;
    let length = whole_lines(&mut file).map_err(failed)?;
    file.set_len(length).map_err(failed)?;
    file.seek(SeekFrom::Start(length)).map_err(failed)?;
    let mut lines = csv::WriterBuilder::new().has_headers(false).buffer_capacity(BUFFER).from_writer(file);
    if length == 0 {
        lines.write_record(HEADER).map_err(|error| failed(error.into()))?;
        lines.flush().map_err(failed)?;
    }
    Ok(lines)
}

async fn write(mut lines: csv::Writer<File>, mut entries: mpsc::Receiver<Entry>) -> io::Result<()> {
    let mut batch = Vec::with_capacity(BATCH);
    let mut flush = interval(FLUSH_EVERY);
    flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            count = entries.recv_many(&mut batch, BATCH) => {
                if count == 0 {
                    break;
                }
                for entry in batch.drain(..) {
                    write_entry(&mut lines, &entry)?;
                }
            }
            _ = flush.tick() => lines.flush()?,
        }
    }
    lines.flush()
}

fn write_entry<W: Write>(lines: &mut csv::Writer<W>, entry: &Entry) -> csv::Result<()> {
    let mut buffer = NumberBuffer::default();
    lines.write_field(entry.device.as_bytes())?;
    lines.write_field(buffer.of(entry.boot))?;
    lines.write_field(buffer.of(entry.seq))?;
    lines.write_field(buffer.of(i64::from(entry.readings)))?;
    match entry.acknowledged_at {
        Some(time) => lines.write_field(buffer.of(time.as_micros()))?,
        None => lines.write_field("")?,
    }
    lines.write_record(None::<&[u8]>)
}

/// Numbers to text without a new allocation each.
#[derive(Default)]
struct NumberBuffer(String);

impl NumberBuffer {
    fn of(&mut self, number: i64) -> &str {
        use std::fmt::Write as _;
        self.0.clear();
        // Writing to a string cannot fail.
        write!(self.0, "{number}").ok();
        &self.0
    }
}
