//! One function per command.

use std::sync::Arc;
use std::time::Duration;

use isr_core::{
    Cache, DataOptions, Error, Lifetime, LoadJob, ManualClock, OnTrouble, Options, PathType, Put,
    RenderJob, Request, Started, TagOptions, Time,
};
use serde_json::{Map, Value, json};

use super::json::{self, Command, flag, lifetime, number, text, texts};
use super::{Failure, Job, Opened, World};

type Outcome = Result<Value, Failure>;

pub fn run(world: &Arc<World>, command: &Command) -> Outcome {
    let name = text(command, "cache").unwrap_or("main").to_string();
    match text(command, "do")? {
        "open" => open(world, name, command),
        "troubles" => Ok(json!(*world.troubles.lock().unwrap())),
        "finish" => finish(world, command),
        "cancelled" => cancelled(world, command),
        other => {
            let opened = world.opened(&name)?;
            match other {
                "route" => route(world, &opened, name, command),
                "advance" => clock(&opened, |clock| Ok(clock.advance_secs(secs(command)?)?)),
                "set_wall" => clock(&opened, |clock| {
                    clock.set_wall(Time::from_nanos((secs(command)? * 1e9) as u64));
                    Ok(())
                }),
                "forget" => {
                    world.caches.lock().unwrap().remove(&name);
                    Ok(Value::Null)
                }
                _ => ask(world, &opened.cache, name, other, command),
            }
        }
    }
}

fn ask(world: &Arc<World>, cache: &Cache, name: String, what: &str, command: &Command) -> Outcome {
    match what {
        "get" | "try_get" | "regenerate" => page(world, cache, what, command),
        "peek" => {
            let variant = json::variant(command)?;
            Ok(json::peek(&cache.peek(text(command, "path")?, variant.as_ref())?))
        }
        "started" => Ok(json!(cache.started().as_u64())),
        "put" => put(cache, command),
        "revalidate_path" => {
            let kind = match text(command, "kind") {
                Ok("page") => Some(PathType::Page),
                Ok("layout") => Some(PathType::Layout),
                _ => None,
            };
            let paths = texts(command, "paths")?;
            Ok(json!(cache.revalidate_path(&refs(&paths), kind)?))
        }
        "revalidate_tag" => {
            let options =
                TagOptions { soft: flag(command, "soft"), expire: lifetime(command, "expire")? };
            cache.revalidate_tag(&refs(&texts(command, "tags")?), options)?;
            Ok(Value::Null)
        }
        "remove" => {
            cache.remove(&refs(&texts(command, "paths")?))?;
            Ok(Value::Null)
        }
        "data" => data(world, cache, name, command),
        "prerender" => prerender(cache),
        "draft_token" => Ok(json!(cache.draft_token(Lifetime::from_secs(60))?)),
        "verify_draft" => Ok(json!(cache.verify_draft(text(command, "token")?))),
        "stats" => Ok(Value::Object(
            cache.stats().entries().into_iter().map(|(n, v)| (n.to_string(), json!(v))).collect(),
        )),
        "activity" => {
            let a = cache.activity();
            Ok(json!({"queued": a.queued, "running": a.running, "waiting": a.waiting}))
        }
        "close" => Ok(json!(cache.close(Duration::from_secs_f64(secs(command)?)))),
        other => Err(Failure::Command(format!("unknown command \"{other}\""))),
    }
}

fn refs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

fn secs(command: &Command) -> Result<f64, String> {
    command.get("secs").and_then(Value::as_f64).ok_or_else(|| "secs must be a number".to_string())
}

fn open(world: &Arc<World>, name: String, command: &Command) -> Outcome {
    let mut options = Options::default();
    for (name, value) in command.get("options").and_then(Value::as_object).into_iter().flatten() {
        options.set(name, json::option(value)?)?;
    }
    let clock = command.get("clock").and_then(Value::as_f64);
    let clock = clock.map(|secs| ManualClock::new(Time::from_nanos((secs * 1e9) as u64)));
    if let Some(clock) = &clock {
        options.clock = clock.clone().into();
    }
    let weak = Arc::downgrade(world);
    options.on_trouble = Some(OnTrouble(Arc::new(move |error: &Error| {
        if let Some(world) = weak.upgrade() {
            let line = format!("{}: {}", error.kind().name(), error.message());
            world.troubles.lock().unwrap().push(line);
        }
    })));
    let cache = Cache::open(options)?;
    world.caches.lock().unwrap().insert(name, Opened { cache, clock });
    Ok(Value::Null)
}

fn clock(opened: &Opened, change: impl FnOnce(&ManualClock) -> Result<(), Failure>) -> Outcome {
    match &opened.clock {
        Some(clock) => change(clock).map(|()| Value::Null),
        None => Err(Failure::Command("the cache was opened without a manual clock".into())),
    }
}

fn route(world: &Arc<World>, opened: &Opened, cache: String, command: &Command) -> Outcome {
    let weak = Arc::downgrade(world);
    let renderer = move |job: RenderJob| {
        let Some(world) = weak.upgrade() else { return };
        let variant: Map<String, Value> =
            job.variant().iter().map(|(n, v)| (n.to_string(), json!(v.join(",")))).collect();
        let event = json!({
            "event": "render",
            "cache": cache,
            "path": job.path(),
            "variant": variant,
            "reason": job.reason().name(),
        });
        world.hold(Job::Render(job), object(event));
    };
    opened.cache.add_route(text(command, "pattern")?, json::route(command)?, Arc::new(renderer))?;
    Ok(Value::Null)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// The job inside of which the command asks, if it names one.
fn within(world: &World, command: &Command) -> Result<Option<isr_core::Context>, Failure> {
    let Ok(id) = number(command, "within") else { return Ok(None) };
    let jobs = world.jobs.lock().unwrap();
    let job = jobs.get(&id).ok_or_else(|| Failure::Command(format!("no job {id}")))?;
    Ok(Some(job.context()))
}

fn page(world: &World, cache: &Cache, what: &str, command: &Command) -> Outcome {
    let variant = json::variant(command)?;
    let within = within(world, command)?;
    let request = Request {
        path: text(command, "path")?,
        variant: variant.as_ref(),
        draft: flag(command, "draft"),
        prefetch: flag(command, "prefetch"),
        within: within.as_ref(),
    };
    let answer = match what {
        "get" => Some(cache.get(&request)?),
        "try_get" => cache.try_get(&request)?,
        _ => cache.regenerate(&request, flag(command, "only_generated"))?,
    };
    Ok(answer.as_ref().map_or(Value::Null, json::answer))
}

fn put(cache: &Cache, command: &Command) -> Outcome {
    let started = match number(command, "started") {
        Ok(started) => Started::from_u64(started),
        Err(_) => cache.started(),
    };
    let variant = json::variant(command)?;
    let page = json::page(command)?;
    let put = cache.put(text(command, "path")?, variant.as_ref(), page, started)?;
    Ok(json!(match put {
        Put::Stored => "stored",
        Put::NotStored => "not_stored",
    }))
}

fn data(world: &Arc<World>, cache: &Cache, name: String, command: &Command) -> Outcome {
    let options = DataOptions {
        tags: texts(command, "tags")?,
        revalidate: lifetime(command, "revalidate")?.unwrap_or(Lifetime::NEVER),
    };
    let weak = Arc::downgrade(world);
    let loader = move |job: LoadJob| {
        let Some(world) = weak.upgrade() else { return };
        let event = json!({"event": "load", "cache": name, "key": job.key()});
        world.hold(Job::Load(job), object(event));
    };
    let within = within(world, command)?;
    let key = texts(command, "key")?;
    let answer = cache.data(within.as_ref(), &refs(&key), &options, Arc::new(loader))?;
    Ok(json!({
        "cache": answer.cache().name(),
        "value": String::from_utf8_lossy(answer.value()),
    }))
}

/// Ends a callback's job: with a page or value, or with `fail`.
fn finish(world: &World, command: &Command) -> Outcome {
    let id = number(command, "job")?;
    let fail = text(command, "fail").ok();
    match (world.take_job(id)?, fail) {
        (Job::Render(job), None) => job.complete(json::page(command)?)?,
        (Job::Load(job), None) => {
            job.complete(text(command, "body").unwrap_or_default().as_bytes().to_vec())?
        }
        (Job::Render(job), Some(message)) => job.fail(Error::render(message, None))?,
        (Job::Load(job), Some(message)) => job.fail(Error::render(message, None))?,
    }
    Ok(Value::Null)
}

fn cancelled(world: &World, command: &Command) -> Outcome {
    let id = number(command, "job")?;
    let jobs = world.jobs.lock().unwrap();
    let job = jobs.get(&id).ok_or_else(|| Failure::Command(format!("no job {id}")))?;
    Ok(json!(job.context().is_cancelled()))
}

fn prerender(cache: &Cache) -> Outcome {
    let report = cache.prerender(None)?;
    let failed: Vec<Value> =
        report.failed.iter().map(|(path, error)| json!([path, error.to_string()])).collect();
    Ok(json!({"rendered": report.rendered, "skipped": report.skipped, "failed": failed}))
}
