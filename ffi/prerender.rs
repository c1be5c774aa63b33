//! Prerendering, with progress and a report.

use std::ffi::c_void;
use std::sync::Arc;

use isr_core::{OnProgress, PrerenderProgress, PrerenderReport};

use crate::cache::isr_cache;
use crate::callback::{UserData, isr_free_fn};
use crate::guard;
use crate::handle::{get, handle, open, release};
use crate::status::{aside, invalid, isr_status, tell};
use crate::types::{self, Out, isr_str};

/// How far a prerender has come.
#[repr(C)]
pub struct isr_progress {
    /// Paths rendered.
    pub done: usize,
    /// Paths that failed for good.
    pub failed: usize,
    /// Paths that were stored and fresh.
    pub skipped: usize,
    /// All paths.
    pub total: usize,
    /// The path that has just ended.
    pub path: isr_str,
}

/// Called with the progress of a prerender, on any thread, one call at a time.
///
/// Ownership: `progress` is borrowed until the call returns. Must not throw.
pub type isr_progress_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, progress: *const isr_progress)>;

/// Called once with the outcome of `isr_prerender_async`, on any thread.
///
/// `report`: owned by the callee, who frees it with `isr_report_free`; NULL where `status` is a failure. Must not throw.
pub type isr_report_fn = Option<
    unsafe extern "C" fn(user_data: *mut c_void, status: isr_status, report: *mut isr_report),
>;

/// What a prerender did.
pub struct isr_report {
    _opaque: (),
}
handle!(isr_report, PrerenderReport, b"isreport");

/// Renders every path that the routes' static params list, and waits. Fresh ones are skipped; one that fails is tried again, and
/// does not stop the others. With a manual clock the pauses between its attempts are skipped.
///
/// `progress`: may be NULL. `free_user_data` (may be NULL) is called exactly once with `user_data`, after the last progress.
/// Ownership: free `*out` with `isr_report_free`.
/// Errors: `ISR_STATUS_CLOSED`. Failed paths are in the report.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_prerender(
    cache: *const isr_cache,
    progress: isr_progress_fn,
    user_data: *mut c_void,
    free_user_data: isr_free_fn,
    out: *mut *mut isr_report,
) -> isr_status {
    // SAFETY: the header demands a free function that fits.
    let user_data = unsafe { UserData::new(user_data, free_user_data) };
    guard::status(|| {
        // SAFETY: the header demands NULL or a place for the result.
        let out = unsafe { Out::new("out", out) }?;
        // SAFETY: the header demands NULL or a live handle.
        let cache = unsafe { get(cache) }?;
        out.write(open(cache.prerender(on_progress(progress, user_data))?));
        Ok(())
    })
}

/// Prerenders as `isr_prerender`, by a callback. Never blocks.
///
/// `done` is called exactly once where this returns `ISR_STATUS_OK`, never where it returns anything else. Each `user_data` is freed
/// exactly once.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_prerender_async(
    cache: *const isr_cache,
    progress: isr_progress_fn,
    progress_user_data: *mut c_void,
    free_progress_user_data: isr_free_fn,
    done: isr_report_fn,
    done_user_data: *mut c_void,
    free_done_user_data: isr_free_fn,
) -> isr_status {
    // SAFETY: the header demands a free function that fits.
    let reporting = unsafe { UserData::new(progress_user_data, free_progress_user_data) };
    // SAFETY: the header demands a free function that fits.
    let finishing = unsafe { UserData::new(done_user_data, free_done_user_data) };
    guard::status(|| {
        // SAFETY: the header demands NULL or a live handle.
        let cache = unsafe { get(cache) }?;
        let done = done.ok_or_else(|| invalid("done must not be NULL"))?;
        let then = move |outcome: Result<PrerenderReport, isr_core::Error>| {
            tell(outcome.map(open), |status, report| {
                // SAFETY: the header demands a function that may be called once with these.
                unsafe { done(finishing.pointer(), status, report) };
            });
        };
        cache.prerender_then(on_progress(progress, reporting), Box::new(then));
        Ok(())
    })
}

/// Paths rendered.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_report_rendered(report: *const isr_report) -> usize {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(0, || Ok(unsafe { get(report) }?.rendered))
}

/// Paths that were stored and fresh.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_report_skipped(report: *const isr_report) -> usize {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(0, || Ok(unsafe { get(report) }?.skipped))
}

/// Paths that failed after all attempts.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_report_failed(report: *const isr_report) -> usize {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(0, || Ok(unsafe { get(report) }?.failed.len()))
}

/// The failed path at `index`; `{NULL, 0}` beyond the last.
///
/// Ownership: borrowed from the report. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_report_failed_path(
    report: *const isr_report,
    index: usize,
) -> isr_str {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(isr_str::NONE, || Ok(isr_str::of(&failed(unsafe { get(report) }?, index)?.0)))
}

/// The last error of the failed path at `index`; `ISR_STATUS_INVALID_ARGUMENT` beyond the last.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_report_failed_status(
    report: *const isr_report,
    index: usize,
) -> isr_status {
    guard::value(isr_status::InvalidArgument, || {
        // SAFETY: the header demands NULL or a live handle.
        Ok(isr_status::of(&failed(unsafe { get(report) }?, index)?.1))
    })
}

/// The text of that error; `{NULL, 0}` beyond the last.
///
/// Ownership: borrowed from the report. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_report_failed_message(
    report: *const isr_report,
    index: usize,
) -> isr_str {
    guard::value(isr_str::NONE, || {
        // SAFETY: the header demands NULL or a live handle.
        let report = unsafe { get(report) }?;
        Ok(isr_str::of(failed(report, index)?.1.message()))
    })
}

/// Frees the report. NULL is fine.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_report_free(report: *mut isr_report) {
    // SAFETY: the header demands NULL or a handle that the caller owns.
    guard::value((), || unsafe { release(report) });
}

fn failed(
    report: &PrerenderReport,
    index: usize,
) -> Result<&(String, isr_core::Error), isr_core::Error> {
    types::at("failed path", report.failed.iter(), index)
}

fn on_progress(call: isr_progress_fn, user_data: UserData) -> Option<OnProgress> {
    let call = call?;
    Some(Arc::new(move |progress: &PrerenderProgress| {
        let view = isr_progress {
            done: progress.done,
            failed: progress.failed,
            skipped: progress.skipped,
            total: progress.total,
            path: isr_str::of(&progress.path),
        };
        // SAFETY: the header demands a function that may be called with these.
        aside(|| unsafe { call(user_data.pointer(), &view) });
    }))
}
