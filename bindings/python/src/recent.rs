//! Recent hits by request target, so that the same question costs one look-up in a dict. What they answer, the core says.

use std::sync::atomic::{AtomicIsize, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use isr_core::{Cache, Window};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::made::Room;
use crate::page::Answer;

/// The answers that were given last, for requests of a path alone. They keep their pages in memory, so that those which have
/// left the store are looked for.
pub struct Recent {
    /// str to Answer.
    answers: Py<PyDict>,
    limit: usize,
    room: Arc<Room>,
    /// By which the core says that something has happened; made with the first answer. Never locked while Python runs.
    window: Mutex<Option<Arc<Window>>>,
    /// Goes round the dict: from the oldest on, as long as none is put in place of one that has left.
    hand: AtomicIsize,
    /// How many entries are still to be looked at for gone pages.
    to_look: AtomicUsize,
    /// How many pages had left the store when the gone ones were looked for.
    gone_then: AtomicU64,
}

/// What an entry takes beside its page is small against this part of the memory for pages: about 300 bytes.
const BYTES_AN_ENTRY: u64 = 8 << 10;
/// What is made of answers may take one part in so many of the memory for pages.
const ROOM_PART: u64 = 16;
const MOST: u64 = 256 << 10;
const LEAST: u64 = 16;
/// Of the pages kept, one in so many may be gone, or this many.
const GONE_PART: u64 = 32;
const GONE: u64 = 8;
/// Entries that are looked at in one go: some microseconds.
const STEPS: usize = 128;

impl Recent {
    /// For a cache of this size.
    pub fn new(py: Python<'_>, max_bytes: u64) -> Recent {
        let limit = (max_bytes / BYTES_AN_ENTRY).clamp(LEAST, MOST);
        Recent {
            answers: PyDict::new(py).unbind(),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            room: Room::new(max_bytes / ROOM_PART),
            window: Mutex::new(None),
            hand: AtomicIsize::new(0),
            to_look: AtomicUsize::new(0),
            gone_then: AtomicU64::new(0),
        }
    }

    /// The answer that was given to a path before, whatever has happened since.
    ///
    /// # Safety
    /// It is used no longer than it stays in the dict: until code of Python may run, or `self` is told to let something go.
    #[inline(always)]
    pub unsafe fn find<'a, 'py>(
        &'a self,
        path: Borrowed<'a, 'py, PyAny>,
    ) -> Option<Borrowed<'a, 'py, Answer>> {
        // SAFETY: both are live. With keys of this very class a look-up runs no code of Python, so that it raises nothing, and
        // what it finds stays in the dict, which has answers alone.
        unsafe {
            if ffi::PyUnicode_CheckExact(path.as_ptr()) == 0 {
                return None;
            }
            let found = ffi::PyDict_GetItemWithError(self.answers.as_ptr(), path.as_ptr());
            (!found.is_null()).then(|| Borrowed::from_ptr(path.py(), found).cast_unchecked())
        }
    }

    /// The answer to a path that was answered before, if it is a hit again: with the age that it has now. What no longer answers
    /// is let go of.
    pub fn hit<'py>(
        &self,
        core: &Cache,
        path: &Bound<'py, PyString>,
    ) -> PyResult<Option<Bound<'py, Answer>>> {
        // SAFETY: nothing runs before it is owned or not used any more.
        unsafe {
            let Some(found) = self.find(path.as_any().as_borrowed()) else { return Ok(None) };
            if found.get().given().is_same_hit(core) || Answer::grow_older(found, core) {
                return Ok(Some(found.to_owned()));
            }
            if let Some(answer) = found.get().given().hit_again(core) {
                return self.keep(core, path, answer).map(Some);
            }
        }
        self.answers.bind(path.py()).del_item(path).map(|()| None)
    }

    /// Makes the answer to a path an object and keeps it, in place of the one before. Not the answer to a subclass of `str`,
    /// whose `__eq__` may be anything.
    pub fn keep<'py>(
        &self,
        core: &Cache,
        path: &Bound<'py, PyString>,
        answer: isr_core::Answer,
    ) -> PyResult<Bound<'py, Answer>> {
        let py = path.py();
        let kept = answer.keep().filter(|_| path.is_exact_instance_of::<PyString>());
        self.tidy(py, core)?;
        let Some(kept) = kept else { return Bound::new(py, Answer::new(answer)) };
        let window = self.window().get_or_insert_with(|| Arc::new(core.window())).clone();
        let answer = Bound::new(py, Answer::of_hit(answer, kept, window, &self.room))?;
        let answers = self.answers.bind(py);
        answers.set_item(path, &answer)?;
        if answers.len() > self.limit {
            self.let_go(py, 1)?;
        }
        Ok(answer)
    }

    /// Lets go of what has left the store, where that is worth a look, and of what takes more room than there is. A part of it
    /// at a time: meanwhile no other thread runs Python.
    pub fn tidy(&self, py: Python<'_>, core: &Cache) -> PyResult<()> {
        let gone = core.pages_gone();
        let since = gone.wrapping_sub(self.gone_then.load(Ordering::Relaxed));
        let entries = self.answers.bind(py).len();
        if since >= GONE && since >= entries as u64 / GONE_PART {
            self.gone_then.store(gone, Ordering::Relaxed);
            self.to_look.store(entries, Ordering::Relaxed);
        }
        if self.room.was_short() {
            self.let_go(py, STEPS.min(entries.div_ceil(2)))?;
        }
        self.look(py, STEPS)
    }

    /// Lets go of all that has left the store.
    pub fn tidy_all(&self, py: Python<'_>) -> PyResult<()> {
        self.to_look.store(self.answers.bind(py).len(), Ordering::Relaxed);
        self.look(py, usize::MAX)
    }

    /// Looks at so many entries of those that are still to be looked at.
    fn look(&self, py: Python<'_>, most: usize) -> PyResult<()> {
        let to_look = self.to_look.load(Ordering::Relaxed);
        let now = to_look.min(most);
        self.to_look.store(to_look - now, Ordering::Relaxed);
        for _ in 0..now {
            match self.next(py) {
                Some((path, answer)) if answer.get().given().is_gone() => {
                    self.answers.bind(py).del_item(path)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Lets go of so many, whatever they are.
    fn let_go(&self, py: Python<'_>, count: usize) -> PyResult<()> {
        for _ in 0..count {
            let Some((path, _)) = self.next(py) else { break };
            self.answers.bind(py).del_item(path)?;
        }
        Ok(())
    }

    /// The entry at the hand, which goes to the next one. None where there is no entry at all.
    fn next<'py>(&self, py: Python<'py>) -> Option<(Bound<'py, PyAny>, Bound<'py, Answer>)> {
        let begin = self.hand.load(Ordering::Relaxed);
        self.next_from(py, begin).or_else(|| self.next_from(py, 0))
    }

    fn next_from<'py>(
        &self,
        py: Python<'py>,
        begin: isize,
    ) -> Option<(Bound<'py, PyAny>, Bound<'py, Answer>)> {
        let (mut at, mut path, mut answer) = (begin, std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the dict is live; a place from before it changed is some place or beyond the end. What it gives is live and
        // becomes owned at once; the dict has answers alone.
        unsafe {
            let found = ffi::PyDict_Next(self.answers.as_ptr(), &mut at, &mut path, &mut answer);
            self.hand.store(at, Ordering::Relaxed);
            (found != 0).then(|| {
                let answer = Bound::from_borrowed_ptr(py, answer).cast_into_unchecked();
                (Bound::from_borrowed_ptr(py, path), answer)
            })
        }
    }

    /// Lets go of everything.
    pub fn clear(&self, py: Python<'_>) {
        self.answers.bind(py).clear();
    }

    /// In a child of a fork: what is of the parent is none of its own.
    pub fn forget(&self, py: Python<'_>) {
        // It is never let go of: to do so it locks what a thread of the parent may have locked for ever.
        std::mem::forget(self.window().take());
        self.clear(py);
    }

    fn window(&self) -> MutexGuard<'_, Option<Arc<Window>>> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
