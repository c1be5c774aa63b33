//! Time for measurements. The core's clock is coarse by intent, so the benches have their own.

use std::time::Instant;

/// Nanoseconds since it was started.
#[derive(Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[allow(clippy::disallowed_methods)] // what is measured keeps its own time; this only measures
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    /// Nanoseconds since the start.
    pub fn nanos(self) -> f64 {
        self.0.elapsed().as_nanos() as f64
    }
}

/// Nanoseconds that this thread has had a processor for: what others do on a busy machine is not in it.
pub fn thread_nanos() -> f64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid, writable timespec for the whole call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut ts) };
    ts.tv_sec as f64 * 1e9 + ts.tv_nsec as f64
}

/// The middle of values that are in order.
pub fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
