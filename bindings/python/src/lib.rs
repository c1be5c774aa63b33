//! The Python module: converts between Python and the core, and decides nothing.
//!
//! The public API is the package `libisr` (folder `python/libisr`); this is its extension module `libisr._libisr`.

mod again;
mod asgi;
mod bridge;
mod cache;
mod clock;
mod convert;
mod data;
mod errors;
mod guard;
mod held;
mod hot;
mod job;
mod lookups;
mod made;
mod page;
mod recent;
mod result;
mod route;
mod thread;
mod trouble;

use pyo3::prelude::*;

/// Native half of the package `libisr`.
#[pymodule(gil_used = false)]
mod _libisr {
    #[pymodule_export]
    use crate::cache::Cache;
    #[pymodule_export]
    use crate::clock::ManualClock;
    #[pymodule_export]
    use crate::guard::test_panic;
    #[pymodule_export]
    use crate::held::keep;
    #[pymodule_export]
    use crate::job::{Context, LoadJob, RenderJob};
    #[pymodule_export]
    use crate::lookups::prepare;
    #[pymodule_export]
    use crate::page::{Answer, Page};
    #[pymodule_export]
    use crate::result::Result_;
    #[pymodule_export]
    use crate::route::canonical_path;
    #[pymodule_export]
    use crate::thread::{
        after_fork_in_child, after_fork_in_parent, before_fork, interpreter_exits,
    };

    use super::*;

    #[pymodule_init]
    fn init(m: &Bound<'_, PyModule>) -> PyResult<()> {
        m.add("__version__", env!("CARGO_PKG_VERSION"))?;
        m.add("OPTIONS", isr_core::Options::NAMES)?;
        m.add("ERRORS", crate::errors::table())?;
        m.add("current", crate::job::current(m.py())?)
    }
}
