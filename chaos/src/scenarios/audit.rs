//! The order of writes, syncs and names, read from the system calls of the shipped binary.
//!
//! A power cut on one file system shows only what that one loses: ext4 commits all names with any sync. So the
//! calls themselves are judged, by the rules that hold on every file system:
//!
//! 1. A file that gets its name in the table or its commit log was synced after its last write.
//! 2. When a commit gets its name, every data file named before it has had its directory synced since.
//! 3. Between two new names in the Delta log, and in the segments, their directory is synced.
//! 4. Between two groups written to a segment, the segment is synced.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, ensure};

use crate::outcome::Outcome;
use crate::round::{Plan, Round, play};
use crate::setting::Setting;
use crate::strace;

/// Runs it.
pub(crate) fn run(setting: &Setting) -> anyhow::Result<Outcome> {
    if let Err(why) = strace::available() {
        return Ok(Outcome::not_run(why));
    }
    let mut outcome = Outcome::default();
    for number in 0..setting.count(2, 20, 100) {
        outcome.merge(play(setting, Plan::new(setting, "audit", number), attack)?);
    }
    Ok(outcome)
}

/// Records the calls of a start, a load and a stop, and judges them.
pub(super) fn attack(round: &mut Round) -> anyhow::Result<()> {
    let trace = round.directory.join("trace");
    let plain = round.launch.wrapper.clone();
    round.launch.wrapper = strace::recorder(&trace);
    round.restart()?;
    round.pause(2_000..3_000);
    // Its last calls count too; what follows runs without strace.
    round.weir.take().map_or(Ok(()), crate::weir::Weir::stop)?;
    round.launch.wrapper = plain;
    let mut audit = Audit::new(&round.launch.data);
    for line in BufReader::new(File::open(&trace).context("trace")?).lines() {
        audit.line(&line?);
    }
    ensure!(audit.commits > 0 && audit.groups > 0, "nothing to judge: {audit:?}");
    *round.outcome.faults.entry("system calls audited".to_owned()).or_default() += audit.calls;
    ensure!(
        audit.broken.is_empty(),
        "order of system calls: {}",
        audit.broken.iter().take(5).cloned().collect::<Vec<_>>().join("; ")
    );
    Ok(())
}

/// What is not yet durable, by path.
#[derive(Debug, Default)]
struct Audit {
    data: String,
    /// Started and not yet ended calls, by thread.
    unfinished: BTreeMap<String, String>,
    /// Files written since their last sync.
    dirty: BTreeSet<String>,
    /// New names since the last sync of their directory, by directory.
    names: BTreeMap<String, Vec<String>>,
    calls: u64,
    commits: u64,
    groups: u64,
    broken: Vec<String>,
}

impl Audit {
    fn new(data: &Path) -> Self {
        Self { data: data.to_string_lossy().into_owned(), ..Self::default() }
    }

    /// Takes a line of the trace. A call counts when it ends, but a sync covers only what was written before it
    /// began: writers of one file do not overlap here, so the end is exact enough.
    fn line(&mut self, line: &str) {
        let Some((thread, rest)) = line.split_once(' ') else { return };
        let rest = rest.trim_start();
        if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            self.unfinished.insert(thread.to_owned(), begun.to_owned());
        } else if rest.starts_with("<... ") {
            let ended = rest.split_once("resumed>").map_or("", |(_, ended)| ended);
            if let Some(begun) = self.unfinished.remove(thread) {
                self.call(&format!("{begun}{ended}"));
            }
        } else {
            self.call(rest);
        }
    }

    fn call(&mut self, call: &str) {
        let Some((name, arguments)) = call.split_once('(') else { return };
        if call.contains(") = -1 ") {
            return;
        }
        let paths = paths(arguments, &self.data);
        let Some(path) = paths.first().cloned() else { return };
        self.calls += 1;
        match name {
            "pwrite64" | "write" | "ftruncate" => self.written(path),
            "fsync" | "fdatasync" => {
                self.dirty.remove(&path);
                self.names.remove(&path);
            }
            "open" | "openat" if arguments.contains("O_CREAT") => self.created(path),
            "link" | "linkat" | "rename" | "renameat" | "renameat2" => {
                if let Some(to) = paths.get(1) {
                    self.named(&path, to.clone());
                }
            }
            "mkdir" | "mkdirat" => self.created(path),
            _ => {}
        }
    }

    fn written(&mut self, path: String) {
        let segment = path.contains("/log/segments/") && path.ends_with(".log");
        self.groups += u64::from(segment);
        if !self.dirty.insert(path.clone()) && segment {
            self.broken.push(format!("{path} was written twice without a sync between"));
        }
    }

    /// A new name of a file or directory that is written in place.
    fn created(&mut self, path: String) {
        let directory = parent(&path);
        if directory.ends_with("/log/segments") && path.ends_with(".log") {
            self.alone(&directory, &path);
        }
        self.names.entry(directory).or_default().push(path);
    }

    /// A file that was written under another name.
    fn named(&mut self, from: &str, to: String) {
        if self.dirty.contains(from) {
            self.broken.push(format!("{to} got its name before {from} was synced"));
        }
        let directory = parent(&to);
        let commit = directory.ends_with("/_delta_log") && to.ends_with(".json");
        if commit {
            self.commits += 1;
            self.alone(&directory, &to);
            let table = parent(&directory);
            let inside = |path: &str| path.starts_with(&format!("{table}/")) && !path.contains("/_delta_log");
            let unsynced = self.names.values().flatten().find(|path| inside(path));
            if let Some(unsynced) = unsynced {
                self.broken.push(format!("{to} got its name before the directory of {unsynced} was synced"));
            }
        }
        self.names.entry(directory).or_default().push(to);
    }

    /// Whether the directory was synced since its last new name of this kind.
    fn alone(&mut self, directory: &str, path: &str) {
        let kind = path.rsplit('.').next().unwrap_or_default();
        let mut earlier = self.names.get(directory).into_iter().flatten();
        if let Some(earlier) = earlier.rfind(|name| name.ends_with(kind)) {
            self.broken.push(format!("{path} got its name before the directory was synced for {earlier}"));
        }
    }
}

/// Paths below `data`, in order: of descriptors, which strace prints as `5</path>`, and in quotes.
fn paths(arguments: &str, data: &str) -> Vec<String> {
    let found = arguments.match_indices(data).filter_map(|(at, _)| {
        let (before, from) = arguments.split_at_checked(at)?;
        if before.ends_with("AT_FDCWD<") {
            return None;
        }
        Some(from.get(..from.find(['"', '>'])?)?.to_owned())
    });
    found.filter(|path| path.len() > data.len()).collect()
}

fn parent(path: &str) -> String {
    path.rsplit_once('/').map_or("", |(parent, _)| parent).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(calls: &[&str]) -> Vec<String> {
        let mut audit = Audit::new(Path::new("/d"));
        for call in calls {
            audit.line(&format!("7 {call}"));
        }
        audit.broken
    }

    const STAGED: [&str; 3] = [
        r#"openat(AT_FDCWD</x>, "/d/staging/r/0.staged", O_WRONLY|O_CREAT|O_EXCL, 0666) = 5</d/staging/r/0.staged>"#,
        r#"write(5</d/staging/r/0.staged>, ""..., 8) = 8"#,
        "fsync(5</d/staging/r/0.staged>) = 0",
    ];
    const LINKED: &str =
        r#"linkat(AT_FDCWD</x>, "/d/staging/r/0.staged", AT_FDCWD</x>, "/d/tables/r/h/p.parquet", 0) = 0"#;
    const COMMIT: &str =
        r#"linkat(AT_FDCWD</x>, "/d/staging/r/c.staged", AT_FDCWD</x>, "/d/tables/r/_delta_log/1.json", 0) = 0"#;

    #[test]
    fn the_right_order_is_right() {
        let calls = [
            &STAGED[..],
            &[LINKED, "fsync(6</d/tables/r/h>) = 0", COMMIT, "fsync(6</d/tables/r/_delta_log>) = 0", COMMIT],
        ];
        assert_eq!(broken(&calls.concat()), [""; 0]);
    }

    #[test]
    fn each_rule_finds_what_breaks_it() {
        assert!(broken(&[STAGED[0], STAGED[1], LINKED])[0].contains("before /d/staging/r/0.staged was synced"));
        assert!(
            broken(&[&STAGED[..], &[LINKED, COMMIT]].concat())[0].contains("before the directory of /d/tables/r/h")
        );
        assert!(broken(&[COMMIT, COMMIT])[0].contains("before the directory was synced"));
        let group = r#"pwrite64(5</d/log/segments/1.log>, ""..., 8, 0) = 8"#;
        assert!(broken(&[group, group])[0].contains("written twice"));
    }

    #[test]
    fn a_call_that_another_thread_interrupts_is_put_together() {
        let mut audit = Audit::new(Path::new("/d"));
        audit.line(r#"7 pwrite64(5</d/log/segments/1.log>, ""..., 8, 0 <unfinished ...>"#);
        audit.line("8 fdatasync(6</d/other>) = 0");
        audit.line("7 <... pwrite64 resumed>) = 8");
        assert_eq!((audit.groups, audit.dirty.len()), (1, 1));
    }
}
