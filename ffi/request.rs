//! A request, as a program fills it in.

use std::borrow::Cow;

use isr_core::{Answer, Cache, Context, Error, ErrorKind, Request, Variant};

use crate::context::isr_context;
use crate::handle;
use crate::types::{self, isr_field, isr_str};

/// A request for a page. Start from `ISR_REQUEST_INIT`, which sets `struct_size`.
///
/// Ownership: all borrowed, and read before the call returns.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct isr_request {
    /// `sizeof(isr_request)`.
    pub struct_size: usize,
    /// The request target: path, with query and fragment as they came. The path must be UTF-8; what is not in a query value is replaced.
    pub path: isr_str,
    /// Named values that select another representation of the path; part of the key. Of two of one name the last
    /// one wins. NULL where there are none.
    pub variant: *const isr_field,
    /// The number of values in `variant`.
    pub variant_count: usize,
    /// Rendered live for this request alone, and not stored. The caller decides who may: see `isr_draft_verify`.
    pub draft: bool,
    /// Never regenerates a stored page.
    pub prefetch: bool,
    /// The render or load from which the request comes (`isr_render_context`, `isr_load_context`). NULL: that of the calling
    /// thread, if it is in one.
    pub within: *const isr_context,
}

/// What most requests ask for: a fresh page of a plain path, from memory. Else `None`, and the request is to be looked at in full.
///
/// # Safety
/// As for [`Read::new`].
#[inline]
pub(crate) unsafe fn hit(
    cache: &Cache,
    request: *const isr_request,
) -> Result<Option<Answer>, Error> {
    // SAFETY: the caller's promise.
    let request = unsafe { types::sized("isr_request", request) }?;
    if request.draft || request.variant_count != 0 || !request.within.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    Ok(cache.hit_bytes(unsafe { types::target_bytes(request.path) }?))
}

/// A request that was read in.
pub(crate) struct Read<'a> {
    path: Cow<'a, str>,
    variant: Option<Variant>,
    draft: bool,
    prefetch: bool,
    within: Option<&'a Context>,
}

impl<'a> Read<'a> {
    /// # Safety
    /// `request` is NULL, or a request whose members are valid for `'a`.
    pub(crate) unsafe fn new(request: *const isr_request) -> Result<Read<'a>, Error> {
        // SAFETY: the caller's promise.
        let request = unsafe { types::sized("isr_request", request) }?;
        // SAFETY: the caller's promise.
        let path = unsafe { types::target(request.path) }?;
        // SAFETY: the caller's promise.
        let fields = unsafe { types::list("variant", request.variant, request.variant_count) }?;
        let mut variant = Variant::new();
        for field in fields {
            // SAFETY: the caller's promise.
            let name = unsafe {
                types::text(ErrorKind::InvalidArgument, "name of a variant", field.name)
            }?;
            // SAFETY: the caller's promise.
            let value = unsafe { types::text(ErrorKind::InvalidArgument, name, field.value) }?;
            variant.set(name, value);
        }
        // SAFETY: the caller's promise.
        let within = unsafe { within(request.within) }?;
        Ok(Read {
            path,
            variant: (!variant.is_empty()).then_some(variant),
            draft: request.draft,
            prefetch: request.prefetch,
            within,
        })
    }

    pub(crate) fn as_core(&self) -> Request<'_> {
        Request {
            path: &self.path,
            variant: self.variant.as_ref(),
            draft: self.draft,
            prefetch: self.prefetch,
            within: self.within,
        }
    }
}

/// # Safety
/// `context` is NULL, or a live handle for `'a`.
pub(crate) unsafe fn within<'a>(context: *const isr_context) -> Result<Option<&'a Context>, Error> {
    if context.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    unsafe { handle::get(context) }.map(Some)
}
