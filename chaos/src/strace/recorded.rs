//! What strace wrote down.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::Call;

/// Calls of one kind on files of one kind, e.g. all syncs of segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) call: Call,
    /// Path below the data directory, with `N` for each number.
    pub(crate) place: String,
    /// The files, by their full paths.
    pub(crate) paths: BTreeSet<PathBuf>,
    /// Calls of all threads.
    pub(crate) calls: u32,
    /// Calls of the busiest thread: the largest `n` that occurs.
    pub(crate) most: u32,
}

/// The sites of a trace with the options of [`super::recorder`], of files below `data`.
///
/// # Errors
/// If the trace cannot be read.
pub(crate) fn sites(trace: &Path, data: &Path) -> anyhow::Result<Vec<Site>> {
    let data = data.to_string_lossy();
    let mut found: BTreeMap<(Call, String), Seen> = BTreeMap::new();
    for line in lines(trace)? {
        let line = line.with_context(|| trace.display().to_string())?;
        let Some((thread, call, path)) = parse(&line, &data) else { continue };
        let seen = found.entry((call, place(path, &data))).or_default();
        seen.paths.insert(PathBuf::from(path));
        *seen.threads.entry(thread.to_owned()).or_default() += 1;
    }
    Ok(found.into_iter().map(|((call, place), seen)| seen.site(call, place)).collect())
}

/// Calls of one site while they are counted.
#[derive(Default)]
struct Seen {
    paths: BTreeSet<PathBuf>,
    /// Calls of each thread.
    threads: BTreeMap<String, u32>,
}

impl Seen {
    fn site(self, call: Call, place: String) -> Site {
        let calls = self.threads.values().sum();
        let most = self.threads.values().copied().max().unwrap_or(0);
        Site { call, place, paths: self.paths, calls, most }
    }
}

/// How many calls of a trace were tampered with.
///
/// # Errors
/// If the trace cannot be read.
pub(crate) fn hits(trace: &Path) -> anyhow::Result<u64> {
    let mut count = 0;
    for line in lines(trace)? {
        let line = line.with_context(|| trace.display().to_string())?;
        count += u64::from(line.contains("INJECTED)") || line.contains("DELAYED)"));
    }
    Ok(count)
}

fn lines(trace: &Path) -> anyhow::Result<std::io::Lines<BufReader<File>>> {
    let file = File::open(trace).with_context(|| format!("trace {}", trace.display()))?;
    Ok(BufReader::new(file).lines())
}

/// Thread, call and first path below `data` of a line such as
/// `71 fsync(5</data/log/segments>) = 0` or `71 unlink("/data/staging/0.staged" <unfinished ...>`.
fn parse<'a>(line: &'a str, data: &str) -> Option<(&'a str, Call, &'a str)> {
    let (thread, rest) = line.split_once(' ')?;
    let (name, arguments) = rest.trim_start().split_once('(')?;
    let call = Call::ALL.iter().copied().find(|call| call.names().contains(&name))?;
    let below = |path: &&str| path.strip_prefix(data).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    // The working directory is printed with a path, and is not what the call is about.
    let starts = arguments.match_indices(data).map(|(at, _)| arguments.split_at(at));
    let paths = starts.filter(|(before, _)| !before.ends_with("AT_FDCWD<")).filter_map(|(_, from)| {
        let end = from.find(['"', '>'])?;
        from.get(..end)
    });
    Some((thread, call, paths.into_iter().find(below)?))
}

/// The path below `data`, with `N` for each number in it.
fn place(path: &str, data: &str) -> String {
    let mut place = String::new();
    for letter in path.strip_prefix(data).unwrap_or(path).trim_start_matches('/').chars() {
        match letter {
            '0'..='9' if place.ends_with('N') => {}
            '0'..='9' => place.push('N'),
            other => place.push(other),
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_thread_and_kind_of_file() {
        let directory = tempfile::tempdir().unwrap();
        let trace = directory.path().join("trace");
        let text = r#"7 openat(AT_FDCWD</tmp>, "/d/log/segments/0001.log", O_RDWR) = 5</d/log/segments/0001.log>
7 fdatasync(5</d/log/segments/0001.log>) = 0
8 fdatasync(6</d/log/segments/0002.log> <unfinished ...>
7 fdatasync(5</d/log/segments/0001.log>) = -1 EIO (Input/output error) (INJECTED)
8 <... fdatasync resumed>) = 0
7 openat(AT_FDCWD</d>, "/d2/other", O_RDWR) = 5</d2/other>
7 write(9<anon_inode:[eventfd]>, ""..., 8) = 8
8 linkat(AT_FDCWD</d>, "/d/staging/r/0.staged", AT_FDCWD</tmp>, "/d/tables/r/date=2026-11-23/part-1.parquet", 0) = 0
"#;
        std::fs::write(&trace, text).unwrap();
        let sites = sites(&trace, Path::new("/d")).unwrap();
        let short: Vec<(Call, &str, u32, u32)> =
            sites.iter().map(|site| (site.call, site.place.as_str(), site.calls, site.most)).collect();
        let expected = [
            (Call::Fdatasync, "log/segments/N.log", 3, 2),
            (Call::Link, "staging/r/N.staged", 1, 1),
            (Call::Open, "log/segments/N.log", 1, 1),
        ];
        assert_eq!(short, expected);
        assert_eq!(sites[0].paths.len(), 2);
        assert_eq!(hits(&trace).unwrap(), 1);
    }
}
