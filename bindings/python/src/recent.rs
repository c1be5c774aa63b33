//! Recent hits by request target, so that the same question costs one look-up in a dict. What they answer, the core says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use isr_core::Cache;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::made::Room;
use crate::page::Answer;

/// The answers that were given last, for requests of a path alone. They keep their pages in memory, so that those which have
/// left the store are looked for.
pub struct Recent {
    /// str to Answer, oldest first.
    answers: Py<PyDict>,
    limit: usize,
    room: Arc<Room>,
    /// How many pages had left the store when the gone ones were looked for.
    gone_then: AtomicU64,
}

/// What an entry takes beside its page is small against this part of the memory for pages.
const BYTES_AN_ENTRY: u64 = 16 << 10;
/// What is made of answers may take one part in so many of the memory for pages.
const ROOM_PART: u64 = 16;
/// Looking through all of them takes about a millisecond, in which no other thread runs Python.
const MOST: u64 = 32 << 10;
const LEAST: u64 = 16;
/// Of the pages kept, one in so many may be gone, or this many.
const GONE_PART: u64 = 32;
const GONE: u64 = 8;

impl Recent {
    /// For a cache of this size.
    pub fn new(py: Python<'_>, max_bytes: u64) -> Recent {
        let limit = (max_bytes / BYTES_AN_ENTRY).clamp(LEAST, MOST);
        Recent {
            answers: PyDict::new(py).unbind(),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            room: Room::new(max_bytes / ROOM_PART),
            gone_then: AtomicU64::new(0),
        }
    }

    /// The dict, for `hot`.
    pub fn answers(&self) -> &Py<PyDict> {
        &self.answers
    }

    /// The answer to a path that was answered before, if it is a hit again. What no longer answers is let go of.
    pub fn hit<'py>(
        &self,
        core: &Cache,
        path: &Bound<'py, PyString>,
    ) -> PyResult<Option<Bound<'py, Answer>>> {
        if !path.is_exact_instance_of::<PyString>() {
            return Ok(None);
        }
        let answers = self.answers.bind(path.py());
        let Some(found) = answers.get_item(path)? else { return Ok(None) };
        let found = found.cast_into_exact::<Answer>()?;
        if found.get().is_same_hit(core) {
            return Ok(Some(found));
        }
        match found.get().hit_again(core) {
            Some(answer) => self.keep(core, path, answer).map(Some),
            None => answers.del_item(path).map(|()| None),
        }
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
        let answers = self.answers.bind(py);
        if answers.len() >= self.limit || self.room.was_short() {
            for old in answers.keys().iter().take(answers.len().div_ceil(2)) {
                answers.del_item(old)?;
            }
        }
        let answer = Bound::new(py, Answer::of_hit(answer, kept, &self.room))?;
        answers.set_item(path, &answer)?;
        Ok(answer)
    }

    /// Lets go of what has left the store, where that is worth a look.
    pub fn tidy(&self, py: Python<'_>, core: &Cache) -> PyResult<()> {
        let gone = core.pages_gone();
        let since = gone.wrapping_sub(self.gone_then.load(Ordering::Relaxed));
        if since < GONE || since < self.answers.bind(py).len() as u64 / GONE_PART {
            return Ok(());
        }
        self.gone_then.store(gone, Ordering::Relaxed);
        self.tidy_all(py)
    }

    /// Lets go of all that has left the store.
    pub fn tidy_all(&self, py: Python<'_>) -> PyResult<()> {
        let answers = self.answers.bind(py);
        let mut gone = Vec::new();
        for (path, answer) in answers {
            if answer.cast_exact::<Answer>()?.get().is_gone() {
                gone.push(path);
            }
        }
        gone.into_iter().try_for_each(|path| answers.del_item(path))
    }

    /// Lets go of everything.
    pub fn clear(&self, py: Python<'_>) {
        self.answers.bind(py).clear();
    }
}
