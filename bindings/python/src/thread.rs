//! The core's threads as the interpreter sees them.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;

use crate::held::let_go;
use crate::trouble::finish_telling;

static EXITING: AtomicBool = AtomicBool::new(false);

/// Told by `atexit`, when the caches are closed: from here on no thread of theirs enters the interpreter.
#[pyfunction(name = "_interpreter_exits")]
pub fn interpreter_exits(py: Python<'_>) {
    finish_telling(py);
    EXITING.store(true, Ordering::Release);
}

/// A thread state that outlives a single attachment: making one costs microseconds, each time.
struct Kept(Option<ffi::PyGILState_STATE>);

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(state) = self.0
            && !EXITING.load(Ordering::Acquire)
        {
            // SAFETY: pairs with `PyGILState_Ensure` in `keep`, on the same thread, attached as that was.
            let _ = Python::try_attach(|_| unsafe { ffi::PyGILState_Release(state) });
        }
    }
}

thread_local! {
    static KEPT: std::cell::RefCell<Kept> = const { std::cell::RefCell::new(Kept(None)) };
}

/// Runs `f`, which the core calls, attached to the interpreter; `None`, and `f` is dropped, where it exits.
pub fn attached<R>(f: impl FnOnce(Python<'_>) -> R) -> Option<R> {
    if EXITING.load(Ordering::Acquire) {
        return None;
    }
    // SAFETY: may be called at any time; it only reads the thread's own slot.
    let has_state =
        unsafe { ffi::Py_IsInitialized() != 0 && !ffi::PyGILState_GetThisThreadState().is_null() };
    Python::try_attach(|py| {
        if !has_state {
            keep();
        }
        let_go(py);
        f(py)
    })
}

/// Keeps the state of this thread, which is attached, until the thread ends.
fn keep() {
    let _ = KEPT.try_with(|kept| {
        let mut kept = kept.borrow_mut();
        if kept.0.is_none() {
            // SAFETY: the thread is attached, so that this only counts.
            kept.0 = Some(unsafe { ffi::PyGILState_Ensure() });
        }
    });
}
