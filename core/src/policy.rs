//! The rules as pure functions: state of a page, back-off.

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
