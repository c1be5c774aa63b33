//! A scenario file as data. A key that the format does not know is an error.

use std::collections::BTreeMap;

use isr_core::{
    Error, ErrorKind, Lifetime, OptionValue, Options, ParamValue, RouteOptions, Variant,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::step::{Step, parse_steps};

/// One scenario, checked in every key.
pub struct Scenario {
    pub cache: BTreeMap<String, Value>,
    pub routes: Vec<Route>,
    pub renders: BTreeMap<String, Vec<Element>>,
    pub data: BTreeMap<String, Vec<LoadElement>>,
    pub steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(rename = "name")]
    _name: String,
    #[serde(default, rename = "spec")]
    _spec: Value,
    #[serde(default)]
    cache: BTreeMap<String, Value>,
    #[serde(default)]
    routes: Vec<Route>,
    #[serde(default)]
    renders: BTreeMap<String, Vec<Element>>,
    #[serde(default)]
    data: BTreeMap<String, Vec<LoadElement>>,
    steps: Vec<Map<String, Value>>,
}

/// One route, as in `routes` and `add_route`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    pub pattern: String,
    revalidate: Option<Value>,
    expire: Option<Value>,
    #[serde(default = "yes")]
    dynamic_params: bool,
    #[serde(default)]
    static_params: Vec<BTreeMap<String, Param>>,
    #[serde(default)]
    tags: Vec<String>,
    timeout: Option<Value>,
    max_concurrent: Option<f64>,
    early_refresh: Option<f64>,
    #[serde(default)]
    query: Vec<String>,
    #[serde(default)]
    vary: BTreeMap<String, String>,
}

fn yes() -> bool {
    true
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Param {
    One(String),
    Many(Vec<String>),
}

/// What one render returns.
#[derive(Clone, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Element {
    pub body: Option<String>,
    pub body_base64: Option<String>,
    pub status: Option<u16>,
    pub headers: BTreeMap<String, String>,
    pub revalidate: Option<Value>,
    pub expire: Option<Value>,
    pub tags: Vec<String>,
    pub no_store: bool,
    pub remove: bool,
    pub not_found: bool,
    pub redirect: Option<Redirect>,
    pub reads: Vec<Read>,
    pub error: Option<String>,
    pub panic: bool,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    pub to: String,
    #[serde(default = "temporary")]
    pub status: u16,
}

fn temporary() -> u16 {
    307
}

/// One read of a data entry, and the reads of its load.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    pub data: DataKey,
    #[serde(default)]
    pub tags: Vec<String>,
    pub revalidate: Option<Value>,
    #[serde(default)]
    pub reads: Vec<Read>,
    pub or: Option<String>,
}

/// What one load returns.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadElement {
    pub value: Option<String>,
    pub error: Option<String>,
}

/// A data entry's key: a text stands for a list of one.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub enum DataKey {
    One(String),
    Many(Vec<String>),
}

impl DataKey {
    pub fn parts(&self) -> Vec<&str> {
        match self {
            DataKey::One(text) => vec![text],
            DataKey::Many(parts) => parts.iter().map(String::as_str).collect(),
        }
    }

    pub fn text(&self) -> String {
        data_key_text(&self.parts())
    }
}

/// A data entry's key as it stands in `data`, counts, holds and `{data:KEY}`.
pub fn data_key_text<T: AsRef<str>>(parts: &[T]) -> String {
    match parts {
        [one] => one.as_ref().to_string(),
        many => Value::from(many.iter().map(AsRef::as_ref).collect::<Vec<_>>()).to_string(),
    }
}

/// A render's key: the path, and the variant as compact JSON if there is one.
pub fn render_key(path: &str, variant: &Variant) -> String {
    if variant.is_empty() {
        return path.to_string();
    }
    let values: Map<String, Value> = variant
        .iter()
        .map(|(name, values)| {
            let value = match values {
                [one] => Value::from(one.as_str()),
                many => Value::from(many),
            };
            (name.to_string(), value)
        })
        .collect();
    format!("{path} {}", Value::from(values))
}

const CACHE_KEYS: [&str; 12] = [
    "deployment",
    "max_entry_bytes",
    "max_bytes",
    "stale_if_error",
    "backoff_jitter",
    "max_queue",
    "threads",
    "max_regenerations",
    "max_regenerations_per_tag",
    "early_refresh",
    "default_revalidate",
    "default_expire",
];

impl Scenario {
    pub fn parse(json: Value) -> Result<Scenario, String> {
        let raw: Raw = serde_json::from_value(json).map_err(|e| e.to_string())?;
        for (key, value) in &raw.cache {
            if key == "persist" && value.is_boolean() {
                continue;
            }
            if !CACHE_KEYS.contains(&key.as_str()) {
                return Err(format!("cache: unknown key \"{key}\""));
            }
            option_value(value).map_err(|e| format!("cache.{key}: {e}"))?;
        }
        for (key, list) in &raw.renders {
            if list.is_empty() {
                return Err(format!("renders.{key}: needs an element"));
            }
            list.iter()
                .try_for_each(|e| e.check().map_err(|fault| format!("renders.{key}: {fault}")))?;
        }
        for (key, list) in &raw.data {
            if list.is_empty() || list.iter().any(|e| e.value.is_some() == e.error.is_some()) {
                return Err(format!("data.{key}: needs elements with either a value or an error"));
            }
        }
        let steps = parse_steps(raw.steps)?;
        Ok(Scenario {
            cache: raw.cache,
            routes: raw.routes,
            renders: raw.renders,
            data: raw.data,
            steps,
        })
    }

    pub fn persists(&self) -> bool {
        self.cache.get("persist") == Some(&Value::Bool(true))
    }

    /// The cache's options, but for the clock.
    pub fn options(&self) -> Result<Options, Error> {
        let mut options = Options {
            backoff_jitter: 0.0,
            max_queue: 1000,
            threads: 8,
            default_timeout: Lifetime::NEVER,
            ..Options::default()
        };
        for (key, value) in self.cache.iter().filter(|(key, _)| *key != "persist") {
            let value =
                option_value(value).map_err(|e| Error::new(ErrorKind::InvalidArgument, e))?;
            options.set(key, value)?;
        }
        Ok(options)
    }
}

impl Element {
    /// As the page of a `put`, which no callback renders.
    pub fn check_plain(&self) -> Result<(), String> {
        if self.error.is_some() || self.panic || !self.reads.is_empty() {
            return Err("reads, error and panic are for callbacks".into());
        }
        self.check()
    }

    fn check(&self) -> Result<(), String> {
        if self.panic && self.error.is_none() {
            return Err("panic stands beside an error".into());
        }
        if self.body.is_some() && self.body_base64.is_some() {
            return Err("either body or body_base64".into());
        }
        Ok(())
    }
}

impl Route {
    /// The options; wrong lifetimes are errors where they are given.
    pub fn options(&self) -> Result<RouteOptions, Error> {
        let params = |given: &BTreeMap<String, Param>| {
            given
                .iter()
                .map(|(name, value)| {
                    let value = match value {
                        Param::One(text) => ParamValue::One(text.clone()),
                        Param::Many(list) => ParamValue::Many(list.clone()),
                    };
                    (name.clone(), value)
                })
                .collect()
        };
        let mut options = RouteOptions {
            revalidate: optional_lifetime("revalidate", &self.revalidate)?,
            expire: optional_lifetime("expire", &self.expire)?,
            dynamic_params: self.dynamic_params,
            static_params: self.static_params.iter().map(params).collect(),
            tags: self.tags.clone(),
            timeout: optional_lifetime("timeout", &self.timeout)?,
            query: self.query.clone(),
            vary: self.vary.clone().into_iter().collect(),
            ..RouteOptions::default()
        };
        let numbers =
            [("max_concurrent", self.max_concurrent), ("early_refresh", self.early_refresh)];
        for (name, number) in numbers {
            if let Some(number) = number {
                options.set(name, OptionValue::Number(number))?;
            }
        }
        Ok(options)
    }
}

fn option_value(value: &Value) -> Result<OptionValue, String> {
    match value {
        Value::Null | Value::Bool(false) => Ok(OptionValue::Never),
        Value::Number(n) => Ok(OptionValue::Number(n.as_f64().unwrap_or(f64::NAN))),
        Value::String(text) => Ok(OptionValue::Text(text.clone())),
        other => Err(format!("a number, false, null or a text; got {other}")),
    }
}

/// Seconds, or `false` for never. Other values are the same error as a negative number.
pub fn lifetime(what: &str, value: &Value) -> Result<Lifetime, Error> {
    match value {
        Value::Bool(false) => Ok(Lifetime::NEVER),
        Value::Number(n) => Lifetime::from_secs_f64(what, n.as_f64().unwrap_or(f64::NAN)),
        other => Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("{what} must be a number of seconds, or false; got {other}"),
        )),
    }
}

pub fn optional_lifetime(what: &str, value: &Option<Value>) -> Result<Option<Lifetime>, Error> {
    value.as_ref().map(|v| lifetime(what, v)).transpose()
}
