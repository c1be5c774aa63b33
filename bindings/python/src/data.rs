//! Reads of data entries, inside and outside of a render.

use std::sync::Arc;

use isr_core::{Cache, Context, DataAnswer, DataOptions, Lifetime};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::bridge::{block, later};
use crate::convert::{lifetime, one_or_more, texts};
use crate::held::{Held, let_go};
use crate::job::PyLoader;

/// The arguments of one read.
pub struct Read {
    key: Vec<String>,
    options: DataOptions,
    loader: Arc<PyLoader>,
}

impl Read {
    pub fn new(
        key: &Bound<'_, PyAny>,
        tags: &Bound<'_, PyAny>,
        revalidate: &Bound<'_, PyAny>,
        loader: Py<PyAny>,
    ) -> PyResult<Read> {
        let revalidate = if revalidate.is(key.py().Ellipsis()) {
            Lifetime::NEVER
        } else {
            lifetime("revalidate", revalidate)?
        };
        Ok(Read {
            key: one_or_more("key", key)?,
            options: DataOptions { tags: texts("tags", tags)?, revalidate },
            loader: Arc::new(PyLoader(Held::new(loader))),
        })
    }

    /// The value's bytes and the cache word; waits without the GIL.
    pub fn block(
        self,
        py: Python<'_>,
        cache: &Cache,
        within: Option<Context>,
    ) -> PyResult<(Py<PyAny>, &'static str)> {
        let key: Vec<&str> = self.key.iter().map(String::as_str).collect();
        let (options, loader) = (&self.options, self.loader.clone());
        let answer =
            block(py, |done| cache.data_then(within.as_ref(), &key, options, loader, done))?;
        let read = parts(py, &answer);
        drop((answer, self));
        let_go(py);
        Ok(read)
    }

    /// The same as a future, where it was not there at once.
    pub fn later(
        self,
        event_loop: &Bound<'_, PyAny>,
        cache: &Cache,
        within: Option<Context>,
    ) -> PyResult<(Py<PyAny>, Option<Py<PyAny>>)> {
        let key: Vec<&str> = self.key.iter().map(String::as_str).collect();
        later(event_loop, convert, |done| {
            cache.data_then(within.as_ref(), &key, &self.options, self.loader.clone(), done);
        })
    }
}

fn parts(py: Python<'_>, answer: &DataAnswer) -> (Py<PyAny>, &'static str) {
    (PyBytes::new(py, answer.value()).into_any().unbind(), answer.cache().name())
}

fn convert(py: Python<'_>, answer: DataAnswer) -> PyResult<Py<PyAny>> {
    Ok(parts(py, &answer).into_pyobject(py)?.into_any().unbind())
}
