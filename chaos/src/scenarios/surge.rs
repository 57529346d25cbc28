//! The load rises tenfold within two minutes and falls again, whether it is acknowledged or not: nothing is lost,
//! memory stays within what the queues are allowed, and what the tables are behind drains.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::fleet::{self, Fleet};
use crate::judge::Terms;
use crate::outcome::{Outcome, Verdict};
use crate::ports::free_address;
use crate::proxy::Proxy;
use crate::round::{make_empty, write_rules};
use crate::setting::Setting;
use crate::tier::Tier;
use crate::watch::{Sample, Watch};
use crate::weir::{Launch, Weir};

/// The highest rate, in usual rates.
const FACTOR: f64 = 10.0;
/// Devices.
const DEVICES: u32 = 50;
/// A fifth of one metric of five fires.
const RULE: (&str, &str) = ("fifth", "metric = 'temperature' AND seq % 5 = 0");
/// How long groups may take, once the devices have ended.
const PATIENCE: Duration = Duration::from_secs(300);
/// What the queues may hold, by option, with the tables that each applies to. They are the defaults, set here so that
/// the bound on memory is one of what runs.
const BOUNDS: [(&str, u64, u64); 4] = [
    ("WEIR_MQTT__OPEN_GROUP_BYTES", 8 << 20, 1),
    ("WEIR_STREAMS__QUEUE_BYTES", 32 << 20, 1),
    ("WEIR_SINK__ROLL_BYTES", 48 << 20, 2),
    // Eight partitions are read by the groups of readings, twice, of alerts, and of workflows.
    ("WEIR_CONSUMERS__READ_BYTES", 1 << 20, 32),
];
/// A byte that is held may be there again in the form that it is made into: a record, a sorted column, a file.
const FORMS: f64 = 2.0;
const MIB: f64 = 1_048_576.0;

/// How long the phases are, and the usual rate, in messages a second.
#[derive(Clone, Copy, Debug)]
struct Phases {
    rate: f64,
    before: Duration,
    rise: Duration,
    after: Duration,
}

impl Phases {
    fn of(tier: Tier) -> Self {
        let seconds = Duration::from_secs;
        match tier {
            Tier::Quick => Self { rate: 300.0, before: seconds(1), rise: seconds(10), after: seconds(1) },
            Tier::Hour | Tier::Long => {
                Self { rate: 2_000.0, before: seconds(30), rise: seconds(120), after: seconds(30) }
            }
        }
    }

    fn all(self) -> Duration {
        self.before + self.rise * 2 + self.after
    }
}

/// What a run gives, to be judged by its figures.
struct Seen {
    watch: Watch,
    /// Before anything was sent.
    idle_mib: f64,
    /// From the end of the devices until no group was behind; `None` if one stayed so.
    drained: Option<Duration>,
    verdict: Verdict,
}

/// Runs it.
pub(crate) fn run(setting: &Setting) -> anyhow::Result<Outcome> {
    let directory = setting.directory.join(format!("surge-{}", setting.seed));
    make_empty(&directory)?;
    let phases = Phases::of(setting.tier);
    let mut outcome = Outcome::default();
    outcome.fault("tenfold surge");
    let ended = attack(setting, &directory, phases).and_then(|seen| report(&directory, phases, &seen, &mut outcome));
    match ended {
        Ok(()) => fs::remove_dir_all(&directory).with_context(|| directory.display().to_string())?,
        Err(error) => {
            let violation = format!("surge, seed {}: {error:#}; see {}", setting.seed, directory.display());
            eprintln!("VIOLATION {violation}");
            outcome.violations.push(violation);
        }
    }
    Ok(outcome)
}

fn attack(setting: &Setting, directory: &Path, phases: Phases) -> anyhow::Result<Seen> {
    let launch = launch(setting, directory)?;
    let (mut weir, _) = Weir::start(&launch)?;
    let proxy = Proxy::start(free_address()?, launch.mqtt, &directory.join("pubacks.csv"), setting.seed)?;
    let latencies = || Ok(proxy.witness()?.latencies);
    let mut watch = Watch::new();
    watch.look((&weir, Some(&weir)), latencies, Duration::ZERO, |_| true)?;
    let idle_mib = watch.samples.first().map_or(0.0, |sample| sample.resident_mib);

    let milliseconds = |time: Duration| format!("{}ms", time.as_millis());
    let surge = format!("--surge={FACTOR}x@{}+{}", milliseconds(phases.rise), milliseconds(phases.before));
    let plan = fleet::Plan { devices: DEVICES, rate: phases.rate, seed: setting.seed, options: vec![surge] };
    let mut fleet = Fleet::start(&setting.binaries.weir, &plan, proxy.address(), directory)?;
    let ends = watch.passed() + phases.all();
    watch.look((&weir, Some(&weir)), latencies, ends, |_| false)?;
    fleet.finish(&mut weir)?;
    let ended = watch.passed();
    let is_drained = |sample: &Sample| sample.lag_records() == 0.0;
    let drained = watch.look((&weir, Some(&weir)), latencies, ended + PATIENCE, is_drained)?;
    let drained = drained.then(|| watch.passed() - ended);

    let witness = proxy.finish()?;
    ensure!(witness.stale == 0, "{} acknowledgements of nothing that was open", witness.stale);
    weir.stop()?;
    let (id, when) = RULE;
    let terms = Terms { rules: vec![(id.to_owned(), when.to_owned())], ..Terms::default() };
    let judgement = setting.judge.judge(directory, &launch.data, &terms)?;
    let faults = judgement.verdict.faults();
    ensure!(faults.is_empty(), "the judge found {faults:?}: {}", judgement.examples);
    Ok(Seen { watch, idle_mib, drained, verdict: judgement.verdict })
}

fn launch(setting: &Setting, directory: &Path) -> anyhow::Result<Launch> {
    Ok(Launch {
        binary: setting.binaries.weir.clone(),
        wrapper: Vec::new(),
        data: directory.join("data"),
        mqtt: free_address()?,
        http: free_address()?,
        rules: write_rules(directory, &[RULE])?,
        environment: BOUNDS.map(|(option, bytes, _)| (option.to_owned(), bytes.to_string())).to_vec(),
        log: directory.join("weir.log"),
    })
}

fn report(directory: &Path, phases: Phases, seen: &Seen, outcome: &mut Outcome) -> anyhow::Result<()> {
    let Seen { watch, idle_mib, drained, verdict } = seen;
    outcome.merge(Outcome { verdict: verdict.clone(), ..Outcome::default() });
    let walls: Vec<i64> = watch.samples.iter().map(|sample| sample.wall).collect();
    let offered = due_between(&directory.join("sent.csv"), &walls)?;
    let series = watch.series("load and lag", |_, until| {
        let step = walls.partition_point(|wall| *wall < until);
        offered.get(step).copied().unwrap_or(0)
    });
    let most = |column: usize| series.rows.iter().filter_map(|row| row.get(column)).copied().fold(0.0, f64::max);
    let before = |sample: &&Sample| sample.at <= phases.before;
    let steady_mib = watch.samples.iter().filter(before).map(|sample| sample.resident_mib).fold(0.0, f64::max);
    let peak_mib = watch.samples.iter().map(|sample| sample.resident_mib).fold(0.0, f64::max);
    let bounds: f64 = BOUNDS.iter().map(|(_, bytes, times)| mib(bytes * times)).sum();
    let allowed = idle_mib + bounds * FORMS;
    let figures = [
        ("offered_peak_per_second", most(1)),
        ("acknowledged_peak_per_second", most(2)),
        ("taken_peak_per_second", most(3)),
        ("unacknowledged_peak_messages", most(4)),
        ("lag_peak_records", most(5)),
        ("lag_peak_seconds", most(6)),
        ("rss_idle_mib", *idle_mib),
        ("rss_before_surge_mib", steady_mib),
        ("rss_peak_mib", peak_mib),
        ("rss_allowed_mib", allowed),
        ("rss_peak_share_of_allowed", peak_mib / allowed),
    ];
    outcome.figures.extend(figures.map(|(name, value)| (name.to_owned(), value)));
    outcome.series.push(series);
    ensure!(peak_mib <= allowed, "memory of {peak_mib:.0} MiB, {allowed:.0} are allowed");
    let drained = drained.with_context(|| format!("groups are still behind {PATIENCE:?} after the devices ended"))?;
    outcome.figures.insert("drained_after_devices_seconds".to_owned(), drained.as_secs_f64());
    Ok(())
}

/// How many messages of the file of everything sent were due by each of `moments`, in microseconds since the Unix epoch,
/// and not by the one before.
fn due_between(sent: &Path, moments: &[i64]) -> anyhow::Result<Vec<u64>> {
    let mut counts = vec![0; moments.len()];
    let mut lines = csv::Reader::from_path(sent).with_context(|| sent.display().to_string())?;
    let (mut line, mut last) = (csv::ByteRecord::new(), (Vec::new(), Vec::new()));
    while lines.read_byte_record(&mut line).with_context(|| sent.display().to_string())? {
        let field = |number: usize| line.get(number).context("a line of what was sent is too short");
        // The readings of a message stand together.
        let message = (field(0)?, field(2)?);
        if (last.0.as_slice(), last.1.as_slice()) == message {
            continue;
        }
        last = (message.0.to_vec(), message.1.to_vec());
        let due: i64 = std::str::from_utf8(field(4)?)?.parse().context("the time of a reading")?;
        if let Some(count) = counts.get_mut(moments.partition_point(|moment| *moment < due)) {
            *count += 1;
        }
    }
    Ok(counts)
}

#[expect(clippy::cast_precision_loss, reason = "bytes for a report")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_once_where_they_were_due() {
        let folder = tempfile::tempdir().unwrap();
        let sent = folder.path().join("sent.csv");
        let lines = "device,boot,seq,metric,time,value,unit,site\na,1,1,x,10,1.0,,\na,1,1,y,10,1.0,,\nb,1,1,x,20,1.0,,\n\
                     a,1,2,x,21,1.0,,\nb,1,2,x,29,1.0,,\nb,1,3,x,31,1.0,,\n";
        fs::write(&sent, lines).unwrap();
        assert_eq!(due_between(&sent, &[10, 20, 30]).unwrap(), [1, 1, 2]);
        fs::write(&sent, "device,boot,seq,metric,time,value,unit,site\na,1,1,x,now,1.0,,\n").unwrap();
        assert!(due_between(&sent, &[10]).is_err());
    }
}
