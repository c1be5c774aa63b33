//! What a step must show, and what it showed.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isr_core::http::Conditions;
use isr_core::{Answer, DataAnswer, Error, Lifetime, Peek, PrerenderReport};
use serde_json::{Map, Value, json};

/// The values of `$NAME`.
pub type Captures = BTreeMap<String, String>;

/// What a step must show.
pub struct Expect(Map<String, Value>);

/// What a step showed, under the names that `expect` has.
pub type Seen = Map<String, Value>;

impl Expect {
    pub fn parse(map: Map<String, Value>) -> Result<Expect, String> {
        for (key, value) in &map {
            let fits = match key.as_str() {
                "status" | "age" | "skipped" | "failed" => value.is_u64(),
                "rendered" => value.is_u64() || value.is_boolean(),
                "matched" | "stored" => value.is_boolean(),
                "revalidate" | "expire" => value.is_number() || *value == json!(false),
                "tags" | "failed_paths" => {
                    value.as_array().is_some_and(|a| a.iter().all(Value::is_string))
                }
                "headers" => value
                    .as_object()
                    .is_some_and(|o| o.values().all(|v| v.is_string() || v.is_null())),
                _ => value.is_string(),
            };
            if !fits {
                return Err(format!("expect: {key} has a value of a wrong type: {value}"));
            }
        }
        Ok(Expect(map))
    }

    /// The differences; none where all is as it should be.
    pub fn compare(&self, seen: &Seen, captures: &mut Captures) -> Vec<String> {
        let mut differences = Vec::new();
        if let (Some(error), None) = (seen.get("error"), self.0.get("error")) {
            let message = seen.get("message").unwrap_or(&Value::Null);
            differences.push(format!("error that was not expected: {error}, {message}"));
        }
        for (key, expected) in &self.0 {
            let got = seen.get(key).unwrap_or(&Value::Null);
            match (key.as_str(), expected) {
                ("headers", Value::Object(headers)) => {
                    for (name, value) in headers {
                        let name = name.to_ascii_lowercase();
                        let got = got.get(&name).and_then(Value::as_str);
                        if let Some(wanted) = header_difference(&name, value, got, captures) {
                            differences.push(difference(
                                &format!("header {name}"),
                                &wanted,
                                &json!(got),
                            ));
                        }
                    }
                }
                _ if fits(key, expected, got) => {}
                _ => differences.push(difference(key, &expected.to_string(), got)),
            }
        }
        differences
    }
}

fn difference(what: &str, expected: &str, got: &Value) -> String {
    format!("{what}: expected {expected}, got {got}")
}

fn fits(key: &str, expected: &Value, got: &Value) -> bool {
    match key {
        "message" => match (expected.as_str(), got.as_str()) {
            (Some(part), Some(message)) => message.contains(part),
            _ => false,
        },
        "tags" | "failed_paths" => sorted(expected) == sorted(got),
        _ => match (expected.as_f64(), got.as_f64()) {
            (Some(a), Some(b)) => a == b,
            _ => expected == got,
        },
    }
}

fn sorted(list: &Value) -> Option<Vec<&str>> {
    let mut texts: Vec<&str> = list.as_array()?.iter().filter_map(Value::as_str).collect();
    texts.sort_unstable();
    Some(texts)
}

/// What was expected, if it is not so.
fn header_difference(
    name: &str,
    expected: &Value,
    got: Option<&str>,
    captures: &mut Captures,
) -> Option<String> {
    let Some(expected) = expected.as_str() else {
        return got.map(|_| "it to be absent".to_string());
    };
    let wanted =
        match expected.strip_prefix('$').filter(|n| !n.is_empty() && n.chars().all(is_name)) {
            None => expected.to_string(),
            Some(capture) => match (captures.get(capture), got) {
                (Some(stored), _) => stored.clone(),
                (None, Some(got)) => {
                    captures.insert(capture.to_string(), got.to_string());
                    return None;
                }
                (None, None) => return Some("any value".to_string()),
            },
        };
    let same =
        got.is_some_and(
            |got| {
                if name == "vary" { names(got) == names(&wanted) } else { got == wanted }
            },
        );
    (!same).then(|| Value::from(wanted).to_string())
}

fn names(list: &str) -> Vec<String> {
    let mut names: Vec<String> = list.split(',').map(|n| n.trim().to_ascii_lowercase()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// A request header with its `$NAME`s replaced.
pub fn replace_captures(value: &str, captures: &Captures) -> Result<String, String> {
    let mut parts = value.split('$');
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let end = part.find(|c| !is_name(c)).unwrap_or(part.len());
        let stored = captures
            .get(&part[..end])
            .ok_or_else(|| format!("nothing is stored as ${}", &part[..end]))?;
        out += stored;
        out += &part[end..];
    }
    Ok(out)
}

pub fn of_error(error: &Error) -> Seen {
    object(json!({"error": error.kind().name(), "message": error.message()}))
}

pub fn of_answer(answer: &Answer, conditions: &Conditions<'_>) -> Seen {
    let head = answer.head(conditions);
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in &head.headers {
        headers
            .entry(name.to_ascii_lowercase())
            .and_modify(|all| {
                all.push_str(", ");
                all.push_str(value);
            })
            .or_insert_with(|| value.to_string());
    }
    object(json!({
        "cache": answer.cache().name(),
        "status": head.status,
        "body": String::from_utf8_lossy(head.body),
        "body_base64": STANDARD.encode(head.body),
        "headers": headers,
    }))
}

pub fn of_data(answer: &DataAnswer) -> Seen {
    object(
        json!({"value": String::from_utf8_lossy(answer.value()), "cache": answer.cache().name()}),
    )
}

pub fn of_peek(peek: &Peek) -> Seen {
    let mut seen = object(json!({"state": peek.state().name()}));
    if let Some(page) = peek.page() {
        seen.extend(object(json!({
            "tags": page.tags().collect::<Vec<_>>(),
            "revalidate": seconds(page.revalidate()),
            "expire": seconds(page.expire()),
            "body": String::from_utf8_lossy(page.body()),
            "status": page.status(),
            "age": peek.age_secs(),
        })));
    }
    seen
}

pub fn of_report(report: &PrerenderReport) -> Seen {
    object(json!({
        "rendered": report.rendered,
        "skipped": report.skipped,
        "failed": report.failed.len(),
        "failed_paths": report.failed.iter().map(|(path, _)| path).collect::<Vec<_>>(),
    }))
}

fn seconds(lifetime: Lifetime) -> Value {
    lifetime.as_secs_f64().map_or(json!(false), Value::from)
}

pub fn object(value: Value) -> Seen {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
