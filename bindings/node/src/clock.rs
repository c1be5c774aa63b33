//! Time travel for tests.

use std::sync::Arc;

use isr_core::{Error, Lifetime, ManualClock, Time};
use napi::{Env, Result};
use napi_derive::napi;

use crate::convert::{Seconds, lifetime};
use crate::error;
use crate::isolate::{Isolate, Shared};

/// A clock that stands still until told to move.
#[napi]
pub struct NativeClock {
    shared: Arc<Shared>,
    pub(crate) clock: ManualClock,
}

#[napi]
impl NativeClock {
    /// Starts at this number of seconds since 1970.
    #[napi(constructor, catch_unwind)]
    pub fn new(env: &Env, isolate: &Isolate, start: f64) -> Result<NativeClock> {
        let shared = isolate.shared.clone();
        let start = time("start", start).map_err(|e| error::throw(env, &shared, &e))?;
        Ok(NativeClock { clock: ManualClock::new(start), shared })
    }

    /// Seconds since 1970.
    #[napi(catch_unwind)]
    pub fn now(&self) -> f64 {
        self.clock.now().as_secs_f64()
    }

    /// Moves forward; time-outs that fall due fire before it returns.
    #[napi(catch_unwind)]
    pub fn advance(&self, env: &Env, by: Seconds) -> Result<()> {
        let by = lifetime("advance", &by).map_err(|e| error::throw(env, &self.shared, &e))?;
        self.clock.advance(by);
        Ok(())
    }

    /// Sets the wall clock alone.
    #[napi(catch_unwind)]
    pub fn set_wall(&self, env: &Env, to: f64) -> Result<()> {
        let to = time("setWall", to).map_err(|e| error::throw(env, &self.shared, &e))?;
        self.clock.set_wall(to);
        Ok(())
    }
}

fn time(name: &str, seconds: f64) -> std::result::Result<Time, Error> {
    Ok(Time::from_nanos(0).plus(Lifetime::from_secs_f64(name, seconds)?))
}
