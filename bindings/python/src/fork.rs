//! A fork leaves the child without the threads, and perhaps with locks that nobody will release: nothing that was made
//! before it may be touched after it.

use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU64, Ordering};

use isr_core::{Error, ErrorKind};
use pyo3::prelude::*;

use crate::trouble::forget_telling;

static GENERATION: AtomicU64 = AtomicU64::new(0);

/// Told by `os.register_at_fork`, in the child.
#[pyfunction(name = "_after_fork")]
pub fn after_fork() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    forget_telling();
}

/// A value of the core that belongs to the process which made it. In a forked child it is neither used nor dropped.
pub struct Owned<T> {
    value: ManuallyDrop<T>,
    born: u64,
}

impl<T> Owned<T> {
    pub fn new(value: T) -> Owned<T> {
        Owned { value: ManuallyDrop::new(value), born: GENERATION.load(Ordering::Relaxed) }
    }

    fn is_ours(&self) -> bool {
        self.born == GENERATION.load(Ordering::Relaxed)
    }

    /// The value, or `Closed` in a forked child.
    pub fn get(&self) -> Result<&T, Error> {
        if self.is_ours() { Ok(&self.value) } else { Err(forked()) }
    }

    /// The value itself, or `Closed` in a forked child.
    pub fn into_inner(mut self) -> Result<T, Error> {
        if !self.is_ours() {
            return Err(forked());
        }
        // SAFETY: `self` is forgotten next, so that the value is taken once.
        let value = unsafe { ManuallyDrop::take(&mut self.value) };
        std::mem::forget(self);
        Ok(value)
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if self.is_ours() {
            // SAFETY: `into_inner` forgets `self`, so that the value is still there, and this is its only drop.
            unsafe { ManuallyDrop::drop(&mut self.value) };
        }
    }
}

fn forked() -> Error {
    Error::new(
        ErrorKind::Closed,
        "this cache was opened before the process was forked, and its threads stayed in the parent: open a cache in each \
         process, after the fork",
    )
}
