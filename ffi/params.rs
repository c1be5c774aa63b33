//! Parameters of a path, as a program gives them.

use std::ffi::c_char;
use std::sync::Mutex;

use isr_core::{ErrorKind, ParamValue, Params};

use crate::guard;
use crate::handle::{get, handle, open, release};
use crate::lock::locked;
use crate::status::isr_status;
use crate::types::{self, isr_str};

/// Parameters by name: one path of a route that is to be prerendered.
pub struct isr_params {
    _opaque: (),
}
handle!(isr_params, Mutex<Params>, b"isrparam");

/// Makes empty parameters: for a pattern without any, or to be filled.
///
/// Ownership: free them with `isr_params_free`.
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn isr_params_new() -> *mut isr_params {
    guard::value(std::ptr::null_mut(), || Ok(open(Mutex::new(Params::new()))))
}

/// Sets the value of `[name]`: decoded text, as a callback gets it. Another one of that name is replaced.
///
/// Threads: one at a time per object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_params_set(
    params: *mut isr_params,
    name: *const c_char,
    value: isr_str,
) -> isr_status {
    guard::status(|| {
        // SAFETY: the header demands NULL or a live handle.
        let params = unsafe { get(params) }?;
        // SAFETY: the header demands NULL or a NUL-terminated text.
        let name = unsafe { types::name("name", name) }?;
        // SAFETY: the header demands a view of valid memory.
        let value = unsafe { types::text(ErrorKind::InvalidArgument, "value", value) }?;
        locked(params).insert(name.to_string(), ParamValue::One(value.to_string()));
        Ok(())
    })
}

/// Sets the values of a catch-all, `[...name]` or `[[...name]]`: decoded texts, one for each segment.
///
/// Threads: one at a time per object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_params_set_list(
    params: *mut isr_params,
    name: *const c_char,
    values: *const isr_str,
    count: usize,
) -> isr_status {
    guard::status(|| {
        // SAFETY: the header demands NULL or a live handle.
        let params = unsafe { get(params) }?;
        // SAFETY: the header demands NULL or a NUL-terminated text.
        let name = unsafe { types::name("name", name) }?;
        // SAFETY: the header demands views of valid memory.
        let values = unsafe { types::texts(ErrorKind::InvalidArgument, "values", values, count) }?;
        let values = values.into_iter().map(str::to_string).collect();
        locked(params).insert(name.to_string(), ParamValue::Many(values));
        Ok(())
    })
}

/// Frees the parameters. NULL is fine.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_params_free(params: *mut isr_params) {
    // SAFETY: the header demands NULL or a handle that the caller owns.
    guard::value((), || unsafe { release(params) });
}
