//! The only place that reads time.

use std::sync::{Arc, Weak};

use crate::error::Error;
use crate::fork::{self, PerProcess};
use crate::lifetime::Lifetime;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

/// A point of time: nanoseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(u64);

impl Time {
    /// Later than every other.
    pub const FAR: Time = Time(u64::MAX);

    /// From nanoseconds since 1970.
    pub const fn from_nanos(nanos: u64) -> Time {
        Time(nanos)
    }

    /// Nanoseconds since 1970.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Seconds since 1970, with a fraction.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Time from `earlier` to here; zero if `earlier` is later.
    pub const fn since(self, earlier: Time) -> Lifetime {
        Lifetime::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The next time after `now` that lies whole seconds before or after this one.
    pub(crate) const fn next_second(self, now: Time) -> Time {
        const SECOND: u64 = 1_000_000_000;
        let past = (now.0 % SECOND + SECOND - self.0 % SECOND) % SECOND;
        Time(now.0.saturating_sub(past).saturating_add(SECOND))
    }

    /// The time after a duration; `FAR` for never.
    pub const fn plus(self, d: Lifetime) -> Time {
        match d.nanos() {
            Some(n) => Time(self.0.saturating_add(n)),
            None => Time::FAR,
        }
    }
}

/// Where a cache reads time: the system, or a manual clock in tests.
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    Manual(ManualClock),
}

impl Clock {
    /// The system's clocks.
    pub fn system() -> Clock {
        Clock(Source::System)
    }

    /// The wall clock: ages pages. Coarse (about 4 ms), so that a hit makes no system call.
    #[inline]
    pub fn now(&self) -> Time {
        match &self.0 {
            Source::System => read(libc::CLOCK_REALTIME_COARSE),
            Source::Manual(m) => m.now(),
        }
    }

    /// A clock that never jumps: back-offs and time-outs run on it.
    pub(crate) fn steady(&self) -> Time {
        match &self.0 {
            Source::System => read(libc::CLOCK_MONOTONIC),
            Source::Manual(m) => m.0.steady.read(),
        }
    }

    /// Whether both read the same time.
    pub(crate) fn is_same(&self, other: &Clock) -> bool {
        match (self.manual(), other.manual()) {
            (Some(a), Some(b)) => Arc::ptr_eq(&a.0, &b.0),
            (a, b) => a.is_none() && b.is_none(),
        }
    }

    pub(crate) fn manual(&self) -> Option<&ManualClock> {
        match &self.0 {
            Source::System => None,
            Source::Manual(m) => Some(m),
        }
    }
}

impl From<ManualClock> for Clock {
    fn from(m: ManualClock) -> Clock {
        Clock(Source::Manual(m))
    }
}

/// The clock that all processes of the machine share and that never jumps: leases between processes end by it, whatever clock
/// a cache has.
pub(crate) fn machine_steady() -> Time {
    read(libc::CLOCK_MONOTONIC)
}

#[inline]
fn read(id: libc::clockid_t) -> Time {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid, writable timespec for the whole call.
    unsafe { libc::clock_gettime(id, &mut ts) };
    Time(u64::try_from(ts.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000) + ts.tv_nsec as u64)
}

/// Time travel for tests: stands still until told to move. Clones share one time.
///
/// Time-outs that fall due fire inside [`ManualClock::advance`], on the calling thread, before it returns.
#[derive(Clone)]
pub struct ManualClock(Arc<Manual>);

/// What a forked child finds must not be locked.
struct Manual {
    wall: Shown,
    steady: Shown,
    watchers: PerProcess<Mutex<Vec<Weak<dyn TimeWatcher>>>>,
}

/// A time that can be read and moved from any thread.
struct Shown(AtomicU64);

impl Shown {
    fn read(&self) -> Time {
        Time(self.0.load(Ordering::SeqCst))
    }

    fn advance(&self, by: Lifetime) {
        let later = |nanos| Some(Time(nanos).plus(by).0);
        // Never refused.
        let _ = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, later);
    }
}

/// Told when a manual clock has moved.
pub(crate) trait TimeWatcher: Send + Sync {
    fn time_moved(&self);
}

impl ManualClock {
    /// Starts at this time.
    pub fn new(start: Time) -> ManualClock {
        ManualClock(Arc::new(Manual {
            wall: Shown(AtomicU64::new(start.0)),
            steady: Shown(AtomicU64::new(start.0)),
            watchers: PerProcess::new(fork::generation(), Mutex::new(Vec::new())),
        }))
    }

    /// The time it shows.
    pub fn now(&self) -> Time {
        self.0.wall.read()
    }

    /// Moves forward. `NEVER` moves to the end of time.
    pub fn advance(&self, by: Lifetime) {
        self.0.wall.advance(by);
        self.0.steady.advance(by);
        self.tell();
    }

    fn tell(&self) {
        let watchers: Vec<_> = {
            let mut list = self.watchers().lock();
            list.retain(|w| w.strong_count() > 0);
            list.clone()
        };
        for w in watchers.iter().filter_map(Weak::upgrade) {
            w.time_moved();
        }
    }

    /// Moves forward by seconds with a fraction.
    ///
    /// # Errors
    /// `InvalidArgument` for a negative number, an infinity or a NaN.
    pub fn advance_secs(&self, secs: f64) -> Result<(), Error> {
        self.advance(Lifetime::from_secs_f64("advance", secs)?);
        Ok(())
    }

    /// Sets the wall clock alone, also backwards, as an administrator or NTP would; running time-outs go on.
    pub fn set_wall(&self, to: Time) {
        self.0.wall.0.store(to.0, Ordering::SeqCst);
        self.tell();
    }

    pub(crate) fn watch(&self, watcher: Weak<dyn TimeWatcher>) {
        self.watchers().lock().push(watcher);
    }

    fn watchers(&self) -> &Mutex<Vec<Weak<dyn TimeWatcher>>> {
        self.0.watchers.get(|_| Mutex::new(Vec::new()), |_| ())
    }
}

impl std::fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ManualClock({})", self.now().as_secs_f64())
    }
}
