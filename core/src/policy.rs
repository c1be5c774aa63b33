//! The rules as pure functions: state of a page, back-off, urgency, early refresh.

use crate::answer::State;
use crate::clock::Time;
use crate::invalidation::Verdict;
use crate::lifetime::Lifetime;

/// The times of a stored entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) generated: Time,
    pub(crate) revalidate: Lifetime,
    pub(crate) expire: Lifetime,
}

/// The state of a stored entry, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) state: State,
    /// Since when it is expired.
    pub(crate) expired_at: Option<Time>,
    /// Whether an invalidation makes it stale or expired.
    pub(crate) invalidated: bool,
}

/// The state of a stored entry (semantics, section 3). Expired is looked at before stale; comparisons are strict.
pub(crate) fn judge(times: Times, verdict: Verdict, now: Time) -> Judged {
    let Times { generated, revalidate, expire } = times;
    let by_age = (now > generated.plus(expire)).then(|| generated.plus(expire));
    // A page that was invalidated while it was rendered is expired from its first moment.
    let by_call = verdict.hard_at.map(|at| at.max(generated));
    let expired_at = match (by_age, by_call) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    let from_future = generated > now;
    let state = if expired_at.is_some() {
        State::Expired
    } else if verdict.soft || from_future || now > generated.plus(revalidate) {
        State::Stale
    } else {
        State::Fresh
    };
    Judged { state, expired_at, invalidated: verdict.hard_at.is_some() || verdict.soft }
}

/// Whether an expired page may still be served in place of an error.
pub(crate) fn may_serve_stale_error(
    expired_at: Option<Time>,
    stale_if_error: Lifetime,
    now: Time,
) -> bool {
    if stale_if_error.is_zero() {
        return false;
    }
    expired_at.is_none_or(|at| now <= at.plus(stale_if_error))
}

/// `expire` after the min rule: never if `revalidate` is never, and not less than `revalidate`.
pub(crate) fn effective_expire(revalidate: Lifetime, expire: Lifetime) -> Lifetime {
    expire.max(revalidate)
}

/// The first back-off: 3 to 30 s by the stored page's `revalidate` (never counts as 3), 1 s for a missing one.
pub(crate) fn backoff_base(stored_revalidate: Option<Lifetime>) -> Lifetime {
    let (least, most) = (Lifetime::from_secs(3), Lifetime::from_secs(30));
    match stored_revalidate {
        None => Lifetime::from_secs(1),
        Some(r) if r.is_never() => least,
        Some(r) => r.clamp(least, most),
    }
}

/// The back-off after the k-th failure in a row. `chance` is a random number from 0 to 1.
pub(crate) fn backoff(
    failures: u32,
    stored_revalidate: Option<Lifetime>,
    jitter: f64,
    chance: f64,
) -> Lifetime {
    let most = Lifetime::from_secs(if stored_revalidate.is_some() { 300 } else { 30 });
    let base = backoff_base(stored_revalidate).nanos().unwrap_or(0);
    let doubled =
        base.saturating_mul(1u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX));
    let delay = Lifetime::from_nanos(doubled).min(most).nanos().unwrap_or(0);
    Lifetime::from_nanos(delay.saturating_add((delay as f64 * jitter * chance) as u64))
}

/// What it saves to have a page fresh: how often it was used lately, times what its render costs. Renders below a millisecond, and
/// those whose cost is not known, count as one: by that they differ by chance alone.
pub(crate) fn urgency(uses: u32, render_micros: u32) -> u64 {
    (u64::from(uses) + 1) * u64::from(render_micros.max(1000))
}

/// By how many places in the queue a regeneration goes ahead of its arrival: a full queue's for each doubling of its urgency. Thus
/// the queue is in the order of urgency, and yet who is not urgent is not passed for ever.
pub(crate) fn lead(urgency: u64, max_queue: usize) -> u64 {
    let places = max_queue.clamp(1000, 1_000_000) as f64;
    ((urgency.max(1) as f64).log2() * places) as u64
}

/// When a page is regenerated before it is stale: XFetch (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede
/// Prevention, 2015). Each request draws a number, and regenerates with the chance `exp(-(time left) / (delta * beta))`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Early {
    /// `delta * beta` in nanoseconds.
    scale: f64,
}

/// Renders below this count as this long: the wall clock moves by half of it.
const LEAST_DELTA_MICROS: u32 = 8000;
/// Further before its end, in scales, a page is not looked at: the chance is one in nine million.
const REACH: f64 = 16.0;
/// Parts of a scale after which a page is looked at again. Requests in between draw nothing.
const LOOKS: f64 = 64.0;

impl Early {
    /// None where beta is 0: never.
    pub(crate) fn new(render_micros: u32, beta: f64) -> Option<Early> {
        let delta = f64::from(render_micros.max(LEAST_DELTA_MICROS)) * 1000.0;
        (beta > 0.0).then_some(Early { scale: delta * beta })
    }

    /// From when on a page is looked at. Not in the first half of its life, in which a long render would else follow the other.
    pub(crate) fn begins(self, generated: Time, stale_at: Time) -> Time {
        if stale_at == Time::FAR {
            return stale_at;
        }
        let half = stale_at.since(generated).nanos().unwrap_or(0) / 2;
        let reach = ((self.scale * REACH) as u64).min(half);
        Time::from_nanos(stale_at.nanos().saturating_sub(reach))
    }

    /// Whether a request regenerates. `chance` is a random number, 0 or more and less than 1.
    pub(crate) fn is_due(self, now: Time, stale_at: Time, chance: f64) -> bool {
        let left = stale_at.since(now).nanos().unwrap_or(u64::MAX);
        -(1.0 - chance).ln() * self.scale >= left as f64
    }

    /// When the page is looked at again.
    pub(crate) fn next(self, now: Time, stale_at: Time) -> Time {
        now.plus(Lifetime::from_nanos((self.scale / LOOKS) as u64)).min(stale_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secs(s: u64) -> Lifetime {
        Lifetime::from_secs(s)
    }

    fn at(s: f64) -> Time {
        Time::from_nanos((s * 1e9).round() as u64)
    }

    fn state(now: f64, hard: Option<f64>, soft: bool) -> Judged {
        let times = Times { generated: at(1000.0), revalidate: secs(60), expire: secs(100) };
        judge(times, Verdict { hard_at: hard.map(at), soft, removed: false }, at(now))
    }

    #[test]
    fn exactly_n_seconds_is_fresh() {
        assert_eq!(state(1060.0, None, false).state, State::Fresh);
        assert_eq!(state(1060.001, None, false).state, State::Stale);
        assert_eq!(state(1100.0, None, false).state, State::Stale);
        assert_eq!(state(1100.001, None, false).state, State::Expired);
        assert_eq!(state(999.0, None, false).state, State::Stale, "from the future");
    }

    #[test]
    fn expired_is_looked_at_before_stale() {
        let j = state(1061.0, Some(1030.0), true);
        assert_eq!(
            (j.state, j.expired_at, j.invalidated),
            (State::Expired, Some(at(1030.0)), true)
        );
        assert_eq!(
            state(1200.0, Some(1150.0), false).expired_at,
            Some(at(1100.0)),
            "the earliest reason"
        );
        assert_eq!(
            state(1001.0, Some(900.0), false).expired_at,
            Some(at(1000.0)),
            "not before it was there"
        );
    }

    #[test]
    fn stale_if_error_is_strict() {
        assert!(may_serve_stale_error(Some(at(5.0)), secs(100), at(105.0)));
        assert!(!may_serve_stale_error(Some(at(5.0)), secs(100), at(105.001)));
        assert!(!may_serve_stale_error(None, Lifetime::ZERO, at(0.0)));
        assert!(may_serve_stale_error(Some(at(5.0)), Lifetime::NEVER, at(1e9)));
    }

    #[test]
    fn backoff_table() {
        let row = |r| {
            (1..8)
                .map(|k| backoff(k, r, 0.0, 0.9).nanos().unwrap() / 1_000_000_000)
                .collect::<Vec<_>>()
        };
        assert_eq!(row(None), [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(row(Some(secs(1))), [3, 6, 12, 24, 48, 96, 192]);
        assert_eq!(row(Some(secs(60))), [30, 60, 120, 240, 300, 300, 300]);
        assert_eq!(row(Some(Lifetime::NEVER)), [3, 6, 12, 24, 48, 96, 192]);
        assert_eq!(backoff(u32::MAX, Some(secs(10)), 0.0, 0.0), secs(300));
    }

    #[test]
    fn urgency_is_use_times_cost_and_its_doubling_is_worth_a_full_queue() {
        assert!(urgency(3, 50_000) > urgency(2, 50_000));
        assert!(urgency(3, 60_000) > urgency(3, 50_000));
        assert_eq!(urgency(1, 0), urgency(1, 999), "below a millisecond all are the same");
        assert_eq!(lead(1 << 20, 5000) - lead(1 << 19, 5000), 5000);
        assert_eq!(lead(4, 0), 2000, "of a small queue: a thousand");
        assert!(lead(urgency(u32::MAX, u32::MAX), usize::MAX) < 1 << 27, "nobody waits for ever");
        assert_eq!(lead(0, 10), 0);
    }

    /// A page of 60 s whose render takes 0.3 s, asked for so often a second, at random. Of all answers the stale ones, and of
    /// all renders those that a page that turns stale would not have needed, in thousandths.
    fn simulate(beta: f64, rate: f64) -> (f64, f64) {
        let (revalidate, render) = (secs(60), Lifetime::from_nanos(300_000_000));
        let mut random = fastrand::Rng::with_seed(7);
        let early = Early::new(300_000, beta);
        let stale_at = |generated: Time| generated.plus(revalidate);
        let begin = |generated| {
            early.map_or(stale_at(generated), |e| e.begins(generated, stale_at(generated)))
        };
        let mut now = at(0.0);
        let (mut generated, mut look_after) = (now, begin(now));
        let mut ready: Option<Time> = None;
        let (mut answers, mut stale, mut renders) = (0, 0, 0);
        let end = at((20_000.0 / rate).clamp(20.0, 500.0) * 60.0);
        while now < end {
            now = now.plus(Lifetime::from_nanos((-(1.0 - random.f64()).ln() / rate * 1e9) as u64));
            if let Some(done) = ready.filter(|done| *done <= now) {
                (generated, look_after, ready) = (done, begin(done), None);
            }
            answers += 1;
            let is_stale = now > stale_at(generated);
            stale += u32::from(is_stale);
            if ready.is_some() || now <= look_after {
                continue;
            }
            let due = early.is_some_and(|e| e.is_due(now, stale_at(generated), random.f64()));
            if is_stale || due {
                ready = Some(now.plus(render));
                renders += 1;
            } else if let Some(early) = early {
                look_after = early.next(now, stale_at(generated));
            }
        }
        let needed = end.as_secs_f64() / 60.3;
        (f64::from(stale) / f64::from(answers) * 1e3, (f64::from(renders) / needed - 1.0) * 1e3)
    }

    #[test]
    fn with_early_refresh_a_hot_page_never_turns_stale() {
        // Without, each render is one that requests see, and all that come while it runs: 0.3 of 60.3 s.
        for rate in [10.0, 100.0, 1000.0] {
            let (stale, more) = simulate(0.0, rate);
            assert!((4.0..7.0).contains(&stale) && more < 1.0, "{rate} a second: {stale}, {more}");
        }
        for (beta, rate, most_stale) in
            [(1.0, 10.0, 1.5), (2.0, 10.0, 0.2), (1.0, 100.0, 0.0), (1.0, 1000.0, 0.0)]
        {
            let (stale, more) = simulate(beta, rate);
            assert!(stale <= most_stale, "{beta}, {rate} a second: {stale} of 1000 stale");
            assert!(more < 60.0, "{beta}, {rate} a second: {more} of 1000 renders more");
        }
    }

    #[test]
    fn early_refresh_begins_late_and_is_sure_at_the_end() {
        assert!(Early::new(1_000_000, 0.0).is_none());
        let early = Early::new(1_000_000, 1.0).unwrap();
        let (generated, stale_at) = (at(100.0), at(160.0));
        assert_eq!(early.begins(generated, stale_at), at(144.0));
        assert_eq!(early.begins(generated, at(110.0)), at(105.0), "not in its first half");
        assert_eq!(early.begins(generated, Time::FAR), Time::FAR);
        assert!(early.is_due(stale_at, stale_at, 0.0));
        assert!(
            early.is_due(at(159.0), stale_at, 0.64) && !early.is_due(at(159.0), stale_at, 0.63)
        );
        assert!(!early.is_due(at(159.0), stale_at, 0.0));
        assert_eq!(early.next(at(150.0), stale_at), at(150.015625));
        assert_eq!(early.next(at(159.999), stale_at), stale_at);
        assert_eq!(Early::new(0, 1.0).unwrap().begins(generated, stale_at), at(159.872));
    }

    proptest! {
        #[test]
        fn jitter_only_adds_and_stays_in_its_part(k in 0u32..100, r in 0u64..100, j in 0.0f64..=1.0, c in 0.0f64..1.0) {
            let plain = backoff(k, Some(secs(r)), 0.0, c).nanos().unwrap();
            let with = backoff(k, Some(secs(r)), j, c).nanos().unwrap();
            prop_assert!(with >= plain && with <= plain + (plain as f64 * j) as u64 + 1);
        }

        #[test]
        fn time_only_makes_older(r in 0u64..1000, e in 0u64..1000, a in 0u64..3000, b in 0u64..3000) {
            let times = Times { generated: at(0.0), revalidate: secs(r), expire: effective_expire(secs(r), secs(e)) };
            let rank = |n: u64| judge(times, Verdict::default(), at(n as f64)).state as i32;
            prop_assert!(rank(a.min(b)) <= rank(a.max(b)));
        }
    }
}
