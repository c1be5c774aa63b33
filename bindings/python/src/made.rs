//! What a door makes of an answer to send it, kept with the answer: as long as that is given, nothing of it changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

/// Bytes that a cache's answers may take for what is made of them: copies, beside the memory for pages.
pub struct Room {
    left: AtomicI64,
    is_short: AtomicBool,
}

impl Room {
    pub fn new(bytes: u64) -> Arc<Room> {
        let left = AtomicI64::new(i64::try_from(bytes).unwrap_or(i64::MAX));
        Arc::new(Room { left, is_short: AtomicBool::new(false) })
    }

    /// Whether something found no room since this was asked last.
    pub fn was_short(&self) -> bool {
        self.is_short.load(Ordering::Relaxed) && self.is_short.swap(false, Ordering::Relaxed)
    }

    fn take(&self, bytes: i64) -> bool {
        if self.left.fetch_sub(bytes, Ordering::Relaxed) >= bytes {
            return true;
        }
        self.left.fetch_add(bytes, Ordering::Relaxed);
        self.is_short.store(true, Ordering::Relaxed);
        false
    }
}

/// What was made of one answer, by the parts of a request that choose.
pub struct Made {
    all: PyOnceLock<Py<PyDict>>,
    room: Arc<Room>,
    taken: AtomicI64,
}

/// For one answer: more are asked for by who tries out values.
const MOST: usize = 8;
/// Headers, and the objects themselves.
const BESIDE_BODY: i64 = 1024;

impl Made {
    pub fn new(room: Arc<Room>) -> Made {
        Made { all: PyOnceLock::new(), room, taken: AtomicI64::new(0) }
    }

    /// Lets go of everything, which is given.
    pub fn take(&mut self) -> Option<Py<PyDict>> {
        let all = self.all.take()?;
        self.room.left.fetch_add(std::mem::take(self.taken.get_mut()), Ordering::Relaxed);
        Some(all)
    }

    pub fn get<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.all.get(key.py()).map_or(Ok(None), |all| all.bind(key.py()).get_item(key))
    }

    /// Keeps it, where there is room; `size` is that of its body.
    pub fn keep(
        &self,
        key: &Bound<'_, PyAny>,
        made: &Bound<'_, PyAny>,
        size: usize,
    ) -> PyResult<()> {
        let py = key.py();
        let all = self.all.get_or_init(py, || PyDict::new(py).unbind()).bind(py);
        let size = i64::try_from(size).unwrap_or(i64::MAX).saturating_add(BESIDE_BODY);
        if all.len() < MOST && self.room.take(size) {
            self.taken.fetch_add(size, Ordering::Relaxed);
            all.set_item(key, made)?;
        }
        Ok(())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        self.room.left.fetch_add(*self.taken.get_mut(), Ordering::Relaxed);
    }
}
