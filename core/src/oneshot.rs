//! Waits for one outcome from another thread.

use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::fork;
use crate::sync::{Condvar, Mutex};

struct Slot<T> {
    value: Mutex<Option<Result<T, Error>>>,
    arrived: Condvar,
}

/// The waiting end.
pub(crate) struct Receiver<T> {
    slot: Arc<Slot<T>>,
    /// The process in which it will come.
    process: u32,
}

/// A function that delivers the outcome.
type Deliver<T> = Box<dyn FnOnce(Result<T, Error>) + Send>;

/// A function that delivers the outcome, and the end that waits for it.
pub(crate) fn oneshot<T: Send + 'static>() -> (Deliver<T>, Receiver<T>) {
    let slot = Arc::new(Slot { value: Mutex::new(None), arrived: Condvar::new() });
    let receiver = Receiver { slot: slot.clone(), process: fork::generation() };
    let send = Box::new(move |value| {
        *slot.value.lock() = Some(value);
        slot.arrived.notify_one();
    });
    (send, receiver)
}

impl<T> Receiver<T> {
    /// Blocks until the outcome is there.
    pub(crate) fn wait(self) -> Result<T, Error> {
        if self.process != fork::generation() {
            // A load that ran on this thread has forked the process and come back in the child.
            let text = "the process was forked inside this call, whose answer went to the parent";
            return Err(Error::new(ErrorKind::Closed, text));
        }
        let mut value = self.slot.value.lock();
        loop {
            match value.take() {
                Some(v) => return v,
                None => self.slot.arrived.wait(&mut value),
            }
        }
    }
}
