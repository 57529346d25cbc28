//! A round: one fleet, one data directory, many faults, one verdict.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::clock;
use crate::fleet::{self, Fleet};
use crate::judge::{self, Terms};
use crate::outcome::Outcome;
use crate::ports::free_address;
use crate::proxy::Proxy;
use crate::setting::Setting;
use crate::weir::{Launch, Weir};
use crate::workflows::{self, Wanted, Workflows};

/// The rules of every round: one that fires for a fifth of one metric, in order, and one that fires rarely.
pub(crate) const RULES: [(&str, &str); 2] =
    [("fifth", "metric = 'temperature' AND seq % 5 = 0"), ("shaking", "metric = 'vibration' AND value > 3.5")];

/// Messages a second of a fleet that is there to listen.
const LISTENING: f64 = 1.0;

/// What a round is made of.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The scenario it belongs to.
    pub(crate) scenario: &'static str,
    /// Its number in the scenario; with the seed it says everything that is random.
    pub(crate) number: u32,
    /// The binary that is attacked.
    pub(crate) binary: PathBuf,
    /// Its data directory, if not one beside the round's files.
    pub(crate) data: Option<PathBuf>,
    /// The devices.
    pub(crate) fleet: fleet::Plan,
    /// How the judge judges; its rules are set by the round.
    pub(crate) terms: Terms,
    /// Rules with steps, and hooks that they call.
    pub(crate) workflows: bool,
    /// A bug that is planted.
    pub(crate) tooth: Option<String>,
    /// It must break the promise: its violation is not announced, and its files are not kept.
    pub(crate) must_break: bool,
}

impl Plan {
    /// A round of the shipped binary under 50 devices and 5,000 messages a second.
    pub(crate) fn new(setting: &Setting, scenario: &'static str, number: u32) -> Self {
        let seed = setting.seed.wrapping_mul(1_000_003).wrapping_add(u64::from(number));
        Self {
            scenario,
            number,
            binary: setting.binaries.weir.clone(),
            data: None,
            fleet: fleet::Plan { devices: 50, rate: 5_000.0, seed, options: vec!["--reconnect-within=200ms".into()] },
            terms: Terms::default(),
            workflows: false,
            tooth: None,
            must_break: false,
        }
    }
}

/// A round under way.
pub(crate) struct Round {
    name: String,
    pub(crate) directory: PathBuf,
    /// How Weir is started, each time.
    pub(crate) launch: Launch,
    /// `None` while it is dead.
    pub(crate) weir: Option<Weir>,
    /// `None` once it has ended.
    pub(crate) proxy: Option<Proxy>,
    fleet: Fleet,
    /// The same devices once more, which hardly send.
    listeners: fleet::Plan,
    /// `None` without rules that have steps.
    pub(crate) workflows: Option<Workflows>,
    pub(crate) random: ChaCha8Rng,
    pub(crate) outcome: Outcome,
    terms: Terms,
}

/// Plays a round: starts everything, lets `attack` do its faults, ends everything, and has it judged. Whatever
/// fails on the way is a violation, named so that it can be done again; the files of such a round are kept.
///
/// # Errors
/// If the round cannot even begin.
pub(crate) fn play(
    setting: &Setting,
    plan: Plan,
    attack: impl FnOnce(&mut Round) -> anyhow::Result<()>,
) -> anyhow::Result<Outcome> {
    let must_break = plan.must_break;
    let mut round = Round::begin(setting, plan)?;
    let judged = attack(&mut round).and_then(|()| round.settle(setting));
    let mut outcome = std::mem::take(&mut round.outcome);
    let (name, directory, data) = (round.name.clone(), round.directory.clone(), round.launch.data.clone());
    // Whatever still runs is killed.
    drop(round);
    if let Err(error) = judged {
        let violation = format!("{name}: {error:#}; see {}", directory.display());
        if !must_break {
            eprintln!("VIOLATION {violation}");
            keep(&data, &directory);
        }
        outcome.violations.push(violation);
        if !must_break {
            return Ok(outcome);
        }
    }
    fs::remove_dir_all(&directory).with_context(|| directory.display().to_string())?;
    Ok(outcome)
}

impl Round {
    fn begin(setting: &Setting, plan: Plan) -> anyhow::Result<Self> {
        let Plan { scenario, number, binary, data, mut fleet, mut terms, workflows, tooth, must_break: _ } = plan;
        let name = format!("{scenario}, seed {}, round {number}", setting.seed);
        let directory = setting.directory.join(format!("{scenario}-{}-{number}", setting.seed));
        make_empty(&directory)?;
        let mut random = setting.random(scenario, number);
        terms.rules = RULES.map(|(id, when)| (id.to_owned(), when.to_owned())).to_vec();
        let environment: Vec<_> =
            eager(&mut random).into_iter().chain(tooth.map(|name| ("WEIR_TOOTH".to_owned(), name))).collect();
        let mut launch = Launch {
            binary,
            wrapper: Vec::new(),
            data: data.unwrap_or_else(|| directory.join("data")),
            mqtt: free_address()?,
            http: free_address()?,
            rules: write_rules(&directory, &RULES)?,
            environment,
            log: directory.join("weir.log"),
        };
        let workflows = workflows.then(|| {
            let commands = fleet::commands(&setting.binaries.weir)?;
            Workflows::start(&directory, random.random(), Wanted { commands, letters: number.is_multiple_of(2) })
        });
        let workflows = workflows.transpose()?;
        if let Some(workflows) = &workflows {
            append(&launch.rules, &workflows.text())?;
            launch.environment.extend(workflows.settings());
            terms.rules.extend(workflows.conditions());
            terms.workflows = Some(workflows.terms().to_owned());
            if workflows.commands() {
                fleet.options.extend(["--commands".to_owned(), directory.join(judge::COMMANDS).display().to_string()]);
            }
        }
        let listeners = fleet::Plan { rate: LISTENING, ..fleet.clone() };
        let (weir, _) = Weir::start(&launch)?;
        let proxy = Proxy::start(free_address()?, launch.mqtt, &directory.join("pubacks.csv"), random.random())?;
        let fleet = Fleet::start(&setting.binaries.weir, &fleet, proxy.address(), &directory)?;
        Ok(Self {
            name,
            directory,
            launch,
            weir: Some(weir),
            proxy: Some(proxy),
            fleet,
            listeners,
            workflows,
            random,
            outcome: Outcome::default(),
            terms,
        })
    }

    /// Lets time pass, between two bounds in milliseconds.
    pub(crate) fn pause(&mut self, milliseconds: std::ops::Range<u64>) {
        clock::pause(Duration::from_millis(self.random.random_range(milliseconds)));
    }

    /// Kills Weir.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.weir.take().map_or(Ok(()), Weir::kill)
    }

    /// Starts Weir again, and notes how long it took.
    ///
    /// # Errors
    /// If it does not come back: nobody is there to help it.
    pub(crate) fn restart(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        let (weir, took) = Weir::start(&self.launch).context("weir does not come back")?;
        self.weir = Some(weir);
        self.outcome.recovered(took);
        Ok(())
    }

    /// Lets what fired be done.
    fn settle_workflows(&mut self, setting: &Setting, weir: &mut Weir) -> anyhow::Result<()> {
        let Some(workflows) = &self.workflows else { return Ok(()) };
        if workflows.commands() {
            // A device that has ended gets no commands: it comes back for them.
            let proxy = self.proxy.as_ref().context("the proxy has ended")?.address();
            let mut listeners = Fleet::start(&setting.binaries.weir, &self.listeners, proxy, &self.directory)?;
            workflows::settle(workflows, &self.launch.binary, weir)?;
            listeners.finish(weir)?;
        }
        workflows::settle(workflows, &self.launch.binary, weir)
    }

    /// Lets the fleet and Weir end well, and has the table judged.
    fn settle(&mut self, setting: &Setting) -> anyhow::Result<()> {
        if self.weir.is_none() {
            self.restart()?;
        }
        let mut weir = self.weir.take().context("weir is dead")?;
        self.fleet.finish(&mut weir)?;
        self.settle_workflows(setting, &mut weir)?;
        let witness = self.proxy.take().context("the proxy has ended")?.finish()?;
        weir.stop()?;
        self.workflows.take().map_or(Ok(()), |workflows| workflows.finish(&mut self.outcome))?;
        let judgement = setting.judge.judge(&self.directory, &self.launch.data, &self.terms)?;
        let faults = judgement.verdict.faults();
        self.outcome.verdict = judgement.verdict;
        anyhow::ensure!(witness.stale == 0, "{} acknowledgements of nothing that was open", witness.stale);
        anyhow::ensure!(faults.is_empty(), "the judge found {faults:?}: {}", judgement.examples);
        Ok(())
    }
}

/// Settings under which all that happens rarely happens often, a little different each time.
fn eager(random: &mut ChaCha8Rng) -> Vec<(String, String)> {
    let segment = 65_536_u64 << (2 * random.random_range(0..4));
    let settings = [
        ("WEIR_SINK__ROLL_AGE_SECONDS", random.random_range(0.05..0.5).to_string()),
        ("WEIR_CONSUMERS__COMMIT_INTERVAL_SECONDS", random.random_range(0.05..0.5).to_string()),
        ("WEIR_STREAMS__SEGMENT_BYTES", segment.to_string()),
        ("WEIR_STREAMS__RETENTION_BYTES", (segment * random.random_range(2..6)).to_string()),
        ("WEIR_STREAMS__PARTITIONS", random.random_range(1..9).to_string()),
    ];
    settings.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

/// Makes `directory`, in place of one that an earlier run left.
pub(crate) fn make_empty(directory: &Path) -> anyhow::Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())
}

/// Writes a file of rules, each an id and its condition, into `directory`.
pub(crate) fn write_rules(directory: &Path, rules: &[(&str, &str)]) -> anyhow::Result<PathBuf> {
    let path = directory.join("rules.toml");
    let rule = |(id, when): &(&str, &str)| {
        format!("[[rule]]\nid = \"{id}\"\nwhen = \"{when}\"\nseverity = \"info\"\nmessage = \"{{value}}\"\n")
    };
    fs::write(&path, rules.iter().map(rule).collect::<Vec<_>>().join("\n"))
        .with_context(|| path.display().to_string())?;
    Ok(path)
}

/// Appends to a file, on a line of its own.
pub(crate) fn append(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = fs::OpenOptions::new().append(true).open(path);
    file.and_then(|mut file| write!(file, "\n{text}")).with_context(|| path.display().to_string())
}

/// Copies data that are elsewhere, on a disk that goes away, beside the other files of a broken round.
fn keep(data: &Path, directory: &Path) {
    if !data.starts_with(directory)
        && let Err(error) = std::process::Command::new("cp").arg("-a").arg(data).arg(directory.join("data")).status()
    {
        eprintln!("warning: data of the broken round not kept: {error}");
    }
}
