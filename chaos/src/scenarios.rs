//! What goes wrong: one file a scenario, each with one function `run`.

mod apart;
mod audit;
mod backlog;
mod bridge;
mod clocks;
mod devices;
mod errors;
mod held;
mod kills;
mod latency;
mod log;
mod names;
mod network;
mod outage;
mod points;
mod power;
mod stall;
mod store;
mod surge;
mod teeth;
mod workflows;

use anyhow::bail;

use crate::outcome::Outcome;
use crate::setting::Setting;
use crate::tier::Tier;

/// A scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// What it does.
    pub(crate) about: &'static str,
    /// Does it.
    pub(crate) run: fn(&Setting) -> anyhow::Result<Outcome>,
}

/// All of them, in the order they are run.
pub(crate) const ALL: &[Scenario] = &[
    Scenario { name: "kills", about: "the process is killed at random moments", run: kills::run },
    Scenario { name: "points", about: "the process is killed between two particular steps", run: points::run },
    Scenario { name: "power", about: "power is cut under a live fleet", run: power::run },
    Scenario {
        name: "errors",
        about: "system calls on its files fail, are slow, and the disk is full",
        run: errors::run,
    },
    Scenario { name: "clocks", about: "the clock of the machine jumps, those of devices are wrong", run: clocks::run },
    Scenario {
        name: "network",
        about: "connections break in every way, and sessions are taken over",
        run: network::run,
    },
    Scenario { name: "devices", about: "devices send twice, late, out of order, with wrong clocks", run: devices::run },
    Scenario {
        name: "audit",
        about: "the order of writes, syncs and names is right for any file system",
        run: audit::run,
    },
    Scenario {
        name: "workflows",
        about: "targets of rules fail in every way while the process is killed",
        run: workflows::run,
    },
    Scenario { name: "store", about: "the positions store is damaged between two starts", run: store::run },
    Scenario { name: "model", about: "every state that a disk may leave is opened", run: log::model },
    Scenario { name: "damage", about: "bits are flipped and files cut, everywhere", run: log::damage },
    Scenario { name: "backlog", about: "a restart with ten times the backlog takes as long", run: backlog::run },
    Scenario {
        name: "hook-latency",
        about: "the time from an acknowledgement to the web request that it starts",
        run: latency::run,
    },
    Scenario { name: "stall", about: "tables stall for long while devices go on", run: stall::run },
    Scenario {
        name: "outage",
        about: "tables stop for ten minutes under load: acknowledgements do not notice, and the rest catches up",
        run: outage::run,
    },
    Scenario { name: "surge", about: "the load rises tenfold and falls again", run: surge::run },
    Scenario {
        name: "bridge",
        about: "Weir behind Mosquitto: the one is killed, the other restarted",
        run: bridge::run,
    },
    Scenario {
        name: "apart",
        about: "stages on a Fluvio cluster are killed one by one, as are the processes of the cluster",
        run: apart::run,
    },
    Scenario { name: "teeth", about: "planted bugs are caught", run: teeth::run },
];

/// What takes too long for the quick tier, unless it is asked for by name.
const NOT_QUICK: &[&str] = &["outage"];

/// The scenarios of these names; all of the tier if there is none.
///
/// # Errors
/// If there is no scenario of a name.
pub(crate) fn select(names: &[String], tier: Tier) -> anyhow::Result<Vec<Scenario>> {
    if let Some(unknown) = names.iter().find(|name| !ALL.iter().any(|scenario| scenario.name == **name)) {
        let known: Vec<&str> = ALL.iter().map(|scenario| scenario.name).collect();
        bail!("no scenario `{unknown}`; there are {}", known.join(", "));
    }
    let wanted = |scenario: &&Scenario| {
        let of_the_tier = tier != Tier::Quick || !NOT_QUICK.contains(&scenario.name);
        names.iter().any(|name| name == scenario.name) || (names.is_empty() && of_the_tier)
    };
    Ok(ALL.iter().filter(wanted).copied().collect())
}
