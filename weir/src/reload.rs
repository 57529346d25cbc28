//! Rules change while weir runs: on SIGHUP, and when their file or directory changes.
//!
//! All or nothing: a file with a mistake leaves the rules that are in force, and says why. A change is taken once it has
//! stood still for one look, so that a file in the middle of being written is not read.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use processors::{Rule, RuleSet};
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How often the file is looked at: a person who saves it waits for two looks at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Most entries of a directory that are looked at for a change; rules have far fewer files.
const ENTRIES: usize = 10_000;

/// Keeps the rules up to date until dropped.
#[derive(Debug)]
pub(crate) struct Reload {
    task: JoinHandle<()>,
}

impl Drop for Reload {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What reloading shows.
#[derive(Clone, Debug)]
struct Metrics {
    reloads: IntCounterVec,
    success: IntGauge,
}

/// Loads the rules at a path, and knows which streams their steps may emit to.
#[derive(Clone, Debug)]
struct Loader {
    path: PathBuf,
    open_streams: Vec<String>,
}

/// What a look at a path sees: of each rule file its name, length, and time of change in nanoseconds. Empty if it is
/// not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen(Vec<(PathBuf, u64, Option<std::time::SystemTime>, u64)>);

impl Reload {
    /// Takes over `initial`, the rules at `path` as they were loaded at the start; `open_streams` are the streams that
    /// steps may emit to. The receiver has the rules in force, now and later.
    ///
    /// # Errors
    /// If a metric of the same name is registered already, or SIGHUP cannot be waited for.
    pub(crate) fn start(
        path: &Path,
        open_streams: &[String],
        initial: RuleSet,
        registry: &Registry,
    ) -> anyhow::Result<(watch::Receiver<Arc<RuleSet>>, Self)> {
        let metrics = Metrics::register(registry)?;
        let (rules, receiver) = watch::channel(Arc::new(initial));
        let loader = Loader { path: path.to_owned(), open_streams: open_streams.to_vec() };
        let mut hangup = signal(SignalKind::hangup()).context("SIGHUP")?;
        let work = async move {
            // Looked at before it is read: what changes from here on is seen. What changed since the start reads
            // differently; the log may have taken a while to open.
            let mut changes = Changes::new(loader.look().await);
            loader.catch_up(&rules, &metrics).await;
            let mut looks = tokio::time::interval(LOOK_EVERY);
            looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                let reload = tokio::select! {
                    asked = hangup.recv() => asked.is_some(),
                    _ = looks.tick() => changes.look(loader.look().await),
                };
                if reload {
                    loader.replace(loader.load().await, &rules, &metrics);
                }
            }
        };
        Ok((receiver, Self { task: tokio::spawn(work) }))
    }
}

/// Whether rules changed and the change is complete.
#[derive(Debug)]
struct Changes {
    /// As it was when the rules were last loaded, or refused.
    settled: Seen,
    /// As the last look saw it.
    last: Seen,
}

impl Changes {
    fn new(seen: Seen) -> Self {
        Self { settled: seen.clone(), last: seen }
    }

    /// Takes what a look sees; true if it differs from what was settled and is as the look before saw it.
    fn look(&mut self, seen: Seen) -> bool {
        let changed = seen != self.settled && seen == self.last;
        if changed {
            self.settled = seen.clone();
        }
        self.last = seen;
        changed
    }
}

impl Metrics {
    fn register(registry: &Registry) -> anyhow::Result<Self> {
        let reloads = Opts::new("weir_rules_reloads_total", "Times the rules were read again while running");
        let reloads = IntCounterVec::new(reloads, &["outcome"])?;
        registry.register(Box::new(reloads.clone()))?;
        for outcome in ["ok", "refused"] {
            reloads.with_label_values(&[outcome]).inc_by(0);
        }
        let help = "Whether the rules in force are those of the last attempt to read them, 0 or 1";
        let success = IntGauge::new("weir_rules_last_reload_success", help)?;
        registry.register(Box::new(success.clone()))?;
        success.set(1);
        Ok(Self { reloads, success })
    }
}

impl Loader {
    /// Puts the rules at the path in force if they are not those that the process started with.
    async fn catch_up(&self, rules: &watch::Sender<Arc<RuleSet>>, metrics: &Metrics) {
        let loaded = self.load().await;
        if !loaded.as_ref().is_ok_and(|loaded| same(loaded, &rules.borrow())) {
            self.replace(loaded, rules, metrics);
        }
    }

    /// Puts the rules that were loaded in force, if they can be used.
    fn replace(&self, loaded: anyhow::Result<RuleSet>, rules: &watch::Sender<Arc<RuleSet>>, metrics: &Metrics) {
        let path = self.path.display();
        match loaded {
            Ok(loaded) => {
                tracing::info!(%path, rules = loaded.rules().len(), "rules reloaded");
                rules.send_replace(Arc::new(loaded));
                metrics.reloads.with_label_values(&["ok"]).inc();
                metrics.success.set(1);
            }
            Err(error) => {
                let kept = rules.borrow().rules().len();
                tracing::error!(%path, kept, "rules refused, the old ones stay in force: {error:#}");
                metrics.reloads.with_label_values(&["refused"]).inc();
                metrics.success.set(0);
            }
        }
    }
}

/// Whether two sets were written the same.
fn same(first: &RuleSet, second: &RuleSet) -> bool {
    let written = |rule: &Rule| {
        let text = (rule.id().to_owned(), rule.when().to_owned(), rule.message().to_owned());
        (text, rule.version(), rule.is_over_messages(), rule.severity(), rule.cooldown(), rule.plan().clone())
    };
    first.rules().iter().map(written).eq(second.rules().iter().map(written))
}

/// Refuses rules that emit to streams that are not open: their events could go nowhere.
///
/// # Errors
/// Names the stream and the option that opens it.
pub(crate) fn check_streams(rules: &RuleSet, open_streams: &[String]) -> anyhow::Result<()> {
    for stream in rules.emits() {
        if !open_streams.iter().any(|open| *open == *stream) {
            bail!("a step emits to `{stream}`, which is no stream; name it in streams.emit and start again");
        }
    }
    Ok(())
}

impl Loader {
    async fn load(&self) -> anyhow::Result<RuleSet> {
        let loader = self.clone();
        let load = move || {
            let rules = RuleSet::load(&loader.path)?;
            check_streams(&rules, &loader.open_streams)?;
            anyhow::Ok(rules)
        };
        tokio::task::spawn_blocking(load).await.context("loading rules")?
    }

    async fn look(&self) -> Seen {
        let path = self.path.clone();
        match tokio::task::spawn_blocking(move || look(&path)).await {
            Ok(seen) => seen,
            Err(error) => {
                tracing::warn!(%error, "cannot look at the rules");
                Seen::default()
            }
        }
    }
}

fn look(path: &Path) -> Seen {
    use std::os::unix::fs::MetadataExt;
    let mut files = Vec::new();
    let mut add = |file: PathBuf| {
        // A file that goes away between two calls is as good as gone.
        if let Ok(metadata) = std::fs::metadata(&file) {
            // The inode tells a file that was replaced by another one of the same length and time.
            files.push((file, metadata.len(), metadata.modified().ok(), metadata.ino()));
        }
    };
    if path.is_dir() {
        let entries = std::fs::read_dir(path).into_iter().flatten().take(ENTRIES).flatten().map(|entry| entry.path());
        entries.filter(|file| file.extension().is_some_and(|extension| extension == "toml")).for_each(&mut add);
    } else {
        add(path.to_owned());
    }
    files.sort();
    Seen(files)
}

#[cfg(test)]
mod tests;
