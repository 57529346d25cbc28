//! A pipeline with default settings whose tables can be held: while the hold lasts nothing is written to them,
//! and all that is acknowledged stays in the log.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::clock;
use crate::fleet::{self, Fleet};
use crate::judge::Terms;
use crate::latencies::Latencies;
use crate::outcome::{Outcome, Verdict};
use crate::ports::free_address;
use crate::proxy::Proxy;
use crate::round::{make_empty, write_rules};
use crate::setting::Setting;
use crate::weir::{Launch, Weir};

/// Where a table waits: before it writes a Parquet file.
const POINT: &str = "parquet_write";
/// Nominal load: messages a second, of five readings each.
pub(super) const RATE: f64 = 5_000.0;
/// Devices that send it.
pub(super) const DEVICES: u32 = 50;
/// A fifth of one metric of five fires.
const RULE: (&str, &str) = ("fifth", "metric = 'temperature' AND seq % 5 = 0");
/// The consumer groups that are held.
const SINKS: [&str; 2] = ["sink/readings", "sink/alerts"];

/// The directory of a pipeline, and how it is started.
pub(super) struct Held {
    name: String,
    directory: PathBuf,
    hold: PathBuf,
    pub(super) launch: Launch,
    seed: u64,
}

/// Devices, and the witness between them and the endpoint.
pub(super) struct Devices {
    proxy: Proxy,
    fleet: Fleet,
}

impl Held {
    /// Makes the directory; nothing is held, and nothing runs.
    pub(super) fn new(setting: &Setting, name: &str) -> anyhow::Result<Self> {
        let directory = setting.directory.join(format!("{name}-{}", setting.seed));
        make_empty(&directory)?;
        let rules = write_rules(&directory, &[RULE])?;
        let hold = directory.join("hold");
        let launch = Launch {
            binary: setting.binaries.faults.clone(),
            wrapper: Vec::new(),
            data: directory.join("data"),
            mqtt: free_address()?,
            http: free_address()?,
            rules,
            environment: vec![("WEIR_FAULT".to_owned(), format!("{POINT}:1:hold={}", hold.display()))],
            log: directory.join("weir.log"),
        };
        Ok(Self { name: format!("{name}, seed {}", setting.seed), directory, hold, launch, seed: setting.seed })
    }

    /// From now on whoever comes to write a table waits.
    pub(super) fn hold(&self) -> anyhow::Result<()> {
        fs::write(&self.hold, "").with_context(|| self.hold.display().to_string())
    }

    /// And goes on.
    pub(super) fn release(&self) -> anyhow::Result<()> {
        fs::remove_file(&self.hold).with_context(|| self.hold.display().to_string())
    }

    /// Sends the nominal load, until [`Devices::finish`].
    pub(super) fn devices(&self, setting: &Setting) -> anyhow::Result<Devices> {
        let pubacks = self.directory.join("pubacks.csv");
        let proxy = Proxy::start(free_address()?, self.launch.mqtt, &pubacks, self.seed)?;
        let plan = fleet::Plan { devices: DEVICES, rate: RATE, seed: self.seed, options: Vec::new() };
        let fleet = Fleet::start(&setting.binaries.weir, &plan, proxy.address(), &self.directory)?;
        Ok(Devices { proxy, fleet })
    }

    /// Waits until the tables have taken everything, ends Weir, and has the tables judged.
    pub(super) fn settle(&self, setting: &Setting, weir: Weir, patience: Duration) -> anyhow::Result<Verdict> {
        let drained = clock::wait_for(patience, || sink_lag(&weir).filter(|lag| *lag == 0.0));
        drained.with_context(|| format!("the tables are not up to date after {patience:?}: {}", weir.last_words()))?;
        weir.stop()?;
        let (id, when) = RULE;
        let terms = Terms { rules: vec![(id.to_owned(), when.to_owned())], ..Terms::default() };
        let judgement = setting.judge.judge(&self.directory, &self.launch.data, &terms)?;
        let faults = judgement.verdict.faults();
        ensure!(faults.is_empty(), "the judge found {faults:?}: {}", judgement.examples);
        ensure!(judgement.verdict.messages_judged > 0, "nothing was sent");
        Ok(judgement.verdict)
    }

    /// Ends the scenario: what failed is a violation, and its files stay.
    pub(super) fn end(self, outcome: &mut Outcome, ended: anyhow::Result<()>) -> anyhow::Result<()> {
        match ended {
            Ok(()) => fs::remove_dir_all(&self.directory).with_context(|| self.directory.display().to_string()),
            Err(error) => {
                let violation = format!("{}: {error:#}; see {}", self.name, self.directory.display());
                eprintln!("VIOLATION {violation}");
                outcome.violations.push(violation);
                Ok(())
            }
        }
    }
}

impl Devices {
    /// How long acknowledgements took so far.
    pub(super) fn latencies(&self) -> anyhow::Result<Latencies> {
        Ok(self.proxy.witness()?.latencies)
    }

    /// Ends them, once everything is acknowledged.
    pub(super) fn finish(mut self, weir: &mut Weir) -> anyhow::Result<()> {
        self.fleet.finish(weir)?;
        let witness = self.proxy.finish()?;
        ensure!(witness.stale == 0, "{} acknowledgements of nothing that was open", witness.stale);
        Ok(())
    }
}

/// Durable records that the tables have not taken; `None` while nothing tells.
pub(super) fn sink_lag(weir: &Weir) -> Option<f64> {
    SINKS.iter().map(|group| weir.metric(&format!("weir_consumer_group_lag_records{{group=\"{group}\""))).sum()
}
