//! Hits for ASGI: what was made of an answer before, straight from the scope of a request. Everything else goes the long way, in
//! `libisr/asgi.py`, which also says what is made and by which key it is kept.

use isr_core::Cache;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use crate::lookups::Lookups;
use crate::recent::Recent;

/// The keys of a scope, and what is compared with their values.
pub struct Names {
    kind: Py<PyString>,
    http: Py<PyString>,
    method: Py<PyString>,
    raw_path: Py<PyString>,
    query: Py<PyString>,
    headers: Py<PyString>,
    asgi: Py<PyString>,
}

impl Names {
    pub fn new(py: Python<'_>) -> Names {
        let name = |text| PyString::intern(py, text).unbind();
        Names {
            kind: name("type"),
            http: name("http"),
            method: name("method"),
            raw_path: name("raw_path"),
            query: name("query_string"),
            headers: name("headers"),
            asgi: name("asgi"),
        }
    }
}

/// What was made for such a request of an answer that would be given again just so now; counts as a hit then.
pub fn made<'py>(
    core: &Cache,
    recent: &Recent,
    scope: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = scope.py();
    let names = &Lookups::get(py)?.scope;
    // What else a server may give is no less right, but goes the long way.
    let Ok(scope) = scope.cast_exact::<PyDict>() else { return Ok(None) };
    let value = |name: &Py<PyString>| scope.get_item(name);
    match value(&names.kind)? {
        Some(kind) if kind.is(&names.http) || kind.eq(&names.http)? => {}
        _ => return Ok(None),
    }
    let (Some(method), Some(headers)) = (value(&names.method)?, value(&names.headers)?) else {
        return Ok(None);
    };
    if method.cast_exact::<PyString>().is_err() {
        return Ok(None);
    }
    let Some(target) = target(py, value(&names.raw_path)?, value(&names.query)?) else {
        return Ok(None);
    };
    let Some(conditions) = Conditions::of(&headers) else { return Ok(None) };
    // SAFETY: it is owned at once.
    let found = unsafe { recent.find(target.as_any().as_borrowed()) }.map(|found| found.to_owned());
    let Some(found) = found else { return Ok(None) };
    let given = found.get().given();
    let Some(again) = &given.again else { return Ok(None) };
    let key = match conditions {
        Conditions { none_match: None, accept_encoding: None } => method,
        Conditions { none_match, accept_encoding } => {
            (&names.asgi, method, none_match, accept_encoding).into_pyobject(py)?.into_any()
        }
    };
    let made = again.made.get(&key)?;
    Ok(made.filter(|_| given.is_same_hit(core)))
}

/// The request target, of ASCII alone.
fn target<'py>(
    py: Python<'py>,
    path: Option<Bound<'py, PyAny>>,
    query: Option<Bound<'py, PyAny>>,
) -> Option<Bound<'py, PyString>> {
    let path = path?;
    let path = ascii(&path)?;
    let query = query.as_ref().map_or(Some(""), ascii)?;
    if query.is_empty() {
        return Some(PyString::new(py, path));
    }
    Some(PyString::new(py, &format!("{path}?{query}")))
}

fn ascii<'a>(value: &'a Bound<'_, PyAny>) -> Option<&'a str> {
    let bytes = value.cast_exact::<PyBytes>().ok()?.as_bytes();
    bytes.is_ascii().then(|| std::str::from_utf8(bytes).ok()).flatten()
}

/// The fields of a request that choose among what can be sent.
struct Conditions<'py> {
    none_match: Option<Bound<'py, PyAny>>,
    accept_encoding: Option<Bound<'py, PyAny>>,
}

impl<'py> Conditions<'py> {
    /// None for what is to be looked at closer, such as a field that is there twice.
    fn of(headers: &Bound<'py, PyAny>) -> Option<Conditions<'py>> {
        let mut found = Conditions { none_match: None, accept_encoding: None };
        for field in headers.cast_exact::<PyList>().ok()? {
            let field = field.cast_exact::<PyTuple>().ok()?;
            let name = field.get_borrowed_item(0).ok()?;
            let place = match name.cast_exact::<PyBytes>().ok()?.as_bytes() {
                b"if-none-match" => &mut found.none_match,
                b"accept-encoding" => &mut found.accept_encoding,
                _ => continue,
            };
            let value = field.get_item(1).ok()?;
            if value.cast_exact::<PyBytes>().is_err() || place.replace(value).is_some() {
                return None;
            }
        }
        Some(found)
    }
}
