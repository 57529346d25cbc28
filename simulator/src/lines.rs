//! A CSV file that many devices write to, through one thread that owns it: the form of both witnesses of a run,
//! [`crate::ledger`] and [`crate::sent`].
//!
//! Only whole lines are written. After a kill the file is a prefix of what was handed over, perhaps with a torn
//! last line; the next writer cuts that and continues.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

/// Texts on their way to the file; when it is full, devices wait.
const QUEUE: usize = 8192;
/// Texts written between two looks at the time.
const BATCH: usize = 1024;
/// Bytes between two writes to the file.
const BUFFER: usize = 64 * 1024;
/// The most that a kill of the simulator takes from the file.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// Why a witness's file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened, read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file is something else. It is left as it is.
    #[error("{} is another file: its first line is not `{header}`", path.display())]
    AnotherFile {
        /// The file.
        path: PathBuf,
        /// The line expected.
        header: String,
    },
    /// Another writer has it open: two fleets must not mix their lines.
    #[error("{} is written by another fleet", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A line inside the file is damaged.
    #[error("{}, line {line}: {detail}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: u64,
        /// What is wrong with it.
        detail: String,
    },
    /// The writer has stopped; its `finish` says why.
    #[error("{} is not written any more", path.display())]
    Stopped {
        /// The file.
        path: PathBuf,
    },
}

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct Writer {
    sender: Sender,
    task: JoinHandle<io::Result<()>>,
}

/// A handle to a [`Writer`], for one device.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    path: std::sync::Arc<Path>,
    texts: mpsc::Sender<String>,
}

impl Writer {
    /// Opens the file at `path`, whose first line is the names of `header`. One that exists is continued, its torn
    /// last line cut.
    ///
    /// Must be called in a tokio runtime.
    ///
    /// # Errors
    /// If the file cannot be written, holds something else, or is written by another fleet.
    pub(crate) fn open(path: &Path, header: &[&str]) -> Result<Self, Error> {
        let file = open(path, &header.join(","))?;
        let (texts, queue) = mpsc::channel(QUEUE);
        let runtime = Handle::current();
        let task = tokio::task::spawn_blocking(move || runtime.block_on(write(file, queue)));
        Ok(Self { sender: Sender { path: path.into(), texts }, task })
    }

    pub(crate) fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// Waits until all handles are gone and what they sent is in the file.
    ///
    /// # Errors
    /// If the file could not be written.
    pub(crate) async fn finish(self) -> Result<(), Error> {
        let Self { sender: Sender { path, texts }, task } = self;
        drop(texts);
        let written = task.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        written.map_err(|source| Error::Io { path: path.to_path_buf(), source })
    }
}

impl Sender {
    /// Hands over `lines`, whole ones; waits while the queue is full.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the file could not be written.
    pub(crate) async fn send(&self, lines: String) -> Result<(), Error> {
        self.texts.send(lines).await.map_err(|_| Error::Stopped { path: self.path.to_path_buf() })
    }
}

/// `text` as a field of CSV.
pub(crate) fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

fn open(path: &Path, header: &str) -> Result<File, Error> {
    let failed = |source| Error::Io { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
    // Held until the file is closed, or the process dies.
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => Error::InUse { path: path.to_owned() },
        TryLockError::Error(source) => failed(source),
    })?;
    // Before anything is cut off it.
    let length = check(&mut file, path, header)?;
    file.set_len(length).map_err(failed)?;
    file.seek(SeekFrom::Start(length)).map_err(failed)?;
    if length == 0 {
        file.write_all(format!("{header}\n").as_bytes()).map_err(failed)?;
    }
    Ok(file)
}

/// Length of `file` up to and with its last line end: what follows is a torn line. Zero if even the header is
/// torn, or not there.
///
/// # Errors
/// If it cannot be read, or does not begin with `header`.
pub(crate) fn check(file: &mut File, path: &Path, header: &str) -> Result<u64, Error> {
    let failed = |source| Error::Io { path: path.to_owned(), source };
    let length = whole_lines(file).map_err(failed)?;
    let mut start = Vec::new();
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    Read::by_ref(file).take(header.len() as u64 + 1).read_to_end(&mut start).map_err(failed)?;
    let expected = format!("{header}\n");
    let ours = if length == 0 { expected.as_bytes().starts_with(&start) } else { start == expected.as_bytes() };
    if ours { Ok(length) } else { Err(Error::AnotherFile { path: path.to_owned(), header: header.to_owned() }) }
}

fn whole_lines(file: &mut File) -> io::Result<u64> {
    const BLOCK: u64 = 4096;
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        Read::by_ref(file).take(end - start).read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

async fn write(file: File, mut queue: mpsc::Receiver<String>) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(BUFFER, file);
    let mut batch = Vec::with_capacity(BATCH);
    let mut flush = interval(FLUSH_EVERY);
    flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            count = queue.recv_many(&mut batch, BATCH) => {
                if count == 0 {
                    break;
                }
                for lines in batch.drain(..) {
                    file.write_all(lines.as_bytes())?;
                }
            }
            _ = flush.tick() => file.flush()?,
        }
    }
    file.flush()
}
