//! Waiting for the core without holding up Python: blocking calls without the GIL, and futures of asyncio.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use isr_core::{Error, ErrorKind};
use pyo3::prelude::*;

use crate::errors::{OrRaise, exception, invalid, raise};
use crate::guard::call;
use crate::held::Held;
use crate::lookups::Lookups;
use crate::thread::attached;

/// What the core calls with an outcome.
pub type Done<T> = Box<dyn FnOnce(Result<T, Error>) + Send>;

/// How long a signal may wait for its handler.
const SIGNALS: Duration = Duration::from_millis(50);

/// Waits without the GIL. On the main thread Ctrl-C works meanwhile: the wait ends, what it waited for goes on.
pub fn block<T: Send + 'static>(py: Python<'_>, start: impl FnOnce(Done<T>) + Send) -> PyResult<T> {
    let signals = if on_main_thread(py)? { SIGNALS } else { Duration::MAX };
    let (sender, mut receiver) = mpsc::channel();
    let done: Done<T> = Box::new(move |result| {
        // Nobody listens after Ctrl-C.
        let _ = sender.send(result);
    });
    let process = std::process::id();
    py.detach(|| start(done));
    if process != std::process::id() {
        // A load that ran on this thread has forked and come back in the child.
        let text = "the process was forked inside this call, whose answer went to the parent";
        return Err(raise(&Error::new(ErrorKind::Closed, text)));
    }
    loop {
        let result;
        (receiver, result) = py.detach(move || {
            let result = receiver.recv_timeout(signals);
            (receiver, result)
        });
        match result {
            Ok(result) => return result.or_raise(),
            Err(mpsc::RecvTimeoutError::Timeout) => py.check_signals()?,
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(raise(&Error::new(ErrorKind::Internal, "the outcome was lost")));
            }
        }
    }
}

fn on_main_thread(py: Python<'_>) -> PyResult<bool> {
    let lookups = Lookups::get(py)?;
    let main = lookups.main_thread.bind(py).call0()?;
    lookups.get_ident.bind(py).call0()?.eq(main.getattr("ident")?)
}

/// Refuses a call that would block a running event loop, and perhaps wait for it.
pub fn not_in_a_loop(py: Python<'_>, instead: &str) -> PyResult<()> {
    if Lookups::get(py)?.running_loop.bind(py).call0()?.is_none() {
        return Ok(());
    }
    Err(invalid(format!(
        "this call would block the event loop that runs on this thread, and perhaps wait for it; use `await {instead}`"
    )))
}

/// How an outcome becomes a Python value.
pub type Convert<T> = fn(Python<'_>, T) -> PyResult<Py<PyAny>>;

enum State<T> {
    Pending,
    Done(Result<T, Error>),
    Awaited { event_loop: Held, future: Held },
    Over,
}

struct Slot<T> {
    state: Mutex<State<T>>,
    convert: Convert<T>,
}

impl<T> Slot<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the outcome, if it is there.
    fn outcome(&self) -> Option<Result<T, Error>> {
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::Over) {
            State::Done(result) => Some(result),
            other => {
                *state = other;
                None
            }
        }
    }

    fn finish(&self, result: Result<T, Error>) {
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::Over) {
            State::Awaited { event_loop, future } => {
                drop(state);
                attached(|py| {
                    let outcome =
                        result.map_or_else(|e| Err(raise(&e)), |value| (self.convert)(py, value));
                    if let Err(e) = settle(py, &event_loop, &future, outcome) {
                        e.write_unraisable(py, None);
                    }
                });
            }
            State::Pending => *state = State::Done(result),
            State::Done(_) | State::Over => {}
        }
    }
}

/// Hands an outcome to the thread of the loop.
fn settle(
    py: Python<'_>,
    event_loop: &Py<PyAny>,
    future: &Py<PyAny>,
    outcome: PyResult<Py<PyAny>>,
) -> PyResult<()> {
    let (value, error) = match outcome {
        Ok(value) => (value, py.None()),
        Err(e) => (py.None(), e.into_value(py).into_any()),
    };
    let args = (event_loop, future, value, error).into_pyobject(py)?;
    call(Lookups::get(py)?.settle.bind(py), &args).map(drop)
}

/// Starts something that must not block: `(value, None)` where it was done at once, else `(None, future)`.
pub fn later<T: Send + 'static>(
    event_loop: &Bound<'_, PyAny>,
    convert: Convert<T>,
    start: impl FnOnce(Done<T>) + Send,
) -> PyResult<(Py<PyAny>, Option<Py<PyAny>>)> {
    let py = event_loop.py();
    let slot = Arc::new(Slot { state: Mutex::new(State::Pending), convert });
    let filler = slot.clone();
    // It may read files, and wait a moment for another process.
    py.detach(|| start(Box::new(move |result| filler.finish(result))));
    if let Some(result) = slot.outcome() {
        return Ok((convert(py, result.or_raise()?)?, None));
    }
    let future = event_loop.call_method0("create_future")?.unbind();
    let mut state = slot.state();
    if let State::Pending = *state {
        *state = State::Awaited {
            event_loop: Held::new(event_loop.clone().into_any().unbind()),
            future: Held::new(future.clone_ref(py)),
        };
        return Ok((py.None(), Some(future)));
    }
    drop(state);
    match slot.outcome() {
        Some(result) => Ok((convert(py, result.or_raise()?)?, None)),
        None => Err(raise(&Error::new(ErrorKind::Internal, "the outcome was lost"))),
    }
}

/// The exceptions of a list of failures.
pub fn failures(py: Python<'_>, failed: &[(String, Error)]) -> PyResult<Vec<(String, Py<PyAny>)>> {
    failed.iter().map(|(path, error)| Ok((path.clone(), exception(py, error)?.unbind()))).collect()
}
