//! Does what it is told: the test is the origin. Renders and loads are told as events, and wait until the test ends them.

mod commands;
mod json;

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use isr_core::{Cache, Context, Error, LoadJob, ManualClock, RenderJob};
use serde_json::{Map, Value, json};

/// All that the process holds.
#[derive(Default)]
pub struct World {
    caches: Mutex<HashMap<String, Opened>>,
    jobs: Mutex<HashMap<u64, Job>>,
    next_job: AtomicU64,
    /// What `on_trouble` was told.
    troubles: Mutex<Vec<String>>,
}

/// A cache, and its clock if that is manual.
#[derive(Clone)]
pub struct Opened {
    cache: Cache,
    clock: Option<ManualClock>,
}

/// A callback that waits for the test.
pub enum Job {
    Render(RenderJob),
    Load(LoadJob),
}

impl Job {
    fn context(&self) -> Context {
        match self {
            Job::Render(job) => job.context(),
            Job::Load(job) => job.context(),
        }
    }
}

/// What a command came to.
pub enum Failure {
    /// The cache said so.
    Cache(Error),
    /// The command is wrong.
    Command(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Cache(error)
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Failure {
        Failure::Command(text)
    }
}

impl World {
    /// Keeps a callback's job and tells of it.
    fn hold(&self, job: Job, mut event: Map<String, Value>) {
        let id = self.next_job.fetch_add(1, Ordering::Relaxed) + 1;
        event.insert("job".into(), json!(id));
        self.jobs.lock().unwrap().insert(id, job);
        say(&Value::Object(event));
    }

    fn take_job(&self, id: u64) -> Result<Job, Failure> {
        let job = self.jobs.lock().unwrap().remove(&id);
        job.ok_or_else(|| Failure::Command(format!("no job {id}")))
    }

    fn opened(&self, name: &str) -> Result<Opened, Failure> {
        let found = self.caches.lock().unwrap().get(name).cloned();
        found.ok_or_else(|| Failure::Command(format!("no cache \"{name}\"")))
    }
}

/// Writes one line. The test may be gone: then so are we.
pub fn say(line: &Value) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}

/// Every command has a thread of its own, so that one may wait for another.
pub fn run() {
    let world = Arc::new(World::default());
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let command: Map<String, Value> =
            serde_json::from_str(&line).expect("a line is one object");
        let world = world.clone();
        // With no thread to be had (a test may have seen to that) the command runs here.
        let command = Arc::new(command);
        let its = (world.clone(), command.clone());
        if std::thread::Builder::new().spawn(move || obey(&its.0, &its.1)).is_err() {
            obey(&world, &command);
        }
    }
    std::process::exit(0);
}

fn obey(world: &Arc<World>, command: &Map<String, Value>) {
    let id = command.get("id").cloned().unwrap_or(Value::Null);
    let said = match commands::run(world, command) {
        Ok(value) => json!({"id": id, "ok": value}),
        Err(Failure::Cache(e)) => {
            json!({"id": id, "error": e.kind().name(), "message": e.message()})
        }
        Err(Failure::Command(text)) => json!({"id": id, "error": "command", "message": text}),
    };
    say(&said);
}
