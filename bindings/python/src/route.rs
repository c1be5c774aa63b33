//! The options of a route.

use isr_core::RouteOptions;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict};

use crate::convert::{
    lifetime, limit, path_text, plain_number, static_params, text, text_pairs, texts,
};
use crate::errors::{OrRaise, invalid, wrong_type};
use crate::guard::guard;

const NAMES: [&str; 10] = [
    "revalidate",
    "expire",
    "dynamic_params",
    "static_params",
    "tags",
    "timeout",
    "query",
    "vary",
    "max_concurrent",
    "early_refresh",
];

/// The options of a route from keywords; what is left out has its default.
pub fn route_options(keywords: &Bound<'_, PyDict>) -> PyResult<RouteOptions> {
    let mut options = RouteOptions::default();
    for (name, value) in keywords.iter() {
        match text("an option's name", &name)? {
            "revalidate" => options.revalidate = Some(lifetime("revalidate", &value)?),
            "expire" => options.expire = Some(lifetime("expire", &value)?),
            "timeout" => options.timeout = Some(lifetime("timeout", &value)?),
            "dynamic_params" => {
                let flag = value
                    .cast::<PyBool>()
                    .map_err(|_| wrong_type("dynamic_params", "a bool", &value))?;
                options.dynamic_params = flag.is_true();
            }
            "static_params" => options.static_params = static_params(&value)?,
            "tags" => options.tags = texts("tags", &value)?,
            "query" => options.query = texts("query", &value)?,
            name @ "max_concurrent" => options.set(name, limit(name, &value)?).or_raise()?,
            name @ "early_refresh" => {
                let beta = plain_number(name, "a number (int or float)", &value)?;
                options.set(name, beta).or_raise()?;
            }
            "vary" => options.vary = text_pairs("vary", &value)?,
            other => {
                return Err(invalid(format!(
                    "unknown option of a page \"{other}\"; known are {}",
                    NAMES.join(", ")
                )));
            }
        }
    }
    Ok(options)
}

/// The canonical form of a path: what a job's `path` is.
#[pyfunction]
pub fn canonical_path(path: &Bound<'_, PyAny>) -> PyResult<String> {
    guard(|| Ok(isr_core::canonical(path_text(path)?).or_raise()?.path.into_owned()))
}
