//! Draft tokens.

use std::ffi::{CString, c_char};

use isr_core::{Error, ErrorKind};

use crate::cache::isr_cache;
use crate::guard;
use crate::handle::get;
use crate::status::isr_status;
use crate::types::{self, Out, isr_str, lifetime};

/// Makes a signed token that lets its bearer see drafts for this many seconds.
///
/// Ownership: free `*out`, a NUL-terminated text, with `isr_string_free`.
/// Errors: `ISR_STATUS_INVALID_ARGUMENT` for `ISR_NEVER`, a negative number or a NaN.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_draft_token(
    cache: *const isr_cache,
    valid_for: f64,
    out: *mut *mut c_char,
) -> isr_status {
    guard::status(|| {
        // SAFETY: the header demands NULL or a place for the result.
        let out = unsafe { Out::new("out", out) }?;
        // SAFETY: the header demands NULL or a live handle.
        let token = unsafe { get(cache) }?.draft_token(lifetime("valid_for", valid_for)?)?;
        let token = CString::new(token)
            .map_err(|_| Error::new(ErrorKind::Internal, "a draft token has a zero byte"))?;
        out.write(token.into_raw());
        Ok(())
    })
}

/// Whether a draft token is genuine and has not expired; compared in constant time. False for a wrong argument.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_draft_verify(cache: *const isr_cache, token: isr_str) -> bool {
    guard::value(false, || {
        // SAFETY: the header demands NULL or a live handle.
        let cache = unsafe { get(cache) }?;
        // SAFETY: the header demands a view of valid memory.
        let token = unsafe { types::text(ErrorKind::InvalidArgument, "token", token) }?;
        Ok(cache.verify_draft(token))
    })
}

/// Frees a text that this library handed over. NULL is fine.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_string_free(text: *mut c_char) {
    guard::value((), || {
        if !text.is_null() {
            // SAFETY: the header demands a text from this library, freed once.
            drop(unsafe { CString::from_raw(text) });
        }
        Ok(())
    });
}
