//! `weir top`: what processes do, in a terminal.
//!
//! ```text
//! fetch: one task a process ──answers──┐
//! input: one thread         ──keys─────┼──> State ──> view: cells of a screen ──> terminal
//! ticks ───────────────────────────────┘
//! ```
//!
//! Nothing from a process reaches the terminal but through `clean`.

mod clean;
mod fetch;
mod figures;
mod frame;
mod history;
mod input;
mod screen;
mod state;
mod view;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use telemetry::Clock;

use self::fetch::Polls;
use self::input::{Action, Keys};
use self::screen::Screen;
use self::state::State;
pub(crate) use self::state::View;
use self::view::Theme;

/// What is watched, and how.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    /// HTTP addresses of processes.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Time between two questions to a process.
    pub(crate) interval: Duration,
    /// What to show first.
    pub(crate) view: View,
}

/// Shows what happens until a key or `stop` ends it.
///
/// # Errors
/// If the terminal refuses, or is gone.
pub(crate) async fn live(
    watch: &Watch,
    coloured: bool,
    stop: impl Future<Output = anyhow::Result<()>>,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<()> {
    let theme = Theme::new(coloured);
    let mut state = State::new(&watch.addresses, watch.view);
    let mut polls = Polls::start(&watch.addresses, watch.interval);
    let mut ticks = tokio::time::interval(watch.interval);
    let mut screen = Screen::open()?;
    let mut keys = Keys::start()?;
    tokio::pin!(stop);
    loop {
        screen.draw(&state, theme)?;
        tokio::select! {
            biased;
            stopped = &mut stop => return stopped,
            action = keys.next() => match action {
                None => bail!("the terminal is gone"),
                Some(Action::Redraw) => screen.clear()?,
                Some(action) => if !state.act(action) { return Ok(()) },
            },
            answer = polls.next() => {
                let (source, answer) = answer?;
                state.take(source, answer, clock.monotonic());
            }
            _ = ticks.tick() => state.tick(clock.monotonic()),
        }
    }
}

/// One frame of `size` cells as text, after an interval, so that there are rates; and whether all processes answered.
pub(crate) async fn once(watch: &Watch, size: (u16, u16), clock: &Arc<dyn Clock>) -> (String, bool) {
    let mut state = State::new(&watch.addresses, watch.view);
    ask_all(watch, &mut state, clock).await;
    tokio::time::sleep(watch.interval).await;
    let all_answered = ask_all(watch, &mut state, clock).await;
    state.tick(clock.monotonic());
    (frame::of(&state, size), all_answered)
}

/// Asks every process once; whether all answered.
async fn ask_all(watch: &Watch, state: &mut State, clock: &Arc<dyn Clock>) -> bool {
    let mut all_answered = true;
    for (number, address) in watch.addresses.iter().enumerate() {
        let answer = fetch::snapshot(*address).await.map_err(|error| clean::text(&format!("{error:#}")));
        all_answered &= answer.is_ok();
        state.take(number, answer, clock.monotonic());
    }
    all_answered
}

/// The snapshot of the process at `address` as one line of JSON that a terminal can be given.
///
/// # Errors
/// If no weir answers there.
pub(crate) async fn json(address: SocketAddr) -> anyhow::Result<String> {
    Ok(clean::json(&fetch::raw(address).await?.to_string()))
}
