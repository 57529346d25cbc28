//! What a round has: cluster, stages, devices, the witness between them, and hooks that rules call.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::clock;
use crate::cluster::Cluster;
use crate::fleet::{self, Fleet};
use crate::judge::Terms;
use crate::outcome::Outcome;
use crate::ports::free_address;
use crate::proxy::Proxy;
use crate::round::{RULES, append, make_empty, write_rules};
use crate::setting::Setting;
use crate::stage::{Kind, Plan, Stage};
use crate::weir::Weir;
use crate::workflows::{self, EVENTS, Wanted, Workflows};

/// Messages a second, of five readings each: a million readings in two minutes, and four stages, an SPU, a fleet, a
/// proxy on the same cores.
const RATE: f64 = 2_000.0;
const DEVICES: u32 = 50;
/// How long a stage that fell silent keeps its partitions: short, so that what came back after a kill does not wait for
/// most of the round; not the shortest that is allowed, so that a busy machine does not look like a dead stage.
pub(super) const LEASE: Duration = Duration::from_secs(3);
/// How long tables may take to take what is left, once no fault comes any more.
const DRAIN: Duration = Duration::from_secs(180);
/// How long nothing may be left until it is believed: lag is told twice a second.
const STALE: Duration = Duration::from_secs(2);

/// How often a supervisor looks.
const LOOK: Duration = Duration::from_millis(100);
/// How long it waits before it starts again what ended at its start, and how long altogether.
const AGAIN: Duration = Duration::from_millis(500);
const COME_BACK: Duration = Duration::from_secs(60);
/// What any stage may say when it ends at its start: it did not reach the cluster.
const UNREACHED: &str = "fluvio cluster at";
/// What a stage with a lease may say besides: it lost it, or could not get it.
const LEASE_LOST: [&str; 3] = ["no renewal got through", "taken over", "took no record within"];

/// How many processes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) spus: u32,
    pub(super) sinks: u32,
    pub(super) processors: u32,
}

/// A round under way. What is dropped is killed, in this order.
pub(super) struct Pipeline {
    pub(super) name: String,
    pub(super) directory: PathBuf,
    pub(super) stages: Vec<Stage>,
    pub(super) cluster: Cluster,
    fleet: Fleet,
    /// `None` once it has ended.
    proxy: Option<Proxy>,
    workflows: Option<Workflows>,
    binary: PathBuf,
    terms: Terms,
    pub(super) random: ChaCha8Rng,
    pub(super) outcome: Outcome,
}

impl Pipeline {
    /// Starts everything.
    ///
    /// # Errors
    /// If something does not start.
    pub(super) fn begin(setting: &Setting, program: &Path, number: u32, shape: Shape) -> anyhow::Result<Self> {
        let name = format!("apart, seed {}, round {number}", setting.seed);
        let directory = setting.directory.join(format!("apart-{}-{number}", setting.seed));
        make_empty(&directory)?;
        let mut random = setting.random("apart", number);
        let cluster = Cluster::start(program, &directory.join("cluster"), shape.spus)?;
        let wanted = Wanted { commands: false, letters: number.is_multiple_of(2) };
        let workflows = Workflows::start(&directory, random.random(), wanted)?;
        let rules = write_rules(&directory, &RULES)?;
        append(&rules, &workflows.text())?;
        let terms = Terms {
            rules: RULES
                .map(|(id, when)| (id.to_owned(), when.to_owned()))
                .into_iter()
                .chain(workflows.conditions())
                .collect(),
            workflows: Some(workflows.terms().to_owned()),
            ..Terms::default()
        };
        let mqtt = free_address()?;
        let mut environment = settings(&mut random, &cluster, shape);
        environment.extend(workflows.settings());
        environment.push(("WEIR_MQTT__LISTEN".to_owned(), format!("\"{mqtt}\"")));
        let binary = setting.binaries.weir.clone();
        let stages = stages(&directory, &binary, &rules, shape, &environment)?;
        let proxy = Proxy::start(free_address()?, mqtt, &directory.join("pubacks.csv"), random.random())?;
        let options = vec!["--reconnect-within=200ms".to_owned()];
        let seed = setting.seed.wrapping_mul(1_000_003).wrapping_add(u64::from(number));
        let devices = fleet::Plan { devices: DEVICES, rate: RATE, seed, options };
        workflows.misbehave();
        let fleet = Fleet::start(&binary, &devices, proxy.address(), &directory)?;
        Ok(Self {
            name,
            directory,
            stages,
            cluster,
            fleet,
            proxy: Some(proxy),
            workflows: Some(workflows),
            binary,
            terms,
            random,
            outcome: Outcome::default(),
        })
    }

    /// Lets time pass, between two bounds in milliseconds.
    pub(super) fn pause(&mut self, milliseconds: std::ops::Range<u64>) {
        clock::pause(Duration::from_millis(self.random.random_range(milliseconds)));
    }

    /// Messages acknowledged so far.
    ///
    /// # Errors
    /// If the proxy has ended.
    pub(super) fn acknowledged(&self) -> anyhow::Result<u64> {
        Ok(self.proxy.as_ref().context("the proxy has ended")?.witness()?.pubacks)
    }

    /// One of the stages of a kind, drawn.
    pub(super) fn draw(&mut self, kind: Kind) -> anyhow::Result<usize> {
        let of: Vec<usize> = (0..self.stages.len()).filter(|index| self.kind(*index) == Some(kind)).collect();
        let drawn = self.random.random_range(0..of.len().max(1));
        of.get(drawn).copied().with_context(|| format!("no stage {kind:?}"))
    }

    /// A stage.
    pub(super) fn stage(&mut self, index: usize) -> anyhow::Result<&mut Stage> {
        self.stages.get_mut(index).with_context(|| format!("no stage {index}"))
    }

    /// Starts a stage again, and notes how long it took.
    ///
    /// # Errors
    /// If it does not come back: nobody but a supervisor is there to help it.
    pub(super) fn restart(&mut self, index: usize) -> anyhow::Result<()> {
        let took = self.ready(index)?;
        self.outcome.recovered(took);
        Ok(())
    }

    /// Lets time pass, and supervises meanwhile.
    ///
    /// # Errors
    /// If a stage ended for no reason that is allowed.
    pub(super) fn pass(&mut self, time: Duration) -> anyhow::Result<()> {
        let began = clock::now();
        while clock::since(began) < time {
            self.supervise()?;
            clock::pause(LOOK);
        }
        Ok(())
    }

    /// Starts again what ended by itself, as a supervisor does. A stage may do so when its lease ran out because the
    /// cluster took no renewal, and when it cannot reach the cluster at its start; the door has no lease.
    ///
    /// # Errors
    /// If a stage ended for another reason.
    pub(super) fn supervise(&mut self) -> anyhow::Result<()> {
        for stage in &mut self.stages {
            if reasonable_end(stage)? {
                self.outcome
                    .fault(&format!("weir {} ended without its cluster, started again", stage.kind().command()));
                stage.spawn()?;
            }
        }
        Ok(())
    }

    /// Starts a stage, if it is dead, and waits until it is ready.
    pub(super) fn ready(&mut self, index: usize) -> anyhow::Result<Duration> {
        let began = clock::now();
        loop {
            let stage = self.stage(index)?;
            let Err(error) = stage.start() else { return Ok(clock::since(began)) };
            if clock::since(began) > COME_BACK || !reasonable_end(stage)? {
                return Err(error);
            }
            clock::pause(AGAIN);
        }
    }

    /// Lets everything end well, and has the tables judged.
    ///
    /// # Errors
    /// If something does not end well, or the promise was broken.
    pub(super) fn settle(&mut self, setting: &Setting) -> anyhow::Result<()> {
        for index in 0..self.stages.len() {
            self.ready(index)?;
        }
        let door = self.draw(Kind::Ingest)?;
        let door = self.stages.get_mut(door).context("no door")?;
        self.fleet.finish(door.running_mut()?)?;
        let witness = self.proxy.take().context("the proxy has ended")?.finish()?;
        let workflows = self.workflows.take().context("the hooks have ended")?;
        self.drained(Kind::Process, &["rules"])?;
        // All rules have seen everything, so that any processor may tell for all.
        let (rules, executor) = (self.first(Kind::Process)?, self.first(Kind::Workflows)?);
        workflows::settle_apart(&workflows, &self.binary, rules, executor)?;
        let events = format!("sink/{EVENTS}");
        self.drained(Kind::Sink, &["sink/readings", "sink/alerts", &events])?;
        for kind in [Kind::Ingest, Kind::Process, Kind::Workflows, Kind::Sink] {
            self.stages.iter_mut().filter(|stage| stage.kind() == kind).try_for_each(Stage::stop)?;
        }
        workflows.finish(&mut self.outcome)?;
        self.note_disk();
        let judgement = setting.judge.judge(&self.directory, &tables(&self.directory), &self.terms)?;
        let faults = judgement.verdict.faults();
        self.outcome.verdict = judgement.verdict;
        ensure!(witness.stale == 0, "{} acknowledgements of nothing that was open", witness.stale);
        ensure!(witness.disordered == 0, "{} acknowledgements before that of an earlier message", witness.disordered);
        ensure!(faults.is_empty(), "the judge found {faults:?}: {}", judgement.examples);
        Ok(())
    }

    /// Waits until the stages of a kind have nothing left of what their groups read, all partitions together.
    fn drained(&mut self, kind: Kind, groups: &[&str]) -> anyhow::Result<()> {
        let (mut left, mut done_since) = (Vec::new(), None);
        let mut failed = Ok(());
        let drained = clock::wait_for(DRAIN, || {
            failed = self.supervise();
            left = groups.iter().map(|group| self.lag(kind, group)).collect();
            if failed.is_err() {
                return Some(());
            }
            if !left.iter().all(|left| *left == Some(0.0)) {
                done_since = None;
                return None;
            }
            (clock::since(*done_since.get_or_insert_with(clock::now)) >= STALE).then_some(())
        });
        failed?;
        drained.with_context(|| format!("{kind:?} does not catch up within {DRAIN:?}: lags of {groups:?} are {left:?}"))
    }

    /// Records that the processes of a kind have not passed; `None` while one of them does not tell.
    fn lag(&self, kind: Kind, group: &str) -> Option<f64> {
        let series = format!("weir_consumer_group_lag_records{{group=\"{group}\"");
        let of = self.stages.iter().filter(|stage| stage.kind() == kind);
        of.map(|stage| stage.running().ok()?.metric(&series)).sum()
    }

    fn first(&self, kind: Kind) -> anyhow::Result<&Weir> {
        self.stages.iter().find(|stage| stage.kind() == kind).with_context(|| format!("no stage {kind:?}"))?.running()
    }

    fn kind(&self, index: usize) -> Option<Kind> {
        self.stages.get(index).map(Stage::kind)
    }

    fn note_disk(&mut self) {
        let bytes = self.cluster.disk_bytes(&self.directory.join("cluster"));
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let mebibytes = bytes as f64 / f64::from(1 << 20);
        self.outcome.figures.insert(format!("cluster_disk_mib ({})", self.name), mebibytes);
    }
}

/// Whether a stage ended by itself, for a reason that is allowed.
fn reasonable_end(stage: &mut Stage) -> anyhow::Result<bool> {
    let Some((status, words)) = stage.ended()? else { return Ok(false) };
    let lost = stage.kind() != Kind::Ingest && LEASE_LOST.iter().any(|reason| words.contains(reason));
    // Only the last line says why it ended; those before it tell of trouble that it got over.
    let allowed = lost || words.lines().last().is_some_and(|line| line.contains(UNREACHED));
    ensure!(allowed && !status.success(), "weir {} ended by itself ({status}): {words}", stage.kind().command());
    Ok(true)
}

/// The data directory of the sinks, which has the tables.
pub(super) fn tables(directory: &Path) -> PathBuf {
    directory.join("data")
}

/// Settings that all stages share, a little different each time.
fn settings(random: &mut ChaCha8Rng, cluster: &Cluster, shape: Shape) -> Vec<(String, String)> {
    let partitions = random.random_range(shape.sinks.max(shape.processors).max(2)..9);
    [
        ("WEIR_STREAMS__BACKEND", "\"fluvio\"".to_owned()),
        ("WEIR_STREAMS__PARTITIONS", partitions.to_string()),
        ("WEIR_FLUVIO__ENDPOINT", format!("\"{}\"", cluster.endpoint())),
        ("WEIR_FLUVIO__REPLICATION", shape.spus.to_string()),
        ("WEIR_FLUVIO__LEASE_SECONDS", LEASE.as_secs_f64().to_string()),
        ("WEIR_SINK__ROLL_AGE_SECONDS", random.random_range(0.2..2.0).to_string()),
        ("WEIR_CONSUMERS__COMMIT_INTERVAL_SECONDS", random.random_range(0.1..1.0).to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// The stages, running and ready.
fn stages(
    directory: &Path,
    binary: &Path,
    rules: &Path,
    shape: Shape,
    environment: &[(String, String)],
) -> anyhow::Result<Vec<Stage>> {
    let mut stages = Vec::new();
    for (kind, count) in
        [(Kind::Sink, shape.sinks), (Kind::Workflows, 1), (Kind::Process, shape.processors), (Kind::Ingest, 1)]
    {
        for index in 0..count {
            let name = format!("{}-{index}", kind.command());
            let data = if kind == Kind::Sink { tables(directory) } else { directory.join(format!("data-{name}")) };
            let mut environment = environment.to_vec();
            environment.push(("WEIR_DATA__DIR".to_owned(), format!("\"{}\"", data.display())));
            if kind == Kind::Process {
                environment.push(("WEIR_RULES__FILE".to_owned(), format!("\"{}\"", rules.display())));
            }
            let options = if count > 1 { vec![format!("--instance={index}/{count}")] } else { Vec::new() };
            let log = directory.join(format!("{name}.log"));
            let binary = binary.to_owned();
            let mut stage = Stage::new(Plan { binary, kind, options, http: free_address()?, environment, log });
            stage.start()?;
            stages.push(stage);
        }
    }
    Ok(stages)
}
