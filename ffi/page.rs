//! A page: immutable, counted, readable from any thread.

use std::ffi::c_char;

use isr_core::{Error, Page};

use crate::given::Given;
use crate::guard;
use crate::handle::{self, acquire, release};
use crate::status::isr_status;
use crate::types::{self, isr_bytes, isr_field, isr_str, seconds};

/// A page. Its views stay at one address and stay valid as long as a reference to it is held.
pub struct isr_page {
    _opaque: (),
}

/// What is behind a page's handle.
///
/// # Safety
/// As for [`handle::get`].
unsafe fn get<'a>(page: *const isr_page) -> Result<&'a Page, Error> {
    // SAFETY: the caller's promise.
    unsafe { handle::get(page) }.map(Given::page)
}

/// Adds a reference and gives the page back; NULL for a wrong handle.
///
/// Ownership: give each reference back with `isr_page_unref`.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_page_ref(page: *const isr_page) -> *mut isr_page {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(std::ptr::null_mut(), || unsafe { acquire(page) })
}

/// Gives a reference back. NULL is fine.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_page_unref(page: *mut isr_page) -> isr_status {
    // SAFETY: the header demands NULL or a reference that the caller owns.
    guard::status(|| unsafe { release(page) })
}

/// The canonical path.
///
/// Ownership: borrowed from the page. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_page_path(page: *const isr_page) -> isr_str {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(isr_str::NONE, || Ok(isr_str::of(unsafe { get(page) }?.path())))
}

/// The HTTP status; 0 for a wrong handle.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_page_status(page: *const isr_page) -> u16 {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(0, || Ok(unsafe { get(page) }?.status()))
}

/// The body, without a copy.
///
/// Ownership: borrowed from the page. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_page_body(page: *const isr_page) -> isr_bytes {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(isr_bytes::NONE, || Ok(isr_bytes::of(unsafe { get(page) }?.body())))
}

/// The strong etag with its quotes; empty for a page that is not for the store.
///
/// Ownership: borrowed from the page. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_page_etag(page: *const isr_page) -> isr_str {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(isr_str::NONE, || Ok(isr_str::of(unsafe { get(page) }?.etag())))
}

/// How many header fields the render gave. What a client is sent is `isr_answer_head`.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_page_header_count(page: *const isr_page) -> usize {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(0, || Ok(unsafe { get(page) }?.headers().len()))
}

/// The render's header field at `index`, its name in lower case; empty beyond the last.
///
/// Ownership: borrowed from the page. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_page_header_at(page: *const isr_page, index: usize) -> isr_field {
    guard::value(isr_field::NONE, || {
        // SAFETY: the header demands NULL or a live handle.
        let (name, value) = types::at("header", unsafe { get(page) }?.headers(), index)?;
        Ok(isr_field::of(name, value))
    })
}

/// The render's first header of this lower-case name; `{NULL, 0}` where there is none.
///
/// Ownership: borrowed from the page. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_page_header(page: *const isr_page, name: *const c_char) -> isr_str {
    guard::value(isr_str::NONE, || {
        // SAFETY: the header demands NULL or a live handle.
        let page = unsafe { get(page) }?;
        // SAFETY: the header demands NULL or a NUL-terminated text.
        let name = unsafe { types::name("name", name) }?;
        Ok(page.header(name).map_or(isr_str::NONE, isr_str::of))
    })
}

/// How many tags it has: the route's, the result's, and those of the data entries that its render read.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_page_tag_count(page: *const isr_page) -> usize {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(0, || Ok(unsafe { get(page) }?.tags().len()))
}

/// The tag at `index`; `{NULL, 0}` beyond the last.
///
/// Ownership: borrowed from the page. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_page_tag_at(page: *const isr_page, index: usize) -> isr_str {
    guard::value(isr_str::NONE, || {
        // SAFETY: the header demands NULL or a live handle.
        let page = unsafe { get(page) }?;
        Ok(isr_str::of(types::at("tag", page.tags(), index)?))
    })
}

/// Seconds until it is stale, counted from `generated`; `ISR_NEVER` if never.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_page_revalidate(page: *const isr_page) -> f64 {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(0.0, || Ok(seconds(unsafe { get(page) }?.revalidate())))
}

/// Seconds until it is expired, counted from `generated`; `ISR_NEVER` if never.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_page_expire(page: *const isr_page) -> f64 {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(0.0, || Ok(seconds(unsafe { get(page) }?.expire())))
}

/// When it was stored (or answered, where it is not for the store): seconds since 1970.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_page_generated(page: *const isr_page) -> f64 {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(0.0, || Ok(unsafe { get(page) }?.generated().as_secs_f64()))
}
