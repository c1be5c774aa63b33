//! Data entries: stored values that renders read.

use std::ffi::c_void;
use std::sync::Arc;

use isr_core::{Cache, Context, DataAnswer, DataOptions, Error, ErrorKind};

use crate::answer::isr_cache_word;
use crate::cache::isr_cache;
use crate::callback::{UserData, isr_free_fn};
use crate::context::isr_context;
use crate::guard;
use crate::handle::{acquire, get, handle, open, release};
use crate::load::{self, isr_load, isr_load_fn};
use crate::render::isr_render;
use crate::request::within;
use crate::status::{invalid, isr_status, tell};
use crate::types::{self, Out, isr_bytes, isr_str, lifetime};

/// One read of a data entry. Start from `ISR_DATA_REQUEST_INIT`, which sets `struct_size`, and `revalidate` to never.
///
/// Ownership: all borrowed, and read before the call returns.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct isr_data_request {
    /// `sizeof(isr_data_request)`.
    pub struct_size: usize,
    /// The key: a list of texts.
    pub key: *const isr_str,
    /// The number of texts in `key`.
    pub key_count: usize,
    /// Tags of the entry that a load stores. NULL where there are none.
    pub tags: *const isr_str,
    /// The number of tags.
    pub tag_count: usize,
    /// Seconds until the entry is stale, or `ISR_NEVER`; 0 is not stored.
    pub revalidate: f64,
    /// The render or load from which it is read. NULL: that of the calling thread, if it is in one. `isr_render_data` and
    /// `isr_load_data` set it by themselves.
    pub within: *const isr_context,
}

/// A data entry's value and how it came about. Immutable and counted.
pub struct isr_data {
    _opaque: (),
}
handle!(isr_data, DataAnswer, b"isr-data");

/// Called once with a data entry: at once on the asking thread where no waiting is needed, else on any thread.
///
/// `data`: owned by the callee, who gives it back with `isr_data_unref`; NULL where `status` is a failure (its text is
/// `isr_last_error`; read it first: the next call that fails in here replaces it). It must not block for long, and must not throw.
pub type isr_data_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, status: isr_status, data: *mut isr_data)>;

/// Reads a data entry, inside or outside of a render, and blocks where it must wait.
///
/// `load` runs on this thread if this call is the first to ask, on a thread of the cache in the background: `user_data` must be
/// valid until `free_user_data` (may be NULL) is called with it, exactly once, when no load runs any more, or before this returns a
/// failure.
/// Ownership: `*out` belongs to the caller, who gives it back with `isr_data_unref`.
/// Errors: the load's failure; `ISR_STATUS_INVALID_ARGUMENT` for a wrong key or option, and for a load that would wait for itself;
/// `ISR_STATUS_INVALID_TAG`, `ISR_STATUS_BUSY`, `ISR_STATUS_CLOSED`.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_cache_data(
    cache: *const isr_cache,
    request: *const isr_data_request,
    load: isr_load_fn,
    user_data: *mut c_void,
    free_user_data: isr_free_fn,
    out: *mut *mut isr_data,
) -> isr_status {
    // SAFETY: the header demands a free function that fits.
    let user_data = unsafe { UserData::new(user_data, free_user_data) };
    // SAFETY: the header demands NULL or live handles, and valid members.
    guard::status(|| unsafe {
        read(|| Ok((get(cache)?.clone(), None)), request, load, user_data, out)
    })
}

/// Reads a data entry for a render: its tags and its `revalidate` count for the page. Otherwise as `isr_cache_data`.
///
/// Threads: any, while the job is unfinished.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_render_data(
    job: *const isr_render,
    request: *const isr_data_request,
    load: isr_load_fn,
    user_data: *mut c_void,
    free_user_data: isr_free_fn,
    out: *mut *mut isr_data,
) -> isr_status {
    // SAFETY: the header demands a free function that fits.
    let user_data = unsafe { UserData::new(user_data, free_user_data) };
    // SAFETY: the header demands NULL or live handles, and valid members.
    guard::status(|| unsafe { read(|| of_render(job), request, load, user_data, out) })
}

/// Reads a data entry for a load: its tags and its `revalidate` count for the entry that is loaded. Otherwise as `isr_cache_data`.
///
/// Threads: any, while the job is unfinished.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_load_data(
    job: *const isr_load,
    request: *const isr_data_request,
    load: isr_load_fn,
    user_data: *mut c_void,
    free_user_data: isr_free_fn,
    out: *mut *mut isr_data,
) -> isr_status {
    // SAFETY: the header demands a free function that fits.
    let user_data = unsafe { UserData::new(user_data, free_user_data) };
    // SAFETY: the header demands NULL or live handles, and valid members.
    guard::status(|| unsafe { read(|| of_load(job), request, load, user_data, out) })
}

/// Reads a data entry as `isr_cache_data`, by a callback. Never blocks, unless `load` does.
///
/// `done` is called exactly once where this returns `ISR_STATUS_OK`, never where it returns anything else. `load_user_data` goes to
/// `load`, `done_user_data` to `done`; each is freed exactly once.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_cache_data_async(
    cache: *const isr_cache,
    request: *const isr_data_request,
    load: isr_load_fn,
    load_user_data: *mut c_void,
    free_load_user_data: isr_free_fn,
    done: isr_data_fn,
    done_user_data: *mut c_void,
    free_done_user_data: isr_free_fn,
) -> isr_status {
    // SAFETY: the header demands a free function that fits.
    let loading = unsafe { UserData::new(load_user_data, free_load_user_data) };
    // SAFETY: the header demands a free function that fits.
    let finishing = unsafe { UserData::new(done_user_data, free_done_user_data) };
    // SAFETY: the header demands NULL or live handles, and valid members.
    guard::status(|| unsafe {
        start(|| Ok((get(cache)?.clone(), None)), request, load, loading, done, finishing)
    })
}

/// Reads a data entry for a render as `isr_render_data`, by a callback as `isr_cache_data_async`.
///
/// Threads: any, while the job is unfinished.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_render_data_async(
    job: *const isr_render,
    request: *const isr_data_request,
    load: isr_load_fn,
    load_user_data: *mut c_void,
    free_load_user_data: isr_free_fn,
    done: isr_data_fn,
    done_user_data: *mut c_void,
    free_done_user_data: isr_free_fn,
) -> isr_status {
    // SAFETY: the header demands a free function that fits.
    let loading = unsafe { UserData::new(load_user_data, free_load_user_data) };
    // SAFETY: the header demands a free function that fits.
    let finishing = unsafe { UserData::new(done_user_data, free_done_user_data) };
    // SAFETY: the header demands NULL or live handles, and valid members.
    guard::status(|| unsafe { start(|| of_render(job), request, load, loading, done, finishing) })
}

/// Reads a data entry for a load as `isr_load_data`, by a callback as `isr_cache_data_async`.
///
/// Threads: any, while the job is unfinished.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_load_data_async(
    job: *const isr_load,
    request: *const isr_data_request,
    load: isr_load_fn,
    load_user_data: *mut c_void,
    free_load_user_data: isr_free_fn,
    done: isr_data_fn,
    done_user_data: *mut c_void,
    free_done_user_data: isr_free_fn,
) -> isr_status {
    // SAFETY: the header demands a free function that fits.
    let loading = unsafe { UserData::new(load_user_data, free_load_user_data) };
    // SAFETY: the header demands a free function that fits.
    let finishing = unsafe { UserData::new(done_user_data, free_done_user_data) };
    // SAFETY: the header demands NULL or live handles, and valid members.
    guard::status(|| unsafe { start(|| of_load(job), request, load, loading, done, finishing) })
}

/// The value.
///
/// Ownership: borrowed from the handle. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_data_value(data: *const isr_data) -> isr_bytes {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(isr_bytes::NONE, || Ok(isr_bytes::of(unsafe { get(data) }?.value())))
}

/// How it came about; `ISR_CACHE_WORD_BYPASS` for a value that is not stored.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_data_cache(data: *const isr_data) -> isr_cache_word {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(isr_cache_word::None, || Ok(unsafe { get(data) }?.cache().into()))
}

/// Adds a reference and gives the entry back; NULL for a wrong handle.
///
/// Ownership: give each reference back with `isr_data_unref`.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_data_ref(data: *const isr_data) -> *mut isr_data {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(std::ptr::null_mut(), || unsafe { acquire(data) })
}

/// Gives a reference back. NULL is fine.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_data_unref(data: *mut isr_data) -> isr_status {
    // SAFETY: the header demands NULL or a reference that the caller owns.
    guard::status(|| unsafe { release(data) })
}

/// The cache to ask, and the context that a job stands for.
type Asked = Result<(Cache, Option<Context>), Error>;

/// # Safety
/// `job` is NULL or a live handle.
unsafe fn of_render(job: *const isr_render) -> Asked {
    // SAFETY: the caller's promise.
    let job = unsafe { get(job) }?;
    Ok((job.cache()?, Some(job.within().clone())))
}

/// # Safety
/// `job` is NULL or a live handle.
unsafe fn of_load(job: *const isr_load) -> Asked {
    // SAFETY: the caller's promise.
    let job = unsafe { get(job) }?;
    Ok((job.cache()?, Some(job.within().clone())))
}

/// # Safety
/// As the header demands of `isr_cache_data`.
unsafe fn read(
    asked: impl FnOnce() -> Asked,
    request: *const isr_data_request,
    load: isr_load_fn,
    user_data: UserData,
    out: *mut *mut isr_data,
) -> Result<(), Error> {
    // SAFETY: the caller's promise.
    let out = unsafe { Out::new("out", out) }?;
    let (cache, context) = asked()?;
    // SAFETY: the caller's promise.
    let (key, options, named) = unsafe { parts(request) }?;
    let loader = Arc::new(load::Callback::new(load, user_data, &cache)?);
    let context = context.as_ref().or(named);
    out.write(open(cache.data(context, &key, &options, loader)?));
    Ok(())
}

/// # Safety
/// As the header demands of `isr_cache_data_async`.
unsafe fn start(
    asked: impl FnOnce() -> Asked,
    request: *const isr_data_request,
    load: isr_load_fn,
    load_user_data: UserData,
    done: isr_data_fn,
    done_user_data: UserData,
) -> Result<(), Error> {
    let (cache, context) = asked()?;
    // SAFETY: the caller's promise.
    let (key, options, named) = unsafe { parts(request) }?;
    let loader = Arc::new(load::Callback::new(load, load_user_data, &cache)?);
    let done = done.ok_or_else(|| invalid("done must not be NULL"))?;
    let context = context.as_ref().or(named);
    let then = move |outcome: Result<DataAnswer, Error>| {
        tell(outcome.map(open), |status, data| {
            // SAFETY: the header demands a function that may be called once with these.
            unsafe { done(done_user_data.pointer(), status, data) };
        });
    };
    cache.data_then(context, &key, &options, loader, Box::new(then));
    Ok(())
}

type Parts<'a> = (Vec<&'a str>, DataOptions, Option<&'a Context>);

/// # Safety
/// `request` is NULL, or a request whose members are valid for `'a`.
unsafe fn parts<'a>(request: *const isr_data_request) -> Result<Parts<'a>, Error> {
    // SAFETY: the caller's promise.
    let request = unsafe { types::sized("isr_data_request", request) }?;
    // SAFETY: the caller's promise.
    let key =
        unsafe { types::texts(ErrorKind::InvalidArgument, "key", request.key, request.key_count) }?;
    // SAFETY: the caller's promise.
    let tags =
        unsafe { types::texts(ErrorKind::InvalidTag, "tag", request.tags, request.tag_count) }?;
    let options = DataOptions {
        tags: tags.into_iter().map(str::to_string).collect(),
        revalidate: lifetime("revalidate", request.revalidate)?,
    };
    // SAFETY: the caller's promise.
    Ok((key, options, unsafe { within(request.within) }?))
}
