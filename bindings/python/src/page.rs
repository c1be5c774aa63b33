//! Pages and answers: views of what the core holds, without a copy.

use std::ffi::{c_int, c_void};
use std::sync::Arc;

use isr_core::http::Conditions;
use isr_core::{Cache, Kept, Window};
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyMemoryView, PyString};

use crate::again::{Again, Given, Still};
use crate::convert::text;
use crate::errors::{invalid, wrong_type};
use crate::guard::guard;
use crate::lookups::Lookups;
use crate::made::Room;

/// A stored response: immutable, readable from any thread, alive as long as this object or a view of its body.
#[pyclass(frozen, module = "libisr")]
pub struct Page {
    pub(crate) core: isr_core::Page,
}

#[pymethods]
impl Page {
    /// The canonical path.
    #[getter]
    fn path(&self) -> &str {
        self.core.path()
    }

    /// The HTTP status.
    #[getter]
    fn status(&self) -> u16 {
        self.core.status()
    }

    /// The render's own header fields, names in lower case. What a client is sent is `Answer.head`.
    #[getter]
    fn headers(&self) -> Vec<(&str, &str)> {
        self.core.headers().collect()
    }

    /// The body as a memoryview, without a copy; it keeps the page alive.
    #[getter]
    fn body<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyMemoryView>> {
        PyMemoryView::from(slf.as_any())
    }

    /// The strong etag with its quotes; empty for a page that is not for the store.
    #[getter]
    fn etag(&self) -> &str {
        self.core.etag()
    }

    /// All tags: the route's, the result's, and those of the data entries that the render read.
    #[getter]
    fn tags(&self) -> Vec<&str> {
        self.core.tags().collect()
    }

    /// Seconds until it is stale, after the min rule; None is never.
    #[getter]
    fn revalidate(&self) -> Option<f64> {
        self.core.revalidate().as_secs_f64()
    }

    /// Seconds until it is expired; None is never.
    #[getter]
    fn expire(&self) -> Option<f64> {
        self.core.expire().as_secs_f64()
    }

    /// When it was stored, in seconds since 1970.
    #[getter]
    fn generated(&self) -> f64 {
        self.core.generated().as_secs_f64()
    }

    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let body: *const [u8] = slf.get().core.body();
        // SAFETY: the interpreter gives a view to fill; the body lives in the page, which `slf` holds and nobody changes.
        unsafe { fill(view, slf.as_any(), &*body, flags) }
    }

    fn __repr__(&self) -> String {
        format!(
            "<libisr.Page {:?} {} {} bytes>",
            self.core.path(),
            self.core.status(),
            self.core.body().len()
        )
    }
}

/// Fills a buffer view that keeps `owner` alive.
///
/// # Safety
/// `view` is the interpreter's, and `body` lives unchanged as long as `owner`.
unsafe fn fill(
    view: *mut ffi::Py_buffer,
    owner: &Bound<'_, PyAny>,
    body: &[u8],
    flags: c_int,
) -> PyResult<()> {
    if view.is_null() {
        return Err(PyBufferError::new_err("the view is null"));
    }
    let length = ffi::Py_ssize_t::try_from(body.len())
        .map_err(|_| PyBufferError::new_err("the body is too large"))?;
    let start = body.as_ptr().cast_mut().cast::<c_void>();
    // SAFETY: as above; `1` makes the view read-only, so that nothing is written through `start`.
    let result = unsafe { ffi::PyBuffer_FillInfo(view, owner.as_ptr(), start, length, 1, flags) };
    if result == 0 { Ok(()) } else { Err(PyErr::fetch(owner.py())) }
}

/// An answer to a request: a page, and how it came about.
#[pyclass(frozen, module = "libisr")]
pub struct Answer {
    given: Still,
}

impl Answer {
    pub(crate) fn new(core: isr_core::Answer) -> Answer {
        Answer { given: Still::new(Given { again: None, core }) }
    }

    /// That of a hit that may be given again.
    pub(crate) fn of_hit(
        core: isr_core::Answer,
        kept: Kept,
        window: Arc<Window>,
        room: &Arc<Room>,
    ) -> Answer {
        Answer { given: Still::new(Given::of_hit(core, kept, window, room)) }
    }

    #[inline]
    pub(crate) fn given(&self) -> &Given {
        self.given.get()
    }

    /// Becomes the answer at the present time, where it is a hit again and nobody but the caller has it; whether it has.
    ///
    /// # Safety
    /// The caller uses nothing that `given` gave.
    #[inline]
    pub(crate) unsafe fn grow_older(slf: Borrowed<'_, '_, Answer>, cache: &Cache) -> bool {
        // SAFETY: the object is live, and the thread holds the GIL and is the only one that has it.
        unsafe { ffi::Py_REFCNT(slf.as_ptr()) == 1 && slf.get().given.grow_older(cache) }
    }

    fn core(&self) -> &isr_core::Answer {
        &self.given().core
    }

    fn again(&self) -> Option<&Again> {
        self.given().again.as_ref()
    }
}

#[pymethods]
impl Answer {
    /// How it came about: "hit", "stale", "miss", "revalidated", "stale-error" or "bypass".
    #[getter]
    fn cache<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        PyString::intern(py, self.core().cache().name())
    }

    /// The page.
    #[getter]
    fn page(&self) -> Page {
        Page { core: self.core().page().clone() }
    }

    /// Whole seconds since the page was generated, at the time of the answer.
    #[getter]
    fn age(&self) -> u64 {
        self.core().age_secs()
    }

    /// The page's HTTP status.
    #[getter]
    fn status(&self) -> u16 {
        self.core().page().status()
    }

    /// The page's body as a memoryview, without a copy; it keeps the page alive.
    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyMemoryView>> {
        let kept = self.again().and_then(|again| again.body.get(py));
        // Who had it may have released it: then it has no length.
        if let Some(view) = kept.map(|view| view.bind(py))
            && is_alone(view)
            && view.len().is_ok()
        {
            return Ok(view.clone());
        }
        let view = PyMemoryView::from(Bound::new(py, self.page())?.as_any())?;
        if let Some(again) = self.again() {
            // Where there is one already, it stays.
            let _ = again.body.set(py, view.clone().unbind());
        }
        Ok(view)
    }

    /// What a door has made of this answer for such a request, if it was kept.
    fn _made<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        guard(|| self.again().map_or(Ok(None), |again| again.made.get(key)))
    }

    /// Keeps what a door has made of this answer, as long as that is given and there is room. `size` is that of its body.
    fn _keep_made(
        &self,
        key: &Bound<'_, PyAny>,
        made: &Bound<'_, PyAny>,
        size: usize,
    ) -> PyResult<()> {
        guard(|| self.again().map_or(Ok(()), |again| again.made.keep(key, made, size)))
    }

    /// The render's own header fields, names in lower case. What a client is sent is `head`.
    #[getter]
    fn headers(&self) -> Vec<(&str, &str)> {
        self.core().page().headers().collect()
    }

    /// Status, headers and body to send for a request with these headers.
    #[pyo3(signature = (method = None, if_none_match = None, accept_encoding = None))]
    #[pyo3(text_signature = "($self, method='GET', if_none_match=None, accept_encoding=None)")]
    fn head<'py>(
        slf: &Bound<'py, Self>,
        method: Option<&Bound<'py, PyAny>>,
        if_none_match: Option<&Bound<'py, PyAny>>,
        accept_encoding: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        guard(|| {
            let py = slf.py();
            let is_head = match method.map(|m| text("method", m)).transpose()? {
                None => false,
                Some(method) if method.eq_ignore_ascii_case("GET") => false,
                Some(method) if method.eq_ignore_ascii_case("HEAD") => true,
                Some(other) => {
                    return Err(invalid(format!(
                        "method must be \"GET\" or \"HEAD\"; got \"{other}\""
                    )));
                }
            };
            let if_none_match = if_none_match.map(|v| text("if_none_match", v)).transpose()?;
            let accept_encoding =
                accept_encoding.map(|v| text("accept_encoding", v)).transpose()?;
            let core = slf.get().core();
            let head = core.head(&Conditions { is_head, if_none_match, accept_encoding });
            let body = Slice {
                start: head.body.as_ptr(),
                length: head.body.len(),
                _page: core.page().clone(),
            };
            let view = PyMemoryView::from(Bound::new(py, body)?.as_any())?;
            let class = Lookups::get(py)?.head.bind(py);
            class.call1((head.status, head.headers, view, head.content_length))
        })
    }

    fn __repr__(&self) -> String {
        let page = self.core().page();
        format!(
            "<libisr.Answer {} {:?} {} age={} {} bytes>",
            self.core().cache().name(),
            page.path(),
            page.status(),
            self.core().age_secs(),
            page.body().len()
        )
    }
}

/// Whether this is the only reference to an object.
fn is_alone(object: &Bound<'_, PyMemoryView>) -> bool {
    // SAFETY: the object is live, and the thread attached.
    unsafe { ffi::Py_REFCNT(object.as_ptr()) == 1 }
}

/// One of a page's bodies (plain, or in an encoding), or nothing.
#[pyclass(frozen, module = "libisr._libisr")]
pub struct Slice {
    start: *const u8,
    length: usize,
    _page: isr_core::Page,
}

// SAFETY: `start` points into the page, which is immutable and may be read from any thread.
unsafe impl Send for Slice {}
// SAFETY: as above.
unsafe impl Sync for Slice {}

#[pymethods]
impl Slice {
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let Slice { start, length, .. } = *slf.get();
        // SAFETY: both come from one slice of the page's bodies, which `slf` keeps alive and unchanged.
        unsafe { fill(view, slf.as_any(), std::slice::from_raw_parts(start, length), flags) }
    }
}

/// The page that somebody asks to store: a `Result`, or a body.
pub fn page_of(value: &Bound<'_, PyAny>, what: &str) -> PyResult<isr_core::PageResult> {
    if let Ok(result) = value.cast::<crate::result::Result_>() {
        return Ok(result.get().core.clone());
    }
    crate::convert::body(what, value).map(isr_core::PageResult::new).map_err(|e| {
        if e.is_instance_of::<pyo3::exceptions::PyTypeError>(value.py()) {
            wrong_type(what, "str, bytes or a libisr.Result", value)
        } else {
            e
        }
    })
}
