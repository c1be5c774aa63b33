//! Errors of the core as exceptions, and exceptions of callbacks as errors.

use std::any::Any;
use std::sync::Arc;

use isr_core::{Error, ErrorKind};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::held::Held;
use crate::lookups::Lookups;

/// The exception of a callback, as it travels through the core to all who waited.
struct Cause(Held);

/// Name, code and HTTP status of every kind, in the order of the codes.
pub fn table() -> Vec<(&'static str, i32, u16)> {
    ErrorKind::ALL.iter().map(|k| (k.name(), k.code(), k.http_status())).collect()
}

/// The exception for an error, with the callback's own exception as its cause.
pub fn exception<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyAny>> {
    let class = Lookups::get(py)?.errors_by_kind.bind(py).get_item(error.kind().name())?;
    let exception = class.call1((error.message(),))?;
    let cause = error.cause().and_then(|c| c.downcast_ref::<Cause>());
    if let Some(cause) = cause {
        exception.setattr("__cause__", cause.0.bind(py))?;
    }
    Ok(exception)
}

/// An error as it is raised. The thread must be attached.
pub fn raise(error: &Error) -> PyErr {
    Python::attach(|py| exception(py, error).map_or_else(|e| e, PyErr::from_value))
}

/// For `?`: an error of the core is raised.
pub trait OrRaise<T> {
    fn or_raise(self) -> PyResult<T>;
}

impl<T> OrRaise<T> for Result<T, Error> {
    fn or_raise(self) -> PyResult<T> {
        self.map_err(|e| raise(&e))
    }
}

/// A wrong value: `InvalidArgument`.
pub fn invalid(message: impl Into<String>) -> PyErr {
    raise(&Error::new(ErrorKind::InvalidArgument, message))
}

/// A value of a wrong type: `TypeError`.
pub fn wrong_type(what: &str, rule: &str, got: &Bound<'_, PyAny>) -> PyErr {
    let class = got.get_type().name().map_or_else(|_| "?".to_string(), |n| n.to_string());
    PyTypeError::new_err(format!("{what} must be {rule}; got {} ({class})", show(got)))
}

/// A value in a message, cut where it is long.
pub fn show(value: &Bound<'_, PyAny>) -> String {
    let text = value.repr().map_or_else(
        |_| "a value without a repr".to_string(),
        |r| r.to_string_lossy().into_owned(),
    );
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// The failure of a callback: an exception, which becomes the cause, or a text.
pub fn failure(error: &Bound<'_, PyAny>) -> PyResult<Error> {
    if let Ok(text) = error.cast::<PyString>() {
        return Ok(Error::render(text.to_string_lossy(), None));
    }
    if !error.is_instance_of::<pyo3::exceptions::PyBaseException>() {
        return Err(wrong_type("error", "an exception or a str", error));
    }
    let class = error.get_type().name().map_or_else(|_| "exception".to_string(), |n| n.to_string());
    let text = error.str().map_or_else(|_| String::new(), |s| s.to_string_lossy().into_owned());
    let message = if text.is_empty() { class } else { format!("{class}: {text}") };
    let cause: Arc<dyn Any + Send + Sync> = Arc::new(Cause(Held::new(error.clone().unbind())));
    Ok(Error::render(message, Some(cause)))
}

/// The failure of a callback that raised.
pub fn failed(py: Python<'_>, raised: PyErr) -> Error {
    failure(raised.value(py).as_any()).unwrap_or_else(|e| Error::render(e.to_string(), None))
}
