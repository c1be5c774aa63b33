//! The steps of a scenario. Each has one main key, the keys that go beside it, and what `expect` may name.

use std::collections::BTreeMap;

use isr_core::PathType;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::expect::Expect;
use super::format::{DataKey, Element, Route};

/// One step, with its text for messages.
pub struct Step {
    pub text: String,
    pub action: Action,
}

pub enum Action {
    Call(Call, Expect),
    Start(String, Call),
    Join(String, Expect),
    Pending(String),
    Advance(f64),
    ShiftWall(f64),
    Settle,
    Hold(Gate, String),
    Release(Gate, String),
    Counts(Gate, BTreeMap<String, u64>),
    RevalidatePath(Vec<String>, Option<PathType>, Expect),
    RevalidateTag(Vec<String>, bool, Option<Value>, Expect),
    Remove(Vec<String>, Expect),
    Prerender(Expect),
    Begin(String),
    Put(Box<Put>, Expect),
    Reopen(Option<String>),
    Inspect(String, BTreeMap<String, String>, Expect),
    AddRoute(Box<Route>, Expect),
}

/// What is counted and held: renders or loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    Render,
    Load,
}

/// What may run in the background.
pub enum Call {
    Get(Get),
    Regenerate { path: String, only_generated: bool },
    Data { key: DataKey, tags: Vec<String>, revalidate: Option<Value> },
}

/// A page that was rendered elsewhere.
pub struct Put {
    pub path: String,
    pub variant: BTreeMap<String, String>,
    pub page: Element,
    pub begun: String,
}

pub struct Get {
    pub path: String,
    pub variant: BTreeMap<String, String>,
    pub headers: BTreeMap<String, String>,
    pub draft: bool,
    pub prefetch: bool,
    pub is_head: bool,
}

const MAIN: [&str; 24] = [
    "get",
    "regenerate",
    "data_get",
    "join",
    "pending",
    "advance",
    "shift_wall",
    "settle",
    "hold",
    "release",
    "hold_data",
    "release_data",
    "counts",
    "data_counts",
    "revalidate_path",
    "revalidate_tag",
    "remove",
    "prerender",
    "begin",
    "put",
    "reopen",
    "inspect",
    "add_route",
    "start",
];

const GET: &[&str] = &["cache", "status", "body", "body_base64", "headers"];
const REGENERATE: &[&str] = &["cache", "status", "body", "body_base64", "headers", "rendered"];
const DATA: &[&str] = &["value", "cache"];

pub fn parse_steps(raw: Vec<Map<String, Value>>) -> Result<Vec<Step>, String> {
    // What a join may expect depends on what was started under its name.
    let mut started: BTreeMap<String, &'static [&'static str]> = BTreeMap::new();
    raw.into_iter()
        .enumerate()
        .map(|(i, map)| {
            let text = Value::from(map.clone()).to_string();
            match parse(Keys(map), &mut started) {
                Ok(action) => Ok(Step { text, action }),
                Err(fault) => Err(format!("step {} {text}: {fault}", i + 1)),
            }
        })
        .collect()
}

fn parse(
    mut keys: Keys,
    started: &mut BTreeMap<String, &'static [&'static str]>,
) -> Result<Action, String> {
    let start: Option<String> = keys.take("start")?;
    let main = keys.main()?;
    let action = match main {
        "get" | "regenerate" | "data_get" => {
            let (call, may) = call(main, &mut keys)?;
            match start {
                Some(name) => {
                    started.insert(name.clone(), may);
                    Action::Start(name, call)
                }
                None => Action::Call(call, keys.expect(may, true)?),
            }
        }
        _ if start.is_some() => {
            return Err("start stands beside get, regenerate or data_get".into());
        }
        "join" => {
            let name: String = keys.need(main)?;
            let may =
                started.get(&name).ok_or_else(|| format!("nothing was started as \"{name}\""))?;
            Action::Join(name, keys.expect(may, true)?)
        }
        "pending" => Action::Pending(keys.need(main)?),
        "advance" => Action::Advance(keys.need(main)?),
        "shift_wall" => Action::ShiftWall(keys.need(main)?),
        "settle" => keys.is_true(main).map(|()| Action::Settle)?,
        "hold" => Action::Hold(Gate::Render, keys.need(main)?),
        "release" => Action::Release(Gate::Render, keys.need(main)?),
        "hold_data" => Action::Hold(Gate::Load, keys.need::<DataKey>(main)?.text()),
        "release_data" => Action::Release(Gate::Load, keys.need::<DataKey>(main)?.text()),
        "counts" => Action::Counts(Gate::Render, keys.need(main)?),
        "data_counts" => Action::Counts(Gate::Load, keys.need(main)?),
        "revalidate_path" => {
            let kind = match keys.take::<String>("type")?.as_deref() {
                None => None,
                Some("page") => Some(PathType::Page),
                Some("layout") => Some(PathType::Layout),
                Some(other) => return Err(format!("type is page or layout; got \"{other}\"")),
            };
            Action::RevalidatePath(keys.texts(main)?, kind, keys.expect(&["matched"], true)?)
        }
        "revalidate_tag" => Action::RevalidateTag(
            keys.texts(main)?,
            keys.take("soft")?.unwrap_or(false),
            keys.take("expire")?,
            keys.expect(&[], true)?,
        ),
        "remove" => Action::Remove(keys.texts(main)?, keys.expect(&[], true)?),
        "prerender" => {
            keys.is_true(main)?;
            Action::Prerender(
                keys.expect(&["rendered", "skipped", "failed", "failed_paths"], false)?,
            )
        }
        "begin" => Action::Begin(keys.need(main)?),
        "put" => {
            let put = Put {
                path: keys.need(main)?,
                variant: keys.take("variant")?.unwrap_or_default(),
                page: keys.need("page")?,
                begun: keys.need("begun")?,
            };
            put.page.check_plain().map_err(|fault| format!("page: {fault}"))?;
            Action::Put(Box::new(put), keys.expect(&["stored"], true)?)
        }
        "reopen" => {
            keys.is_true(main)?;
            Action::Reopen(keys.take("deployment")?)
        }
        "inspect" => {
            let may = &["state", "tags", "revalidate", "expire", "body", "status", "age"];
            Action::Inspect(
                keys.need(main)?,
                keys.take("variant")?.unwrap_or_default(),
                keys.expect(may, false)?,
            )
        }
        "add_route" => Action::AddRoute(Box::new(keys.need(main)?), keys.expect(&[], true)?),
        other => return Err(format!("no step is called \"{other}\"")),
    };
    keys.done()?;
    Ok(action)
}

fn call(main: &str, keys: &mut Keys) -> Result<(Call, &'static [&'static str]), String> {
    Ok(match main {
        "regenerate" => {
            let path = keys.need(main)?;
            (
                Call::Regenerate {
                    path,
                    only_generated: keys.take("only_generated")?.unwrap_or(false),
                },
                REGENERATE,
            )
        }
        "data_get" => {
            let key = keys.need(main)?;
            let tags = keys.take("tags")?.unwrap_or_default();
            (Call::Data { key, tags, revalidate: keys.take("revalidate")? }, DATA)
        }
        _ => {
            let get = Get {
                path: keys.need(main)?,
                variant: keys.take("variant")?.unwrap_or_default(),
                headers: keys.take("headers")?.unwrap_or_default(),
                draft: keys.take("draft")?.unwrap_or(false),
                prefetch: keys.take("prefetch")?.unwrap_or(false),
                is_head: match keys.take::<String>("method")?.as_deref() {
                    None | Some("GET") => false,
                    Some("HEAD") => true,
                    Some(other) => return Err(format!("method is GET or HEAD; got \"{other}\"")),
                },
            };
            (Call::Get(get), GET)
        }
    })
}

/// The keys of a step that are still to be read.
struct Keys(Map<String, Value>);

impl Keys {
    fn main(&self) -> Result<&'static str, String> {
        let mut found = MAIN.into_iter().filter(|key| self.0.contains_key(*key));
        match (found.next(), found.next()) {
            (Some(main), None) => Ok(main),
            (Some(a), Some(b)) => Err(format!("both \"{a}\" and \"{b}\"")),
            (None, _) => Err("no key says what to do".into()),
        }
    }

    fn take<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, String> {
        let value = self.0.remove(key);
        value.map(|v| serde_json::from_value(v).map_err(|e| format!("{key}: {e}"))).transpose()
    }

    fn need<T: DeserializeOwned>(&mut self, key: &str) -> Result<T, String> {
        self.take(key)?.ok_or_else(|| format!("{key} is missing"))
    }

    fn texts(&mut self, key: &str) -> Result<Vec<String>, String> {
        Ok(self.need::<DataKey>(key)?.parts().into_iter().map(String::from).collect())
    }

    fn is_true(&mut self, key: &str) -> Result<(), String> {
        if self.need::<bool>(key)? { Ok(()) } else { Err(format!("{key} must be true")) }
    }

    fn expect(&mut self, may: &[&str], may_fail: bool) -> Result<Expect, String> {
        let map: Map<String, Value> = self.take("expect")?.unwrap_or_default();
        let error = ["error", "message"];
        match map
            .keys()
            .find(|k| !(may.contains(&k.as_str()) || may_fail && error.contains(&k.as_str())))
        {
            Some(unknown) => Err(format!("expect: unknown key \"{unknown}\"")),
            None => Expect::parse(map),
        }
    }

    fn done(self) -> Result<(), String> {
        match self.0.keys().next() {
            Some(unknown) => Err(format!("unknown key \"{unknown}\"")),
            None => Ok(()),
        }
    }
}
