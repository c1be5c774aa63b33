//! Trouble with a cache's directory, told to Python.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use isr_core::{Error, OnTrouble};
use pyo3::prelude::*;

use crate::errors::exception;
use crate::guard::call;
use crate::held::Held;
use crate::thread::attached;

/// Threads that still tell something.
static TELLING: AtomicUsize = AtomicUsize::new(0);

/// How long the end of the interpreter waits for them, and how often it looks.
const EXIT_LOOKS: u32 = 1000;
const EXIT_LOOK: Duration = Duration::from_millis(1);

/// One of them, until it is dropped.
struct Telling;

impl Telling {
    fn new() -> Telling {
        TELLING.fetch_add(1, Ordering::AcqRel);
        Telling
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        // In a forked child the count began anew.
        let _ = TELLING.try_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1));
    }
}

/// Tells a callable of the package, which takes the exception, on a thread of its own: trouble comes up deep inside calls of any
/// thread, which may hold the GIL, and it is rare.
pub fn on_trouble(listener: Py<PyAny>) -> OnTrouble {
    let listener = Arc::new(Held::new(listener));
    OnTrouble(Arc::new(move |error: &Error| {
        let (listener, error, telling) = (listener.clone(), error.clone(), Telling::new());
        let tell = move || {
            attached(|py| {
                let result = exception(py, &error)
                    .and_then(|e| (e,).into_pyobject(py))
                    .and_then(|args| call(listener.bind(py), &args));
                if let Err(e) = result {
                    e.write_unraisable(py, Some(listener.bind(py)));
                }
            });
            drop(telling);
        };
        // Without a thread it is left to the counter `disk_errors`.
        let _ = std::thread::Builder::new().name("libisr-trouble".into()).spawn(tell);
    }))
}

/// Waits a little for what is being told, before the interpreter exits.
pub fn finish_telling(py: Python<'_>) {
    py.detach(|| {
        for _ in 0..EXIT_LOOKS {
            if TELLING.load(Ordering::Acquire) == 0 {
                return;
            }
            std::thread::sleep(EXIT_LOOK);
        }
    });
}

/// In a forked child none of those threads is there.
pub fn forget_telling() {
    TELLING.store(0, Ordering::Release);
}
