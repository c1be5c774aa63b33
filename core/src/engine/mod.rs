//! The engine: decides what each request gets, runs renders and loads, records their results.
//!
//! `lookup` finds what is stored, `pages` and `reads` decide, `waiting` joins or begins a flight, `elsewhere` waits for one of
//! another process, `run` calls back, `result` turns what a callback gave into an entry, `finish` records it and answers.

mod elsewhere;
mod finish;
mod invalidate;
mod lookup;
mod pages;
mod passive;
mod prerender;
mod reads;
mod result;
mod run;
mod waiting;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::answer::Answer;
use crate::clock::Clock;
use crate::draft;
use crate::engine::elsewhere::Elsewhere;
use crate::error::{Error, ErrorKind};
use crate::flight::{Ask, Done, Flight, FlightTable, What};
use crate::invalidation::Invalidations;
use crate::memory::Memory;
use crate::options::{Options, RouteOptions};
use crate::pool::Pool;
use crate::render::Renderer;
use crate::route::Router;
use crate::site::Route;
use crate::stats::{Activity, Counters, Flights, Stats};
use crate::store::{Opened, Store, Trouble, Troubles};
use crate::sync::RwLock;
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::timers::Timers;

pub(crate) use prerender::prerender;
pub(crate) use run::Flown;

pub(crate) struct Engine {
    pub(crate) options: Options,
    pub(crate) clock: Clock,
    pub(crate) inv: Invalidations,
    pub(crate) memory: Memory,
    /// The directory, if there is one that can be used.
    pub(crate) store: Option<Arc<Store>>,
    /// Trouble with a directory that could not be opened.
    open_troubles: u64,
    elsewhere: Arc<Elsewhere>,
    pub(crate) routes: RwLock<Router<Arc<Route>>>,
    /// Grows with each route: what was matched before must be matched again.
    routes_version: AtomicU32,
    table: FlightTable,
    pub(crate) pool: Arc<Pool<Flown>>,
    pub(crate) timers: Arc<Timers>,
    pub(crate) in_flight: Flights,
    pub(crate) counters: Counters,
    pub(crate) draft_secret: Vec<u8>,
    closed: AtomicBool,
    /// Where it was opened: its threads do not survive a fork.
    process: u32,
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
    pub(crate) fn open(options: Options) -> Result<Arc<Engine>, Error> {
        options.check()?;
        let clock = options.clock.clone();
        let opened = match &options.directory {
            Some(directory) => open_directory(directory, &options)?,
            None => None,
        };
        let store = opened.as_ref().map(|o| o.store.clone());
        let own_secret = || store.as_ref().map_or_else(draft::random_secret, |s| s.draft_secret());
        Ok(Arc::new(Engine {
            open_troubles: u64::from(options.directory.is_some() && store.is_none()),
            draft_secret: options.draft_secret.clone().unwrap_or_else(own_secret),
            store,
            elsewhere: Arc::default(),
            inv: Invalidations::new(options.max_invalidations, opened),
            memory: Memory::new(options.max_bytes, options.max_variants),
            routes: RwLock::new(Router::new()),
            routes_version: AtomicU32::new(1),
            table: FlightTable::new(),
            pool: Arc::new(Pool::new(options.threads, options.max_queue)),
            timers: Timers::new(clock.clone()),
            in_flight: Flights::default(),
            counters: Counters::default(),
            closed: AtomicBool::new(false),
            process: std::process::id(),
            clock,
            options,
        }))
    }

    pub(crate) fn add_route(
        &self,
        pattern: &str,
        options: RouteOptions,
        renderer: Arc<dyn Renderer>,
    ) -> Result<(), Error> {
        self.check_open()?;
        let route = Route::new(pattern, options, &self.options, &self.inv, renderer)?;
        let mut routes = self.routes.write();
        routes.insert(route.pattern.clone(), Arc::new(route))?;
        self.routes_version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.is_closed() { Err(closed_error()) } else { Ok(()) }
    }

    /// Whether a callback can be run here: not in a child that was forked after the cache was opened.
    pub(crate) fn check_process(&self) -> Result<(), Error> {
        let here = std::process::id();
        if here == self.process {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Closed,
            format!(
                "the cache was opened in process {} and its threads are not in its fork {here}; open one after fork",
                self.process
            ),
        ))
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
        Stats {
            disk_reads: store.map_or(0, Store::reads),
            disk_writes: store.map_or(0, Store::writes),
            disk_errors: store.map_or(self.open_troubles, Store::errors),
            disk_bytes: store.map_or(0, Store::disk_bytes),
            evictions: self.memory.evictions(),
            entries_stored: self.memory.entries() as u64,
            bytes_stored: self.memory.bytes(),
            ..self.counters.read()
        }
    }

    pub(crate) fn close(self: &Arc<Self>, timeout: Duration) -> bool {
        let first = !self.closed.swap(true, Ordering::SeqCst);
        if first {
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
            self.elsewhere.close();
            self.timers.close();
            for (_, route) in self.routes.read().iter() {
                route.drop_renderer();
            }
        }
        // A render may be over while its callback has not returned.
        let left = || {
            let left = end.since(Clock::system().steady()).nanos();
            left.map_or(timeout, Duration::from_nanos)
        };
        let (pool, timers) = (self.pool.join(left()), self.timers.join(left()));
        let elsewhere = self.elsewhere.join(left());
        let store = self.store.as_ref().is_none_or(|store| store.close(left()));
        // Whoever still holds a job or an answer holds no more than that.
        self.memory.clear();
        in_time && pool && timers && elsewhere && store
    }
}

/// Opens the directory; trouble is told, and memory goes on alone.
fn open_directory(directory: &Path, options: &Options) -> Result<Option<Opened>, Error> {
    match Store::open(directory, options) {
        Ok(opened) => Ok(Some(opened)),
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
        Err(e) => {
            let told = Troubles::new(directory, options.on_trouble.clone());
            told.tell(Trouble::Open, &e);
            told.deliver();
            Ok(None)
        }
    }
}

pub(crate) fn closed_error() -> Error {
    Error::new(ErrorKind::Closed, "the cache is closed")
}
