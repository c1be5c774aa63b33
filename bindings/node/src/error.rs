//! Errors of the core as JavaScript errors.

use std::sync::Arc;

use isr_core::{Error, ErrorKind};
use napi::bindgen_prelude::Unknown;
use napi::{Env, Result};
use napi_derive::napi;

use crate::isolate::{Kept, Shared};

/// The `IsrError` object for an error. Its cause is the value that the callback threw, if it threw in this isolate.
pub(crate) fn object(env: &Env, shared: &Arc<Shared>, error: &Error) -> Result<Unknown<'static>> {
    let cause = error
        .cause()
        .and_then(|cause| cause.downcast_ref::<Kept>())
        .filter(|kept| Arc::ptr_eq(&kept.shared, shared))
        .map(|kept| kept.number);
    let kind = error.kind().name().to_string();
    shared.make_error().borrow_back(env)?.call((kind, error.message().to_string(), cause).into())
}

/// What a call throws for an error.
pub(crate) fn throw(env: &Env, shared: &Arc<Shared>, error: &Error) -> napi::Error {
    match object(env, shared, error) {
        Ok(object) => object.into(),
        Err(failed) => failed,
    }
}

/// A failed callback; `cause` is the number of what it threw.
pub(crate) fn failure(shared: &Arc<Shared>, message: String, cause: Option<i64>) -> Error {
    let kept = cause.map(|number| Arc::new(Kept { shared: shared.clone(), number }) as _);
    Error::render(message, kept)
}

/// One row of the table of errors.
#[napi(object, object_from_js = false)]
pub struct JsErrorKind {
    pub kind: &'static str,
    pub code: i32,
    pub http_status: u16,
}

/// The core's table of errors.
#[napi(catch_unwind)]
pub fn error_kinds() -> Vec<JsErrorKind> {
    let row = |kind: &ErrorKind| JsErrorKind {
        kind: kind.name(),
        code: kind.code(),
        http_status: kind.http_status(),
    };
    ErrorKind::ALL.iter().map(row).collect()
}

/// Panics, so that the tests see what becomes of a panic in the very addon that is used.
#[napi(catch_unwind)]
pub fn panic_for_tests() {
    panic!("a panic on purpose");
}
