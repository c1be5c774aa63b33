//! Python values as the core's, with errors that name the value and the rule.

use std::path::PathBuf;

use isr_core::{Error, ErrorKind, Lifetime, OptionValue, ParamValue, Params, Variant};
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMapping, PyMemoryView,
    PyString, PyTuple,
};

use crate::errors::{OrRaise, invalid, raise, show, wrong_type};
use crate::lookups::Lookups;

/// An argument that may be left out, where `None` is a value of its own: its default is `...`.
pub struct Arg<'py>(Option<Bound<'py, PyAny>>);

impl<'py> Arg<'py> {
    /// Left out.
    pub const UNSET: Arg<'py> = Arg(None);

    /// The value, unless it was left out.
    pub fn given(&self) -> Option<&Bound<'py, PyAny>> {
        self.0.as_ref()
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Arg<'py> {
    type Error = PyErr;

    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Arg<'py>> {
        Ok(if value.is(value.py().Ellipsis()) { Arg(None) } else { Arg(Some(value.to_owned())) })
    }
}

/// A text that is valid UTF-8.
pub fn text<'a>(what: &str, value: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
    let text = value.cast::<PyString>().map_err(|_| wrong_type(what, "a str", value))?;
    text.to_str().map_err(|_| invalid(format!("{what} must be valid Unicode; got {}", show(value))))
}

/// A path; one that is no valid Unicode is an invalid path.
pub fn path_text<'a>(path: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
    match path.cast::<PyString>().map(|s| s.to_str()) {
        Ok(Err(_)) => Err(raise(&Error::new(
            ErrorKind::InvalidPath,
            format!("a path must be valid UTF-8; got {}", show(path)),
        ))),
        _ => text("path", path),
    }
}

fn flag(what: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(value.cast::<PyBool>().map_err(|_| wrong_type(what, "a bool", value))?.is_true())
}

fn whole<T: for<'a, 'py> FromPyObject<'a, 'py>>(
    what: &str,
    rule: &str,
    value: &Bound<'_, PyAny>,
) -> PyResult<T> {
    if !value.is_instance_of::<PyInt>() || value.is_instance_of::<PyBool>() {
        return Err(wrong_type(what, "an int", value));
    }
    value.extract().map_err(|_| invalid(format!("{what} must be {rule}; got {}", show(value))))
}

fn real(what: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    if !is_number(value) {
        return Err(wrong_type(what, "a number of seconds (int or float)", value));
    }
    number(what, value)
}

/// Whether it is an int or a float; a bool is neither.
fn is_number(value: &Bound<'_, PyAny>) -> bool {
    (value.is_instance_of::<PyInt>() || value.is_instance_of::<PyFloat>())
        && !value.is_instance_of::<PyBool>()
}

/// Conversions of one argument each, so that their errors name it.
pub mod arg {
    use super::{flag, real, whole};
    use pyo3::prelude::*;

    macro_rules! arguments {
        ($($name:ident: $type:ty = $convert:ident($($rule:literal)?);)*) => {
            $(pub fn $name(value: &Bound<'_, PyAny>) -> PyResult<$type> {
                $convert(stringify!($name), $($rule,)? value)
            })*
        };
    }

    arguments! {
        draft: bool = flag();
        prefetch: bool = flag();
        only_generated: bool = flag();
        soft: bool = flag();
        no_store: bool = flag();
        remove: bool = flag();
        status: u16 = whole("a number of three digits");
        started: u64 = whole("what `started()` gave");
        start: f64 = real();
        to: f64 = real();
    }
}

/// Seconds, or never.
pub fn lifetime(what: &str, value: &Bound<'_, PyAny>) -> PyResult<Lifetime> {
    match seconds(what, value)? {
        Some(secs) => Lifetime::from_secs_f64(what, secs).or_raise(),
        None => Ok(Lifetime::NEVER),
    }
}

/// Seconds as a number; `None` is never.
fn seconds(what: &str, value: &Bound<'_, PyAny>) -> PyResult<Option<f64>> {
    const RULE: &str = "a number of seconds (int, float or timedelta), or None or False for never";
    if value.is_none() {
        return Ok(None);
    }
    if let Ok(flag) = value.cast::<PyBool>() {
        return if flag.is_true() { Err(wrong_type(what, RULE, value)) } else { Ok(None) };
    }
    if value.is_instance_of::<PyInt>() || value.is_instance_of::<PyFloat>() {
        return number(what, value).map(Some);
    }
    if value.is_instance(Lookups::get(value.py())?.timedelta.bind(value.py()))? {
        return value.call_method0("total_seconds")?.extract().map(Some);
    }
    Err(wrong_type(what, RULE, value))
}

fn number(what: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    value
        .extract()
        .map_err(|_| invalid(format!("{what} is too large for a number; got {}", show(value))))
}

/// The value of an option of the cache. Which Python type each one takes is said here, which values the core says.
pub fn option(name: &str, value: &Bound<'_, PyAny>) -> PyResult<OptionValue> {
    match name {
        "deployment" | "draft_secret" | "name" => {
            Ok(OptionValue::Text(text(name, value)?.to_string()))
        }
        "storable_statuses" => {
            list_of(name, "int", value, |item| item.is_exact_instance_of::<PyInt>())
        }
        "precompress" => list_of(name, "str", value, |item| item.is_instance_of::<PyString>()),
        "stale_if_error" | "default_revalidate" | "default_expire" | "default_timeout" => {
            Ok(seconds(name, value)?.map_or(OptionValue::Never, OptionValue::Number))
        }
        "max_regenerations" | "max_regenerations_per_tag" => limit(name, value),
        "backoff_jitter" | "early_refresh" => plain_number(name, "a number (int or float)", value),
        "durable" => Ok(OptionValue::Number(f64::from(flag(name, value)?))),
        "max_bytes" | "max_entry_bytes" | "max_disk_bytes" | "max_queue" | "threads"
        | "max_variants" | "max_invalidations" => plain_number(name, "a whole number (int)", value),
        _ => Err(invalid(format!(
            "unknown option \"{name}\"; known are {}, on_trouble, clock",
            isr_core::Options::NAMES.join(", ")
        ))),
    }
}

/// A path of the file system.
pub fn file_path(name: &str, value: &Bound<'_, PyAny>) -> PyResult<PathBuf> {
    value.extract().map_err(|_| wrong_type(name, "a str or an os.PathLike of str", value))
}

/// A whole number, or none for no limit.
pub fn limit(name: &str, value: &Bound<'_, PyAny>) -> PyResult<OptionValue> {
    if value.is_none() {
        return Ok(OptionValue::Never);
    }
    plain_number(name, "a whole number (int), or None for no limit", value)
}

pub fn plain_number(name: &str, rule: &str, value: &Bound<'_, PyAny>) -> PyResult<OptionValue> {
    if !is_number(value) {
        return Err(wrong_type(name, rule, value));
    }
    number(name, value).map(OptionValue::Number)
}

fn list_of(
    name: &str,
    item: &str,
    value: &Bound<'_, PyAny>,
    fits: fn(&Bound<'_, PyAny>) -> bool,
) -> PyResult<OptionValue> {
    if !(value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>()) {
        return Err(wrong_type(name, &format!("a list of {item}"), value));
    }
    let items = value.try_iter()?.map(|one| {
        let one = one?;
        if fits(&one) {
            return Ok(one.str()?.to_string_lossy().into_owned());
        }
        Err(wrong_type(&format!("an item of {name}"), item, &one))
    });
    Ok(OptionValue::Texts(items.collect::<PyResult<_>>()?))
}

/// A list of texts: any iterable of `str` that is not itself a text.
pub fn texts(what: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    const RULE: &str = "a list of str";
    if value.is_instance_of::<PyString>()
        || value.is_instance_of::<PyBytes>()
        || value.is_instance_of::<PyDict>()
    {
        return Err(wrong_type(what, RULE, value));
    }
    let items = value.try_iter().map_err(|_| wrong_type(what, RULE, value))?;
    items.map(|item| Ok(text(&format!("an item of {what}"), &item?)?.to_string())).collect()
}

/// One text, or a list of texts.
pub fn one_or_more(what: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    if value.is_instance_of::<PyString>() {
        return Ok(vec![text(what, value)?.to_string()]);
    }
    texts(what, value).map_err(|e| {
        let py = value.py();
        let is_text_like = value.is_instance_of::<PyBytes>() || value.try_iter().is_err();
        if e.is_instance_of::<pyo3::exceptions::PyTypeError>(py) && is_text_like {
            wrong_type(what, "a str or a list of str", value)
        } else {
            e
        }
    })
}

/// Named values of a mapping.
fn items<'py>(
    what: &str,
    rule: &str,
    value: &Bound<'py, PyAny>,
) -> PyResult<Vec<(String, Bound<'py, PyAny>)>> {
    let mapping = value.cast::<PyMapping>().map_err(|_| wrong_type(what, rule, value))?;
    mapping
        .items()?
        .iter()
        .map(|pair| {
            let (name, value): (Bound<'py, PyAny>, Bound<'py, PyAny>) = pair.extract()?;
            Ok((text(&format!("a name in {what}"), &name)?.to_string(), value))
        })
        .collect()
}

/// A mapping of texts.
pub fn text_pairs(what: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<(String, String)>> {
    items(what, "a dict of str to str", value)?
        .into_iter()
        .map(|(name, value)| {
            let value = text(&format!("{what}[{name:?}]"), &value)?.to_string();
            Ok((name, value))
        })
        .collect()
}

/// The variant of a request; `None` is the plain one.
pub fn variant(value: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Variant>> {
    let Some(value) = value else { return Ok(None) };
    let mut variant = Variant::new();
    for (name, value) in text_pairs("variant", value)? {
        variant.set(name, value);
    }
    Ok(Some(variant))
}

/// The params of one path.
fn params(what: &str, value: &Bound<'_, PyAny>) -> PyResult<Params> {
    items(what, "a dict of param to value", value)?
        .into_iter()
        .map(|(name, value)| {
            let what = format!("{what}[{name:?}]");
            let value = if value.is_instance_of::<PyString>() {
                ParamValue::One(text(&what, &value)?.to_string())
            } else {
                ParamValue::Many(one_or_more(&what, &value)?)
            };
            Ok((name, value))
        })
        .collect()
}

/// The params of the paths that a route lists.
pub fn static_params(value: &Bound<'_, PyAny>) -> PyResult<Vec<Params>> {
    const RULE: &str = "a list of dicts";
    if value.is_instance_of::<PyString>() || value.is_instance_of::<PyDict>() {
        return Err(wrong_type("static_params", RULE, value));
    }
    let list = value.try_iter().map_err(|_| wrong_type("static_params", RULE, value))?;
    list.enumerate().map(|(i, one)| params(&format!("static_params[{i}]"), &one?)).collect()
}

/// Header fields: a dict, or a list of pairs where a name comes more than once.
pub fn headers(value: &Bound<'_, PyAny>) -> PyResult<Vec<(String, String)>> {
    const RULE: &str = "a dict of str to str, or a list of pairs of str";
    if value.cast::<PyMapping>().is_ok()
        && !value.is_instance_of::<PyList>()
        && !value.is_instance_of::<PyTuple>()
    {
        return text_pairs("headers", value);
    }
    if value.is_instance_of::<PyString>() || value.is_instance_of::<PyBytes>() {
        return Err(wrong_type("headers", RULE, value));
    }
    let pairs = value.try_iter().map_err(|_| wrong_type("headers", RULE, value))?;
    pairs
        .map(|pair| {
            let pair = pair?;
            let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair
                .extract()
                .map_err(|_| wrong_type("an item of headers", "a pair of str", &pair))?;
            Ok((
                text("a header name", &name)?.to_string(),
                text("a header value", &value)?.to_string(),
            ))
        })
        .collect()
}

/// A body: text as UTF-8, or bytes.
pub fn body(what: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    if value.is_instance_of::<PyString>() {
        return Ok(text(what, value)?.as_bytes().to_vec());
    }
    bytes(what, "str or bytes", value)
}

/// Bytes of any bytes-like object.
pub fn bytes(what: &str, rule: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(bytes.as_bytes().to_vec());
    }
    if value.is_instance_of::<PyByteArray>() || value.is_instance_of::<PyMemoryView>() {
        let buffer = PyBuffer::<u8>::get(value)
            .map_err(|_| invalid(format!("{what} must be a view of bytes; got {}", show(value))))?;
        return buffer.to_vec(value.py());
    }
    Err(wrong_type(what, rule, value))
}

/// The params of a path as a dict.
pub fn params_dict<'py>(py: Python<'py>, params: &Params) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in params {
        match value {
            ParamValue::One(text) => dict.set_item(name, text)?,
            ParamValue::Many(list) => dict.set_item(name, list)?,
        }
    }
    Ok(dict)
}

/// A variant as a dict; a query name that was repeated has the list of its values.
pub fn variant_dict<'py>(py: Python<'py>, variant: &Variant) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, values) in variant.iter() {
        match values {
            [one] => dict.set_item(name, one)?,
            many => dict.set_item(name, many)?,
        }
    }
    Ok(dict)
}
