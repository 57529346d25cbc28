//! Errors in the first start, which makes all files: nothing is acknowledged yet, and the next start must do.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::{NAME, faults, kind, missed};
use crate::outcome::Outcome;
use crate::ports::free_address;
use crate::round::{Plan, Round, play};
use crate::setting::Setting;
use crate::strace::{self, Effect};
use crate::tier::Tier;
use crate::weir::{Launch, Weir};

/// How long a first start may work on after a fault that did not end it.
const WAIT: Duration = Duration::from_millis(250);
const EFFECTS: &[Effect] = &[Effect::Eio, Effect::NoSpace, Effect::Kill];
/// Apart from the rounds of lives.
const ROUND: u32 = 1_000_000;

/// Runs it.
pub(super) fn run(setting: &Setting) -> anyhow::Result<Outcome> {
    let births = match setting.tier {
        Tier::Long => usize::MAX,
        _ => usize::try_from(setting.count(6, 150, 0))?,
    };
    let mut plan = Plan::new(setting, NAME, ROUND);
    (plan.fleet.devices, plan.fleet.rate) = (1, 1.0);
    play(setting, plan, |round| attack(round, births))
}

fn attack(round: &mut Round, births: usize) -> anyhow::Result<()> {
    let trace = round.directory.join("trace");
    let data = round.directory.join("born");
    let honest = Launch { data: data.clone(), mqtt: free_address()?, http: free_address()?, ..round.launch.clone() };
    let (weir, _) = Weir::start(&Launch { wrapper: strace::recorder(&trace), ..honest.clone() })?;
    weir.kill()?;
    let sites = strace::sites(&trace, &data)?;
    let all = faults(&sites, EFFECTS, &mut round.random);
    ensure!(!all.is_empty(), "strace has seen no call below {}", data.display());
    for fault in all.into_iter().take(births) {
        fs::remove_dir_all(&data).with_context(|| data.display().to_string())?;
        // An error of the directory itself leaves none.
        let wrapper = fault.injection.wrapper(&trace);
        let mut weir = Weir::spawn(&Launch { wrapper, ..honest.clone() })?;
        let ended = weir.wait(WAIT)?;
        weir.kill()?;
        // A killed process leaves no line in the trace.
        let killed = ended.is_some_and(|status| status.signal().is_some());
        if killed || strace::hits(&trace)? > 0 {
            round.outcome.fault(&format!("{}, first start", kind(&fault.injection)));
        } else {
            missed(&mut round.outcome);
        }
        if let Some(status) = ended.filter(|status| status.signal().is_none()) {
            ensure!(status.code() == Some(1), "{}: ended with {status}, see {}", fault.name, honest.log.display());
        }
        let (weir, _) = Weir::start(&honest).with_context(|| format!("the start after {}", fault.name))?;
        weir.kill()?;
    }
    Ok(())
}
