//! The engine: decides what each request gets, runs renders and loads, records their results.
//!
//! `hit` answers from memory alone. Else `lookup` finds what is stored, `pages` and `reads` decide, `waiting` joins or begins a
//! flight, `background` begins one that nobody waits for, `elsewhere` waits for one of another process, `run` calls back, `result` turns what a callback gave into an entry, `finish` records it and answers.

mod background;
mod elsewhere;
mod finish;
mod hit;
mod invalidate;
mod lookup;
mod pages;
mod passive;
mod prerender;
mod reads;
mod result;
mod run;
mod waiting;

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::answer::Answer;
use crate::clock::{Clock, Time};
use crate::draft;
use crate::engine::elsewhere::Elsewhere;
use crate::error::{Error, ErrorKind};
use crate::flight::{Ask, Done, Flight, FlightTable, What};
use crate::invalidation::Invalidations;
use crate::memory::Memory;
use crate::options::{Options, RouteOptions};
use crate::owner::{Owner, Owners};
use crate::page::Page;
use crate::pool::Pool;
use crate::render::Renderer;
use crate::route::Router;
use crate::site::Route;
use crate::stats::{Activity, Counters, Flights, Stats};
use crate::store::{Opened, Store, Trouble, Troubles, Uses};
use crate::sync::RwLock;
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::timers::Timers;
use crate::window::Windows;

pub(crate) use prerender::prerender;
pub(crate) use run::Flown;

pub(crate) struct Engine {
    pub(crate) owners: Arc<Owners>,
    pub(crate) options: Options,
    pub(crate) clock: Clock,
    pub(crate) inv: Invalidations,
    pub(crate) memory: Memory,
    pub(crate) windows: Arc<Windows>,
    /// The directory, if there is one that can be used.
    pub(crate) store: Option<Arc<Store>>,
    /// Trouble with a directory that could not be opened.
    open_trouble: Option<Troubles>,
    elsewhere: Arc<Elsewhere>,
    pub(crate) routes: RwLock<Router<Arc<Route>>>,
    /// Grows with each route that comes or goes: what was matched before must be matched again.
    routes_version: AtomicU32,
    table: FlightTable,
    pub(crate) pool: Arc<Pool<Flown>>,
    pub(crate) timers: Arc<Timers>,
    pub(crate) in_flight: Flights,
    pub(crate) counters: Counters,
    pub(crate) draft_secret: Vec<u8>,
    closed: AtomicBool,
}

/// No epoch of a process that counts by itself or of a directory comes so far.
const AFTER_ALL: u64 = 1 << 60;

/// What became of the directory.
enum Directory {
    /// There is to be none.
    None,
    Opened(Opened),
    /// Memory goes on alone.
    Trouble(Troubles),
}

/// What a first or further try of an ask came to.
pub(crate) enum Step {
    /// The answer, and whom to tell.
    Ready(Result<Answer, Error>, Option<Done>),
    /// `Done` will be called.
    Waiting,
    /// `Done` will be called when this load, which the caller must run, has ended.
    Lead(Arc<Flight>),
    /// It would have to wait, and there was no `Done`: nothing has happened.
    WouldWait,
}

impl Engine {
    /// With its first owner.
    pub(crate) fn open(mut options: Options, owner: Arc<Owner>) -> Result<Arc<Engine>, Error> {
        let owners = Owners::new(owner);
        options.on_trouble = Some(owners.on_trouble());
        let found = open_directory(&options)?;
        let own_secret = || match &found {
            Directory::Opened(opened) => opened.store.draft_secret(),
            _ => draft::random_secret(),
        };
        let draft_secret = options.draft_secret.clone().unwrap_or_else(own_secret);
        Ok(Engine::new(options, owners, found, draft_secret, 0))
    }

    /// The engine of a forked child, with what was opened in the parent and no routes. Of the parent's it only reads what needs no
    /// lock: who held one at the fork will never release it.
    /// With `closed` it is to be closed at once, and opens nothing.
    pub(crate) fn after_fork(parent: &Engine, owner: Arc<Owner>, closed: bool) -> Arc<Engine> {
        let owners = Owners::new(owner);
        let on_trouble = Some(owners.on_trouble());
        let options = Options { on_trouble, ..parent.options.clone() };
        // The thread that forked has the parent's random numbers before it.
        if let Some(seed) = draft::random_secret().first_chunk() {
            fastrand::seed(u64::from_le_bytes(*seed));
        }
        let found = match closed {
            true => Directory::None,
            false => open_directory(&options).unwrap_or_else(|e| not_opened(&options, &e)),
        };
        // With a directory its log tells what was invalidated; whether that can be read is not known to be the same here.
        let inherited = if parent.store.is_some() { AFTER_ALL } else { parent.inv.now() };
        Engine::new(options, owners, found, parent.draft_secret.clone(), inherited)
    }

    fn new(
        options: Options,
        owners: Arc<Owners>,
        found: Directory,
        draft_secret: Vec<u8>,
        inherited: u64,
    ) -> Arc<Engine> {
        let clock = options.clock.clone();
        let (opened, open_trouble) = match found {
            Directory::None => (None, None),
            Directory::Opened(opened) => (Some(opened), None),
            Directory::Trouble(troubles) => (None, Some(troubles)),
        };
        let windows = Windows::new(clock.clone(), options.max_bytes);
        let engine = Arc::new(Engine {
            owners,
            open_trouble,
            draft_secret,
            store: opened.as_ref().map(|o| o.store.clone()),
            elsewhere: Arc::default(),
            inv: Invalidations::new(options.max_invalidations, inherited, opened, windows.clone()),
            memory: Memory::new(options.max_bytes, options.max_variants, windows.clone()),
            windows,
            routes: RwLock::new(Router::new()),
            routes_version: AtomicU32::new(1),
            table: FlightTable::new(),
            pool: Arc::new(Pool::new(options.threads, options.max_queue)),
            timers: Timers::new(clock.clone()),
            in_flight: Flights::default(),
            counters: Counters::default(),
            closed: AtomicBool::new(false),
            clock,
            options,
        });
        if let Some(store) = &engine.store {
            let uses: Weak<Engine> = Arc::downgrade(&engine);
            store.ask_for_uses(uses);
        }
        engine
    }

    /// What each owner is to be told of a directory that could not be opened.
    pub(crate) fn open_trouble(&self) -> Vec<Error> {
        self.open_trouble.as_ref().map_or_else(Vec::new, Troubles::untold)
    }

    pub(crate) fn add_route(
        &self,
        owner: &Arc<Owner>,
        pattern: &str,
        options: RouteOptions,
        renderer: Arc<dyn Renderer>,
    ) -> Result<(), Error> {
        let route = Route::new(pattern, options, &self.options, &self.inv)?;
        self.insert_route(owner, route, renderer)
    }

    /// Adds a route of an owner; where another one has added the same, a renderer.
    pub(crate) fn insert_route(
        &self,
        owner: &Arc<Owner>,
        route: Route,
        renderer: Arc<dyn Renderer>,
    ) -> Result<(), Error> {
        let mut routes = self.routes.write();
        // What is added after the close would keep its renderer.
        owner.check_open()?;
        let there = routes.with_identity(route.pattern.identity());
        let route = match there.filter(|r| r.is_for(&route.pattern) && !r.is_of(owner)) {
            Some(there) => {
                there.check_same(&route)?;
                there.clone()
            }
            None => {
                let route = Arc::new(route);
                routes.insert(route.pattern.clone(), route.clone())?;
                self.routes_version.fetch_add(1, Ordering::Release);
                self.windows.change();
                route
            }
        };
        route.add_renderer(owner, renderer.clone());
        owner.added.push((route, renderer));
        Ok(())
    }

    /// The routes of an owner go, if they are of no other.
    fn remove_routes(&self, owner: &Arc<Owner>) {
        let mut gone = Vec::new();
        {
            let mut routes = self.routes.write();
            let mut left = Router::new();
            let mut all_stay = true;
            for (pattern, route) in routes.iter() {
                gone.extend(route.remove_renderer(owner));
                if route.has_renderers() {
                    // They fitted together before.
                    let _ = left.insert(pattern.clone(), route.clone());
                } else {
                    all_stay = false;
                }
            }
            if !all_stay {
                *routes = left;
                self.routes_version.fetch_add(1, Ordering::Release);
            }
            // The owner may have closed alone.
            self.windows.change();
        }
        // Dropped here, for that may call into the cache.
        drop((gone, owner.added.take()));
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Answers an ask, or begins or joins what will.
    pub(crate) fn step(self: &Arc<Self>, ask: Ask, done: Option<Done>) -> Step {
        match ask.what.clone() {
            What::Page(target) => self.page_step(&target, ask, done),
            What::Data(target) => self.data_step(&target, ask, done),
        }
    }

    pub(crate) fn activity(&self) -> Activity {
        self.in_flight.snapshot(|| self.pool.queued())
    }

    pub(crate) fn stats(&self) -> Stats {
        let store = self.store.as_deref();
        let counted = self.counters.read();
        Stats {
            hits: counted.hits + self.windows.hits(),
            disk_reads: store.map_or(0, Store::reads),
            disk_writes: store.map_or(0, Store::writes),
            disk_errors: store
                .map_or(self.open_trouble.as_ref().map_or(0, Troubles::count), Store::errors),
            disk_bytes: store.map_or(0, Store::disk_bytes),
            evictions: self.memory.evictions(),
            entries_stored: self.memory.entries() as u64,
            bytes_stored: self.memory.bytes(),
            ..counted
        }
    }

    /// An owner leaves; the last one closes the engine. See [`Cache::close`](crate::Cache::close).
    pub(crate) fn leave(self: &Arc<Self>, owner: &Arc<Owner>, timeout: Duration) -> bool {
        let first = owner.close();
        if self.owners.leave(owner) {
            let in_time = self.close(timeout);
            owner.added.take();
            return in_time;
        }
        if first {
            self.remove_routes(owner);
            for flight in self.flights_of(owner) {
                self.withdraw(&flight);
            }
        }
        // A callback that waited for its own end would wait in vain.
        let timeout = if run::is_inside(self) { Duration::ZERO } else { timeout };
        let end = Clock::system().steady().plus(timeout.into());
        let in_time = owner.wait_until_idle(timeout);
        for flight in self.flights_of(owner) {
            // Finished by itself in the meantime: then there is nothing to give up.
            let _ = self.fail(&flight, closed_error());
        }
        self.dismiss_waiters(owner);
        // A render may be over while its callback has not returned.
        in_time && owner.wait_until_idle(left_until(end, timeout))
    }

    fn flights_of(&self, owner: &Arc<Owner>) -> impl Iterator<Item = Arc<Flight>> {
        self.table.all().into_iter().filter(|flight| Arc::ptr_eq(&flight.owner, owner))
    }

    fn close(self: &Arc<Self>, timeout: Duration) -> bool {
        let first = !self.closed.swap(true, Ordering::SeqCst);
        if first {
            self.windows.close();
            for queued in self.pool.close() {
                queued.refuse(closed_error());
            }
        }
        // A callback that waited for its own end would wait in vain.
        let timeout = if run::is_inside(self) { Duration::ZERO } else { timeout };
        let end = Clock::system().steady().plus(timeout.into());
        let in_time = self.in_flight.wait_for_none(timeout);
        for flight in self.table.all() {
            // Finished by itself in the meantime: then there is nothing to give up.
            let _ = self.fail(&flight, closed_error());
        }
        if first {
            for flight in self.elsewhere.close() {
                let _ = self.fail(&flight, closed_error());
            }
            self.timers.close();
            for (_, route) in self.routes.read().iter() {
                route.drop_renderers();
            }
        }
        // A render may be over while its callback has not returned.
        let left = || left_until(end, timeout);
        let (pool, timers) = (self.pool.join(left()), self.timers.join(left()));
        let elsewhere = self.elsewhere.join(left());
        let windows = self.windows.join(left());
        self.inv.close();
        let store = self.store.as_ref().is_none_or(|store| store.close(left()));
        // Whoever still holds a job or an answer holds no more than that.
        self.memory.clear();
        in_time && pool && timers && elsewhere && windows && store
    }
}

/// What is left of a timeout.
fn left_until(end: Time, timeout: Duration) -> Duration {
    end.since(Clock::system().steady()).nanos().map_or(timeout, Duration::from_nanos)
}

impl Uses for Engine {
    fn take_used(&self) -> Vec<Page> {
        self.memory.take_used()
    }
}

/// Opens the directory, if there is to be one. Trouble is still to be told.
fn open_directory(options: &Options) -> Result<Directory, Error> {
    let Some(directory) = &options.directory else { return Ok(Directory::None) };
    match Store::open(directory, options) {
        Ok(opened) => Ok(Directory::Opened(opened)),
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotADirectory
                    | io::ErrorKind::AlreadyExists
                    | io::ErrorKind::InvalidInput
            ) =>
        {
            let shown = directory.display();
            Err(Error::invalid(format!("directory must name a directory; got \"{shown}\": {e}")))
        }
        Err(e) => Ok(not_opened(options, &e)),
    }
}

fn not_opened(options: &Options, why: &dyn Display) -> Directory {
    let directory = options.directory.as_deref().unwrap_or(Path::new(""));
    let troubles = Troubles::new(directory, options.on_trouble.clone());
    troubles.tell(Trouble::Open, why);
    Directory::Trouble(troubles)
}

pub(crate) fn closed_error() -> Error {
    Error::new(ErrorKind::Closed, "the cache is closed")
}
