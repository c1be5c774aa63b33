//! Waits for one value from another thread.

use std::sync::Arc;

use crate::sync::{Condvar, Mutex};

struct Slot<T> {
    value: Mutex<Option<T>>,
    arrived: Condvar,
}

/// The waiting end.
pub(crate) struct Receiver<T>(Arc<Slot<T>>);

/// A function that delivers the value, and the end that waits for it.
pub(crate) fn oneshot<T: Send + 'static>() -> (Box<dyn FnOnce(T) + Send>, Receiver<T>) {
    let slot = Arc::new(Slot { value: Mutex::new(None), arrived: Condvar::new() });
    let receiver = Receiver(slot.clone());
    let send = Box::new(move |value| {
        *slot.value.lock() = Some(value);
        slot.arrived.notify_one();
    });
    (send, receiver)
}

impl<T> Receiver<T> {
    /// Blocks until the value is there.
    pub(crate) fn wait(self) -> T {
        let mut value = self.0.value.lock();
        loop {
            match value.take() {
                Some(v) => return v,
                None => self.0.arrived.wait(&mut value),
            }
        }
    }
}
