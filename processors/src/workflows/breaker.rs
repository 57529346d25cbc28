//! The circuit breaker of a target: after failures in a row nobody bothers it for a while, then one attempt asks
//! whether it is well again.

use std::time::Duration;

use super::config::WorkflowsConfig;

/// What a breaker lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything.
    Closed,
    /// One attempt.
    HalfOpen,
    /// Nothing.
    Open,
}

impl BreakerState {
    /// Value of the metric.
    #[must_use]
    pub const fn gauge(self) -> i64 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }

    /// Name in the metric of transitions.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// What an attempt says about the health of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Well,
    Ill,
    /// The attempt did not get as far as the target, or says nothing about it.
    Unknown,
}

/// The right to make one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permit {
    Usual,
    /// The one that asks whether the target is well again.
    Probe,
}

/// The breaker of one target. Time is [`telemetry::Clock::monotonic`].
#[derive(Debug)]
pub(super) struct Breaker {
    threshold: u32,
    first: Duration,
    cap: Duration,
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    Closed { failures: u32 },
    Open { until: Duration, length: Duration },
    HalfOpen { probing: bool, length: Duration },
}

impl Breaker {
    pub(super) fn new(config: &WorkflowsConfig) -> Self {
        Self {
            threshold: config.breaker_failures.max(1),
            first: config.breaker_open,
            cap: config.breaker_open_cap.max(config.breaker_open),
            inner: Inner::Closed { failures: 0 },
        }
    }

    pub(super) fn state(&self) -> BreakerState {
        match self.inner {
            Inner::Closed { .. } => BreakerState::Closed,
            Inner::Open { .. } => BreakerState::Open,
            Inner::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// When the next attempt is let through; `None` if an attempt must come back before.
    pub(super) fn opens_up(&self) -> Option<Duration> {
        match self.inner {
            Inner::Open { until, .. } => Some(until),
            Inner::HalfOpen { probing: true, .. } => None,
            _ => Some(Duration::ZERO),
        }
    }

    /// The right to an attempt, which must come back by [`Breaker::ended`].
    pub(super) fn permit(&mut self, now: Duration) -> Option<Permit> {
        match &mut self.inner {
            Inner::Closed { .. } => Some(Permit::Usual),
            Inner::Open { until, length } if now >= *until => {
                self.inner = Inner::HalfOpen { probing: true, length: *length };
                Some(Permit::Probe)
            }
            Inner::HalfOpen { probing, .. } if !*probing => {
                *probing = true;
                Some(Permit::Probe)
            }
            _ => None,
        }
    }

    /// Takes the end of an attempt. Those that began before it opened say nothing about now.
    pub(super) fn ended(&mut self, permit: Permit, health: Health, now: Duration) {
        match (&mut self.inner, permit, health) {
            (Inner::Closed { failures }, _, Health::Well) => *failures = 0,
            (Inner::Closed { failures }, _, Health::Ill) => {
                *failures += 1;
                if *failures >= self.threshold {
                    self.inner = Inner::Open { until: now + self.first, length: self.first };
                }
            }
            (Inner::HalfOpen { .. }, Permit::Probe, Health::Well) => self.inner = Inner::Closed { failures: 0 },
            (Inner::HalfOpen { length, .. }, Permit::Probe, Health::Ill) => {
                let length = (*length * 2).min(self.cap);
                self.inner = Inner::Open { until: now + length, length };
            }
            (Inner::HalfOpen { probing, .. }, Permit::Probe, Health::Unknown) => *probing = false,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn breaker() -> Breaker {
        Breaker::new(&WorkflowsConfig { breaker_failures: 3, breaker_open_cap: 12 * S, ..WorkflowsConfig::default() })
    }

    fn fail(breaker: &mut Breaker, now: Duration) {
        let permit = breaker.permit(now).unwrap();
        breaker.ended(permit, Health::Ill, now);
    }

    #[test]
    fn it_opens_after_failures_in_a_row_only() {
        let mut breaker = breaker();
        for _ in 0..10 {
            fail(&mut breaker, S);
            fail(&mut breaker, S);
            breaker.ended(Permit::Usual, Health::Unknown, S);
            breaker.ended(Permit::Usual, Health::Well, S);
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        (0..3).for_each(|_| fail(&mut breaker, S));
        assert_eq!(breaker.state(), BreakerState::Open);
        assert_eq!(breaker.permit(S), None);
    }

    #[test]
    fn it_opens_longer_each_time_up_to_the_cap_and_closes_by_one_success() {
        let mut breaker = breaker();
        let mut now = S;
        (0..3).for_each(|_| fail(&mut breaker, now));
        for expected in [5, 10, 12, 12] {
            assert_eq!(breaker.opens_up(), Some(now + expected * S));
            now += expected * S;
            assert_eq!(breaker.permit(now - Duration::from_nanos(1)), None);
            let probe = breaker.permit(now).unwrap();
            assert_eq!((probe, breaker.state(), breaker.opens_up()), (Permit::Probe, BreakerState::HalfOpen, None));
            assert_eq!(breaker.permit(now), None, "one at a time");
            breaker.ended(Permit::Usual, Health::Well, now);
            assert_eq!(breaker.state(), BreakerState::HalfOpen, "only the probe counts");
            breaker.ended(probe, Health::Ill, now);
            assert_eq!(breaker.state(), BreakerState::Open);
        }
        now += 12 * S;
        let unknown = breaker.permit(now).unwrap();
        breaker.ended(unknown, Health::Unknown, now);
        let probe = breaker.permit(now).unwrap();
        breaker.ended(probe, Health::Well, now);
        assert_eq!(breaker.state(), BreakerState::Closed);
        (0..2).for_each(|_| fail(&mut breaker, now));
        assert_eq!(breaker.state(), BreakerState::Closed, "it counts from zero again");
    }
}
