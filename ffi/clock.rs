//! A manual clock: time travel for tests.

use isr_core::{ManualClock, Time};

use crate::guard;
use crate::handle::{get, handle, open, release};
use crate::status::{invalid, isr_status};
use crate::types::{Out, lifetime};

/// A clock that stands still until it is told to move. Give it to a cache with `isr_options_set_clock`.
pub struct isr_clock {
    _opaque: (),
}
handle!(isr_clock, ManualClock, b"isrclock");

/// Makes a manual clock that shows this many seconds since 1970-01-01 UTC. NULL for a number that is no time.
///
/// Ownership: free it with `isr_clock_free`; a cache that was given it keeps it alive by itself.
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn isr_clock_new(seconds: f64) -> *mut isr_clock {
    guard::value(std::ptr::null_mut(), || Ok(open(ManualClock::new(time(seconds)?))))
}

/// Moves the clock forward. Time-outs that fall due fire before this returns, on this thread.
///
/// `seconds`: 0 or more; `ISR_NEVER` moves to the end of time.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_clock_advance(clock: *const isr_clock, seconds: f64) -> isr_status {
    guard::status(|| {
        // SAFETY: the header demands NULL or a live handle.
        let clock = unsafe { get(clock) }?;
        clock.advance(lifetime("seconds", seconds)?);
        Ok(())
    })
}

/// Sets the wall clock alone, also backwards, as an administrator would; time-outs and back-offs go on as they were.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_clock_set(clock: *const isr_clock, seconds: f64) -> isr_status {
    guard::status(|| {
        // SAFETY: the header demands NULL or a live handle.
        let clock = unsafe { get(clock) }?;
        clock.set_wall(time(seconds)?);
        Ok(())
    })
}

/// The time that the clock shows: seconds since 1970.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_clock_now(clock: *const isr_clock, out: *mut f64) -> isr_status {
    guard::status(|| {
        // SAFETY: the header demands NULL or a place for the result.
        let out = unsafe { Out::new("out", out) }?;
        // SAFETY: the header demands NULL or a live handle.
        out.write(unsafe { get(clock) }?.now().as_secs_f64());
        Ok(())
    })
}

/// Frees the handle. NULL is fine.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_clock_free(clock: *mut isr_clock) {
    // SAFETY: the header demands NULL or a handle that the caller owns.
    guard::value((), || unsafe { release(clock) });
}

fn time(seconds: f64) -> Result<Time, isr_core::Error> {
    let since = isr_core::Lifetime::from_secs_f64("seconds", seconds)?;
    since.nanos().map(Time::from_nanos).ok_or_else(|| invalid("seconds must be a finite number"))
}
