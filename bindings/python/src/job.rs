//! Renders and loads in progress, as their callbacks see them.

use std::sync::{Mutex, PoisonError};

use isr_core::{Error, ErrorKind, Loader, Renderer, WeakCache};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};

use crate::bridge::not_in_a_loop;
use crate::convert::{bytes, params_dict, variant_dict};
use crate::data;
use crate::errors::{OrRaise, failed, failure};
use crate::guard::{call, guard};
use crate::held::Held;
use crate::lookups::Lookups;
use crate::page::{Page, page_of};
use crate::thread::attached;

/// The `ContextVar` that carries the innermost render or load.
pub fn current(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static CURRENT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    Ok(CURRENT
        .get_or_try_init(py, || {
            let options = PyDict::new(py);
            options.set_item("default", py.None())?;
            Ok::<_, PyErr>(
                py.import("contextvars")?
                    .getattr("ContextVar")?
                    .call(("libisr",), Some(&options))?
                    .unbind(),
            )
        })?
        .bind(py))
}

/// The render or load in which this code runs.
pub fn within(py: Python<'_>) -> PyResult<Option<isr_core::Context>> {
    let context = Lookups::get(py)?.current.bind(py).call0()?;
    match context.cast::<Context>() {
        // One of the process that was forked is none here.
        Ok(context) => {
            Ok(Some(context.get().core.clone()).filter(|core| core.check_process().is_ok()))
        }
        Err(_) => Ok(None),
    }
}

/// A render or load in progress, as the place from which the cache is asked.
#[pyclass(frozen, name = "_Context", module = "libisr._libisr")]
pub struct Context {
    core: isr_core::Context,
}

#[pymethods]
impl Context {
    /// Whether nobody waits for the result any more.
    #[getter]
    fn cancelled(&self) -> PyResult<bool> {
        guard(|| Ok(self.core.is_cancelled()))
    }
}

/// A job that is finished once.
struct Once<T: Send>(Mutex<Option<T>>);

impl<T: Send> Once<T> {
    fn new(job: T) -> Once<T> {
        Once(Mutex::new(Some(job)))
    }

    fn take(&self) -> PyResult<T> {
        let job = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        job.ok_or_else(|| Error::new(ErrorKind::Finished, "the job was finished before")).or_raise()
    }

    fn is_finished(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

impl<T: Send> Drop for Once<T> {
    fn drop(&mut self) {
        // Dropped unfinished it fails, and those who wait are told: not with the GIL held.
        if let Some(job) = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            Python::try_attach(|py| py.detach(|| drop(job)));
        }
    }
}

/// One render in progress; the package wraps it as `libisr.Job`.
#[pyclass(frozen, name = "_RenderJob", module = "libisr._libisr")]
pub struct RenderJob {
    job: Once<isr_core::RenderJob>,
    cache: WeakCache,
    core_context: isr_core::Context,
    #[pyo3(get)]
    context: Py<Context>,
    #[pyo3(get)]
    path: Py<PyString>,
    #[pyo3(get)]
    pattern: Py<PyString>,
    #[pyo3(get)]
    params: Py<PyDict>,
    #[pyo3(get)]
    variant: Py<PyDict>,
    #[pyo3(get)]
    reason: &'static str,
    #[pyo3(get)]
    previous: Option<Py<Page>>,
    #[pyo3(get)]
    draft: bool,
}

impl RenderJob {
    fn new(py: Python<'_>, cache: WeakCache, job: isr_core::RenderJob) -> PyResult<RenderJob> {
        let core_context = job.context();
        let previous =
            job.previous().map(|page| Py::new(py, Page { core: page.clone() })).transpose()?;
        Ok(RenderJob {
            cache,
            context: Py::new(py, Context { core: core_context.clone() })?,
            core_context,
            path: PyString::new(py, job.path()).unbind(),
            pattern: PyString::new(py, job.pattern()).unbind(),
            params: params_dict(py, job.params())?.unbind(),
            variant: variant_dict(py, job.variant())?.unbind(),
            reason: job.reason().name(),
            previous,
            draft: job.is_draft(),
            job: Once::new(job),
        })
    }

    /// From where the callback asks: a load of this render on whose behalf this code runs, else the render itself.
    fn within(&self, py: Python<'_>) -> PyResult<isr_core::Context> {
        match within(py)? {
            Some(inner) => Ok(inner),
            None => Ok(self.core_context.clone()),
        }
    }

    fn cache(&self) -> PyResult<isr_core::Cache> {
        self.core_context.check_process().or_raise()?;
        self.cache
            .upgrade()
            .ok_or_else(|| Error::new(ErrorKind::Closed, "the cache is closed"))
            .or_raise()
    }
}

#[pymethods]
impl RenderJob {
    /// Finishes with a page; `Finished` if the render was over.
    fn complete(&self, py: Python<'_>, result: &Bound<'_, PyAny>) -> PyResult<()> {
        guard(|| {
            let page = page_of(result, "the result of a render")?;
            let job = self.job.take()?;
            py.detach(|| job.complete(page)).or_raise()
        })
    }

    /// Finishes with a failure: an exception, or a text; `Finished` if the render was over.
    fn fail(&self, py: Python<'_>, error: &Bound<'_, PyAny>) -> PyResult<()> {
        guard(|| {
            let error = failure(error)?;
            let job = self.job.take()?;
            py.detach(|| job.fail(error)).or_raise()
        })
    }

    /// Whether `complete` or `fail` was called.
    #[getter]
    fn finished(&self) -> bool {
        self.job.is_finished()
    }

    fn data<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        tags: &Bound<'py, PyAny>,
        revalidate: &Bound<'py, PyAny>,
        loader: Py<PyAny>,
    ) -> PyResult<(Py<PyAny>, &'static str)> {
        guard(|| {
            not_in_a_loop(py, "job.adata(...)")?;
            let read = data::Read::new(key, tags, revalidate, loader)?;
            read.block(py, &self.cache()?, Some(self.within(py)?))
        })
    }

    fn data_then<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        tags: &Bound<'py, PyAny>,
        revalidate: &Bound<'py, PyAny>,
        loader: Py<PyAny>,
        event_loop: &Bound<'py, PyAny>,
    ) -> PyResult<(Py<PyAny>, Option<Py<PyAny>>)> {
        guard(|| {
            let read = data::Read::new(key, tags, revalidate, loader)?;
            read.later(event_loop, &self.cache()?, Some(self.within(py)?))
        })
    }
}

/// Renders by a Python callable that takes the job and finishes it, now or later.
pub struct PyRenderer {
    pub cache: WeakCache,
    pub start: Held,
}

impl Renderer for PyRenderer {
    fn render(&self, job: isr_core::RenderJob) {
        attached(|py| {
            let job = match RenderJob::new(py, self.cache.clone(), job)
                .and_then(|job| Py::new(py, job))
            {
                Ok(job) => job,
                // The job is dropped, and so has failed.
                Err(e) => return e.write_unraisable(py, None),
            };
            let started =
                (&job,).into_pyobject(py).and_then(|args| call(self.start.bind(py), &args));
            if let Err(e) = started
                && let Ok(job) = job.get().job.take()
            {
                let error = failed(py, e);
                // It may be over by a time-out.
                let _ = py.detach(|| job.fail(error));
            }
        });
    }
}

/// One load of a data entry in progress.
#[pyclass(frozen, name = "_LoadJob", module = "libisr._libisr")]
pub struct LoadJob {
    job: Once<isr_core::LoadJob>,
    #[pyo3(get)]
    key: Vec<String>,
    #[pyo3(get)]
    context: Py<Context>,
}

#[pymethods]
impl LoadJob {
    /// Finishes with a value.
    fn complete(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        guard(|| {
            let value = bytes("the value of a load", "bytes", value)?;
            let job = self.job.take()?;
            py.detach(|| job.complete(value)).or_raise()
        })
    }

    /// Finishes with a failure: an exception, or a text.
    fn fail(&self, py: Python<'_>, error: &Bound<'_, PyAny>) -> PyResult<()> {
        guard(|| {
            let error = failure(error)?;
            let job = self.job.take()?;
            py.detach(|| job.fail(error)).or_raise()
        })
    }
}

/// Loads by a Python callable that takes the job and finishes it, now or later.
pub struct PyLoader(pub Held);

impl Loader for PyLoader {
    fn load(&self, job: isr_core::LoadJob) {
        attached(|py| {
            let new = || {
                let context = Py::new(py, Context { core: job.context() })?;
                Ok((job.key().to_vec(), context))
            };
            let job = match new() {
                Ok((key, context)) => Py::new(py, LoadJob { key, context, job: Once::new(job) }),
                Err(e) => Err(e),
            };
            let job = match job {
                Ok(job) => job,
                // The job is dropped, and so has failed.
                Err(e) => return PyErr::write_unraisable(e, py, None),
            };
            let started = (&job,).into_pyobject(py).and_then(|args| call(self.0.bind(py), &args));
            if let Err(e) = started
                && let Ok(job) = job.get().job.take()
            {
                let error = failed(py, e);
                // It may be over by a close.
                let _ = py.detach(|| job.fail(error));
            }
        });
    }
}
