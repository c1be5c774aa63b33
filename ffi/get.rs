//! Asking for pages: blocking, never blocking, and by a callback.

use std::ffi::c_void;

use isr_core::{Answer, Error};

use crate::answer::{isr_answer, isr_state};
use crate::cache::isr_cache;
use crate::callback::{UserData, isr_free_fn};
use crate::handle::get;
use crate::page::isr_page;
use crate::request::{self, Read, isr_request};
use crate::status::{invalid, isr_status, tell};
use crate::types::Out;
use crate::{given, guard};

/// Called once with an answer: at once on the asking thread where no waiting is needed, else on the thread that ends the render: one
/// of the cache, or one that finishes a job, closes the cache or moves a manual clock.
///
/// `answer`: owned by the callee, who gives it back with `isr_answer_unref`; NULL where `status` is a failure (its text is
/// `isr_last_error`; read it first: the next call that fails in here, an accessor on the NULL answer too, replaces it), and where `isr_regenerate_async` with `only_generated` found nothing stored.
/// It must not block for long, and must not throw.
pub type isr_answer_fn = Option<
    unsafe extern "C" fn(user_data: *mut c_void, status: isr_status, answer: *mut isr_answer),
>;

/// Answers a request; blocks where it must wait for a render.
///
/// A failure has no head: answer `isr_status_http` of it with `cache-control: private, no-cache, no-store, max-age=0, must-revalidate`.
/// Ownership: `*out` belongs to the caller, who gives it back with `isr_answer_unref`.
/// Errors: `ISR_STATUS_INVALID_PATH`, `ISR_STATUS_NO_ROUTE`, `ISR_STATUS_RENDER`, `ISR_STATUS_TIMEOUT`, `ISR_STATUS_BUSY`,
/// `ISR_STATUS_CLOSED`; `ISR_STATUS_INVALID_ARGUMENT` inside a render that would wait for itself.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_get(
    cache: *const isr_cache,
    request: *const isr_request,
    out: *mut *mut isr_answer,
) -> isr_status {
    guard::status(|| {
        // SAFETY: the header demands NULL or a place for the result.
        let out = unsafe { Out::new("out", out) }?;
        // SAFETY: the header demands NULL or a live handle.
        let cache = unsafe { get(cache) }?;
        // SAFETY: the header demands NULL or an initialised struct.
        if let Some(hit) = unsafe { request::hit(cache, request) }? {
            out.write(given::answer(hit));
            return Ok(());
        }
        // SAFETY: as above.
        let request = unsafe { Read::new(request) }?;
        out.write(given::answer(cache.get(&request.as_core())?));
        Ok(())
    })
}

/// Answers as `isr_get` would if that needs no waiting. Else `*out` is NULL, and nothing is started. Never blocks.
///
/// Ownership, errors and threads: as for `isr_get`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_try_get(
    cache: *const isr_cache,
    request: *const isr_request,
    out: *mut *mut isr_answer,
) -> isr_status {
    guard::status(|| {
        // SAFETY: the header demands NULL or a place for the result.
        let out = unsafe { Out::new("out", out) }?;
        // SAFETY: the header demands NULL or a live handle.
        let cache = unsafe { get(cache) }?;
        // SAFETY: the header demands NULL or an initialised struct.
        if let Some(hit) = unsafe { request::hit(cache, request) }? {
            out.write(given::answer(hit));
            return Ok(());
        }
        // SAFETY: as above.
        let request = unsafe { Read::new(request) }?;
        out.write(or_null(cache.try_get(&request.as_core())?));
        Ok(())
    })
}

/// Answers as `isr_get`, by a callback. Never blocks: for event loops.
///
/// `done` is called exactly once where this returns `ISR_STATUS_OK`, also with the errors of `isr_get`; never where it returns
/// anything else, which it does for a wrong argument alone. `free_user_data` (may be NULL) is called exactly once with
/// `user_data`, after `done` or before a failure is returned.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_get_async(
    cache: *const isr_cache,
    request: *const isr_request,
    done: isr_answer_fn,
    user_data: *mut c_void,
    free_user_data: isr_free_fn,
) -> isr_status {
    // SAFETY: the header demands a free function that fits.
    let user_data = unsafe { UserData::new(user_data, free_user_data) };
    guard::status(|| {
        // SAFETY: the header demands NULL or a live handle.
        let cache = unsafe { get(cache) }?;
        // SAFETY: the header demands NULL or an initialised struct.
        let request = unsafe { Read::new(request) }?;
        let done = Done::new(done, user_data)?;
        cache.get_then(&request.as_core(), Box::new(move |outcome| done.call(outcome.map(Some))));
        Ok(())
    })
}

/// What is stored under a path, with its state. Starts and touches nothing, never blocks.
///
/// Of the request only `path` and `variant` are read. `out_state` gets the state. `out_page` (may be NULL) gets the page, NULL where
/// it is missing. `out_age` (may be NULL) gets whole seconds since it was generated, 0 where it is missing.
/// Ownership: `*out_page` belongs to the caller, who gives it back with `isr_page_unref`.
/// Errors: `ISR_STATUS_INVALID_PATH`, `ISR_STATUS_NO_ROUTE`, `ISR_STATUS_CLOSED`.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_peek(
    cache: *const isr_cache,
    request: *const isr_request,
    out_state: *mut isr_state,
    out_page: *mut *mut isr_page,
    out_age: *mut u64,
) -> isr_status {
    guard::status(|| {
        // SAFETY: the header demands NULL or a place for the result.
        let out_state = unsafe { Out::new("out_state", out_state) }?;
        // SAFETY: the header demands NULL or a place for the result.
        let out_page = unsafe { Out::maybe("out_page", out_page) }?;
        // SAFETY: the header demands NULL or a place for the result.
        let out_age = unsafe { Out::maybe("out_age", out_age) }?;
        // SAFETY: the header demands NULL or a live handle.
        let cache = unsafe { get(cache) }?;
        // SAFETY: the header demands NULL or an initialised struct.
        let request = unsafe { Read::new(request) }?;
        let request = request.as_core();
        let peek = cache.peek(request.path, request.variant)?;
        let page = || {
            peek.page().map_or(std::ptr::null_mut(), |page| given::page(page.clone()).into_ptr())
        };
        out_page.into_iter().for_each(|out| out.write(page()));
        out_age.into_iter().for_each(|out| out.write(peek.age_secs()));
        out_state.write(peek.state().into());
        Ok(())
    })
}

/// Renders now, even if the page is fresh, and waits.
///
/// With `only_generated` nothing happens where nothing is stored: `*out` is NULL.
/// Ownership: as for `isr_get`.
/// Errors: as for `isr_get`; a failed render is an error although the stored page stays.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_regenerate(
    cache: *const isr_cache,
    request: *const isr_request,
    only_generated: bool,
    out: *mut *mut isr_answer,
) -> isr_status {
    guard::status(|| {
        // SAFETY: the header demands NULL or a place for the result.
        let out = unsafe { Out::new("out", out) }?;
        // SAFETY: the header demands NULL or a live handle.
        let cache = unsafe { get(cache) }?;
        // SAFETY: the header demands NULL or an initialised struct.
        let request = unsafe { Read::new(request) }?;
        out.write(or_null(cache.regenerate(&request.as_core(), only_generated)?));
        Ok(())
    })
}

/// Renders now as `isr_regenerate`, by a callback. Never blocks.
///
/// `done`, `user_data` and `free_user_data`: as for `isr_get_async`.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_regenerate_async(
    cache: *const isr_cache,
    request: *const isr_request,
    only_generated: bool,
    done: isr_answer_fn,
    user_data: *mut c_void,
    free_user_data: isr_free_fn,
) -> isr_status {
    // SAFETY: the header demands a free function that fits.
    let user_data = unsafe { UserData::new(user_data, free_user_data) };
    guard::status(|| {
        // SAFETY: the header demands NULL or a live handle.
        let cache = unsafe { get(cache) }?;
        // SAFETY: the header demands NULL or an initialised struct.
        let request = unsafe { Read::new(request) }?;
        let done = Done::new(done, user_data)?;
        let then = Box::new(move |outcome| done.call(outcome));
        cache.regenerate_then(&request.as_core(), only_generated, then);
        Ok(())
    })
}

fn or_null(answer: Option<Answer>) -> *mut isr_answer {
    answer.map_or(std::ptr::null_mut(), given::answer)
}

/// A completion callback that has not been called.
struct Done {
    call: unsafe extern "C" fn(*mut c_void, isr_status, *mut isr_answer),
    user_data: UserData,
}

impl Done {
    fn new(call: isr_answer_fn, user_data: UserData) -> Result<Done, Error> {
        let call = call.ok_or_else(|| invalid("done must not be NULL"))?;
        Ok(Done { call, user_data })
    }

    fn call(self, outcome: Result<Option<Answer>, Error>) {
        tell(outcome.map(or_null), |status, answer| {
            // SAFETY: the header demands a function that may be called once with these.
            unsafe { (self.call)(self.user_data.pointer(), status, answer) };
        });
    }
}
