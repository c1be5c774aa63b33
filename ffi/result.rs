//! What a render gives: a page as the program builds it.

use std::ffi::c_void;
use std::sync::Mutex;

use isr_core::{Error, ErrorKind, PageResult};

use crate::guard;
use crate::handle::{get, handle, open, release};
use crate::lock::locked;
use crate::status::{invalid, isr_status};
use crate::types::{self, isr_str, lifetime};

/// The result of a render, being built: status, headers, body, tags, lifetimes. Checked when it is given to the cache.
pub struct isr_result {
    _opaque: (),
}
handle!(isr_result, Mutex<PageResult>, b"isresult");

/// Makes a result with status 200 and a copy of this body. NULL with a length other than 0, or a length that no memory is left
/// for: NULL.
///
/// Ownership: consumed by `isr_render_complete` and `isr_put`; else free it with `isr_result_free`.
/// Threads: one at a time per object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_result_new(body: *const c_void, len: usize) -> *mut isr_result {
    guard::value(std::ptr::null_mut(), || {
        let mut bytes = Vec::new();
        // SAFETY: the header demands NULL or readable bytes.
        unsafe { types::append(&mut bytes, "body", body, len) }?;
        Ok(open(Mutex::new(PageResult::new(bytes))))
    })
}

/// Makes a result with status 404 and a copy of this body: stored like any other page.
///
/// Ownership and threads: as for `isr_result_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_result_not_found(body: *const c_void, len: usize) -> *mut isr_result {
    guard::value(std::ptr::null_mut(), || {
        let mut bytes = Vec::new();
        // SAFETY: the header demands NULL or readable bytes.
        unsafe { types::append(&mut bytes, "body", body, len) }?;
        Ok(open(Mutex::new(PageResult::not_found(bytes))))
    })
}

/// Makes a redirect: this status (301, 302, 303, 307 or 308) with `location: to`.
///
/// Checked when it is given to the cache: an empty `to` is then a failure of the render. Another status gives a page of that status,
/// with the header.
/// Ownership and threads: as for `isr_result_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_result_redirect(to: isr_str, status: u16) -> *mut isr_result {
    guard::value(std::ptr::null_mut(), || {
        // SAFETY: the header demands a view of valid memory.
        let to = unsafe { types::text(ErrorKind::InvalidArgument, "to", to) }?;
        Ok(open(Mutex::new(PageResult::redirect(to, status))))
    })
}

/// Appends a copy of these bytes to the body.
///
/// Threads: one at a time per object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_result_append(
    result: *mut isr_result,
    data: *const c_void,
    len: usize,
) -> isr_status {
    // SAFETY: the header demands NULL or a live handle, and readable bytes.
    unsafe { change(result, |page| types::append(&mut page.body, "data", data, len)) }
}

/// Sets the HTTP status. 500 and above is a failure of the render.
///
/// Threads: one at a time per object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_result_set_status(result: *mut isr_result, status: u16) -> isr_status {
    // SAFETY: the header demands NULL or a live handle, and views of valid memory.
    unsafe {
        change(result, |page| {
            if !(100..1000).contains(&status) {
                return Err(invalid(format!("status must be from 100 to 999; got {status}")));
            }
            page.status = status;
            Ok(())
        })
    }
}

/// Adds a header field; the name in any case. That both are UTF-8 is checked at once, all else when the result is given to the cache.
///
/// Threads: one at a time per object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_result_add_header(
    result: *mut isr_result,
    name: isr_str,
    value: isr_str,
) -> isr_status {
    // SAFETY: the header demands NULL or a live handle, and views of valid memory.
    unsafe {
        change(result, |page| {
            let name = types::text(ErrorKind::InvalidArgument, "the name of a header", name)?;
            let what = format!("the value of the header \"{name}\"");
            let value = types::text(ErrorKind::InvalidArgument, &what, value)?;
            page.headers.push((name.to_string(), value.to_string()));
            Ok(())
        })
    }
}

/// Adds a tag: 1 to 256 bytes without control bytes, checked when the result is given to the cache (a wrong one is a failure of the
/// render); that it is UTF-8, at once.
///
/// Threads: one at a time per object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_result_add_tag(result: *mut isr_result, tag: isr_str) -> isr_status {
    // SAFETY: the header demands NULL or a live handle, and views of valid memory.
    unsafe {
        change(result, |page| {
            let tag = types::text(ErrorKind::InvalidTag, "tag", tag)?;
            page.tags.push(tag.to_string());
            Ok(())
        })
    }
}

/// Overrides the route's `revalidate`: seconds until the page is stale, or `ISR_NEVER`; 0 is not stored.
///
/// Threads: one at a time per object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_result_set_revalidate(
    result: *mut isr_result,
    seconds: f64,
) -> isr_status {
    // SAFETY: the header demands NULL or a live handle, and views of valid memory.
    unsafe {
        change(result, |page| {
            page.revalidate = Some(lifetime("revalidate", seconds)?);
            Ok(())
        })
    }
}

/// Overrides the route's `expire`: seconds until the page is no longer served stale, or `ISR_NEVER`.
///
/// Threads: one at a time per object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_result_set_expire(
    result: *mut isr_result,
    seconds: f64,
) -> isr_status {
    // SAFETY: the header demands NULL or a live handle, and views of valid memory.
    unsafe {
        change(result, |page| {
            page.expire = Some(lifetime("expire", seconds)?);
            Ok(())
        })
    }
}

/// Whether the result is answered and not stored; what is stored stays.
///
/// Threads: one at a time per object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_result_set_no_store(
    result: *mut isr_result,
    no_store: bool,
) -> isr_status {
    // SAFETY: the header demands NULL or a live handle, and views of valid memory.
    unsafe {
        change(result, |page| {
            page.no_store = no_store;
            Ok(())
        })
    }
}

/// Whether the result is answered and not stored, and what is stored of its path goes, all variants.
///
/// Threads: one at a time per object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_result_set_remove(
    result: *mut isr_result,
    remove: bool,
) -> isr_status {
    // SAFETY: the header demands NULL or a live handle, and views of valid memory.
    unsafe {
        change(result, |page| {
            page.remove = remove;
            Ok(())
        })
    }
}

/// Frees a result that was not given to the cache. NULL is fine.
///
/// Threads: one at a time per object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_result_free(result: *mut isr_result) {
    // SAFETY: the header demands NULL or a handle that the caller owns.
    guard::value((), || unsafe { release(result) });
}

/// # Safety
/// `result` is NULL or a live handle.
unsafe fn change(
    result: *mut isr_result,
    with: impl FnOnce(&mut PageResult) -> Result<(), Error>,
) -> isr_status {
    guard::status(|| {
        // SAFETY: the caller's promise.
        let result = unsafe { get(result) }?;
        with(&mut locked(result))
    })
}

/// Takes a result over from C, for a function that consumes it on every path.
///
/// # Safety
/// `result` is NULL or a live handle that the caller owns.
pub(crate) unsafe fn take(result: *mut isr_result) -> Result<PageResult, Error> {
    // SAFETY: the caller's promise.
    let page = unsafe { crate::handle::take(result) }?;
    Ok(page.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}
