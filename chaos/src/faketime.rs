//! A wall clock that jumps, for one process: libfaketime, preloaded. Time that only goes on, which timeouts are
//! made of, stays true.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Where distributions put the library for programs with threads; Debian has a directory for each architecture.
const PLACES: &[&str] = &["/usr/lib", "/usr/lib64", "/usr/local/lib"];
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// Where the library keeps memory and a semaphore for each process, and leaves them if it is killed. Another
/// process that gets the same id would then not start.
const SHARED: &str = "/dev/shm";
const LEFTOVERS: [&str; 2] = ["faketime_shm_", "sem.faketime_sem_"];

/// A clock that is wrong by as much as the last [`WallClock::set`] said.
#[derive(Debug)]
pub(crate) struct WallClock {
    library: PathBuf,
    file: PathBuf,
    /// What others left: not ours to remove.
    left_by_others: BTreeSet<PathBuf>,
}

impl WallClock {
    /// A true clock; its file is in `directory`.
    ///
    /// # Errors
    /// If there is no libfaketime, or the file cannot be written.
    pub(crate) fn create(directory: &Path) -> anyhow::Result<Self> {
        let library = library().map_err(anyhow::Error::msg)?;
        let clock = Self { library, file: directory.join("clock"), left_by_others: leftovers() };
        clock.set(0)?;
        Ok(clock)
    }

    /// Why there is none.
    ///
    /// # Errors
    /// The text says what is missing.
    pub(crate) fn available() -> Result<(), String> {
        library().map(drop)
    }

    /// From now on the clock is `seconds` ahead of the true time, or behind it.
    pub(crate) fn set(&self, seconds: i64) -> anyhow::Result<()> {
        // In one step: the library reads the file at each look at the clock.
        let next = self.file.with_extension("next");
        fs::write(&next, format!("{seconds:+}s\n")).with_context(|| next.display().to_string())?;
        fs::rename(&next, &self.file).with_context(|| self.file.display().to_string())
    }

    /// Environment of a process that has this clock.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        [
            ("LD_PRELOAD", text(&self.library)),
            ("FAKETIME_TIMESTAMP_FILE", text(&self.file)),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }
}

impl Drop for WallClock {
    fn drop(&mut self) {
        for path in leftovers().difference(&self.left_by_others) {
            if let Err(error) = fs::remove_file(path) {
                eprintln!("warning: {} not removed: {error}", path.display());
            }
        }
    }
}

/// What processes that are dead left.
fn leftovers() -> BTreeSet<PathBuf> {
    let Ok(entries) = fs::read_dir(SHARED) else { return BTreeSet::new() };
    entries.flatten().filter(|entry| is_left(&entry.file_name().to_string_lossy())).map(|entry| entry.path()).collect()
}

fn is_left(name: &str) -> bool {
    let id = LEFTOVERS.iter().find_map(|prefix| name.strip_prefix(prefix)).and_then(|id| id.parse::<u32>().ok());
    id.is_some_and(|id| !Path::new("/proc").join(id.to_string()).exists())
}

fn library() -> Result<PathBuf, String> {
    let architecture = format!("{}-linux-gnu", std::env::consts::ARCH);
    let places = PLACES.iter().map(Path::new);
    let mut found = places.flat_map(|place| [place.join(LIBRARY), place.join(&architecture).join(LIBRARY)]);
    found.find(|path| path.exists()).ok_or_else(|| format!("{LIBRARY} not found; it is in the Debian package faketime"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn year(clock: &WallClock) -> i64 {
        let mut command = Command::new("date");
        let output = command.arg("+%Y").envs(clock.environment()).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    }

    #[test]
    fn only_what_dead_processes_left_is_a_leftover() {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert!(is_left(&format!("faketime_shm_{}", child.id())));
        assert!(is_left(&format!("sem.faketime_sem_{}", child.id())));
        assert!(!is_left(&format!("faketime_shm_{}", std::process::id())));
        assert!(!is_left("faketime_shm_") && !is_left("other_7"));
    }

    #[test]
    #[ignore = "needs libfaketime"]
    fn the_clock_of_a_process_jumps() {
        let directory = tempfile::tempdir().unwrap();
        let clock = WallClock::create(directory.path()).unwrap();
        let now = year(&clock);
        clock.set(400 * 86_400).unwrap();
        assert!((1..=2).contains(&(year(&clock) - now)));
        clock.set(-400 * 86_400).unwrap();
        assert!((1..=2).contains(&(now - year(&clock))));
    }
}
