//! What a render gives beside a plain body.

use isr_core::PageResult;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::convert::{Arg, arg, lifetime, texts};
use crate::errors::invalid;
use crate::guard::guard;

/// A page as a render makes it: body, status, headers, and what overrides the route's options.
///
/// `revalidate` and `expire` are seconds, or None or False for never; left out, the route's hold.
#[pyclass(frozen, name = "Result", module = "libisr")]
pub struct Result_ {
    pub(crate) core: PageResult,
}

#[pymethods]
impl Result_ {
    #[new]
    #[pyo3(signature = (body = Arg::UNSET, status = 200, headers = None, *, revalidate = Arg::UNSET, expire = Arg::UNSET, tags = None, no_store = false, remove = false))]
    #[pyo3(
        text_signature = "(body=b'', status=200, headers=None, *, revalidate=..., expire=..., tags=None, no_store=False, remove=False)"
    )]
    #[expect(clippy::too_many_arguments, reason = "keywords, in Python")]
    fn new(
        body: Arg<'_>,
        #[pyo3(from_py_with = arg::status)] status: u16,
        headers: Option<&Bound<'_, PyAny>>,
        revalidate: Arg<'_>,
        expire: Arg<'_>,
        tags: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = arg::no_store)] no_store: bool,
        #[pyo3(from_py_with = arg::remove)] remove: bool,
    ) -> PyResult<Result_> {
        guard(|| {
            Ok(Result_ {
                core: PageResult {
                    status: three_digits(status)?,
                    headers: headers.map(crate::convert::headers).transpose()?.unwrap_or_default(),
                    body: body
                        .given()
                        .map(|b| crate::convert::body("body", b))
                        .transpose()?
                        .unwrap_or_default(),
                    revalidate: revalidate
                        .given()
                        .map(|r| lifetime("revalidate", r))
                        .transpose()?,
                    expire: expire.given().map(|e| lifetime("expire", e)).transpose()?,
                    tags: tags.map(|t| texts("tags", t)).transpose()?.unwrap_or_default(),
                    no_store,
                    remove,
                },
            })
        })
    }

    /// The HTTP status.
    #[getter]
    fn status(&self) -> u16 {
        self.core.status
    }

    /// The body as bytes.
    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.core.body)
    }

    /// The header fields as they were given.
    #[getter]
    fn headers(&self) -> Vec<(&str, &str)> {
        self.core.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect()
    }

    fn __repr__(&self) -> String {
        format!("<libisr.Result {} {} bytes>", self.core.status, self.core.body.len())
    }
}

fn three_digits(status: u16) -> PyResult<u16> {
    if (100..1000).contains(&status) {
        return Ok(status);
    }
    Err(invalid(format!("status must be a number of three digits; got {status}")))
}
