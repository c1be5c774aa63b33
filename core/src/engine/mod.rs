//! The engine: decides what each request gets, runs renders and loads, records their results.
//!
//! `pages` and `reads` decide, `waiting` joins or begins a flight, `run` calls back, `result` turns what a callback gave into
//! an entry, `finish` records it and answers.

mod finish;
mod invalidate;
mod pages;
mod passive;
mod prerender;
mod reads;
mod result;
mod run;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use crate::answer::Answer;
use crate::clock::{Clock, Time};
use crate::draft;
use crate::error::{Error, ErrorKind};
use crate::flight::{Ask, Done, Flight, FlightTable, What};
use crate::fork::{self, ForChildren};
use crate::invalidation::Invalidations;
use crate::memory::Memory;
use crate::options::{Options, RouteOptions};
use crate::page::Page;
use crate::policy::{self, Judged};
use crate::pool::Pool;
use crate::render::Renderer;
use crate::route::Router;
use crate::site::Route;
use crate::stats::{Activity, Counters, Flights, Stats};
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
    pub(crate) routes: RwLock<Router<Arc<Route>>>,
    /// The same, as a forked child reads them.
    added: ForChildren<(Arc<Route>, Arc<dyn Renderer>)>,
    /// Grows with each route: what was matched before must be matched again.
    routes_version: AtomicU32,
    table: FlightTable,
    pub(crate) pool: Arc<Pool<Flown>>,
    pub(crate) timers: Arc<Timers>,
    pub(crate) in_flight: Flights,
    pub(crate) counters: Counters,
    pub(crate) draft_secret: Vec<u8>,
    closed: AtomicBool,
    /// Epochs up to here are of the process that was forked: what was invalidated there since is not known here.
    pub(crate) inherited: u64,
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
        fork::install()
            .map_err(|e| Error::new(ErrorKind::Internal, format!("pthread_atfork failed: {e}")))?;
        let draft_secret = options.draft_secret.clone().unwrap_or_else(draft::random_secret);
        Ok(Arc::new(Engine::new(options, draft_secret, 0)))
    }

    /// The engine of a forked child, with what was opened and added in the parent. Of the parent's it only reads what needs no
    /// lock: who held one at the fork will never release it.
    pub(crate) fn after_fork(parent: &Engine) -> Arc<Engine> {
        let (options, secret) = (parent.options.clone(), parent.draft_secret.clone());
        let engine = Arc::new(Engine::new(options, secret, parent.inv.now()));
        if parent.is_closed() {
            engine.close(Duration::ZERO);
            return engine;
        }
        // SAFETY: the parent's list is taken when its cache is closed, which nobody does in the child.
        let added = unsafe { parent.added.all() };
        for (route, renderer) in added {
            // They fitted together in the parent.
            let _ = engine.insert(route.again(&engine.inv, renderer.clone()), renderer.clone());
        }
        engine
    }

    fn new(options: Options, draft_secret: Vec<u8>, inherited: u64) -> Engine {
        let clock = options.clock.clone();
        Engine {
            inv: Invalidations::new(options.max_invalidations, inherited),
            memory: Memory::new(options.max_bytes, options.max_variants),
            routes: RwLock::new(Router::new()),
            added: ForChildren::default(),
            routes_version: AtomicU32::new(1),
            table: FlightTable::new(),
            pool: Arc::new(Pool::new(options.threads, options.max_queue)),
            timers: Timers::new(clock.clone()),
            in_flight: Flights::default(),
            counters: Counters::default(),
            draft_secret,
            closed: AtomicBool::new(false),
            inherited,
            clock,
            options,
        }
    }

    pub(crate) fn add_route(
        &self,
        pattern: &str,
        options: RouteOptions,
        renderer: Arc<dyn Renderer>,
    ) -> Result<(), Error> {
        self.check_open()?;
        let route = Route::new(pattern, options, &self.options, &self.inv, renderer.clone())?;
        self.insert(route, renderer)
    }

    fn insert(&self, route: Route, renderer: Arc<dyn Renderer>) -> Result<(), Error> {
        let route = Arc::new(route);
        let mut routes = self.routes.write();
        // What is added after the close would keep its renderer.
        self.check_open()?;
        routes.insert(route.pattern.clone(), route.clone())?;
        self.routes_version.fetch_add(1, Ordering::Release);
        self.added.push((route, renderer));
        Ok(())
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.is_closed() { Err(closed_error()) } else { Ok(()) }
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

    /// The state of a stored entry, and why.
    pub(crate) fn judge(&self, page: &Page, now: Time) -> Judged {
        let verdict = self.inv.verdict(page.names(), page.started(), now);
        policy::judge(page.times(), verdict, now)
    }

    pub(crate) fn activity(&self) -> Activity {
        self.in_flight.snapshot(|| self.pool.queued())
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
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
            self.timers.close();
            for (_, route) in self.routes.read().iter() {
                route.drop_renderer();
            }
            self.added.take();
        }
        // A render may be over while its callback has not returned.
        let left = || {
            let left = end.since(Clock::system().steady()).nanos();
            left.map_or(timeout, Duration::from_nanos)
        };
        let (pool, timers) = (self.pool.join(left()), self.timers.join(left()));
        // Whoever still holds a job or an answer holds no more than that.
        self.memory.clear();
        in_time && pool && timers
    }
}

pub(crate) fn closed_error() -> Error {
    Error::new(ErrorKind::Closed, "the cache is closed")
}
