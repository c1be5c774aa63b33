//! Counters, and what runs at the moment.

use std::ffi::c_char;

use isr_core::Stats;

use crate::cache::isr_cache;
use crate::guard;
use crate::handle::{get, handle, open, release};
use crate::status::{invalid, isr_status};
use crate::types::{self, Out, isr_str};

/// Counters of a cache at one moment.
pub struct isr_stats {
    _opaque: (),
}
handle!(isr_stats, Vec<(&'static str, u64)>, b"isrstats");

/// What runs and waits at one moment. Quiet: `running == waiting`, and `queued == 0` unless all threads are taken.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct isr_activity {
    /// Renders and background loads that wait for a thread.
    pub queued: u64,
    /// Renders and loads begun and not ended.
    pub running: u64,
    /// Of these, those that wait for another one.
    pub waiting: u64,
    /// Grows with each change of the other numbers: two equal values mean that nothing happened in between.
    pub version: u64,
}

/// What runs and waits at this moment, for tests that want to wait until nothing does.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_cache_activity(
    cache: *const isr_cache,
    out: *mut isr_activity,
) -> isr_status {
    guard::status(|| {
        // SAFETY: the header demands NULL or a place for the result.
        let out = unsafe { Out::new("out", out) }?;
        // SAFETY: the header demands NULL or a live handle.
        let now = unsafe { get(cache) }?.activity();
        out.write(isr_activity {
            queued: now.queued as u64,
            running: now.running as u64,
            waiting: now.waiting as u64,
            version: now.version,
        });
        Ok(())
    })
}

/// The counters since the cache was opened.
///
/// Ownership: free them with `isr_stats_free`.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_cache_stats(
    cache: *const isr_cache,
    out: *mut *mut isr_stats,
) -> isr_status {
    guard::status(|| {
        // SAFETY: the header demands NULL or a place for the result.
        let out = unsafe { Out::new("out", out) }?;
        // SAFETY: the header demands NULL or a live handle.
        let stats: Stats = unsafe { get(cache) }?.stats();
        out.write(open(stats.entries()));
        Ok(())
    })
}

/// A counter by its name.
///
/// Names: `hits`, `stale`, `misses`, `revalidated`, `stale_errors`, `bypasses`, `errors` (requests by their outcome), `renders`,
/// `render_failures`, `render_timeouts`, `loads`, `load_failures`, `too_large`, `invalidations`, `evictions`; of the directory `disk_reads`,
/// `disk_writes`, `disk_errors`; and at the moment `entries_stored`, `bytes_stored`, and of all processes `disk_bytes`.
/// Errors: `ISR_STATUS_INVALID_ARGUMENT` for an unknown name.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_stats_get(
    stats: *const isr_stats,
    name: *const c_char,
    out: *mut u64,
) -> isr_status {
    guard::status(|| {
        // SAFETY: the header demands NULL or a place for the result.
        let out = unsafe { Out::new("out", out) }?;
        // SAFETY: the header demands NULL or a live handle.
        let stats = unsafe { get(stats) }?;
        // SAFETY: the header demands NULL or a NUL-terminated text.
        let name = unsafe { types::name("name", name) }?;
        let entry = stats.iter().find(|entry| entry.0 == name).ok_or_else(|| {
            let known: Vec<_> = stats.iter().map(|entry| entry.0).collect();
            invalid(format!("unknown counter \"{name}\"; known are {}", known.join(", ")))
        })?;
        out.write(entry.1);
        Ok(())
    })
}

/// How many counters there are.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_stats_count(stats: *const isr_stats) -> usize {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(0, || Ok(unsafe { get(stats) }?.len()))
}

/// The name of the counter at `index`; `{NULL, 0}` beyond the last.
///
/// Ownership: static. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_stats_name(stats: *const isr_stats, index: usize) -> isr_str {
    guard::value(isr_str::NONE, || {
        // SAFETY: the header demands NULL or a live handle.
        let stats = unsafe { get(stats) }?;
        Ok(isr_str::of(types::at("counter", stats.iter(), index)?.0))
    })
}

/// The value of the counter at `index`; 0 beyond the last.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_stats_value(stats: *const isr_stats, index: usize) -> u64 {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(0, || Ok(types::at("counter", unsafe { get(stats) }?.iter(), index)?.1))
}

/// Frees the counters. NULL is fine.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_stats_free(stats: *mut isr_stats) {
    // SAFETY: the header demands NULL or a handle that the caller owns.
    guard::value((), || unsafe { release(stats) });
}
