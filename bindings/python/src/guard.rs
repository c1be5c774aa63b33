//! No panic and no forced unwinding passes from one language into the other.

use std::panic::{AssertUnwindSafe, catch_unwind};

use isr_core::{Error, ErrorKind};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::errors::raise;

/// Runs a method's body; a panic becomes `InternalError`, since PyO3's `PanicException` passes every `except Exception`.
pub fn guard<T>(body: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<&str>()
            .map(|s| (*s).to_string())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without a text".to_string());
        Err(raise(&Error::new(ErrorKind::Internal, format!("panic inside the library: {text}"))))
    })
}

/// Panics as a fault of the library would, so that the tests see what becomes of it.
#[pyfunction(name = "_test_panic")]
pub fn test_panic() -> PyResult<()> {
    guard(|| panic!("a test asked for it"))
}

/// Hangs the thread for good when it is dropped by unwinding.
struct HangThread;

impl Drop for HangThread {
    fn drop(&mut self) {
        loop {
            std::thread::park();
        }
    }
}

unsafe extern "C-unwind" {
    fn PyObject_Call(
        callable: *mut ffi::PyObject,
        args: *mut ffi::PyObject,
        kwargs: *mut ffi::PyObject,
    ) -> *mut ffi::PyObject;
}

/// Calls Python from a thread of the cache.
///
/// Up to Python 3.13 a thread that wants the GIL of an interpreter which exits is ended by `pthread_exit`, that is by forced
/// unwinding, which aborts the process in Rust's frames. Here it hangs instead, as it does from Python 3.14 on.
pub fn call<'py>(
    callable: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = callable.py();
    let hang = HangThread;
    // By a pointer that the optimiser cannot see through: pyo3 declares the same function as one that never unwinds, and with
    // that the guard's drop would be optimised away.
    let function = std::hint::black_box(PyObject_Call as unsafe extern "C-unwind" fn(_, _, _) -> _);
    // SAFETY: the thread is attached, both pointers are borrowed from live references, no keywords is a null pointer.
    let result = unsafe { function(callable.as_ptr(), args.as_ptr(), std::ptr::null_mut()) };
    std::mem::forget(hang);
    // SAFETY: `PyObject_Call` gives a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, result) }
}
