//! Options of a cache, set by name.

use std::ffi::{c_char, c_void};
use std::sync::{Arc, Mutex};

use isr_core::{Error, ErrorKind, OnTrouble, OptionValue, Options};

use crate::callback::{UserData, isr_free_fn};
use crate::clock::isr_clock;
use crate::guard;
use crate::handle::{get, handle, open, release};
use crate::lock::locked;
use crate::status::{aside, isr_status};
use crate::types::{self, isr_str};

/// Told of trouble with the directory of a cache: once of each kind. The cache goes on with what is in memory.
///
/// `status`: `ISR_STATUS_STORE`. `message`: what failed; borrowed until the call returns.
/// Called on any thread: one of the cache's, or one that calls it, also before `isr_cache_open` returns; with no lock held. Must not throw,
/// and not block for long: whoever met the trouble waits for it.
pub type isr_trouble_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, status: isr_status, message: isr_str)>;

/// Options of a cache. `isr_cache_open` copies them.
pub struct isr_options {
    _opaque: (),
}
handle!(isr_options, Mutex<Options>, b"isroptns");

/// Makes options with every default.
///
/// Ownership: free them with `isr_options_free`.
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn isr_options_new() -> *mut isr_options {
    guard::value(std::ptr::null_mut(), || Ok(open(Mutex::new(Options::default()))))
}

/// Sets an option that is a number of seconds, bytes or things.
///
/// Seconds: `default_revalidate` (default never), `default_expire` (a year), `default_timeout` (60), `stale_if_error` (no limit); with a
/// fraction, and `ISR_NEVER` is never, or no limit. Bytes: `max_bytes` (256 MiB), `max_entry_bytes` (16 MiB), `max_disk_bytes` (16 GiB).
/// Whole numbers: `max_queue` (1000), `threads` (8; more than 1024 are 1024), `max_variants` (64), `max_invalidations` (100,000);
/// from 1, or `ISR_NEVER` for no limit: `max_regenerations` (three quarters of `threads`), `max_regenerations_per_tag` (no limit). A part
/// from 0 to 1: `backoff_jitter` (0.1). From 0 to 100: `early_refresh` (0: off). 0 or 1: `durable` (0).
/// Errors: `ISR_STATUS_INVALID_ARGUMENT` for an unknown name, a wrong type or a value out of its range. `storable_statuses` and
/// the length of `draft_secret` are checked by `isr_cache_open`.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_options_set_number(
    options: *mut isr_options,
    name: *const c_char,
    value: f64,
) -> isr_status {
    let value =
        if value == f64::INFINITY { OptionValue::Never } else { OptionValue::Number(value) };
    // SAFETY: the same contract.
    unsafe { set(options, name, || Ok(value)) }
}

/// Sets an option to never, or no limit: `isr_options_set_number` with `ISR_NEVER`.
///
/// Errors and threads: as there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_options_set_never(
    options: *mut isr_options,
    name: *const c_char,
) -> isr_status {
    // SAFETY: the same contract.
    unsafe { set(options, name, || Ok(OptionValue::Never)) }
}

/// Sets an option that is a text: `deployment` (default empty), `directory` (default none: memory alone), `draft_secret` (at least 16
/// bytes; default random, the same for all who share a directory), `name` (default none: a cache of one's own; all that open a name in
/// one process share one cache, see `isr_cache_open`).
///
/// Errors and threads: as for `isr_options_set_number`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_options_set_text(
    options: *mut isr_options,
    name: *const c_char,
    value: isr_str,
) -> isr_status {
    let text = || {
        // SAFETY: the header demands a view of valid memory.
        let text = unsafe { types::text(ErrorKind::InvalidArgument, "value", value) }?;
        Ok(OptionValue::Text(text.to_string()))
    };
    // SAFETY: the same contract.
    unsafe { set(options, name, text) }
}

/// Sets an option that is a list of texts: `precompress` (`br`, `gzip`, `zstd`; default none), `storable_statuses` (default `200`, `203`,
/// `301`, `302`, `303`, `307`, `308`, `404`, `410`).
///
/// Errors and threads: as for `isr_options_set_number`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_options_set_texts(
    options: *mut isr_options,
    name: *const c_char,
    values: *const isr_str,
    count: usize,
) -> isr_status {
    let list = || {
        // SAFETY: the header demands views of valid memory.
        let list = unsafe { types::texts(ErrorKind::InvalidArgument, "values", values, count) }?;
        Ok(OptionValue::Texts(list.into_iter().map(str::to_string).collect()))
    };
    // SAFETY: the same contract.
    unsafe { set(options, name, list) }
}

/// Makes the cache read time from this clock. NULL: the system's.
///
/// Ownership: the clock stays the caller's; the cache keeps what it needs of it.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_options_set_clock(
    options: *mut isr_options,
    clock: *const isr_clock,
) -> isr_status {
    guard::status(|| {
        // SAFETY: the header demands NULL or a live handle.
        let options = unsafe { get(options) }?;
        let clock = if clock.is_null() {
            isr_core::Clock::system()
        } else {
            // SAFETY: the header demands NULL or a live handle.
            unsafe { get(clock) }?.clone().into()
        };
        locked(options).clock = clock;
        Ok(())
    })
}

/// Makes a cache tell this function of trouble with its directory. Default, and NULL: nobody; the counter `disk_errors` grows anyhow.
///
/// Ownership: `free_user_data` (may be NULL) is called exactly once with `user_data`: when these options are freed or have been given another
/// function, and every cache that was opened with this one is closed and freed.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_options_set_on_trouble(
    options: *mut isr_options,
    on_trouble: isr_trouble_fn,
    user_data: *mut c_void,
    free_user_data: isr_free_fn,
) -> isr_status {
    // SAFETY: the header demands a free function that fits.
    let user_data = unsafe { UserData::new(user_data, free_user_data) };
    guard::status(|| {
        // SAFETY: the header demands NULL or a live handle.
        let options = unsafe { get(options) }?;
        let told = on_trouble.map(|call| {
            OnTrouble(Arc::new(move |error: &Error| {
                let (status, message) = (isr_status::of(error), isr_str::of(error.message()));
                // SAFETY: the header demands a function that may be called with these.
                aside(|| unsafe { call(user_data.pointer(), status, message) });
            }))
        });
        // What was there is freed by the program's own function, which may use these options: not with the lock held.
        let before = std::mem::replace(&mut locked(options).on_trouble, told);
        drop(before);
        Ok(())
    })
}

/// Frees the options. NULL is fine.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_options_free(options: *mut isr_options) {
    // SAFETY: the header demands NULL or a handle that the caller owns.
    guard::value((), || unsafe { release(options) });
}

/// # Safety
/// `options` is NULL or a live handle, `name` NULL or NUL-terminated.
unsafe fn set(
    options: *mut isr_options,
    name: *const c_char,
    value: impl FnOnce() -> Result<OptionValue, Error>,
) -> isr_status {
    guard::status(|| {
        // SAFETY: the caller's promise.
        let options = unsafe { get(options) }?;
        // SAFETY: the caller's promise.
        let name = unsafe { types::name("name", name) }?;
        locked(options).set(name, value()?)
    })
}
