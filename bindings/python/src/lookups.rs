//! What is looked up in Python once, for all calls.
//!
//! All of it while the package is imported: who is the first to look something up makes others wait, and in a forked child for
//! ever if it was a thread of the parent. So there is no other `PyOnceLock` than those that the import fills, and no `intern!`.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyMapping, PyType};

use crate::asgi::Names;
use crate::page::Slice;

pub struct Lookups {
    pub errors_by_kind: Py<PyAny>,
    pub head: Py<PyAny>,
    pub settle: Py<PyAny>,
    pub timedelta: Py<PyAny>,
    pub main_thread: Py<PyAny>,
    pub get_ident: Py<PyAny>,
    pub running_loop: Py<PyAny>,
    /// Gives the innermost render or load.
    pub current: Py<PyAny>,
    /// `get` and `try_get` of the cache before which `hot` stands.
    pub get: Py<PyAny>,
    pub try_get: Py<PyAny>,
    pub scope: Names,
}

impl Lookups {
    fn new(py: Python<'_>) -> PyResult<Lookups> {
        let find =
            |module: &str, name: &str| Ok::<_, PyErr>(py.import(module)?.getattr(name)?.unbind());
        // A class that the module does not export is made at its first use, and PyO3 looks up what a mapping is.
        py.get_type::<Slice>();
        let _ = py.None().bind(py).cast::<PyMapping>();
        let cache = py.import("libisr._cache")?.getattr("Cache")?;
        let [get, try_get] = crate::hot::install(cache.cast::<PyType>()?)?;
        Ok(Lookups {
            errors_by_kind: find("libisr._errors", "BY_KIND")?,
            head: find("libisr._types", "Head")?,
            settle: find("libisr._loops", "settle")?,
            timedelta: find("datetime", "timedelta")?,
            main_thread: find("threading", "main_thread")?,
            get_ident: find("threading", "get_ident")?,
            running_loop: find("asyncio", "_get_running_loop")?,
            current: crate::job::current(py)?.getattr("get")?.unbind(),
            get,
            try_get,
            scope: Names::new(py),
        })
    }

    pub fn get(py: Python<'_>) -> PyResult<&Lookups> {
        static LOOKUPS: PyOnceLock<Lookups> = PyOnceLock::new();
        LOOKUPS.get_or_try_init(py, || Lookups::new(py))
    }
}

/// Told by the package at the end of its import.
#[pyfunction(name = "_prepare")]
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    // The first attachment of all does something once, too.
    Python::attach(|_| ());
    Lookups::get(py).map(|_| ())
}
