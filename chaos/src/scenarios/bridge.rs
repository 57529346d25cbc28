//! Devices publish to a broker, Mosquitto, and Weir takes their messages from there, while Weir is killed, the broker
//! is stopped and started, and the connection between the two is reset.
//!
//! ```text
//!   fleet ──▶ Mosquitto ──┬──▶ proxy ──▶ weir ──▶ table
//!     │                   └──▶ witness ─────┐      │
//!     └── ledger, sent ─────────────────────┴──▶ judge
//! ```
//! The witness is a second subscriber. What it saw must be in the table exactly once, and so must what the broker
//! acknowledged to a device; what of the latter neither the witness nor Weir ever saw, the broker lost.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::clock;
use crate::fleet::{self, Fleet};
use crate::judge::Terms;
use crate::lanes;
use crate::mosquitto::{Mosquitto, Programs};
use crate::outcome::Outcome;
use crate::ports::free_address;
use crate::proxy::Proxy;
use crate::round::{make_empty, write_rules};
use crate::setting::Setting;
use crate::weir::{Launch, Weir};
use crate::witness::{self, Witness};

/// Kills of Weir in a round.
const PER_ROUND: u32 = 20;
/// With which of five kills the broker is restarted as well; also with the last one.
const RESTARTS: [u32; 2] = [1, 3];
/// One round in so many is for a shared subscription.
const SHARED_ONE_IN: u32 = 4;
/// What is not tried, and why: seen with Mosquitto 2.0.11, by `mosquitto_sub` as well.
const NOT_SHARED: &str = "restarts of Mosquitto under a shared subscription: it keeps what waits for the group, but \
                          not the subscription, so that what it gets until the bridge is back goes to nobody of it";
/// Devices, and messages a second of all together.
const DEVICES: u32 = 50;
const RATE: f64 = 2_000.0;
/// A rule of every round, and two that tell which marks have come through the bridge.
const RULE: (&str, &str) = ("fifth", "metric = 'temperature' AND seq % 5 = 0");
const BEGIN: (&str, &str) = ("begin", "metric = 'begin'");
const END: (&str, &str) = ("end", "metric = 'end'");
/// Marks are of a device that nobody judges.
const MARKS: &str = "harness/mark/telemetry";
const BEGIN_MARK: &str = r#"{"device_id":"mark","begin":1}"#;
const END_MARK: &str = r#"{"device_id":"mark","end":1}"#;
/// Between two marks of the beginning.
const MARK_AGAIN: Duration = Duration::from_millis(100);
/// How long the bridge may take for what waits in the broker, once nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_secs(120);

/// A round under way.
struct Round {
    name: String,
    directory: PathBuf,
    launch: Launch,
    weir: Option<Weir>,
    mosquitto: Mosquitto,
    /// Weir is alone in a group that shares its messages.
    shared: bool,
    proxy: Proxy,
    witness: Witness,
    fleet: Fleet,
    random: ChaCha8Rng,
    outcome: Outcome,
}

/// Runs it.
pub(crate) fn run(setting: &Setting) -> anyhow::Result<Outcome> {
    let programs = match Programs::find() {
        Ok(programs) => programs,
        Err(missing) => return Ok(Outcome::not_run(format!("the program `{missing}` is not installed"))),
    };
    let mut outcome = lanes::play(setting.count(12, 200, 2_000), PER_ROUND, |number, kills| {
        let round = Round::begin(setting, &programs, number)?;
        round.play(setting, kills)
    })?;
    outcome.not_run.push(NOT_SHARED.to_owned());
    Ok(outcome)
}

impl Round {
    /// Rounds in turn speak MQTT 5 and 3.1.1.
    fn begin(setting: &Setting, programs: &Programs, number: u32) -> anyhow::Result<Self> {
        let directory = setting.directory.join(format!("bridge-{}-{number}", setting.seed));
        make_empty(&directory)?;
        let mut random = setting.random("bridge", number);
        let shared = number % SHARED_ONE_IN == 1;
        let share = if shared { "weir" } else { "" };
        // So that both are spoken where messages are shared, too.
        let protocol = if (number + number / SHARED_ONE_IN).is_multiple_of(2) { "5" } else { "3.1.1" };
        let name = format!("bridge, seed {}, round {number} (MQTT {protocol}, share `{share}`)", setting.seed);

        let mosquitto = Mosquitto::start(programs, &directory)?;
        let proxy = Proxy::start(free_address()?, mosquitto.address(), &directory.join("bridge.csv"), random.random())?;
        let witness = Witness::start(programs, mosquitto.address(), &directory)?;
        let subscriptions = format!("[{{filter = \"+/+/telemetry\", share = \"{share}\"}}]");
        let launch = Launch {
            binary: setting.binaries.weir.clone(),
            wrapper: Vec::new(),
            data: directory.join("data"),
            mqtt: free_address()?,
            http: free_address()?,
            rules: write_rules(&directory, &[RULE, BEGIN, END])?,
            environment: Vec::new(),
            log: directory.join("weir.log"),
        };
        let launch = launch
            .with("WEIR_BRIDGE__URL", format!("mqtt://{}", proxy.address()))
            .with("WEIR_BRIDGE__CLIENT_ID", "bridge")
            .with("WEIR_BRIDGE__PROTOCOL", format!("\"{protocol}\""))
            .with("WEIR_BRIDGE__SUBSCRIPTIONS", subscriptions)
            .with("WEIR_SINK__ROLL_AGE_SECONDS", random.random_range(0.1..0.5))
            .with("WEIR_CONSUMERS__COMMIT_INTERVAL_SECONDS", random.random_range(0.05..0.5));
        // Once it was there it has a session, for which the broker keeps what comes.
        let (weir, _) = Weir::start(&launch)?;
        let plan = fleet::Plan {
            devices: DEVICES,
            rate: RATE,
            seed: random.random(),
            options: vec!["--reconnect-within=200ms".into()],
        };
        wait_subscribed(&weir, &witness)?;
        let fleet = Fleet::start(&setting.binaries.weir, &plan, mosquitto.address(), &directory)?;
        let outcome = Outcome::default();
        Ok(Self {
            name,
            directory,
            launch,
            weir: Some(weir),
            mosquitto,
            shared,
            proxy,
            witness,
            fleet,
            random,
            outcome,
        })
    }

    /// Does `kills` faults, lets everything end well, and has it judged. What fails on the way is a violation, and
    /// the files of such a round are kept.
    fn play(mut self, setting: &Setting, kills: u32) -> anyhow::Result<Outcome> {
        let attacked = self.attack(kills);
        let (name, directory) = (self.name.clone(), self.directory.clone());
        let mut outcome = std::mem::take(&mut self.outcome);
        match attacked.and_then(|()| self.settle(setting, &mut outcome)) {
            Ok(()) => fs::remove_dir_all(&directory).with_context(|| directory.display().to_string())?,
            Err(error) => {
                let violation = format!("{name}: {error:#}; see {}", directory.display());
                eprintln!("VIOLATION {violation}");
                outcome.violations.push(violation);
            }
        }
        Ok(outcome)
    }

    fn attack(&mut self, kills: u32) -> anyhow::Result<()> {
        for kill in 0..kills {
            self.pause(1..1_000);
            if self.random.random_ratio(1, 5) {
                self.proxy.cut_all()?;
                self.outcome.fault("reset of the bridge's connection");
                self.pause(1..300);
            }
            let restart = !self.shared && (RESTARTS.contains(&(kill % 5)) || kill + 1 == kills);
            match (restart, self.random.random_ratio(1, 3)) {
                (true, true) => self.both()?,
                (true, false) => {
                    self.mosquitto.stop()?;
                    self.pause(1..500);
                    self.mosquitto_is_back()?;
                    self.pause(1..500);
                    self.kill_and_restart()?;
                }
                (false, _) => self.kill_and_restart()?,
            }
        }
        Ok(())
    }

    fn kill_and_restart(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        self.restart()
    }

    /// Weir is killed while the broker is down, and either comes back first.
    fn both(&mut self) -> anyhow::Result<()> {
        self.mosquitto.stop()?;
        self.pause(1..200);
        self.kill()?;
        if self.random.random() {
            self.mosquitto_is_back()?;
            self.restart()
        } else {
            // Without its broker it need not be ready, but must not end either.
            self.weir = Some(Weir::spawn(&self.launch)?);
            self.pause(1..500);
            self.mosquitto_is_back()?;
            let weir = self.weir.as_mut().context("weir is dead")?;
            weir.wait_ready().context("weir does not come back behind its broker")
        }
    }

    fn mosquitto_is_back(&mut self) -> anyhow::Result<()> {
        self.mosquitto.resume()?;
        self.outcome.fault("restart of Mosquitto");
        Ok(())
    }

    fn kill(&mut self) -> anyhow::Result<()> {
        self.outcome.fault("SIGKILL of weir");
        self.weir.take().map_or(Ok(()), Weir::kill)
    }

    fn restart(&mut self) -> anyhow::Result<()> {
        let (weir, took) = Weir::start(&self.launch).context("weir does not come back")?;
        self.weir = Some(weir);
        self.outcome.recovered(took);
        Ok(())
    }

    fn pause(&mut self, milliseconds: std::ops::Range<u64>) {
        clock::pause(Duration::from_millis(self.random.random_range(milliseconds)));
    }

    /// Lets the last message go through everything, ends all, and has the table judged.
    fn settle(self, setting: &Setting, outcome: &mut Outcome) -> anyhow::Result<()> {
        let Self { directory, launch, weir, mut mosquitto, proxy, witness, mut fleet, .. } = self;
        let mut weir = weir.context("weir is dead")?;
        fleet.finish(&mut weir)?;
        witness.mark(MARKS, END_MARK)?;
        clock::wait_for(PATIENCE, || fired(&weir, END).then_some(())).with_context(|| {
            format!("the bridge has not passed on everything after {PATIENCE:?}: {}", weir.last_words())
        })?;
        let witnessed = witness.finish(END_MARK)?;
        weir.stop()?;
        proxy.finish()?;
        mosquitto.stop()?;
        let terms = Terms {
            rules: vec![(RULE.0.to_owned(), RULE.1.to_owned())],
            witness: Some(directory.join(witness::FILE)),
            ..Terms::default()
        };
        let judgement = setting.judge.judge(&directory, &launch.data, &terms)?;
        let faults = judgement.verdict.faults();
        outcome.verdict = judgement.verdict;
        ensure!(faults.is_empty(), "the judge found {faults:?}: {}", judgement.examples);
        ensure!(witnessed > 0, "the witness saw nothing");
        Ok(())
    }
}

/// Waits until the broker keeps messages for Weir: before, nothing is promised to anybody.
fn wait_subscribed(weir: &Weir, witness: &Witness) -> anyhow::Result<()> {
    let began = clock::now();
    while !fired(weir, BEGIN) {
        ensure!(clock::since(began) < PATIENCE, "the bridge passes nothing on: {}", weir.last_words());
        witness.mark(MARKS, BEGIN_MARK)?;
        clock::pause(MARK_AGAIN);
    }
    Ok(())
}

/// Whether a rule has fired since Weir was started.
fn fired(weir: &Weir, (rule, _): (&str, &str)) -> bool {
    weir.metric(&format!("weir_rules_matches_total{{rule=\"{rule}\"")).is_some_and(|matches| matches >= 1.0)
}
