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

/// The middle of values that are in order.
pub fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
