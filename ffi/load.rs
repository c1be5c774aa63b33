//! Load callbacks of data entries and their jobs.

use std::ffi::c_void;
use std::sync::Mutex;

use isr_core::{Cache, Context, Error, ErrorKind, LoadJob, Loader, WeakCache};

use crate::callback::UserData;
use crate::context::isr_context;
use crate::guard;
use crate::handle::{Owned, acquire, get, handle, release};
use crate::lock::locked;
use crate::render::failure;
use crate::status::{aside, invalid, isr_status};
use crate::types::{self, isr_str};

/// Loads the value of a data entry: finish `job` with `isr_load_complete` or `isr_load_fail`, inside the call or later.
///
/// `job` is borrowed, as in `isr_render_fn`: take a reference with `isr_load_ref` to finish it later. A job that nobody finished and
/// nobody holds is a failure.
/// Called on the thread that asks, or on one of the cache's, concurrently, with no lock held; may call back into the cache. Must not
/// throw.
pub type isr_load_fn = Option<unsafe extern "C" fn(user_data: *mut c_void, job: *mut isr_load)>;

/// One load in progress. Its views and accessors work as long as the handle, also after it was finished.
pub struct isr_load {
    _opaque: (),
}
handle!(isr_load, Job, b"isr-load");

/// The program's load callback as the core calls it.
pub(crate) struct Callback {
    load: unsafe extern "C" fn(*mut c_void, *mut isr_load),
    user_data: UserData,
    cache: WeakCache,
}

impl Callback {
    pub(crate) fn new(
        load: isr_load_fn,
        user_data: UserData,
        cache: &Cache,
    ) -> Result<Callback, Error> {
        let load = load.ok_or_else(|| invalid("load must not be NULL"))?;
        Ok(Callback { load, user_data, cache: cache.downgrade() })
    }
}

impl Loader for Callback {
    fn load(&self, job: LoadJob) {
        let job: Owned<isr_load> = Owned::new(Job::new(job, self.cache.clone()));
        // SAFETY: the header demands a function that may be called with these, on any thread.
        aside(|| unsafe { (self.load)(self.user_data.pointer(), job.as_ptr()) });
    }
}

/// What a handle keeps, so that its accessors work after the job itself is gone.
pub(crate) struct Job {
    open: Mutex<Option<LoadJob>>,
    context: Owned<isr_context>,
    within: Context,
    cache: WeakCache,
    views: Vec<isr_str>,
    key: Vec<String>,
}

impl Job {
    fn new(job: LoadJob, cache: WeakCache) -> Job {
        let within = job.context();
        let key = job.key().to_vec();
        Job {
            context: Owned::new(within.clone()),
            within,
            cache,
            views: key.iter().map(|part| isr_str::of(part)).collect(),
            key,
            open: Mutex::new(Some(job)),
        }
    }

    fn take(&self) -> Result<LoadJob, Error> {
        locked(&self.open).take().ok_or_else(|| {
            let text = format!("the load of {:?} was finished by an earlier call", self.key);
            Error::new(ErrorKind::Finished, text)
        })
    }

    pub(crate) fn within(&self) -> &Context {
        &self.within
    }

    pub(crate) fn cache(&self) -> Result<Cache, Error> {
        self.within.check_process()?;
        self.cache
            .upgrade()
            .ok_or_else(|| Error::new(ErrorKind::Closed, "the cache of this load is closed"))
    }
}

/// Adds a reference and gives the job back; NULL for a wrong handle.
///
/// Ownership: give each reference back with `isr_load_unref`.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_load_ref(job: *const isr_load) -> *mut isr_load {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(std::ptr::null_mut(), || unsafe { acquire(job) })
}

/// Gives a reference back; the last one of an unfinished job makes it a failure. NULL is fine.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_load_unref(job: *mut isr_load) -> isr_status {
    // SAFETY: the header demands NULL or a reference that the caller owns.
    guard::status(|| unsafe { release(job) })
}

/// Finishes the load with a value, which is copied.
///
/// Errors: `ISR_STATUS_FINISHED` if the load was over; `ISR_STATUS_RENDER` if tags read on the way are too many: the load has then
/// failed. `ISR_STATUS_INVALID_ARGUMENT` for a wrong `job` or value: then a job is still to be finished.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_load_complete(
    job: *const isr_load,
    value: *const c_void,
    len: usize,
) -> isr_status {
    guard::status(|| {
        // SAFETY: the header demands NULL or a live handle.
        let job = unsafe { get(job) }?;
        let mut bytes = Vec::new();
        // SAFETY: the header demands NULL or readable bytes.
        unsafe { types::append(&mut bytes, "value", value, len) }?;
        job.take()?.complete(bytes)
    })
}

/// Finishes the load with a failure.
///
/// Errors: `ISR_STATUS_FINISHED` if the load was over; `ISR_STATUS_INVALID_ARGUMENT` for a wrong `job`. A message that is not
/// UTF-8 is taken with replacement characters.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_load_fail(job: *const isr_load, message: isr_str) -> isr_status {
    guard::status(|| {
        // SAFETY: the header demands NULL or a live handle.
        let job = unsafe { get(job) }?;
        // SAFETY: the header demands a view of valid memory.
        let error = unsafe { failure("load", message) }?;
        job.take()?.fail(error)
    })
}

/// How many texts the entry's key has.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_load_key_count(job: *const isr_load) -> usize {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(0, || Ok(unsafe { get(job) }?.views.len()))
}

/// The text at `index` of the entry's key; `{NULL, 0}` beyond the last.
///
/// Ownership: borrowed from the job. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_load_key_at(job: *const isr_load, index: usize) -> isr_str {
    guard::value(isr_str::NONE, || {
        // SAFETY: the header demands NULL or a live handle.
        let job = unsafe { get(job) }?;
        types::at("text in the key", job.views.iter(), index).copied()
    })
}

/// Whether nobody waits for the value any more. True for a wrong handle.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_load_is_cancelled(job: *const isr_load) -> bool {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(true, || Ok(unsafe { get(job) }?.within.is_cancelled()))
}

/// The load as the place from which the cache is asked. Needed on other threads than the one that runs the callback.
///
/// Ownership: borrowed from the job. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_load_context(job: *const isr_load) -> *const isr_context {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(std::ptr::null(), || Ok(unsafe { get(job) }?.context.as_ptr().cast_const()))
}
