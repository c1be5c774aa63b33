//! Values between JavaScript and the core.

use isr_core::{
    Error, ErrorKind, Lifetime, OptionValue, Options, PageResult, ParamValue, Params, RouteOptions,
    Variant,
};
use napi::bindgen_prelude::{Either, Either4, Uint8Array};
use napi_derive::napi;

/// A number of seconds, or `false` for never.
pub(crate) type Seconds = Either<f64, bool>;

/// A name with a text or a list of texts.
#[napi(object)]
pub struct JsNamed {
    pub name: String,
    pub value: Either<String, Vec<String>>,
}

/// An option of a cache by its camelCase name.
#[napi(object, object_to_js = false)]
pub struct JsOption {
    pub name: String,
    pub value: Either4<f64, bool, String, Vec<String>>,
}

/// Options of a route.
#[napi(object, object_to_js = false)]
pub struct JsRoute {
    pub revalidate: Option<Seconds>,
    pub expire: Option<Seconds>,
    pub dynamic_params: bool,
    pub static_params: Vec<Vec<JsNamed>>,
    pub tags: Vec<String>,
    pub timeout: Option<Seconds>,
    pub max_concurrent: Option<Seconds>,
    pub early_refresh: Option<f64>,
    pub query: Vec<String>,
    /// Variant name, header, variant name, header, ...
    pub vary: Vec<String>,
}

/// A page as a callback made it.
#[napi(object, object_to_js = false)]
pub struct JsResult {
    pub body: Either<String, Uint8Array>,
    pub status: u16,
    /// Name, value, name, value, ...
    pub headers: Vec<String>,
    pub revalidate: Option<Seconds>,
    pub expire: Option<Seconds>,
    pub tags: Vec<String>,
    pub no_store: bool,
    pub remove: bool,
}

/// `name` stands in the error.
pub(crate) fn lifetime(name: &str, value: &Seconds) -> Result<Lifetime, Error> {
    match value {
        Either::A(seconds) => Lifetime::from_secs_f64(name, *seconds),
        Either::B(false) => Ok(Lifetime::NEVER),
        Either::B(true) => Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("{name} must be a number of seconds, or false for never; got true"),
        )),
    }
}

fn maybe_lifetime(name: &str, value: &Option<Seconds>) -> Result<Option<Lifetime>, Error> {
    value.as_ref().map(|v| lifetime(name, v)).transpose()
}

/// Seconds, or `false` for never.
pub(crate) fn lifetime_to_js(value: Lifetime) -> Seconds {
    value.as_secs_f64().map_or(Either::B(false), Either::A)
}

pub(crate) fn bytes(value: Either<String, Uint8Array>) -> Vec<u8> {
    match value {
        Either::A(text) => text.into_bytes(),
        Either::B(bytes) => bytes.to_vec(),
    }
}

/// Names and values in turn.
fn pairs(flat: Vec<String>) -> Vec<(String, String)> {
    let mut flat = flat.into_iter();
    std::iter::from_fn(|| Some((flat.next()?, flat.next()?))).collect()
}

pub(crate) fn variant(flat: Option<Vec<String>>) -> Option<Variant> {
    let mut variant = Variant::new();
    for (name, value) in pairs(flat?) {
        variant.set(name, value);
    }
    Some(variant)
}

pub(crate) fn variant_to_js(variant: &Variant) -> Vec<JsNamed> {
    let named = variant.iter().map(|(name, values)| JsNamed {
        name: name.to_string(),
        value: match values {
            [one] => Either::A(one.clone()),
            many => Either::B(many.to_vec()),
        },
    });
    named.collect()
}

pub(crate) fn page_result(result: JsResult) -> Result<PageResult, Error> {
    Ok(PageResult {
        status: result.status,
        headers: pairs(result.headers),
        body: bytes(result.body),
        revalidate: maybe_lifetime("revalidate", &result.revalidate)?,
        expire: maybe_lifetime("expire", &result.expire)?,
        tags: result.tags,
        no_store: result.no_store,
        remove: result.remove,
    })
}

pub(crate) fn route_options(route: JsRoute) -> Result<RouteOptions, Error> {
    let mut options = RouteOptions {
        revalidate: maybe_lifetime("revalidate", &route.revalidate)?,
        expire: maybe_lifetime("expire", &route.expire)?,
        dynamic_params: route.dynamic_params,
        static_params: route.static_params.into_iter().map(params).collect(),
        tags: route.tags,
        timeout: maybe_lifetime("timeout", &route.timeout)?,
        query: route.query,
        vary: pairs(route.vary),
        ..RouteOptions::default()
    };
    let numbers = [
        ("max_concurrent", route.max_concurrent),
        ("early_refresh", route.early_refresh.map(Either::A)),
    ];
    for (name, value) in numbers {
        let Some(value) = value else { continue };
        let value = match value {
            Either::A(number) => OptionValue::Number(number),
            Either::B(false) => OptionValue::Never,
            Either::B(true) => OptionValue::Text("true".to_string()),
        };
        options.set(name, value).map_err(|e| in_js_spelling(&e, name))?;
    }
    Ok(options)
}

fn params(named: Vec<JsNamed>) -> Params {
    let value = |value| match value {
        Either::A(text) => ParamValue::One(text),
        Either::B(texts) => ParamValue::Many(texts),
    };
    named.into_iter().map(|n| (n.name, value(n.value))).collect()
}

/// Options by their names, which are those of the core in camelCase.
pub(crate) fn options(named: Vec<JsOption>) -> Result<Options, Error> {
    let mut options = Options::default();
    for JsOption { name, value } in named {
        let Some(known) = Options::NAMES.iter().find(|known| camel_case(known) == name) else {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!(
                    "unknown option \"{name}\"; known are clock, onFailure, onTrouble, {}",
                    option_names().join(", ")
                ),
            ));
        };
        let value = match value {
            Either4::A(number) => OptionValue::Number(number),
            Either4::B(flag) if *known == "durable" => OptionValue::Number(f64::from(flag)),
            Either4::B(false) => OptionValue::Never,
            Either4::B(true) => OptionValue::Text("true".to_string()),
            Either4::C(text) => OptionValue::Text(text),
            Either4::D(texts) => OptionValue::Texts(texts),
        };
        options.set(known, value).map_err(|e| in_camel_case(&e))?;
    }
    Ok(options)
}

/// An error about options of a cache or a route that names them as JavaScript does.
pub(crate) fn in_camel_case(error: &Error) -> Error {
    let names = Options::NAMES.iter().chain(&["static_params", "dynamic_params"]);
    let mut snake: Vec<_> = names.filter(|name| name.contains('_')).collect();
    // Some are the beginning of others.
    snake.sort_by_key(|name| std::cmp::Reverse(name.len()));
    let message = snake
        .into_iter()
        .fold(error.message().to_string(), |m, name| m.replace(name, &camel_case(name)));
    Error::new(error.kind(), message)
}

/// An error that begins with the name of a call, with that name as JavaScript spells it.
pub(crate) fn in_js_spelling(error: &Error, call: &str) -> Error {
    match error.message().strip_prefix(call) {
        Some(rest) => Error::new(error.kind(), camel_case(call) + rest),
        None => error.clone(),
    }
}

/// Every name of an option, in camelCase.
#[napi(catch_unwind)]
pub fn option_names() -> Vec<String> {
    Options::NAMES.iter().map(|name| camel_case(name)).collect()
}

/// `max_bytes` as `maxBytes`.
pub(crate) fn camel_case(snake: &str) -> String {
    let mut words = snake.split('_');
    let mut camel = words.next().unwrap_or_default().to_string();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|c| c.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}
