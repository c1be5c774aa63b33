//! Runs the steps of one scenario against a cache.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use isr_core::http::Conditions;
use isr_core::{
    Answer, Cache, DataAnswer, DataOptions, Error, ManualClock, OnTrouble, RenderJob, Renderer,
    Request, Started, TagOptions, Time, Variant,
};
use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::expect::{self, Captures, Expect, Seen, replace_captures};
use super::format::{DataKey, Route, Scenario, lifetime, optional_lifetime};
use super::site::{Site, plain_page};
use super::step::{Action, Call, Get};

/// How long a step may wait in real time.
const LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_micros(200);

/// What is wrong with a step, line by line.
pub type Fault = Vec<String>;

pub struct World {
    site: Arc<Site>,
    ground: Ground,
    cache: Cache,
    /// Those that were added, for a reopen.
    routes: Vec<Route>,
    captures: Captures,
    started: BTreeMap<String, Arc<Slot>>,
    /// The epochs of `begin`.
    begun: BTreeMap<String, Started>,
}

impl World {
    /// Opens the scenario's cache; with a directory if it persists, or if it is to have one anyway.
    pub fn open(scenario: &Scenario, with_directory: bool) -> Result<World, Fault> {
        let site = Site::new(scenario);
        let ground = Ground::new(with_directory || scenario.persists())
            .map_err(|e| vec![format!("no temporary directory: {e}")])?;
        let cache = ground.open(scenario).map_err(|e| vec![format!("cache: {e}")])?;
        site.set_cache(cache.downgrade());
        let mut world = World {
            site,
            ground,
            cache,
            routes: Vec::new(),
            captures: Captures::new(),
            started: BTreeMap::new(),
            begun: BTreeMap::new(),
        };
        for route in &scenario.routes {
            world.add_route(route).map_err(|e| vec![format!("route {}: {e}", route.pattern)])?;
        }
        Ok(world)
    }

    /// Ends everything that still runs; what is held is let go.
    pub fn close(self) -> Result<(), Fault> {
        self.site.frames.end();
        if !self.cache.close(Duration::from_secs(5)) {
            return Err(vec![format!(
                "at its end the cache did not close; in progress: {}",
                self.running()
            )]);
        }
        let trouble = std::mem::take(&mut *self.ground.trouble.lock());
        if trouble.is_empty() { Ok(()) } else { Err(trouble) }
    }

    pub fn run(&mut self, action: &Action, scenario: &Scenario) -> Result<(), Fault> {
        match action {
            Action::Call(call, expected) => {
                let seen = self.call(call)?;
                self.check(expected, &seen)
            }
            Action::Start(name, call) => self.start(name, call),
            Action::Join(name, expected) => {
                let slot = self.slot(name)?;
                let Some(outcome) = slot.wait(LIMIT) else {
                    return Err(self.too_long(&format!("join {name}")));
                };
                self.started.remove(name);
                self.check(expected, &outcome)
            }
            Action::Pending(name) => match self.slot(name)?.outcome.lock().as_ref() {
                None => Ok(()),
                Some(seen) => Err(vec![format!("\"{name}\" was answered: {}", json!(seen))]),
            },
            Action::Advance(secs) => {
                self.ground.clock.advance_secs(*secs).map_err(|e| vec![e.to_string()])
            }
            Action::ShiftWall(secs) => {
                let clock = &self.ground.clock;
                let to = clock.now().as_secs_f64() + secs;
                clock.set_wall(Time::from_nanos((to * 1e9).round() as u64));
                Ok(())
            }
            Action::Settle => self.settle(),
            Action::Hold(gate, key) => {
                self.site.frames.hold(*gate, key);
                Ok(())
            }
            Action::Release(gate, key) => {
                self.site.frames.release(*gate, key);
                Ok(())
            }
            Action::Counts(gate, counts) => {
                let wrong: Fault = counts
                    .iter()
                    .map(|(key, n)| (key, n, self.site.count(*gate, key)))
                    .filter(|(_, n, got)| *n != got)
                    .map(|(key, n, got)| format!("{key}: expected {n}, got {got}"))
                    .collect();
                if wrong.is_empty() { Ok(()) } else { Err(wrong) }
            }
            Action::RevalidatePath(paths, kind, expected) => {
                let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
                let result = self.cache.revalidate_path(&paths, *kind);
                self.check(
                    expected,
                    &seen(result, |matched| expect::object(json!({"matched": matched}))),
                )
            }
            Action::RevalidateTag(tags, soft, expire, expected) => {
                let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
                let result = optional_lifetime("expire", expire).and_then(|expire| {
                    self.cache.revalidate_tag(&tags, TagOptions { soft: *soft, expire })
                });
                self.check(expected, &seen(result, |()| Seen::new()))
            }
            Action::Remove(paths, expected) => {
                let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
                let result = self.cache.remove(&paths);
                self.check(expected, &seen(result, |()| Seen::new()))
            }
            Action::Prerender(expected) => {
                let result = self.aside("prerender", |cache| cache.prerender(None))?;
                self.check(expected, &seen(result, |report| expect::of_report(&report)))
            }
            Action::Begin(name) => {
                self.begun.insert(name.clone(), self.cache.started());
                Ok(())
            }
            Action::Put(put, expected) => {
                let begun = *self
                    .begun
                    .get(&put.begun)
                    .ok_or_else(|| vec![format!("\"{}\" was not begun", put.begun)])?;
                let page = plain_page(&put.page).map_err(|e| vec![e])?;
                let variant = to_variant(&put.variant);
                let result = self.cache.put(&put.path, variant.as_ref(), page, begun);
                let stored = |put| expect::object(json!({"stored": put == isr_core::Put::Stored}));
                self.check(expected, &seen(result, stored))
            }
            Action::Reopen(deployment) => self.reopen(scenario, deployment.as_deref()),
            Action::Inspect(path, variant, expected) => {
                let result = self.cache.peek(path, to_variant(variant).as_ref());
                self.check(expected, &seen(result, |peek| expect::of_peek(&peek)))
            }
            Action::AddRoute(route, expected) => {
                let result = self.add_route(route);
                self.check(expected, &seen(result, |()| Seen::new()))
            }
        }
    }

    fn check(&mut self, expected: &Expect, seen: &Seen) -> Result<(), Fault> {
        let differences = expected.compare(seen, &mut self.captures);
        if differences.is_empty() { Ok(()) } else { Err(differences) }
    }

    fn add_route(&mut self, route: &Route) -> Result<(), Error> {
        let site = self.site.clone();
        let renderer: Arc<dyn Renderer> = Arc::new(move |job: RenderJob| site.render(job));
        self.cache.add_route(&route.pattern, route.options()?, renderer)?;
        self.routes.push(route.clone());
        Ok(())
    }

    fn reopen(&mut self, scenario: &Scenario, deployment: Option<&str>) -> Result<(), Fault> {
        let told = |e: Error| vec![format!("reopen: {e}")];
        if !self.cache.close(LIMIT) {
            return Err(self.too_long("reopen"));
        }
        if let Some(deployment) = deployment {
            self.ground.deployment = Some(deployment.to_string());
        }
        self.cache = self.ground.open(scenario).map_err(told)?;
        self.site.set_cache(self.cache.downgrade());
        for route in std::mem::take(&mut self.routes) {
            self.add_route(&route).map_err(told)?;
        }
        Ok(())
    }

    /// A call in the foreground, on a thread of its own so that a dead-lock is seen.
    fn call(&self, call: &Call) -> Result<Seen, Fault> {
        match call {
            Call::Get(get) => {
                let asked = Asked::new(get, &self.captures)?;
                let what = format!("get {}", get.path);
                self.aside(&what, move |cache| of_get(cache.get(&asked.request()), &asked))
            }
            Call::Regenerate { path, only_generated } => {
                let (path, only) = (path.clone(), *only_generated);
                let what = format!("regenerate {path}");
                self.aside(&what, move |cache| {
                    of_regenerate(cache.regenerate(&Request::new(&path), only))
                })
            }
            Call::Data { key, tags, revalidate } => {
                let options = match data_options(tags, revalidate) {
                    Ok(options) => options,
                    Err(e) => return Ok(expect::of_error(&e)),
                };
                let (key, loader) = (key.clone(), self.site.loader(Vec::new(), || {}));
                let what = format!("data_get {}", key.text());
                self.aside(&what, move |cache| {
                    seen(cache.data(None, &key.parts(), &options, loader), |d| expect::of_data(&d))
                })
            }
        }
    }

    fn aside<T: Send + 'static>(
        &self,
        what: &str,
        call: impl FnOnce(&Cache) -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let (send, receive) = channel();
        let cache = self.cache.clone();
        std::thread::spawn(move || {
            let result = call(&cache);
            // Dropped first: the last handle closes the cache.
            drop(cache);
            // Nobody listens any more if it took too long.
            let _ = send.send(result);
        });
        receive.recv_timeout(LIMIT).map_err(|e| match e {
            RecvTimeoutError::Timeout => self.too_long(what),
            RecvTimeoutError::Disconnected => vec![format!("{what} panicked")],
        })
    }

    /// A call in the background: by the functions that never block, on a thread of its own, as a loader may block it.
    fn start(&mut self, name: &str, call: &Call) -> Result<(), Fault> {
        if self.started.contains_key(name) {
            return Err(vec![format!("\"{name}\" was started before and not joined")]);
        }
        let slot = Arc::new(Slot::default());
        self.started.insert(name.to_string(), slot.clone());
        let cache = self.cache.clone();
        let done = slot.clone();
        let run: Box<dyn FnOnce() + Send> = match call {
            Call::Get(get) => {
                let asked = Arc::new(Asked::new(get, &self.captures)?);
                let asking = asked.clone();
                let told = Box::new(move |result| done.put(of_get(result, &asked)));
                Box::new(move || cache.get_then(&asking.request(), told))
            }
            Call::Regenerate { path, only_generated } => {
                let (path, only) = (path.clone(), *only_generated);
                let told = Box::new(move |result| done.put(of_regenerate(result)));
                Box::new(move || cache.regenerate_then(&Request::new(&path), only, told))
            }
            Call::Data { key, tags, revalidate } => {
                let options = match data_options(tags, revalidate) {
                    Ok(options) => options,
                    Err(e) => {
                        slot.put(expect::of_error(&e));
                        return Ok(());
                    }
                };
                let key: DataKey = key.clone();
                let begun = slot.clone();
                let loader = self
                    .site
                    .loader(Vec::new(), move || begun.entered.store(true, Ordering::Release));
                let told = Box::new(move |result: Result<DataAnswer, Error>| {
                    done.put(seen(result, |d| expect::of_data(&d)));
                });
                Box::new(move || cache.data_then(None, &key.parts(), &options, loader, told))
            }
        };
        let begun = slot.clone();
        std::thread::spawn(move || {
            run();
            begun.entered.store(true, Ordering::Release);
        });
        // Answered, or all that it waits for is held; where nothing is held the answer is on its way.
        self.poll(&format!("start {name}"), |world| {
            slot.outcome.lock().is_some()
                || slot.entered.load(Ordering::Acquire)
                    && world.quiet().is_some_and(|held| held > 0)
        })
    }

    fn slot(&self, name: &str) -> Result<Arc<Slot>, Fault> {
        self.started.get(name).cloned().ok_or_else(|| vec![format!("\"{name}\" is not started")])
    }

    fn settle(&self) -> Result<(), Fault> {
        self.poll("settle", |world| world.quiet().is_some())
    }

    /// How many callbacks are held, if nothing else goes on: sampled twice, so that nothing happened in between.
    fn quiet(&self) -> Option<usize> {
        let first = (self.cache.activity(), self.site.frames.sample());
        if !first.1.is_quiet(&first.0) {
            return None;
        }
        std::thread::sleep(POLL);
        let second = (self.cache.activity(), self.site.frames.sample());
        (first == second).then_some(first.1.held)
    }

    #[expect(clippy::disallowed_methods, reason = "the limit is one of real time")]
    fn poll(&self, what: &str, ready: impl Fn(&World) -> bool) -> Result<(), Fault> {
        let began = Instant::now();
        while !ready(self) {
            if began.elapsed() > LIMIT {
                return Err(self.too_long(what));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    fn too_long(&self, what: &str) -> Fault {
        vec![format!(
            "{what} took longer than {} s; in progress: {}",
            LIMIT.as_secs(),
            self.running()
        )]
    }

    fn running(&self) -> String {
        let pending: Vec<&str> = self
            .started
            .iter()
            .filter(|(_, slot)| slot.outcome.lock().is_none())
            .map(|(name, _)| name.as_str())
            .collect();
        format!(
            "{}; not answered: [{}]; {:?}",
            self.site.frames.describe(),
            pending.join(", "),
            self.cache.activity()
        )
    }
}

/// What stays over a `reopen`.
struct Ground {
    clock: ManualClock,
    directory: Option<TempDir>,
    /// That of the last `reopen` which named one.
    deployment: Option<String>,
    /// What was told of the directory. No scenario makes trouble.
    trouble: Arc<Mutex<Vec<String>>>,
}

impl Ground {
    fn new(with_directory: bool) -> std::io::Result<Ground> {
        Ok(Ground {
            clock: ManualClock::new(Time::from_nanos(1_700_000_000 * 1_000_000_000)),
            directory: with_directory.then(TempDir::new).transpose()?,
            deployment: None,
            trouble: Arc::default(),
        })
    }

    fn open(&self, scenario: &Scenario) -> Result<Cache, Error> {
        let mut options = scenario.options()?;
        options.clock = self.clock.clone().into();
        options.directory = self.directory.as_ref().map(|d| d.path().to_path_buf());
        let trouble = self.trouble.clone();
        options.on_trouble =
            Some(OnTrouble(Arc::new(move |e| trouble.lock().push(format!("trouble: {e}")))));
        if let Some(deployment) = &self.deployment {
            options.deployment.clone_from(deployment);
        }
        Cache::open(options)
    }
}

/// The place of an outcome that comes later.
#[derive(Default)]
struct Slot {
    outcome: Mutex<Option<Seen>>,
    answered: Condvar,
    /// The call has returned, or runs a load on its own thread.
    entered: AtomicBool,
}

impl Slot {
    fn put(&self, seen: Seen) {
        *self.outcome.lock() = Some(seen);
        self.answered.notify_all();
    }

    fn wait(&self, limit: Duration) -> Option<Seen> {
        let mut outcome = self.outcome.lock();
        self.answered.wait_while_for(&mut outcome, |o| o.is_none(), limit);
        outcome.take()
    }
}

/// A request with all that it borrows.
struct Asked {
    path: String,
    variant: Option<Variant>,
    draft: bool,
    prefetch: bool,
    is_head: bool,
    if_none_match: Option<String>,
    accept_encoding: Option<String>,
}

impl Asked {
    fn new(get: &Get, captures: &Captures) -> Result<Asked, Fault> {
        let mut headers = BTreeMap::new();
        for (name, value) in &get.headers {
            let value = replace_captures(value, captures)
                .map_err(|e| vec![format!("header {name}: {e}")])?;
            headers.insert(name.to_ascii_lowercase(), value);
        }
        Ok(Asked {
            path: get.path.clone(),
            variant: to_variant(&get.variant),
            draft: get.draft,
            prefetch: get.prefetch,
            is_head: get.is_head,
            if_none_match: headers.remove("if-none-match"),
            accept_encoding: headers.remove("accept-encoding"),
        })
    }

    fn request(&self) -> Request<'_> {
        Request {
            variant: self.variant.as_ref(),
            draft: self.draft,
            prefetch: self.prefetch,
            ..Request::new(&self.path)
        }
    }

    fn conditions(&self) -> Conditions<'_> {
        Conditions {
            is_head: self.is_head,
            if_none_match: self.if_none_match.as_deref(),
            accept_encoding: self.accept_encoding.as_deref(),
        }
    }
}

fn to_variant(values: &BTreeMap<String, String>) -> Option<Variant> {
    if values.is_empty() {
        return None;
    }
    let mut variant = Variant::new();
    for (name, value) in values {
        variant.set(name, value);
    }
    Some(variant)
}

fn data_options(tags: &[String], revalidate: &Option<Value>) -> Result<DataOptions, Error> {
    let mut options = DataOptions { tags: tags.to_vec(), ..DataOptions::default() };
    if let Some(value) = revalidate {
        options.revalidate = lifetime("revalidate", value)?;
    }
    Ok(options)
}

fn seen<T>(result: Result<T, Error>, of: impl FnOnce(T) -> Seen) -> Seen {
    result.map_or_else(|e| expect::of_error(&e), of)
}

fn of_get(result: Result<Answer, Error>, asked: &Asked) -> Seen {
    seen(result, |answer| expect::of_answer(&answer, &asked.conditions()))
}

fn of_regenerate(result: Result<Option<Answer>, Error>) -> Seen {
    seen(result, |answer| {
        let mut seen =
            answer.map_or_else(Seen::new, |a| expect::of_answer(&a, &Conditions::default()));
        let rendered = seen.contains_key("cache");
        seen.insert("rendered".into(), json!(rendered));
        seen
    })
}
