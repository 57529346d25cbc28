//! The same with stages apart: the process of the tables is stopped, as for an hour of work on it, and started again.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::clock;
use crate::cluster::Cluster;
use crate::fleet::{self, Fleet};
use crate::judge::Terms;
use crate::outcome::{Outcome, Verdict};
use crate::ports::free_address;
use crate::proxy::Proxy;
use crate::round::{RULES, make_empty, write_rules};
use crate::setting::Setting;
use crate::stage::{Kind, Plan, Stage};
use crate::watch::{Sample, Watch};

use super::super::held::{DEVICES, RATE};
use super::{Phases, Rig, attack};

/// How long nothing may be left until it is believed: lag is told twice a second.
const STALE: Duration = Duration::from_secs(2);

/// A cluster and stages; the executor of workflows has nothing to do and is left out. What is dropped is killed, in this
/// order.
struct Apart {
    directory: PathBuf,
    fleet: Fleet,
    proxy: Proxy,
    door: Stage,
    rules: Stage,
    tables: Stage,
    _cluster: Cluster,
}

/// Runs it. What fails is a violation, and the files stay.
pub(super) fn run(setting: &Setting, program: &Path, phases: &Phases, outcome: &mut Outcome) -> anyhow::Result<()> {
    let directory = setting.directory.join(format!("outage-apart-{}", setting.seed));
    make_empty(&directory)?;
    let begun = Apart::begin(setting, program, phases, &directory);
    match begun.and_then(|rig| attack(setting, "stages apart", Box::new(rig), phases, outcome)) {
        Ok(()) => fs::remove_dir_all(&directory).with_context(|| directory.display().to_string()),
        Err(error) => {
            let violation =
                format!("outage, stages apart, seed {}: {error:#}; see {}", setting.seed, directory.display());
            eprintln!("VIOLATION {violation}");
            outcome.violations.push(violation);
            Ok(())
        }
    }
}

impl Apart {
    fn begin(setting: &Setting, program: &Path, phases: &Phases, directory: &Path) -> anyhow::Result<Self> {
        let cluster = Cluster::start(program, &directory.join("cluster"), 1)?;
        let mqtt = free_address()?;
        let rules = write_rules(directory, &RULES)?;
        let quoted = |text: &dyn std::fmt::Display| format!("\"{text}\"");
        let mut environment = vec![
            ("WEIR_STREAMS__BACKEND".to_owned(), quoted(&"fluvio")),
            ("WEIR_FLUVIO__ENDPOINT".to_owned(), quoted(&cluster.endpoint())),
            ("WEIR_MQTT__LISTEN".to_owned(), quoted(&mqtt)),
            ("WEIR_RULES__FILE".to_owned(), quoted(&rules.display())),
        ];
        environment.extend(phases.settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let stage = |kind: Kind| {
            let mut environment = environment.clone();
            let data = directory.join(format!("data-{}", kind.command()));
            environment.push(("WEIR_DATA__DIR".to_owned(), quoted(&data.display())));
            let (binary, log) = (setting.binaries.weir.clone(), directory.join(format!("{}.log", kind.command())));
            let mut stage =
                Stage::new(Plan { binary, kind, options: Vec::new(), http: free_address()?, environment, log });
            stage.start()?;
            anyhow::Ok(stage)
        };
        let (tables, rules, door) = (stage(Kind::Sink)?, stage(Kind::Process)?, stage(Kind::Ingest)?);
        let proxy = Proxy::start(free_address()?, mqtt, &directory.join("pubacks.csv"), setting.seed)?;
        let plan = fleet::Plan { devices: DEVICES, rate: RATE, seed: setting.seed, options: Vec::new() };
        let fleet = Fleet::start(&setting.binaries.weir, &plan, proxy.address(), directory)?;
        Ok(Self { directory: directory.to_owned(), fleet, proxy, door, rules, tables, _cluster: cluster })
    }

    /// Waits until a stage has nothing left of what these groups read.
    fn drained(stage: &Stage, groups: &[&str], patience: Duration) -> anyhow::Result<()> {
        let weir = stage.running()?;
        let lag = |group: &&str| weir.metric(&format!("weir_consumer_group_lag_records{{group=\"{group}\""));
        let mut done_since = None;
        let drained = clock::wait_for(patience, || {
            if !groups.iter().all(|group| lag(group) == Some(0.0)) {
                done_since = None;
                return None;
            }
            (clock::since(*done_since.get_or_insert_with(clock::now)) >= STALE).then_some(())
        });
        drained.with_context(|| format!("{groups:?} do not catch up within {patience:?}: {}", weir.last_words()))
    }
}

impl Rig for Apart {
    fn look(&self, watch: &mut Watch, until: Duration, enough: &dyn Fn(&Sample) -> bool) -> anyhow::Result<bool> {
        let latencies = || Ok(self.proxy.witness()?.latencies);
        watch.look((self.door.running()?, self.tables.running().ok()), latencies, until, enough)
    }

    fn stop(&mut self, watch: &mut Watch, _: f64) -> anyhow::Result<()> {
        self.tables.stop()?;
        // From this look on nobody tells of tables.
        let now = watch.passed();
        self.look(watch, now, &|_| true).map(|_| ())
    }

    fn go(&mut self) -> anyhow::Result<()> {
        self.tables.start().map(|_| ())
    }

    fn finish(self: Box<Self>, setting: &Setting, patience: Duration) -> anyhow::Result<Verdict> {
        let Self { directory, mut fleet, proxy, mut door, mut rules, mut tables, _cluster } = *self;
        fleet.finish(door.running_mut()?)?;
        let witness = proxy.finish()?;
        ensure!(witness.stale == 0, "{} acknowledgements of nothing that was open", witness.stale);
        Self::drained(&rules, &["rules"], patience)?;
        Self::drained(&tables, &["sink/readings", "sink/alerts"], patience)?;
        for stage in [&mut door, &mut rules, &mut tables] {
            stage.stop()?;
        }
        let terms =
            Terms { rules: RULES.map(|(id, when)| (id.to_owned(), when.to_owned())).to_vec(), ..Terms::default() };
        let data = directory.join(format!("data-{}", Kind::Sink.command()));
        let judgement = setting.judge.judge(&directory, &data, &terms)?;
        let faults = judgement.verdict.faults();
        ensure!(faults.is_empty(), "the judge found {faults:?}: {}", judgement.examples);
        ensure!(judgement.verdict.messages_judged > 0, "nothing was sent");
        Ok(judgement.verdict)
    }
}
