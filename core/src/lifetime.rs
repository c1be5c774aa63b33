//! Durations in which pages live: whole nanoseconds, or never ending.

use crate::error::{Error, ErrorKind};

const NANOS: f64 = 1e9;

/// A duration, or "never". The unit of every public number of seconds (`revalidate`, `expire`, `timeout`, ...).
///
/// Ordered: `NEVER` is the longest. Values beyond 584 years count as 584 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lifetime(u64);

impl Lifetime {
    /// Does not end.
    pub const NEVER: Lifetime = Lifetime(u64::MAX);
    /// No time at all.
    pub const ZERO: Lifetime = Lifetime(0);
    /// 365 days, the default of `expire` (Next.js `expireTime`).
    pub const YEAR: Lifetime = Lifetime::from_secs(31_536_000);

    /// Whole seconds.
    pub const fn from_secs(secs: u64) -> Lifetime {
        Lifetime::from_nanos(secs.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds; the largest value that is not `NEVER` is `u64::MAX - 1`.
    pub const fn from_nanos(nanos: u64) -> Lifetime {
        Lifetime(if nanos == u64::MAX { u64::MAX - 1 } else { nanos })
    }

    /// Seconds with a fraction. `what` names the value in the error.
    ///
    /// # Errors
    /// `InvalidArgument` for a negative number, an infinity or a NaN.
    pub fn from_secs_f64(what: &str, secs: f64) -> Result<Lifetime, Error> {
        if !secs.is_finite() || secs < 0.0 {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("{what} must be a finite number of seconds >= 0, or never; got {secs}"),
            ));
        }
        // `as` saturates; rounding keeps 60.001 s exact in nanoseconds.
        Ok(Lifetime::from_nanos((secs * NANOS).round() as u64))
    }

    /// Whether it does not end.
    pub const fn is_never(self) -> bool {
        self.0 == u64::MAX
    }

    /// Whether it is no time at all.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Nanoseconds; `None` is never.
    pub const fn nanos(self) -> Option<u64> {
        if self.is_never() { None } else { Some(self.0) }
    }

    /// Seconds with a fraction; `None` is never.
    pub fn as_secs_f64(self) -> Option<f64> {
        self.nanos().map(|n| n as f64 / NANOS)
    }

    /// Whole seconds, rounded up; `None` is never.
    pub fn ceil_secs(self) -> Option<u64> {
        self.nanos().map(|n| n.div_ceil(1_000_000_000))
    }

    /// The difference, not below zero; never minus anything stays never.
    pub const fn minus(self, other: Lifetime) -> Lifetime {
        if self.is_never() { self } else { Lifetime(self.0.saturating_sub(other.0)) }
    }
}

impl From<std::time::Duration> for Lifetime {
    fn from(d: std::time::Duration) -> Lifetime {
        Lifetime::from_nanos(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
    }
}
