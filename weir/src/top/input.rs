//! Keys, and what they ask for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;

use super::state::View;

/// Keys that wait to be acted on; a person types slower than a frame is drawn, and what is pasted may wait.
const WAITING: usize = 16;
/// How long the thread that reads keys looks before it sees that it shall end.
const LOOK_FOR: Duration = Duration::from_millis(100);
/// Rows that a page key moves.
const PAGE_ROWS: usize = 10;

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Quit,
    Next,
    Previous,
    Show(View),
    Up(usize),
    Down(usize),
    Pause,
    Help,
    /// Only draw again: the size changed.
    Redraw,
}

/// Reads keys on a thread of its own, because a read of a terminal waits. Ends with the value.
#[derive(Debug)]
pub(super) struct Keys {
    actions: mpsc::Receiver<Action>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Keys {
    /// Starts to read.
    ///
    /// # Errors
    /// If there can be no thread.
    pub(super) fn start() -> anyhow::Result<Self> {
        let (sender, actions) = mpsc::channel(WAITING);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name("keys".to_owned()).spawn(move || read(&sender, &stopped));
        Ok(Self { actions, stop, thread: Some(thread.context("thread that reads keys")?) })
    }

    /// What the next key asks for; `None` when the terminal is gone.
    pub(super) async fn next(&mut self) -> Option<Action> {
        self.actions.recv().await
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.actions.close();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::debug!("the thread that reads keys panicked");
        }
    }
}

fn read(actions: &mpsc::Sender<Action>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let event = match event::poll(LOOK_FOR) {
            Ok(false) => continue,
            Ok(true) => event::read(),
            Err(error) => Err(error),
        };
        // The terminal is gone: dropping the sender says so.
        let Ok(event) = event else { return };
        if action(&event).is_some_and(|action| actions.blocking_send(action).is_err()) {
            return;
        }
    }
}

/// What `event` asks for, if anything.
fn action(event: &Event) -> Option<Action> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => of_key(*key),
        Event::Resize(..) => Some(Action::Redraw),
        _ => None,
    }
}

fn of_key(key: KeyEvent) -> Option<Action> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Some(Action::Quit),
            KeyCode::Char('l') => Some(Action::Redraw),
            _ => None,
        };
    }
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => Some(Action::Quit),
        KeyCode::Tab | KeyCode::Right => Some(Action::Next),
        KeyCode::BackTab | KeyCode::Left => Some(Action::Previous),
        KeyCode::Char(digit @ '1'..='4') => {
            let number = usize::try_from(digit.to_digit(10)?).ok()?;
            View::ALL.get(number - 1).copied().map(Action::Show)
        }
        KeyCode::Up => Some(Action::Up(1)),
        KeyCode::Down => Some(Action::Down(1)),
        KeyCode::PageUp => Some(Action::Up(PAGE_ROWS)),
        KeyCode::PageDown => Some(Action::Down(PAGE_ROWS)),
        KeyCode::Home => Some(Action::Up(usize::MAX)),
        KeyCode::Char('p') => Some(Action::Pause),
        KeyCode::Char('?' | 'h') => Some(Action::Help),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(code: KeyCode, modifiers: KeyModifiers) -> Option<Action> {
        action(&Event::Key(KeyEvent::new(code, modifiers)))
    }

    #[test]
    fn keys_ask_for_what_the_help_says() {
        let plain = |code| key(code, KeyModifiers::NONE);
        assert_eq!(plain(KeyCode::Char('q')), Some(Action::Quit));
        assert_eq!(plain(KeyCode::Esc), Some(Action::Quit));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Action::Quit));
        assert_eq!(plain(KeyCode::Char('c')), None);
        assert_eq!(key(KeyCode::Char('q'), KeyModifiers::CONTROL), None);
        assert_eq!((plain(KeyCode::Tab), plain(KeyCode::Right)), (Some(Action::Next), Some(Action::Next)));
        assert_eq!(key(KeyCode::BackTab, KeyModifiers::SHIFT), Some(Action::Previous));
        assert_eq!(plain(KeyCode::Char('2')), Some(Action::Show(View::Fleet)));
        assert_eq!((plain(KeyCode::Char('5')), plain(KeyCode::Char('0'))), (None, None));
        assert_eq!(plain(KeyCode::Char('?')), Some(Action::Help));
        assert_eq!(plain(KeyCode::Char('p')), Some(Action::Pause));
        assert_eq!(action(&Event::Resize(10, 10)), Some(Action::Redraw));
        assert_eq!(action(&Event::FocusLost), None);
    }
}
