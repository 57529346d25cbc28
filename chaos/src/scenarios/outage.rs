//! The tables stop for ten minutes under load, and go on: devices must not notice, and what gathered must drain at
//! three times the rate at which it came, with the load going on.
//!
//! `stall` looks at memory in the same situation; this one at the time an acknowledgement takes, seen at the sockets,
//! and at how fast the tables take what they have missed.

mod apart;

use std::time::Duration;

use anyhow::{Context, ensure};

use crate::latencies::Latencies;
use crate::outcome::{Outcome, Verdict};
use crate::setting::Setting;
use crate::tier::Tier;
use crate::watch::{Sample, Watch};
use crate::weir::Weir;

use super::held::{Devices, Held, RATE};

/// Least rate of the drain, in rates of the load.
const DRAIN: f64 = 3.0;
/// Largest 99th percentile of acknowledgements from the stop of the tables until they have caught up, in those before.
const LATENCY: f64 = 1.2;
/// Time of the load before anything counts: files are opened, connections made.
const WARM_UP: Duration = Duration::from_secs(5);
/// How long until a table comes to the point where it is held: it commits once a minute at least.
const CAUGHT: Duration = Duration::from_secs(90);

/// How long the phases are.
struct Phases {
    before: Duration,
    outage: Duration,
    settings: Vec<(&'static str, &'static str)>,
}

/// When the phases ended, by the watch. Between the second and the third the tables come to where they are held.
struct Ends {
    warm: Moment,
    before: Moment,
    held: Moment,
    released: Moment,
    drained: Moment,
}

/// What was told up to then.
#[derive(Clone, Debug)]
struct Moment {
    at: Duration,
    taken: f64,
    latencies: Latencies,
}

/// What the tables stop in: one process, or stages apart.
trait Rig {
    /// Looks, as [`Watch::look`].
    fn look(&self, watch: &mut Watch, until: Duration, enough: &dyn Fn(&Sample) -> bool) -> anyhow::Result<bool>;

    /// Stops the tables, which are never further behind than `usual` while they run; returns when they stand.
    fn stop(&mut self, watch: &mut Watch, usual: f64) -> anyhow::Result<()>;

    /// Lets them go on.
    fn go(&mut self) -> anyhow::Result<()>;

    /// Ends the devices, then everything else, and has the tables judged.
    fn finish(self: Box<Self>, setting: &Setting, patience: Duration) -> anyhow::Result<Verdict>;
}

/// Runs it: in one process, and, where there is a program for a cluster, with stages apart.
pub(crate) fn run(setting: &Setting) -> anyhow::Result<Outcome> {
    let phases = match setting.tier {
        // A table must commit in the phases, which with the default settings it does each 27 s.
        Tier::Quick => Phases {
            before: Duration::from_secs(8),
            outage: Duration::from_secs(10),
            settings: vec![("WEIR_SINK__ROLL_AGE_SECONDS", "2")],
        },
        Tier::Hour | Tier::Long => {
            Phases { before: Duration::from_secs(120), outage: Duration::from_secs(600), settings: Vec::new() }
        }
    };
    let mut outcome = Outcome::default();
    in_one(setting, &phases, &mut outcome)?;
    match &setting.fluvio_run {
        Some(program) => apart::run(setting, program, &phases, &mut outcome)?,
        None => outcome.not_run.push(format!(
            "with stages apart: no program of a Fluvio cluster was given (--fluvio-run, or {})",
            crate::cluster::PROGRAM
        )),
    }
    Ok(outcome)
}

fn in_one(setting: &Setting, phases: &Phases, outcome: &mut Outcome) -> anyhow::Result<()> {
    let mut held = Held::new(setting, "outage")?;
    for (name, value) in &phases.settings {
        held.launch = held.launch.clone().with(name, value);
    }
    let begun = || -> anyhow::Result<InOne<'_>> {
        let (weir, _) = Weir::start(&held.launch)?;
        Ok(InOne { held: &held, devices: held.devices(setting)?, weir })
    };
    let ended = begun().and_then(|rig| attack(setting, "one process", Box::new(rig), phases, outcome));
    held.end(outcome, ended)
}

/// One process whose tables are held at the point where they write.
struct InOne<'a> {
    held: &'a Held,
    devices: Devices,
    weir: Weir,
}

impl Rig for InOne<'_> {
    fn look(&self, watch: &mut Watch, until: Duration, enough: &dyn Fn(&Sample) -> bool) -> anyhow::Result<bool> {
        watch.look((&self.weir, Some(&self.weir)), || self.devices.latencies(), until, enough)
    }

    fn stop(&mut self, watch: &mut Watch, usual: f64) -> anyhow::Result<()> {
        self.held.hold()?;
        // What gathers is more than before any commit: the tables are held.
        let until = watch.passed() + CAUGHT;
        ensure!(
            self.look(watch, until, &|sample| sample.sink_lag() > 2.0 * usual + 1.0)?,
            "the tables were never held"
        );
        Ok(())
    }

    fn go(&mut self) -> anyhow::Result<()> {
        self.held.release()
    }

    fn finish(self: Box<Self>, setting: &Setting, patience: Duration) -> anyhow::Result<Verdict> {
        let Self { held, devices, mut weir } = *self;
        devices.finish(&mut weir)?;
        held.settle(setting, weir, patience)
    }
}

fn attack(
    setting: &Setting,
    name: &str,
    mut rig: Box<dyn Rig + '_>,
    phases: &Phases,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let mut watch = Watch::new();
    let ended = stop_and_go(&mut *rig, phases, &mut watch);
    outcome.fault(&format!("tables stopped under load, {name}"));
    // The fleet keeps its rate: it is told by its options.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "messages of a load"
    )]
    let offered = |from: i64, until: i64| ((until - from) as f64 / 1e6 * RATE).round() as u64;
    outcome.series.push(watch.series(&format!("{name}: before, without tables, and draining"), offered));
    report(setting, name, phases, &ended?, outcome)?;
    let verdict = rig.finish(setting, phases.outage * 2 + CAUGHT)?;
    outcome.merge(Outcome { verdict, ..Outcome::default() });
    Ok(())
}

fn stop_and_go(rig: &mut dyn Rig, phases: &Phases, watch: &mut Watch) -> anyhow::Result<Ends> {
    rig.look(watch, WARM_UP, &|_| false)?;
    let warm = Moment::of(watch)?;
    rig.look(watch, warm.at + phases.before, &|_| false)?;
    let before = Moment::of(watch)?;
    let in_phase = |sample: &&Sample| sample.at > warm.at;
    let usual = watch.samples.iter().filter(in_phase).map(Sample::sink_lag).fold(0.0, f64::max);

    rig.stop(watch, usual)?;
    let held = Moment::of(watch)?;
    rig.look(watch, held.at + phases.outage, &|_| false)?;

    let released = Moment::of(watch)?;
    rig.go()?;
    // Tables that have just been started tell nothing before they know what they have missed.
    let told = rig.look(watch, watch.passed() + CAUGHT, &|sample| sample.sink_lag() > usual)?;
    ensure!(told, "the tables tell of nothing that they have missed");
    let patience = phases.outage * 2 + CAUGHT;
    let drained = rig.look(watch, watch.passed() + patience, &|sample| sample.sink_lag() <= usual)?;
    ensure!(drained, "the tables have not caught up {patience:?} after they went on");
    Ok(Ends { warm, before, held, released, drained: Moment::of(watch)? })
}

impl Moment {
    /// The last look.
    fn of(watch: &Watch) -> anyhow::Result<Self> {
        let Sample { at, taken, latencies, .. } = watch.samples.last().context("nobody looked")?.clone();
        Ok(Self { at, taken, latencies })
    }
}

fn report(setting: &Setting, name: &str, phases: &Phases, ends: &Ends, outcome: &mut Outcome) -> anyhow::Result<()> {
    let Ends { warm, before: end, held, released, drained } = ends;
    let percentile = |from: &Moment, until: &Moment, share: f64| {
        until.latencies.since(&from.latencies).milliseconds(share).context("nothing was acknowledged")
    };
    let before = percentile(warm, end, 0.99)?;
    let (stopped, draining) = (percentile(held, released, 0.99)?, percentile(released, drained, 0.99)?);
    let meanwhile = percentile(held, drained, 0.99)? / before;
    let seconds = (drained.at - released.at).as_secs_f64();
    let rate = (drained.taken - released.taken) / seconds;
    let figures = [
        ("nominal_rate_per_second", RATE),
        ("outage_seconds", (released.at - held.at).as_secs_f64()),
        ("drain_seconds", seconds),
        ("drain_rate_per_second", rate),
        ("drain_rate_ratio", rate / RATE),
        ("puback_p50_before_ms", percentile(warm, end, 0.5)?),
        ("puback_p99_before_ms", before),
        ("puback_p50_stopped_ms", percentile(held, released, 0.5)?),
        ("puback_p99_stopped_ms", stopped),
        ("puback_p50_draining_ms", percentile(released, drained, 0.5)?),
        ("puback_p99_draining_ms", draining),
        ("puback_p99_ratio_stopped", stopped / before),
        ("puback_p99_ratio_draining", draining / before),
        ("puback_p99_ratio", meanwhile),
    ];
    outcome.figures.extend(figures.map(|(figure, value)| (format!("{figure} ({name})"), value)));
    // Other work may run beside the quick tier, whose outage is too short to tell a rate.
    if setting.tier == Tier::Quick {
        return Ok(());
    }
    let seed = setting.seed;
    if rate < DRAIN * RATE {
        let ratio = rate / RATE;
        outcome.violations.push(format!(
            "outage, {name}, seed {seed}: tables drain at {ratio:.2} times the load after {:?}, at least {DRAIN} is asked",
            phases.outage
        ));
    }
    if meanwhile > LATENCY {
        outcome.violations.push(format!(
            "outage, {name}, seed {seed}: p99 of acknowledgements is {meanwhile:.2} times that before, at most {LATENCY} is allowed"
        ));
    }
    Ok(())
}
