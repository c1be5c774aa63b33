//! The core's threads as the interpreter sees them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use pyo3::ffi;
use pyo3::prelude::*;

use crate::held::let_go;
use crate::trouble::finish_telling;
use crate::trouble::forget_telling;

static EXITING: AtomicBool = AtomicBool::new(false);

/// Told by `atexit`, when the caches are closed: from here on no thread of theirs enters the interpreter.
#[pyfunction(name = "_interpreter_exits")]
pub fn interpreter_exits(py: Python<'_>) {
    finish_telling(py);
    EXITING.store(true, Ordering::Release);
}

/// Threads that are on their way into the interpreter for the first time, and calls of `fork` that are under way.
///
/// A new thread takes a lock of the interpreter before it has the GIL. Up to Python 3.12 a child of a fork that comes in between
/// waits for that lock for ever, inside `fork`. So neither begins while the other one is at it. Without locks, which a child
/// might find taken.
static ENTERING: AtomicUsize = AtomicUsize::new(0);
static FORKING: AtomicUsize = AtomicUsize::new(0);

/// Both take microseconds.
const LOOK_AGAIN: Duration = Duration::from_micros(20);

struct Entering;

impl Entering {
    fn begin() -> Entering {
        loop {
            ENTERING.fetch_add(1, Ordering::SeqCst);
            let entering = Entering;
            if FORKING.load(Ordering::SeqCst) == 0 {
                return entering;
            }
            drop(entering);
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

impl Drop for Entering {
    fn drop(&mut self) {
        ENTERING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Told by `os.register_at_fork`.
#[pyfunction(name = "_before_fork")]
pub fn before_fork(py: Python<'_>) {
    FORKING.fetch_add(1, Ordering::SeqCst);
    while ENTERING.load(Ordering::SeqCst) > 0 {
        py.detach(|| std::thread::sleep(LOOK_AGAIN));
    }
}

/// Told by `os.register_at_fork`, in the parent.
#[pyfunction(name = "_after_fork_in_parent")]
pub fn after_fork_in_parent() {
    FORKING.fetch_sub(1, Ordering::SeqCst);
}

/// Told by `os.register_at_fork`, in the child: no thread is there but the one that forked.
#[pyfunction(name = "_after_fork_in_child")]
pub fn after_fork_in_child() {
    ENTERING.store(0, Ordering::SeqCst);
    FORKING.store(0, Ordering::SeqCst);
    forget_telling();
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
    let entering = (!has_state).then(Entering::begin);
    Python::try_attach(|py| {
        if let Some(entering) = entering {
            keep();
            drop(entering);
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
