//! Answers that are given again: the same object as long as nothing changes, and where nobody else has it, with another time.

use std::cell::UnsafeCell;
use std::sync::Arc;

use isr_core::{Answer, Cache, Kept, Stood, Window};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyMemoryView};

use crate::made::{Made, Room};

/// An answer, and of a hit what serves the hits after it. In this order: a hit reads the first cache line alone.
#[repr(C)]
pub struct Given {
    pub again: Option<Again>,
    pub core: Answer,
}

/// What serves the hits after a hit.
#[repr(C)]
pub struct Again {
    window: Arc<Window>,
    stood: Stood,
    kept: Kept,
    pub made: Made,
    /// Given again where nobody else has it.
    pub body: PyOnceLock<Py<PyMemoryView>>,
}

impl Given {
    /// That of a hit that may be given again.
    pub fn of_hit(core: Answer, kept: Kept, window: Arc<Window>, room: &Arc<Room>) -> Given {
        let (made, stood) = (Made::new(room.clone()), Stood::default());
        Given { again: Some(Again { window, stood, kept, made, body: PyOnceLock::new() }), core }
    }

    /// Whether what it answered would be answered just so now; counts as a hit then.
    #[inline]
    pub fn is_same_hit(&self, cache: &Cache) -> bool {
        self.again
            .as_ref()
            .is_some_and(|again| cache.hit_same_in(&again.window, &again.kept, &again.stood))
    }

    /// The answer at the present time, if it is a hit again.
    pub fn hit_again(&self, cache: &Cache) -> Option<Answer> {
        cache.hit_kept(&self.again.as_ref()?.kept)
    }

    /// Whether its page has left the store.
    pub fn is_gone(&self) -> bool {
        self.again.as_ref().is_none_or(|again| again.kept.is_gone())
    }

    /// Becomes the answer at the present time, if it is a hit again; then gives what was made of it before.
    fn grow_older(&mut self, cache: &Cache) -> Option<Option<Py<PyDict>>> {
        let Again { window, stood, kept, made, .. } = self.again.as_mut()?;
        cache.hit_older_in(window, kept, stood, &mut self.core).then(|| made.take())
    }
}

/// What changes only while nobody looks at it. All who look hold the GIL, and a reference to the object that it lies in.
pub struct Still(UnsafeCell<Given>);

// SAFETY: it is read, and changed by `grow_older` alone, by the thread that holds the GIL; what is in it may go to any thread.
unsafe impl Sync for Still {}

impl Still {
    pub fn new(given: Given) -> Still {
        Still(UnsafeCell::new(given))
    }

    #[inline]
    pub fn get(&self) -> &Given {
        // SAFETY: who changes it knows that nobody looks.
        unsafe { &*self.0.get() }
    }

    /// Becomes the answer at the present time, if it is a hit again; whether it is.
    ///
    /// # Safety
    /// The caller holds the GIL and the only reference to the object, and nothing that `get` gave.
    pub unsafe fn grow_older(&self, cache: &Cache) -> bool {
        // SAFETY: as above.
        let before = unsafe { &mut *self.0.get() }.grow_older(cache);
        // Objects of Python are let go of when nothing here is borrowed any more.
        before.is_some()
    }
}
