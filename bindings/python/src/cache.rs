//! The cache, as the package's `Cache` inherits it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use isr_core::{
    ErrorKind, OnProgress, PathType, PrerenderProgress, PrerenderReport, Request, Started,
    TagOptions, Variant,
};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::bridge::{block, failures, later, not_in_a_loop};
use crate::convert::{arg, file_path, lifetime, one_or_more, option, path_text, text, variant};
use crate::data::Read;
use crate::errors::{OrRaise, invalid, raise, show};
use crate::guard::{call, guard};
use crate::held::{Held, let_go};
use crate::job::{PyRenderer, within};
use crate::page::{Answer, Page, page_of};
use crate::recent::Recent;
use crate::route::route_options;
use crate::thread::attached;

/// What a call that must not block gives: the value, or a future of it.
type Later = (Py<PyAny>, Option<Py<PyAny>>);

/// The native part of a cache.
#[pyclass(subclass, frozen, name = "_Cache", module = "libisr._libisr")]
pub struct Cache {
    core: Option<isr_core::Cache>,
    has_async: AtomicBool,
    /// Whether calls may read files, and wait for other processes: not with the GIL held.
    has_directory: bool,
    recent: Recent,
}

impl Drop for Cache {
    fn drop(&mut self) {
        // The last handle closes the cache, which calls back those who still wait: not with the GIL held.
        let core = self.core.take();
        Python::try_attach(|py| {
            py.detach(|| drop(core));
            let_go(py);
        });
    }
}

impl Cache {
    fn core(&self) -> PyResult<&isr_core::Cache> {
        match &self.core {
            Some(core) => Ok(core),
            None => Err(raise(&isr_core::Error::new(ErrorKind::Closed, "the cache is closed"))),
        }
    }

    /// The recent hits, where a call that may block needs no look at whether it may.
    #[inline]
    pub(crate) fn recent_hits(&self, blocks: bool) -> Option<(&isr_core::Cache, &Recent)> {
        if blocks && self.has_async.load(Ordering::Relaxed) {
            return None;
        }
        self.core.as_ref().map(|core| (core, &self.recent))
    }

    /// `get` where it `blocks`, else `try_get`.
    pub(crate) fn ask<'py>(
        &self,
        path: &Bound<'py, PyAny>,
        asked: Asked<'_, 'py>,
        blocks: bool,
    ) -> PyResult<Option<Bound<'py, Answer>>> {
        let py = path.py();
        let core = if blocks { self.blocking(py, "cache.aget(...)")? } else { self.core()? };
        // Such an answer may be given again.
        let text = path.cast::<PyString>().ok().filter(|_| asked.is_plain());
        if let Some(text) = text {
            if let Some(hit) = self.recent.hit(core, text)? {
                return Ok(Some(hit));
            }
            if let Some(hit) = core.hit(&Request::new(path_text(path)?)) {
                return self.recent.keep(core, text, hit).map(Some);
            }
        }
        let Asked { variant, draft, prefetch } = asked;
        let wanted = Wanted { draft, prefetch, ..Wanted::new(py, path, variant)? };
        let request = wanted.request();
        // A hit does not let go of the GIL.
        let answer = match self.at_once(py, core, &request)? {
            Some(answer) => answer,
            None if blocks => block(py, |done| core.get_then(&request, done))?,
            None => return Ok(None),
        };
        match text {
            Some(text) => self.recent.keep(core, text, answer),
            None => Bound::new(py, Answer::new(answer)),
        }
        .map(Some)
    }

    /// The answer that needs no waiting.
    fn at_once(
        &self,
        py: Python<'_>,
        core: &isr_core::Cache,
        request: &Request<'_>,
    ) -> PyResult<Option<isr_core::Answer>> {
        match core.hit(request) {
            Some(hit) => Ok(Some(hit)),
            None if self.has_directory => py.detach(|| core.try_get(request)),
            None => core.try_get(request),
        }
        .or_raise()
    }

    /// The core, for a call that may block this thread.
    fn blocking(&self, py: Python<'_>, instead: &str) -> PyResult<&isr_core::Cache> {
        if self.has_async.load(Ordering::Relaxed) {
            not_in_a_loop(py, instead)?;
        }
        self.core()
    }
}

/// What a request names beside its path.
#[derive(Default)]
pub struct Asked<'a, 'py> {
    variant: Option<&'a Bound<'py, PyAny>>,
    draft: bool,
    prefetch: bool,
}

impl Asked<'_, '_> {
    fn is_plain(&self) -> bool {
        self.variant.is_none() && !self.draft && !self.prefetch
    }
}

/// What a request names, before it becomes the core's.
struct Wanted<'a> {
    path: &'a str,
    variant: Option<Variant>,
    within: Option<isr_core::Context>,
    draft: bool,
    prefetch: bool,
}

impl<'a> Wanted<'a> {
    fn new(
        py: Python<'_>,
        path: &'a Bound<'_, PyAny>,
        v: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Wanted<'a>> {
        Ok(Wanted {
            path: path_text(path)?,
            variant: variant(v)?,
            within: within(py)?,
            draft: false,
            prefetch: false,
        })
    }

    fn request(&self) -> Request<'_> {
        Request {
            path: self.path,
            variant: self.variant.as_ref(),
            draft: self.draft,
            prefetch: self.prefetch,
            within: self.within.as_ref(),
        }
    }
}

fn strs(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

fn answer(py: Python<'_>, core: isr_core::Answer) -> PyResult<Py<PyAny>> {
    Ok(Py::new(py, Answer::new(core))?.into_any())
}

fn maybe_answer(py: Python<'_>, core: Option<isr_core::Answer>) -> PyResult<Py<PyAny>> {
    core.map_or_else(|| Ok(py.None()), |core| answer(py, core))
}

fn report(py: Python<'_>, report: PrerenderReport) -> PyResult<Py<PyAny>> {
    let failed = failures(py, &report.failed)?;
    Ok((report.rendered, report.skipped, failed).into_pyobject(py)?.into_any().unbind())
}

/// Progress goes to a Python callable of the package, which keeps what the user's raises.
fn on_progress(progress: Option<Py<PyAny>>) -> Option<OnProgress> {
    let progress = Held::new(progress?);
    Some(Arc::new(move |p: &PrerenderProgress| {
        attached(|py| {
            let result = (p.done, p.failed, p.skipped, p.total, p.path.as_str())
                .into_pyobject(py)
                .and_then(|args| call(progress.bind(py), &args));
            if let Err(e) = result {
                e.write_unraisable(py, Some(progress.bind(py)));
            }
        });
    }))
}

#[pymethods]
impl Cache {
    #[new]
    #[pyo3(signature = (*, clock = None, on_trouble = None, **options))]
    fn new(
        py: Python<'_>,
        clock: Option<&Bound<'_, PyAny>>,
        on_trouble: Option<Py<PyAny>>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Cache> {
        guard(|| {
            let mut core = isr_core::Options {
                clock: crate::clock::clock(clock)?,
                on_trouble: on_trouble.map(crate::trouble::on_trouble),
                ..Default::default()
            };
            for (name, value) in options.into_iter().flatten() {
                match text("an option's name", &name)? {
                    "directory" => core.directory = Some(file_path("directory", &value)?),
                    name => core.set(name, option(name, &value)?).or_raise()?,
                }
            }
            let has_directory = core.directory.is_some();
            let recent = Recent::new(py, core.max_bytes);
            let core = py.detach(|| isr_core::Cache::open(core)).or_raise()?;
            let has_async = AtomicBool::new(false);
            Ok(Cache { core: Some(core), has_async, has_directory, recent })
        })
    }

    // `hot` stands before these two.

    #[pyo3(signature = (path, *, variant = None, draft = false, prefetch = false))]
    fn get<'py>(
        &self,
        path: &Bound<'py, PyAny>,
        variant: Option<&Bound<'py, PyAny>>,
        #[pyo3(from_py_with = arg::draft)] draft: bool,
        #[pyo3(from_py_with = arg::prefetch)] prefetch: bool,
    ) -> PyResult<Option<Bound<'py, Answer>>> {
        guard(|| self.ask(path, Asked { variant, draft, prefetch }, true))
    }

    #[pyo3(signature = (path, *, variant = None, draft = false, prefetch = false))]
    fn try_get<'py>(
        &self,
        path: &Bound<'py, PyAny>,
        variant: Option<&Bound<'py, PyAny>>,
        #[pyo3(from_py_with = arg::draft)] draft: bool,
        #[pyo3(from_py_with = arg::prefetch)] prefetch: bool,
    ) -> PyResult<Option<Bound<'py, Answer>>> {
        guard(|| self.ask(path, Asked { variant, draft, prefetch }, false))
    }

    /// What `libisr.asgi` has made of the answer to such a request, if that is given again.
    fn _asgi_made<'py>(&self, scope: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        guard(|| crate::asgi::made(self.core()?, &self.recent, scope))
    }

    #[pyo3(signature = (event_loop, path, variant, draft, prefetch))]
    fn _get_then(
        &self,
        event_loop: &Bound<'_, PyAny>,
        path: &Bound<'_, PyAny>,
        variant: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = arg::draft)] draft: bool,
        #[pyo3(from_py_with = arg::prefetch)] prefetch: bool,
    ) -> PyResult<Later> {
        guard(|| {
            let wanted = Wanted { draft, prefetch, ..Wanted::new(event_loop.py(), path, variant)? };
            let core = self.core()?;
            later(event_loop, answer, |done| core.get_then(&wanted.request(), done))
        })
    }

    /// What is stored: state, page (or None), whole seconds since it was generated.
    #[pyo3(signature = (path, variant))]
    fn _peek(
        &self,
        py: Python<'_>,
        path: &Bound<'_, PyAny>,
        variant: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<(&'static str, Option<Page>, u64)> {
        guard(|| {
            let variant = crate::convert::variant(variant)?;
            let (core, path) = (self.core()?, path_text(path)?);
            let peek = py.detach(|| core.peek(path, variant.as_ref())).or_raise()?;
            let page = peek.page().map(|page| Page { core: page.clone() });
            Ok((peek.state().name(), page, peek.age_secs()))
        })
    }

    /// Renders now, even if the page is fresh, and waits. With `only_generated`, None where nothing is stored.
    #[pyo3(signature = (path, *, variant = None, only_generated = false))]
    fn regenerate(
        &self,
        py: Python<'_>,
        path: &Bound<'_, PyAny>,
        variant: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = arg::only_generated)] only_generated: bool,
    ) -> PyResult<Option<Answer>> {
        guard(|| {
            let core = self.blocking(py, "cache.aregenerate(...)")?;
            let wanted = Wanted::new(py, path, variant)?;
            let request = wanted.request();
            let answer = block(py, |done| core.regenerate_then(&request, only_generated, done))?;
            Ok(answer.map(Answer::new))
        })
    }

    #[pyo3(signature = (event_loop, path, variant, only_generated))]
    fn _regenerate_then(
        &self,
        event_loop: &Bound<'_, PyAny>,
        path: &Bound<'_, PyAny>,
        variant: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = arg::only_generated)] only_generated: bool,
    ) -> PyResult<Later> {
        guard(|| {
            let wanted = Wanted::new(event_loop.py(), path, variant)?;
            let core = self.core()?;
            later(event_loop, maybe_answer, |done| {
                core.regenerate_then(&wanted.request(), only_generated, done);
            })
        })
    }

    /// Invalidates pages by one or many paths or patterns; whether any route could match.
    #[pyo3(signature = (paths, r#type = None))]
    fn revalidate_path(
        &self,
        py: Python<'_>,
        paths: &Bound<'_, PyAny>,
        r#type: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        guard(|| {
            let kind = match r#type {
                None => None,
                Some(given) => match text("type", given)? {
                    "page" => Some(PathType::Page),
                    "layout" => Some(PathType::Layout),
                    _ => {
                        return Err(invalid(format!(
                            "type must be \"page\", \"layout\" or None; got {}",
                            show(given)
                        )));
                    }
                },
            };
            let (core, paths) = (self.core()?, one_or_more("paths", paths)?);
            py.detach(|| core.revalidate_path(&strs(&paths), kind)).or_raise()
        })
    }

    /// Invalidates pages and data entries by one or many tags.
    #[pyo3(signature = (tags, *, soft = false, expire = None))]
    fn revalidate_tag(
        &self,
        py: Python<'_>,
        tags: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = arg::soft)] soft: bool,
        expire: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        guard(|| {
            let expire = expire.map(|e| lifetime("expire", e)).transpose()?;
            let options = TagOptions { soft, expire };
            let (core, tags) = (self.core()?, one_or_more("tags", tags)?);
            py.detach(|| core.revalidate_tag(&strs(&tags), options)).or_raise()
        })
    }

    /// Removes the stored pages of one or many paths, all variants.
    fn remove(&self, py: Python<'_>, paths: &Bound<'_, PyAny>) -> PyResult<()> {
        guard(|| {
            let (core, paths) = (self.core()?, one_or_more("paths", paths)?);
            py.detach(|| core.remove(&strs(&paths))).or_raise()?;
            self.recent.tidy_all(py)
        })
    }

    #[pyo3(signature = (progress))]
    fn _prerender(&self, py: Python<'_>, progress: Option<Py<PyAny>>) -> PyResult<Py<PyAny>> {
        guard(|| {
            let core = self.blocking(py, "cache.aprerender(...)")?;
            let progress = on_progress(progress);
            let done = block(py, |done| core.prerender_then(progress, done))?;
            report(py, done)
        })
    }

    #[pyo3(signature = (event_loop, progress))]
    fn _prerender_then(
        &self,
        event_loop: &Bound<'_, PyAny>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Later> {
        guard(|| {
            let core = self.core()?;
            later(event_loop, report, |done| core.prerender_then(on_progress(progress), done))
        })
    }

    fn _data<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        tags: &Bound<'py, PyAny>,
        revalidate: &Bound<'py, PyAny>,
        loader: Py<PyAny>,
    ) -> PyResult<(Py<PyAny>, &'static str)> {
        guard(|| {
            let core = self.blocking(py, "cache.adata(...)")?;
            Read::new(key, tags, revalidate, loader)?.block(py, core, within(py)?)
        })
    }

    fn _data_then<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        tags: &Bound<'py, PyAny>,
        revalidate: &Bound<'py, PyAny>,
        loader: Py<PyAny>,
        event_loop: &Bound<'py, PyAny>,
    ) -> PyResult<Later> {
        guard(|| {
            let core = self.core()?;
            Read::new(key, tags, revalidate, loader)?.later(event_loop, core, within(py)?)
        })
    }

    /// The present epoch, to be taken before a page is rendered outside of the cache, for `put`.
    fn started(&self, py: Python<'_>) -> PyResult<u64> {
        guard(|| {
            let core = self.core()?;
            Ok(py.detach(|| core.started()).as_u64())
        })
    }

    /// Stores a page that was rendered outside of the cache; whether it is stored now.
    #[pyo3(signature = (path, page, started, *, variant = None))]
    fn put(
        &self,
        py: Python<'_>,
        path: &Bound<'_, PyAny>,
        page: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = arg::started)] started: u64,
        variant: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        guard(|| {
            let variant = crate::convert::variant(variant)?;
            let page = page_of(page, "page")?;
            let started = Started::from_u64(started);
            let (core, path) = (self.core()?, path_text(path)?);
            let put = py.detach(|| core.put(path, variant.as_ref(), page, started)).or_raise()?;
            Ok(put == isr_core::Put::Stored)
        })
    }

    /// A signed token that lets its bearer see drafts for this long.
    fn draft_token(&self, valid_for: &Bound<'_, PyAny>) -> PyResult<String> {
        guard(|| self.core()?.draft_token(lifetime("valid_for", valid_for)?).or_raise())
    }

    /// Whether a draft token is genuine and has not expired.
    fn verify_draft(&self, token: &Bound<'_, PyAny>) -> PyResult<bool> {
        guard(|| Ok(self.core()?.verify_draft(text("token", token)?)))
    }

    /// Counters since the cache was opened, by name.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        guard(|| {
            let stats = PyDict::new(py);
            for (name, value) in self.core()?.stats().entries() {
                stats.set_item(name, value)?;
            }
            Ok(stats)
        })
    }

    fn _activity(&self) -> PyResult<(usize, usize, usize, u64)> {
        guard(|| {
            let now = self.core()?.activity();
            Ok((now.queued, now.running, now.waiting, now.version))
        })
    }

    fn _add_route(
        &self,
        pattern: &Bound<'_, PyAny>,
        options: &Bound<'_, PyDict>,
        start: Py<PyAny>,
    ) -> PyResult<()> {
        guard(|| {
            let core = self.core()?;
            let renderer =
                Arc::new(PyRenderer { cache: core.downgrade(), start: Held::new(start) });
            core.add_route(text("pattern", pattern)?, route_options(options)?, renderer).or_raise()
        })
    }

    /// From now on callbacks run on event loops, so that a call which blocks one may wait for itself.
    fn _uses_loops(&self) {
        self.has_async.store(true, Ordering::Relaxed);
    }

    /// In a child of a fork: what the parent was answered is none of its own.
    fn _forget(&self, py: Python<'_>) {
        self.recent.forget(py);
    }

    fn _close(&self, py: Python<'_>, timeout: &Bound<'_, PyAny>) -> PyResult<bool> {
        guard(|| {
            let timeout = lifetime("timeout", timeout)?;
            let core = self.core()?;
            if within(py)?.is_some() {
                return Err(invalid(
                    "close cannot be called from within a render or a load, for which it would wait",
                ));
            }
            let timeout = timeout.nanos().map_or(FOREVER, Duration::from_nanos);
            let in_time = py.detach(|| core.close(timeout));
            self.recent.clear(py);
            let_go(py);
            Ok(in_time)
        })
    }

    /// Whether it is closed.
    #[getter]
    fn closed(&self) -> bool {
        self.core().map_or(true, isr_core::Cache::is_closed)
    }
}

/// Longer than any process runs; small enough to be added to any time.
const FOREVER: Duration = Duration::from_secs(1 << 32);
