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
    status: u16,
    /// Views of `texts`.
    fields: Vec<isr_field>,
    /// Names and values, each followed by a zero.
    _texts: Vec<u8>,
    /// A view of the answer's page.
    body: isr_bytes,
    content_length: usize,
    _answer: Owned<isr_answer>,
}

impl HeadValue {
    fn new(head: &Head<'_>, answer: Owned<isr_answer>) -> HeadValue {
        let texts = || head.headers.iter().flat_map(|(name, value)| [&**name, &**value]);
        let mut bytes = Vec::with_capacity(texts().map(|text| text.len() + 1).sum());
        for text in texts() {
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(0);
        }
        let mut rest = &*bytes;
        let mut next = |len: usize| {
            let (text, behind) = rest.split_at(len);
            rest = &behind[1..];
            isr_str { data: text.as_ptr().cast(), len }
        };
        let fields = head
            .headers
            .iter()
            .map(|(name, value)| isr_field { name: next(name.len()), value: next(value.len()) })
            .collect();
        HeadValue {
            status: head.status,
            fields,
            _texts: bytes,
            body: isr_bytes::of(head.body),
            content_length: head.content_length,
            _answer: answer,
        }
    }

    fn header(&self, name: &str) -> Option<isr_str> {
        let is_it = |field: &&isr_field| {
            // SAFETY: a view of `texts`.
            let its = unsafe { types::bytes("name", field.name.data.cast(), field.name.len) };
            its.is_ok_and(|its| its == name.as_bytes())
        };
        self.fields.iter().find(is_it).map(|field| field.value)
    }
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
        // SAFETY: a live handle, checked above.
        let head = unsafe { given::read(owner.as_ptr()) }?.head(&conditions);
        out.write(open(HeadValue::new(&head, owner)));
        Ok(())
    })
}

/// The status to send: that of the page, or 304. 0 for a wrong handle.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_head_status(head: *const isr_head) -> u16 {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(0, || Ok(unsafe { get(head) }?.status))
}

/// How many header fields to send: all but `content-length` and `date`, which are the server's.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_head_header_count(head: *const isr_head) -> usize {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(0, || Ok(unsafe { get(head) }?.fields.len()))
}

/// The header field at `index`, its name in lower case; empty beyond the last. A zero follows each text of a head, so that `data` is
/// one that C knows the end of.
///
/// Ownership: borrowed from the head. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_head_header_at(head: *const isr_head, index: usize) -> isr_field {
    guard::value(isr_field::NONE, || {
        // SAFETY: the header demands NULL or a live handle.
        let head = unsafe { get(head) }?;
        types::at("header", head.fields.iter(), index).copied()
    })
}

/// The first header of this lower-case name; `{NULL, 0}` where there is none. A zero follows the text.
///
/// Ownership: borrowed from the head. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_head_header(head: *const isr_head, name: *const c_char) -> isr_str {
    guard::value(isr_str::NONE, || {
        // SAFETY: the header demands NULL or a live handle.
        let head = unsafe { get(head) }?;
        // SAFETY: the header demands NULL or a NUL-terminated text.
        let name = unsafe { types::name("name", name) }?;
        Ok(head.header(name).unwrap_or(isr_str::NONE))
    })
}

/// The body to send, without a copy: empty for HEAD and 304.
///
/// Ownership: borrowed from the head. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_head_body(head: *const isr_head) -> isr_bytes {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(isr_bytes::NONE, || Ok(unsafe { get(head) }?.body))
}

/// The value for `content-length`: that of the body, also for HEAD; 0 for 304.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_head_content_length(head: *const isr_head) -> usize {
    // SAFETY: the header demands NULL or a live handle.
    guard::value(0, || Ok(unsafe { get(head) }?.content_length))
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
