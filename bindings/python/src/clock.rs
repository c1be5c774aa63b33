//! Time travel for tests.

use isr_core::Time;
use pyo3::prelude::*;

use crate::convert::{arg, lifetime};
use crate::errors::{invalid, wrong_type};
use crate::guard::guard;

/// A clock that stands still until told to move; give it to `Cache(clock=...)`.
///
/// `start` is in seconds since 1970. Usable from any thread, and by several caches.
#[pyclass(frozen, module = "libisr")]
pub struct ManualClock {
    pub(crate) core: isr_core::ManualClock,
}

fn time(what: &str, secs: f64) -> PyResult<Time> {
    if !(0.0..=1e10).contains(&secs) {
        return Err(invalid(format!("{what} must be 0 to 1e10 seconds since 1970; got {secs}")));
    }
    Ok(Time::from_nanos((secs * 1e9).round() as u64))
}

#[pymethods]
impl ManualClock {
    #[new]
    #[pyo3(signature = (start = 1_700_000_000.0))]
    fn new(#[pyo3(from_py_with = arg::start)] start: f64) -> PyResult<ManualClock> {
        guard(|| Ok(ManualClock { core: isr_core::ManualClock::new(time("start", start)?) }))
    }

    /// Seconds since 1970 that it shows.
    fn now(&self) -> PyResult<f64> {
        guard(|| Ok(self.core.now().as_secs_f64()))
    }

    /// Moves forward by seconds or a timedelta. Time-outs of renders that fall due fire before it returns.
    fn advance(&self, py: Python<'_>, by: &Bound<'_, PyAny>) -> PyResult<()> {
        guard(|| {
            let by = lifetime("by", by)?;
            if by.is_never() {
                return Err(invalid("by must be a number of seconds or a timedelta; got never"));
            }
            py.detach(|| self.core.advance(by));
            Ok(())
        })
    }

    /// Sets the wall clock alone, also backwards, as NTP would; running time-outs go on.
    fn set_wall(&self, #[pyo3(from_py_with = arg::to)] to: f64) -> PyResult<()> {
        guard(|| {
            self.core.set_wall(time("to", to)?);
            Ok(())
        })
    }

    fn __repr__(&self) -> PyResult<String> {
        guard(|| Ok(format!("ManualClock({})", self.core.now().as_secs_f64())))
    }
}

/// The clock of a cache's options.
pub fn clock(value: Option<&Bound<'_, PyAny>>) -> PyResult<isr_core::Clock> {
    let Some(value) = value else { return Ok(isr_core::Clock::system()) };
    match value.cast::<ManualClock>() {
        Ok(manual) => Ok(manual.get().core.clone().into()),
        Err(_) => Err(wrong_type("clock", "a ManualClock or None", value)),
    }
}
