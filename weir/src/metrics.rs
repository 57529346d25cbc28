//! What the process shows of itself: which build it is, what its admin port was asked, and whether all that came in is
//! accounted for. What stages show is in their crates; `docs/metrics.md` has all of it, made by the tests here.

mod balance;
mod requests;

use anyhow::Context;
use prometheus::process_collector::ProcessCollector;
use prometheus::{IntGaugeVec, Opts, Registry};

pub(crate) use self::balance::{Balance, Table};
pub(crate) use self::requests::Requests;

/// A registry that shows the process.
///
/// # Errors
/// Never: it is empty before.
pub(crate) fn registry() -> anyhow::Result<Registry> {
    let registry = Registry::new();
    registry.register(Box::new(ProcessCollector::for_self())).context("process metrics")?;
    let build = IntGaugeVec::new(Opts::new("weir_build_info", "1, with the version of the binary"), &["version"])?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    registry.register(Box::new(build)).context("build info")?;
    Ok(registry)
}

#[cfg(test)]
mod tests;
