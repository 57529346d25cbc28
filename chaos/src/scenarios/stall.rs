//! The tables stall while devices go on: memory must not grow, and the backlog must drain in less time than it
//! took to gather.
//!
//! The load is nominal, 5,000 messages (25,000 readings) a second, and Weir has its default settings. Under them
//! a table commits every 27 s or so, so that the steady phase must hold several of its buffers to be one. The
//! quick tier has no time for that: there a table commits after two seconds, and the figures are only reported.

use std::fs;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::clock;
use crate::outcome::Outcome;
use crate::setting::Setting;
use crate::tier::Tier;
use crate::weir::Weir;

use super::held::{Held, sink_lag};

/// How often memory and lag are looked at.
const SAMPLE: Duration = Duration::from_millis(200);
/// Largest peak of memory in the stall, in peaks of the steady phase.
const MEMORY: f64 = 1.1;
/// Longest drain, in times of the stall.
const DRAIN: f64 = 0.5;
/// How long until a table comes to the point where it is held: it commits once a minute at least.
const CAUGHT: Duration = Duration::from_secs(90);
/// Time of the load before memory and lag are those of the steady phase.
const WARM_UP: Duration = Duration::from_secs(2);

/// How long the phases are.
struct Phases {
    steady: Duration,
    stall: Duration,
    settings: Vec<(&'static str, &'static str)>,
}

/// The peaks of a phase.
#[derive(Clone, Copy, Debug, Default)]
struct Peaks {
    resident_kib: f64,
    anonymous_kib: f64,
    lag: f64,
}

/// Runs it.
pub(crate) fn run(setting: &Setting) -> anyhow::Result<Outcome> {
    let phases = match setting.tier {
        Tier::Quick => Phases {
            steady: Duration::from_secs(8),
            stall: Duration::from_secs(10),
            settings: vec![("WEIR_SINK__ROLL_AGE_SECONDS", "2")],
        },
        Tier::Hour | Tier::Long => {
            Phases { steady: Duration::from_secs(120), stall: Duration::from_secs(600), settings: Vec::new() }
        }
    };
    let mut held = Held::new(setting, "stall")?;
    for (name, value) in &phases.settings {
        held.launch = held.launch.clone().with(name, value);
    }
    let mut outcome = Outcome::default();
    let ended = attack(setting, &held, &phases, &mut outcome);
    held.end(&mut outcome, ended)?;
    Ok(outcome)
}

fn attack(setting: &Setting, held: &Held, phases: &Phases, outcome: &mut Outcome) -> anyhow::Result<()> {
    let (mut weir, _) = Weir::start(&held.launch)?;
    let devices = held.devices(setting)?;
    clock::pause(WARM_UP);
    let (steady, _) = watch(&weir, phases.steady, |_| false)?;

    held.hold()?;
    outcome.fault("tables held under load");
    // Lag grows beyond that of any commit: the tables are caught.
    let (caught, _) = watch(&weir, CAUGHT, |lag| lag > 2.0 * steady.lag + 1.0)?;
    ensure!(caught.lag > steady.lag, "the tables were never held");
    let (mut stalled, _) = watch(&weir, phases.stall, |_| false)?;
    stalled.resident_kib = stalled.resident_kib.max(caught.resident_kib);
    stalled.anonymous_kib = stalled.anonymous_kib.max(caught.anonymous_kib);

    held.release()?;
    let patience = phases.stall * 2 + CAUGHT;
    let (drained, took) = watch(&weir, patience, |lag| lag <= steady.lag)?;
    devices.finish(&mut weir)?;
    let verdict = held.settle(setting, weir, patience)?;
    outcome.merge(Outcome { verdict, ..Outcome::default() });
    report(setting, phases, [steady, stalled, drained], took, outcome);
    Ok(())
}

fn report(setting: &Setting, phases: &Phases, peaks: [Peaks; 3], drain: Duration, outcome: &mut Outcome) {
    let [steady, stalled, drained] = peaks;
    let memory = stalled.resident_kib / steady.resident_kib;
    let share = drain.as_secs_f64() / phases.stall.as_secs_f64();
    let figures = [
        ("steady_peak_rss_mib", steady.resident_kib / 1024.0),
        ("steady_peak_anonymous_mib", steady.anonymous_kib / 1024.0),
        ("steady_peak_lag_records", steady.lag),
        ("stall_seconds", phases.stall.as_secs_f64()),
        ("stall_peak_lag_records", stalled.lag),
        ("stall_memory_ratio", memory),
        ("stall_anonymous_memory_ratio", stalled.anonymous_kib / steady.anonymous_kib),
        ("drain_seconds", drain.as_secs_f64()),
        ("drain_share_of_stall", share),
        ("drain_memory_ratio", drained.resident_kib / steady.resident_kib),
    ];
    outcome.figures.extend(figures.map(|(name, value)| (name.to_owned(), value)));
    if setting.tier == Tier::Quick {
        return;
    }
    let seed = setting.seed;
    for (what, value, bound) in [("memory in the stall", memory, MEMORY), ("the drain", share, DRAIN)] {
        if value > bound {
            let violation =
                format!("stall, seed {seed}: {what} is {value:.2} times its measure, at most {bound} is allowed");
            outcome.violations.push(violation);
        }
    }
}

/// Looks at Weir for `time`, or until the lag of the tables is `enough`; gives the peaks and how long it was.
fn watch(weir: &Weir, time: Duration, enough: impl Fn(f64) -> bool) -> anyhow::Result<(Peaks, Duration)> {
    let (began, mut peaks) = (clock::now(), Peaks::default());
    loop {
        let lag = sink_lag(weir).context("weir tells no lag")?;
        peaks.resident_kib = peaks.resident_kib.max(memory(weir, "VmRSS:")?);
        peaks.anonymous_kib = peaks.anonymous_kib.max(memory(weir, "RssAnon:")?);
        peaks.lag = peaks.lag.max(lag);
        let passed = clock::since(began);
        if enough(lag) || passed >= time {
            return Ok((peaks, passed));
        }
        clock::pause(SAMPLE);
    }
}

/// A line of the process's memory, in KiB.
fn memory(weir: &Weir, line: &str) -> anyhow::Result<f64> {
    let path = format!("/proc/{}/status", weir.pid().as_raw_nonzero());
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    let found = status.lines().find_map(|found| found.strip_prefix(line)?.split_whitespace().next()?.parse().ok());
    found.with_context(|| format!("no {line} in {path}"))
}
