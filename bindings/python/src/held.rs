//! Python objects that the core holds: they may be dropped on any thread, without the GIL, and with a lock of the core held.

use std::ops::Deref;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::prelude::*;

/// An object that is let go of later: what dies with it may run any code, and needs the interpreter.
pub struct Held(Option<Box<Aside>>);

struct Aside {
    object: Py<PyAny>,
    next: *mut Aside,
}

// SAFETY: `next` is null while a `Held` has it; in the list it belongs to whoever takes the list.
unsafe impl Send for Aside {}
// SAFETY: as above; shared, only `object` is looked at.
unsafe impl Sync for Aside {}

/// What was dropped and is still to be let go of. Without a lock, which a forked child might find taken for good.
static ASIDE: AtomicPtr<Aside> = AtomicPtr::new(ptr::null_mut());

impl Held {
    pub fn new(object: Py<PyAny>) -> Held {
        Held(Some(Box::new(Aside { object, next: ptr::null_mut() })))
    }
}

impl Deref for Held {
    type Target = Py<PyAny>;

    fn deref(&self) -> &Py<PyAny> {
        match &self.0 {
            Some(aside) => &aside.object,
            None => unreachable!("only its drop takes it"),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(aside) = self.0.take() else { return };
        let aside = Box::into_raw(aside);
        let mut newest = ASIDE.load(Ordering::Acquire);
        loop {
            // SAFETY: from the box above; nobody else has it before the exchange.
            unsafe { (*aside).next = newest };
            match ASIDE.compare_exchange(newest, aside, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(other) => newest = other,
            }
        }
    }
}

/// Lets go of what was dropped. Not to be called from within the core.
pub fn let_go(_attached: Python<'_>) {
    if ASIDE.load(Ordering::Relaxed).is_null() {
        return;
    }
    let mut aside = ASIDE.swap(ptr::null_mut(), Ordering::AcqRel);
    while !aside.is_null() {
        // SAFETY: from `Held::drop`; whoever swapped the list out owns all of it.
        let Aside { object, next } = *unsafe { Box::from_raw(aside) };
        drop(object);
        aside = next;
    }
}

/// Keeps an object for good: in a forked child the end of what belongs to the parent would reach into the parent.
#[pyfunction(name = "_keep")]
pub fn keep(object: Py<PyAny>) {
    std::mem::forget(object);
}
