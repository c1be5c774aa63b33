//! What to send for a request: status, headers and body.

use std::borrow::Cow;
use std::ffi::c_char;

use isr_core::Error;
use isr_core::http::{Conditions, Head};

use crate::answer::isr_answer;
use crate::handle::{Owned, get, handle, open, release};
use crate::status::isr_status;
use crate::types::{self, Out, isr_bytes, isr_field, isr_str};
use crate::{given, guard};

/// The parts of a request that choose among 200, 304 and the encodings. Start from `ISR_CONDITIONS_INIT`.
///
/// The headers may have any bytes, as a client sent them: what is not UTF-8 matches nothing.
/// Ownership: all borrowed, and read before the call returns.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct isr_conditions {
    /// `sizeof(isr_conditions)`.
    pub struct_size: usize,
    /// Whether the method is HEAD: the body is left out, and `content-length` is yours to write (`isr_head_content_length`). Leave it
    /// false where the server itself leaves out the body of an answer to HEAD and counts its length.
    pub is_head: bool,
    /// The value of `if-none-match`; `{NULL, 0}` if absent.
    pub if_none_match: isr_str,
    /// The value of `accept-encoding`; `{NULL, 0}` if absent.
    pub accept_encoding: isr_str,
}

/// Status, headers and body to send. Immutable; it keeps its answer alive.
pub struct isr_head {
    _opaque: (),
}
handle!(isr_head, HeadValue, b"isr-head");

pub(crate) struct HeadValue {
    // Borrows from `answer`; fields are dropped in this order.
    head: Head<'static>,
    _answer: Owned<isr_answer>,
}

/// Status, headers and body to send for this request. `conditions`: NULL for a plain GET.
///
/// Ownership: free it with `isr_head_free`; it keeps the answer alive.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_answer_head(
    answer: *const isr_answer,
    conditions: *const isr_conditions,
    out: *mut *mut isr_head,
) -> isr_status {
    guard::status(|| {
        // SAFETY: the header demands NULL or a place for the result.
        let out = unsafe { Out::new("out", out) }?;
        // SAFETY: the header demands NULL or a live handle.
        let owner = unsafe { Owned::another(answer) }?;
        // SAFETY: the header demands NULL or an initialised struct, whose views are of valid memory.
        let (is_head, if_none_match, accept_encoding) = unsafe { read(conditions) }?;
        let conditions = Conditions {
            is_head,
            if_none_match: if_none_match.as_deref(),
            accept_encoding: accept_encoding.as_deref(),
        };
        // SAFETY: a live handle, checked above. The value does not move, is not changed, and lives as long as `owner`, so that
        // the borrow may be stretched over the life of the struct that holds both.
        let answer: &'static _ = unsafe { given::read(owner.as_ptr()) }?;
        let head = answer.head(&conditions);
        out.write(open(HeadValue { head, _answer: owner }));
        Ok(())
    })
}

/// The status to send: that of the page, or 304. 0 for a wrong handle.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_head_status(head: *const isr_head) -> u16 {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(0, || Ok(unsafe { get(head) }?.head.status))
}

/// How many header fields to send: all but `content-length` and `date`, which are the server's.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_head_header_count(head: *const isr_head) -> usize {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(0, || Ok(unsafe { get(head) }?.head.headers.len()))
}

/// The header field at `index`, its name in lower case; empty beyond the last.
///
/// Ownership: borrowed from the head. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_head_header_at(head: *const isr_head, index: usize) -> isr_field {
    guard::value(isr_field::NONE, || {
        // SAFETY: the header demands NULL or a live handle.
        let head = unsafe { get(head) }?;
        let (name, value) = types::at("header", head.head.headers.iter(), index)?;
        Ok(isr_field::of(name, value))
    })
}

/// The first header of this lower-case name; `{NULL, 0}` where there is none.
///
/// Ownership: borrowed from the head. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_head_header(head: *const isr_head, name: *const c_char) -> isr_str {
    guard::value(isr_str::NONE, || {
        // SAFETY: the header demands NULL or a live handle.
        let head = unsafe { get(head) }?;
        // SAFETY: the header demands NULL or a NUL-terminated text.
        let name = unsafe { types::name("name", name) }?;
        let found: Option<&(Cow<'_, str>, Cow<'_, str>)> =
            head.head.headers.iter().find(|h| h.0 == name);
        Ok(found.map_or(isr_str::NONE, |h| isr_str::of(&h.1)))
    })
}

/// The body to send, without a copy: empty for HEAD and 304.
///
/// Ownership: borrowed from the head. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_head_body(head: *const isr_head) -> isr_bytes {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(isr_bytes::NONE, || Ok(isr_bytes::of(unsafe { get(head) }?.head.body)))
}

/// The value for `content-length`: that of the body, also for HEAD; 0 for 304.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_head_content_length(head: *const isr_head) -> usize {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(0, || Ok(unsafe { get(head) }?.head.content_length))
}

/// Frees the head. NULL is fine.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_head_free(head: *mut isr_head) {
    // SAFETY: the header demands NULL or a handle that the caller owns.
    guard::value((), || unsafe { release(head) });
}

type Header<'a> = Option<Cow<'a, str>>;

/// # Safety
/// `conditions` is NULL, or conditions whose members are valid for `'a`.
unsafe fn read<'a>(
    conditions: *const isr_conditions,
) -> Result<(bool, Header<'a>, Header<'a>), Error> {
    if conditions.is_null() {
        return Ok((false, None, None));
    }
    // SAFETY: the caller's promise.
    let given = unsafe { types::sized("isr_conditions", conditions) }?;
    // SAFETY: the caller's promise.
    let if_none_match = unsafe { types::request_header("if_none_match", given.if_none_match) }?;
    // SAFETY: the caller's promise.
    let accept_encoding =
        unsafe { types::request_header("accept_encoding", given.accept_encoding) }?;
    Ok((given.is_head, if_none_match, accept_encoding))
}
