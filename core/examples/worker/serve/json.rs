//! Commands and answers as JSON.

use isr_core::http::Conditions;
use isr_core::{
    Answer, Lifetime, OptionValue, Page, PageResult, ParamValue, Params, RouteOptions, Variant,
};
use serde_json::{Map, Value, json};

pub type Command = Map<String, Value>;

pub fn text<'a>(command: &'a Command, name: &str) -> Result<&'a str, String> {
    command.get(name).and_then(Value::as_str).ok_or_else(|| format!("{name} must be a text"))
}

pub fn number(command: &Command, name: &str) -> Result<u64, String> {
    command
        .get(name)
        .and_then(Value::as_u64)
        .ok_or_else(|| format!("{name} must be a whole number"))
}

pub fn flag(command: &Command, name: &str) -> bool {
    command.get(name).and_then(Value::as_bool).unwrap_or(false)
}

/// A list of texts; none where it is not given.
pub fn texts(command: &Command, name: &str) -> Result<Vec<String>, String> {
    let Some(value) = command.get(name) else { return Ok(Vec::new()) };
    serde_json::from_value(value.clone()).map_err(|e| format!("{name}: {e}"))
}

/// Seconds, or `false` for never; `None` where it is not given.
pub fn lifetime(command: &Command, name: &str) -> Result<Option<Lifetime>, String> {
    match command.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(false)) => Ok(Some(Lifetime::NEVER)),
        Some(value) => {
            let secs = value.as_f64().ok_or_else(|| format!("{name} must be seconds or false"))?;
            Lifetime::from_secs_f64(name, secs).map(Some).map_err(|e| e.to_string())
        }
    }
}

pub fn option(value: &Value) -> Result<OptionValue, String> {
    Ok(match value {
        Value::Bool(false) => OptionValue::Never,
        Value::String(text) => OptionValue::Text(text.clone()),
        Value::Array(_) => {
            OptionValue::Texts(serde_json::from_value(value.clone()).map_err(|e| e.to_string())?)
        }
        other => {
            OptionValue::Number(other.as_f64().ok_or("an option is a number, a text or false")?)
        }
    })
}

pub fn variant(command: &Command) -> Result<Option<Variant>, String> {
    let Some(Value::Object(values)) = command.get("variant") else { return Ok(None) };
    let mut variant = Variant::new();
    for (name, value) in values {
        variant.set(name, value.as_str().ok_or("a variant's values are texts")?);
    }
    Ok(Some(variant))
}

pub fn route(command: &Command) -> Result<RouteOptions, String> {
    let mut params = Vec::new();
    for one in command.get("static_params").and_then(Value::as_array).into_iter().flatten() {
        let one: Map<String, Value> =
            serde_json::from_value(one.clone()).map_err(|e| e.to_string())?;
        let values = one.iter().map(|(name, value)| {
            let value = value.as_str().ok_or("static_params takes texts")?;
            Ok((name.clone(), ParamValue::One(value.to_string())))
        });
        params.push(values.collect::<Result<Params, String>>()?);
    }
    Ok(RouteOptions {
        revalidate: lifetime(command, "revalidate")?,
        expire: lifetime(command, "expire")?,
        timeout: lifetime(command, "timeout")?,
        tags: texts(command, "tags")?,
        query: texts(command, "query")?,
        static_params: params,
        ..RouteOptions::default()
    })
}

/// A page: `body`, and `fill` more bytes.
pub fn page(command: &Command) -> Result<PageResult, String> {
    let mut body = text(command, "body").unwrap_or_default().as_bytes().to_vec();
    let fill = number(command, "fill").unwrap_or(0) as usize;
    let len = body.len();
    body.resize_with(len + fill, || b'.');
    let mut page = PageResult::new(body);
    if let Ok(status) = number(command, "status") {
        page.status = u16::try_from(status).map_err(|e| e.to_string())?;
    }
    if let Some(Value::Object(headers)) = command.get("headers") {
        for (name, value) in headers {
            page = page.header(name, value.as_str().ok_or("headers are texts")?);
        }
    }
    page.tags = texts(command, "tags")?;
    page.revalidate = lifetime(command, "revalidate")?;
    page.expire = lifetime(command, "expire")?;
    page.no_store = flag(command, "no_store");
    page.remove = flag(command, "remove");
    Ok(page)
}

/// The body's text up to the first `.`, where filling begins, and its whole length.
fn body(page: &Page) -> (String, usize) {
    let head = page.body().split(|b| *b == b'.').next().unwrap_or_default();
    let filled = page.body()[head.len()..].iter().all(|b| *b == b'.');
    let text = String::from_utf8_lossy(head).into_owned();
    (if filled { text } else { format!("{text} and damage") }, page.body().len())
}

pub fn answer(answer: &Answer) -> Value {
    let head = answer.head(&Conditions::default());
    let headers: Map<String, Value> =
        answer.page().headers().map(|(n, v)| (n.to_string(), json!(v))).collect();
    let (text, len) = body(answer.page());
    json!({
        "cache": answer.cache().name(),
        "status": head.status,
        "body": text,
        "len": len,
        "age": answer.age_secs(),
        "etag": answer.page().etag(),
        "headers": headers,
        "tags": answer.page().tags().collect::<Vec<_>>(),
    })
}

pub fn peek(peek: &isr_core::Peek) -> Value {
    let body = peek.page().map(|page| body(page).0);
    json!({"state": peek.state().name(), "body": body, "age": peek.age_secs()})
}
