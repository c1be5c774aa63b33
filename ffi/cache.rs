//! The cache: open, invalidate, look inside, close.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::thread::Thread;
use std::time::Duration;

use isr_core::{Cache, ErrorKind, Lifetime, Options, PathType, TagOptions};

use crate::guard;
use crate::handle::{get, handle, open, release};
use crate::lock::locked;
use crate::options::isr_options;
use crate::status::{invalid, isr_status};
use crate::types::{self, Out, isr_str, lifetime};
use crate::version::check_abi;

/// A cache of rendered pages.
pub struct isr_cache {
    _opaque: (),
}
handle!(isr_cache, Cache, b"isrcache");

/// Which pages `isr_revalidate_path` covers.
#[repr(i32)]
pub enum isr_path_type {
    /// The page of a path. A pattern needs one of the others.
    Default = 0,
    /// The page of a path, or every page of a route's pattern.
    Page = 1,
    /// Every page whose path or route is at or below; `/` is all.
    Layout = 2,
}

/// Opens a cache. Its threads start with the first render.
///
/// `abi_version`: `ISR_ABI_VERSION`, so that a program and a library that do not fit are noticed. `options`: NULL for the defaults.
/// Ownership: `options` are copied. Close the cache with `isr_cache_close`, free it with `isr_cache_free`.
/// With a `name` that is open in this process it is one more *owner* of that cache: they share memory, renders, invalidations and
/// counters. Each adds its own routes, those of the others with the same options. A callback runs for the owner that asks where it has
/// one, else for another. When an owner closes, its callbacks and requests end with it; others who wait for one of these have another
/// owner's begin. The cache closes with the last owner.
///
/// Errors: `ISR_STATUS_INVALID_ARGUMENT` for an option out of its range, `ISR_STATUS_CONFLICT` for one that is not as another owner
/// gave it.
/// Threads: any. Fork: parent and child go on with it; the child's memory, counters and threads are its own, and empty at first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_cache_open(
    abi_version: u32,
    options: *const isr_options,
    out: *mut *mut isr_cache,
) -> isr_status {
    guard::status(|| {
        check_abi(abi_version)?;
        // SAFETY: the header demands NULL or a place for the result.
        let out = unsafe { Out::new("out", out) }?;
        let options = if options.is_null() {
            Options::default()
        } else {
            // SAFETY: the header demands NULL or a live handle.
            locked(unsafe { get(options) }?).clone()
        };
        out.write(open(Cache::open(options)?));
        keep_host();
        Ok(())
    })
}

/// Closes the cache: new calls get `ISR_STATUS_CLOSED`, queued renders fail with it, running ones may finish within `timeout`
/// real seconds, also with a manual clock; what still runs then is given up. Closing again is harmless. Answers and pages stay valid.
/// Inside a callback of this cache it waits for nothing.
///
/// `out_all_ended` (may be NULL) gets whether all ended in time.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_cache_close(
    cache: *const isr_cache,
    timeout: f64,
    out_all_ended: *mut bool,
) -> isr_status {
    guard::status(|| {
        // SAFETY: the header demands NULL or a live handle.
        let cache = unsafe { get(cache) }?;
        // SAFETY: the header demands NULL or a place for the result.
        let out = unsafe { Out::maybe("out_all_ended", out_all_ended) }?;
        let ended = cache.close(duration(lifetime("timeout", timeout)?));
        out.into_iter().for_each(|out| out.write(ended));
        Ok(())
    })
}

/// Whether the cache is closed; true for a wrong handle.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_cache_is_closed(cache: *const isr_cache) -> bool {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(true, || Ok(unsafe { get(cache) }?.is_closed()))
}

/// Frees the handle; a cache that is still open is closed before, as by `isr_cache_close` with 10 seconds. NULL is fine.
///
/// Jobs, answers and pages may outlive it.
/// Threads: any, but not inside a callback, and no call with this cache may run or come later.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_cache_free(cache: *mut isr_cache) {
    guard::value((), || {
        if !cache.is_null() {
            // SAFETY: the header demands NULL or a live handle.
            let open = unsafe { get(cache) }?;
            if !open.is_closed() {
                open.close(FREE_WAITS);
            }
        }
        // SAFETY: the header demands NULL or a handle that the caller owns.
        unsafe { release(cache) }
    });
}

/// Invalidates pages, hard: they are served again only once they were rendered anew, or as the last good page.
///
/// `paths`: paths (`/blog/1`) or patterns (`/blog/[id]`), `count` of them; all take effect together, or, if one is wrong, none.
/// `type`: an `isr_path_type`. `out_matched` (may be NULL) gets whether any route could match.
/// Errors: `ISR_STATUS_INVALID_PATH`; `ISR_STATUS_INVALID_ARGUMENT` for a malformed pattern, or one without a type.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_revalidate_path(
    cache: *const isr_cache,
    paths: *const isr_str,
    count: usize,
    r#type: i32,
    out_matched: *mut bool,
) -> isr_status {
    guard::status(|| {
        // SAFETY: the header demands NULL or a live handle.
        let cache = unsafe { get(cache) }?;
        // SAFETY: the header demands views of valid memory.
        let paths = unsafe { types::texts(ErrorKind::InvalidPath, "path", paths, count) }?;
        let kind = match r#type {
            n if n == isr_path_type::Default as i32 => None,
            n if n == isr_path_type::Page as i32 => Some(PathType::Page),
            n if n == isr_path_type::Layout as i32 => Some(PathType::Layout),
            n => return Err(invalid(format!("type must be an isr_path_type, 0 to 2; got {n}"))),
        };
        // SAFETY: the header demands NULL or a place for the result.
        let out = unsafe { Out::maybe("out_matched", out_matched) }?;
        let matched = cache.revalidate_path(&paths, kind)?;
        out.into_iter().for_each(|out| out.write(matched));
        Ok(())
    })
}

/// Invalidates every page and data entry that has one of these tags.
///
/// All take effect together, or, if one is wrong, none. `soft`: served stale once more while it regenerates; else hard.
/// `expire`: with `soft`, hard after this many seconds, for entries older than the call; else `ISR_NEVER`.
/// Errors: `ISR_STATUS_INVALID_TAG`; `ISR_STATUS_INVALID_ARGUMENT` for `expire` without `soft`.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_revalidate_tag(
    cache: *const isr_cache,
    tags: *const isr_str,
    count: usize,
    soft: bool,
    expire: f64,
) -> isr_status {
    guard::status(|| {
        // SAFETY: the header demands NULL or a live handle.
        let cache = unsafe { get(cache) }?;
        // SAFETY: the header demands views of valid memory.
        let tags = unsafe { types::texts(ErrorKind::InvalidTag, "tag", tags, count) }?;
        let expire = Some(lifetime("expire", expire)?).filter(|e| !e.is_never());
        cache.revalidate_tag(&tags, TagOptions { soft, expire })
    })
}

/// Removes the stored pages of these paths, all variants, also as last good pages.
///
/// All go together, or, if one path is wrong, none.
/// Errors: `ISR_STATUS_INVALID_PATH`.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_remove(
    cache: *const isr_cache,
    paths: *const isr_str,
    count: usize,
) -> isr_status {
    guard::status(|| {
        // SAFETY: the header demands NULL or a live handle.
        let cache = unsafe { get(cache) }?;
        // SAFETY: the header demands views of valid memory.
        let paths = unsafe { types::texts(ErrorKind::InvalidPath, "path", paths, count) }?;
        cache.remove(&paths)
    })
}

/// Rust's handle of the thread that opened the first cache, as a rule the host's main one. Rust keeps it until the process ends,
/// by a pointer into its middle; this one to its start tells leak checkers that it is not lost.
static HOST: AtomicPtr<Thread> = AtomicPtr::new(ptr::null_mut());

fn keep_host() {
    if !HOST.load(Ordering::Relaxed).is_null() {
        return;
    }
    let own = Box::into_raw(Box::new(std::thread::current()));
    if HOST.compare_exchange(ptr::null_mut(), own, Ordering::AcqRel, Ordering::Relaxed).is_err() {
        // SAFETY: from the box above, and nobody else has seen it.
        drop(unsafe { Box::from_raw(own) });
    }
}

/// How long a cache that was not closed is waited for when it is freed.
const FREE_WAITS: Duration = Duration::from_secs(10);

/// A hundred years stand for "as long as it takes": more overflows the system's clocks.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);

fn duration(lifetime: Lifetime) -> Duration {
    lifetime.nanos().map_or(LONGEST, |n| Duration::from_nanos(n).min(LONGEST))
}
