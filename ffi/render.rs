//! Render callbacks and their jobs.

use std::ffi::{CStr, c_char, c_void};
use std::sync::Mutex;

use isr_core::{Context, Error, ErrorKind, Reason, RenderJob, Renderer, WeakCache};

use crate::answer::name_of;
use crate::callback::UserData;
use crate::context::isr_context;
use crate::handle::{Owned, acquire, get, handle, release};
use crate::lock::locked;
use crate::named::Named;
use crate::page::isr_page;
use crate::result::{self, isr_result};
use crate::status::{aside, isr_status};
use crate::types::{self, Out, isr_str};
use crate::{given, guard};

/// Renders one page: finish `job` with `isr_render_complete` or `isr_render_fail`, inside the call or later.
///
/// `job` is borrowed: it is valid until the call returns. To finish it later, from any thread, take a reference with
/// `isr_render_ref` before returning and give it back with `isr_render_unref` after finishing. A job that nobody finished and
/// nobody holds is a failure; so it is no error to return early, and none to be late.
/// Called on the cache's threads, concurrently, with no lock held; may call back into the cache. Must not throw.
pub type isr_render_fn = Option<unsafe extern "C" fn(user_data: *mut c_void, job: *mut isr_render)>;

/// One render in progress. Its views and accessors work as long as the handle, also after it was finished.
pub struct isr_render {
    _opaque: (),
}
handle!(isr_render, Job, b"isrrendr");

/// Why a page is rendered.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum isr_reason {
    /// No render: the handle was wrong.
    None = 0,
    /// Nothing was stored (also drafts, and pages that may not be stored).
    Miss = 1,
    /// The stored page is stale, or will be soon (`early_refresh`); nobody waits.
    Stale = 2,
    /// The stored page is expired.
    Expired = 3,
    /// `isr_regenerate` was called.
    Regenerate = 4,
    /// `isr_prerender` was called.
    Prerender = 5,
}

impl From<Reason> for isr_reason {
    fn from(reason: Reason) -> isr_reason {
        match reason {
            Reason::Miss => isr_reason::Miss,
            Reason::Stale => isr_reason::Stale,
            Reason::Expired => isr_reason::Expired,
            Reason::Regenerate => isr_reason::Regenerate,
            Reason::Prerender => isr_reason::Prerender,
        }
    }
}

const REASONS: [&CStr; 6] = [c"none", c"miss", c"stale", c"expired", c"regenerate", c"prerender"];

/// The program's render callback as the core calls it.
pub(crate) struct Callback {
    render: unsafe extern "C" fn(*mut c_void, *mut isr_render),
    user_data: UserData,
    /// For `isr_render_data`; weak, so that a route does not keep its own cache open.
    cache: WeakCache,
}

impl Callback {
    pub(crate) fn new(
        render: unsafe extern "C" fn(*mut c_void, *mut isr_render),
        user_data: UserData,
        cache: WeakCache,
    ) -> Callback {
        Callback { render, user_data, cache }
    }
}

impl Renderer for Callback {
    fn render(&self, job: RenderJob) {
        let job: Owned<isr_render> = Owned::new(Job::new(job, self.cache.clone()));
        // SAFETY: the header demands a function that may be called with these, on any thread.
        aside(|| unsafe { (self.render)(self.user_data.pointer(), job.as_ptr()) });
    }
}

/// What a handle keeps: all that its accessors show, so that they work after the job itself is gone.
pub(crate) struct Job {
    open: Mutex<Option<RenderJob>>,
    context: Owned<isr_context>,
    within: Context,
    cache: WeakCache,
    path: String,
    pattern: String,
    params: Named,
    variant: Named,
    reason: Reason,
    draft: bool,
    previous: Option<Owned<isr_page>>,
}

impl Job {
    fn new(job: RenderJob, cache: WeakCache) -> Job {
        let within = job.context();
        Job {
            context: Owned::new(within.clone()),
            within,
            cache,
            path: job.path().to_string(),
            pattern: job.pattern().to_string(),
            params: Named::of_params(job.params()),
            variant: Named::of_variant(job.variant()),
            reason: job.reason(),
            draft: job.is_draft(),
            previous: job.previous().map(|page| given::page(page.clone())),
            open: Mutex::new(Some(job)),
        }
    }

    fn take(&self) -> Result<RenderJob, Error> {
        locked(&self.open).take().ok_or_else(|| {
            Error::new(
                ErrorKind::Finished,
                format!("the render of \"{}\" was finished by an earlier call", self.path),
            )
        })
    }

    pub(crate) fn within(&self) -> &Context {
        &self.within
    }

    pub(crate) fn cache(&self) -> Result<isr_core::Cache, Error> {
        self.within.check_process()?;
        self.cache
            .upgrade()
            .ok_or_else(|| Error::new(ErrorKind::Closed, "the cache of this render is closed"))
    }
}

/// Adds a reference and gives the job back; NULL for a wrong handle.
///
/// Ownership: give each reference back with `isr_render_unref`.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_render_ref(job: *const isr_render) -> *mut isr_render {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(std::ptr::null_mut(), || unsafe { acquire(job) })
}

/// Gives a reference back; the last one of an unfinished job makes it a failure. NULL is fine.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_render_unref(job: *mut isr_render) -> isr_status {
    // SAFETY: the header demands NULL or a reference that the caller owns.
    guard::status(|| unsafe { release(job) })
}

/// Finishes the render with a page.
///
/// Ownership: `result` is consumed, also where this fails.
/// Errors: `ISR_STATUS_FINISHED` if the render was over (finished before, timed out, closed): the page is thrown away.
/// `ISR_STATUS_RENDER` if the page is invalid: the render has then failed with that error. `ISR_STATUS_INVALID_ARGUMENT` for a
/// wrong `job` or `result`: then a job is still to be finished.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_render_complete(
    job: *const isr_render,
    result: *mut isr_result,
) -> isr_status {
    guard::status(|| {
        // SAFETY: the header demands NULL or a handle that the caller owns. Taken first: it is consumed on every path.
        let page = unsafe { result::take(result) };
        // SAFETY: the header demands NULL or a live handle.
        let job = unsafe { get(job) }?;
        let page = page?;
        job.take()?.complete(page)
    })
}

/// Finishes the render with a failure: the last good page stays, and who waits for a missing one gets `ISR_STATUS_RENDER` with this
/// message.
///
/// Errors: `ISR_STATUS_FINISHED` if the render was over; `ISR_STATUS_INVALID_ARGUMENT` for a wrong `job`. A message that is not
/// UTF-8 is taken with replacement characters.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_render_fail(job: *const isr_render, message: isr_str) -> isr_status {
    guard::status(|| {
        // SAFETY: the header demands NULL or a live handle.
        let job = unsafe { get(job) }?;
        // SAFETY: the header demands a view of valid memory.
        let error = unsafe { failure("render", message) }?;
        job.take()?.fail(error)
    })
}

/// A failure of a `job` with the program's message, whatever bytes it has: a failure must not be lost over its text.
///
/// # Safety
/// `message` is a view of valid memory.
pub(crate) unsafe fn failure(job: &str, message: isr_str) -> Result<Error, Error> {
    // SAFETY: the caller's promise.
    let text = unsafe { types::bytes("message", message.data.cast(), message.len) }?;
    if text.is_empty() {
        return Ok(Error::render(format!("the {job} failed without a message"), None));
    }
    Ok(Error::render(String::from_utf8_lossy(text), None))
}

/// The canonical path.
///
/// Ownership: borrowed from the job. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_render_path(job: *const isr_render) -> isr_str {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(isr_str::NONE, || Ok(isr_str::of(&unsafe { get(job) }?.path)))
}

/// The route's pattern as it was added.
///
/// Ownership: borrowed from the job. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_render_pattern(job: *const isr_render) -> isr_str {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(isr_str::NONE, || Ok(isr_str::of(&unsafe { get(job) }?.pattern)))
}

/// The decoded value of the parameter `[name]`; `{NULL, 0}` where the pattern has no such name, and for a catch-all, whose values
/// `isr_render_param_values` gives.
///
/// Ownership: borrowed from the job. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_render_param(job: *const isr_render, name: *const c_char) -> isr_str {
    // SAFETY: the same contract.
    unsafe { one(job, name, |job| &job.params) }
}

/// How many parameters the pattern has.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_render_param_count(job: *const isr_render) -> usize {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(0, || Ok(unsafe { get(job) }?.params.len()))
}

/// The name of the parameter at `index`, in the order of names; `{NULL, 0}` beyond the last.
///
/// Ownership: borrowed from the job. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_render_param_name(job: *const isr_render, index: usize) -> isr_str {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(isr_str::NONE, || unsafe { get(job) }?.params.name_at(index))
}

/// The decoded values of a parameter: one of `[name]`, one for each segment of a catch-all.
///
/// `out_count` gets their number: 0 for an empty catch-all, and where the pattern has no such name (then the result is NULL).
/// `out_is_list` (may be NULL) gets whether it is a catch-all.
/// Ownership: borrowed from the job. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_render_param_values(
    job: *const isr_render,
    name: *const c_char,
    out_count: *mut usize,
    out_is_list: *mut bool,
) -> *const isr_str {
    // SAFETY: the same contract.
    unsafe { all(job, name, out_count, out_is_list, |job| &job.params) }
}

/// The value of this name in the variant; `{NULL, 0}` where it has none, or more than one (`isr_render_variant_values`).
///
/// Ownership: borrowed from the job. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_render_variant(
    job: *const isr_render,
    name: *const c_char,
) -> isr_str {
    // SAFETY: the same contract.
    unsafe { one(job, name, |job| &job.variant) }
}

/// How many names the variant has: explicit ones, and query values that the route lists.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_render_variant_count(job: *const isr_render) -> usize {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(0, || Ok(unsafe { get(job) }?.variant.len()))
}

/// The name at `index` in the variant, in the order of names; `{NULL, 0}` beyond the last.
///
/// Ownership: borrowed from the job. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_render_variant_name(job: *const isr_render, index: usize) -> isr_str {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(isr_str::NONE, || unsafe { get(job) }?.variant.name_at(index))
}

/// The values of a name in the variant: more than one where the request repeats a query name.
///
/// `out_count` gets their number, 0 where the variant has no such name (then the result is NULL). `out_is_list` (may be NULL) gets
/// whether there is more than one.
/// Ownership: borrowed from the job. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_render_variant_values(
    job: *const isr_render,
    name: *const c_char,
    out_count: *mut usize,
    out_is_list: *mut bool,
) -> *const isr_str {
    // SAFETY: the same contract.
    unsafe { all(job, name, out_count, out_is_list, |job| &job.variant) }
}

/// Why the page is rendered.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_render_reason(job: *const isr_render) -> isr_reason {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(isr_reason::None, || Ok(unsafe { get(job) }?.reason.into()))
}

/// The lower-case name of an `isr_reason`; `unknown` for a number that is none.
///
/// Ownership: static. Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn isr_reason_name(reason: i32) -> *const c_char {
    name_of(&REASONS, reason)
}

/// The stored page that the result may replace; NULL where nothing is stored.
///
/// Ownership: borrowed from the job; `isr_page_ref` keeps it longer.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_render_previous(job: *const isr_render) -> *const isr_page {
    guard::value(std::ptr::null(), || {
        // SAFETY: the header demands NULL or a live handle.
        let job = unsafe { get(job) }?;
        Ok(job.previous.as_ref().map_or(std::ptr::null(), |page| page.as_ptr().cast_const()))
    })
}

/// Whether this is a draft: rendered live for one request and not stored.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_render_is_draft(job: *const isr_render) -> bool {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(false, || Ok(unsafe { get(job) }?.draft))
}

/// Whether nobody waits for the result any more: it timed out, or the cache is closed. True for a wrong handle.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_render_is_cancelled(job: *const isr_render) -> bool {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(true, || Ok(unsafe { get(job) }?.within.is_cancelled()))
}

/// The render as the place from which the cache is asked. Needed on other threads than the one that runs the callback.
///
/// Ownership: borrowed from the job. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_render_context(job: *const isr_render) -> *const isr_context {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(std::ptr::null(), || Ok(unsafe { get(job) }?.context.as_ptr().cast_const()))
}

/// # Safety
/// `job` is NULL or a live handle, `name` NULL or NUL-terminated.
unsafe fn one(job: *const isr_render, name: *const c_char, of: fn(&Job) -> &Named) -> isr_str {
    guard::value(isr_str::NONE, || {
        // SAFETY: the caller's promise.
        let job = unsafe { get(job) }?;
        // SAFETY: the caller's promise.
        let name = unsafe { types::name("name", name) }?;
        Ok(of(job).one(name)?.unwrap_or(isr_str::NONE))
    })
}

/// # Safety
/// As for [`one`]; the others are NULL or places for the results.
unsafe fn all(
    job: *const isr_render,
    name: *const c_char,
    out_count: *mut usize,
    out_is_list: *mut bool,
    of: fn(&Job) -> &Named,
) -> *const isr_str {
    guard::value(std::ptr::null(), || {
        // SAFETY: the caller's promise.
        let out_count = unsafe { Out::new("out_count", out_count) }?;
        // SAFETY: the caller's promise.
        let out_is_list = unsafe { Out::maybe("out_is_list", out_is_list) }?;
        // SAFETY: the caller's promise.
        let job = unsafe { get(job) }?;
        // SAFETY: the caller's promise.
        let name = unsafe { types::name("name", name) }?;
        let found = of(job).all(name);
        out_count.write(found.map_or(0, |f| f.0.len()));
        out_is_list.into_iter().for_each(|out| out.write(found.is_some_and(|f| !f.1)));
        Ok(found.map_or(std::ptr::null(), |f| f.0.as_ptr()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_those_of_the_core() {
        use Reason::{Expired, Miss, Prerender, Regenerate, Stale};
        for reason in [Miss, Stale, Expired, Regenerate, Prerender] {
            assert_eq!(isr_reason::from(reason) as i32, reason as i32);
            assert_eq!(REASONS[reason as usize].to_str(), Ok(reason.name()));
        }
    }
}
