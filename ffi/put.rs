//! The passive half: pages that the program renders by itself.

use isr_core::{Put, Started};

use crate::cache::isr_cache;
use crate::guard;
use crate::handle::get;
use crate::request::{Read, isr_request};
use crate::result::{self, isr_result};
use crate::status::isr_status;
use crate::types::Out;

/// What became of a page given to `isr_put`.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum isr_put_outcome {
    /// It is stored. It may already count as stale or expired if it was invalidated since `started`.
    Stored = 1,
    /// A newer page is stored, its path was removed since `started`, or it may not be stored.
    NotStored = 2,
}

/// The present epoch: take it before you render a page by yourself, and give it to `isr_put` after. 0 for a wrong handle.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_started(cache: *const isr_cache) -> u64 {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(0, || Ok(unsafe { get(cache) }?.started().as_u64()))
}

/// Stores a page that was rendered outside of the cache; invalidations since `started` count for it.
///
/// Of the request only `path` and `variant` are read. `out` (may be NULL) gets what became of the page.
/// Ownership: `result` is consumed, also where this fails.
/// Errors: `ISR_STATUS_INVALID_PATH`, `ISR_STATUS_NO_ROUTE`, `ISR_STATUS_CLOSED`, `ISR_STATUS_RENDER` for an invalid page.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_put(
    cache: *const isr_cache,
    request: *const isr_request,
    result: *mut isr_result,
    started: u64,
    out: *mut isr_put_outcome,
) -> isr_status {
    guard::status(|| {
        // SAFETY: the header demands NULL or a handle that the caller owns. Taken first: it is consumed on every path.
        let page = unsafe { result::take(result) };
        // SAFETY: the header demands NULL or a place for the result.
        let out = unsafe { Out::maybe("out", out) }?;
        // SAFETY: the header demands NULL or a live handle.
        let cache = unsafe { get(cache) }?;
        // SAFETY: the header demands NULL or an initialised struct.
        let request = unsafe { Read::new(request) }?;
        let request = request.as_core();
        let put = cache.put(request.path, request.variant, page?, Started::from_u64(started))?;
        let outcome = match put {
            Put::Stored => isr_put_outcome::Stored,
            Put::NotStored => isr_put_outcome::NotStored,
        };
        out.into_iter().for_each(|out| out.write(outcome));
        Ok(())
    })
}
