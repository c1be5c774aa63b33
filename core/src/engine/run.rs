//! Runs callbacks: renders on pool threads, loads there or on the thread that asks.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::data::LoadJob;
use crate::engine::{Engine, closed_error};
use crate::error::{Error, ErrorKind};
use crate::flight::{Flight, Seat, What};
use crate::lifetime::Lifetime;
use crate::owner::Busy;
use crate::policy;
use crate::pool::{Admitted, Job, Refused, Stranded};
use crate::queue::{Bound, Bounded, Held, Priority};
use crate::render::{Context, RenderJob};
use crate::sync::atomic::Ordering;

/// A flight on its way to a pool thread.
pub(crate) struct Flown {
    engine: Arc<Engine>,
    flight: Arc<Flight>,
}

impl Flown {
    pub(crate) fn refuse(self, error: Error) {
        // Over already: then there is nobody to tell.
        let _ = self.engine.fail(&self.flight, error);
    }
}

impl Bounded for Flown {
    fn bounds(&self) -> &[Bound] {
        &self.flight.bounds
    }
}

impl Job for Flown {
    fn run(self, held: Held) {
        *self.flight.seat.lock() = Seat::Taken(held);
        self.engine.run(&self.flight);
    }

    fn no_thread(self, held: Held) {
        *self.flight.seat.lock() = Seat::Taken(held);
        self.refuse(no_thread_error());
    }
}

impl Engine {
    /// Gives a flight to the pool. It counts as in flight from here to its end; on refusal it is as if it had never been.
    pub(crate) fn admit(
        self: &Arc<Self>,
        flight: &Arc<Flight>,
        priority: Priority,
    ) -> Result<(), Error> {
        let lead = if priority == Priority::Background { self.lead_of(flight) } else { 0 };
        self.in_flight.begin();
        let job = Flown { engine: self.clone(), flight: flight.clone() };
        // Held so that the ticket is there before a thread can look at the seat.
        let mut seat = flight.seat.lock();
        match self.pool.admit(job, priority, lead) {
            Ok(Admitted::Seated(held)) => {
                *seat = Seat::Taken(held);
                Ok(())
            }
            Ok(Admitted::Queued(ticket)) => {
                *seat = Seat::Queued(ticket);
                Ok(())
            }
            Err((refused, job)) => {
                drop(seat);
                drop(job);
                self.in_flight.end();
                Err(match refused {
                    Refused::Closed => closed_error(),
                    Refused::NoThread => no_thread_error(),
                    Refused::Full => Error::new(
                        ErrorKind::Busy,
                        format!(
                            "as many renders wait for a thread as may (max_queue is {})",
                            self.options.max_queue
                        ),
                    ),
                })
            }
        }
    }

    /// A flight that may be queued is more urgent now. By that others may get a seat.
    pub(crate) fn promote(&self, flight: &Flight, priority: Priority) -> Stranded<Flown> {
        match *flight.seat.lock() {
            Seat::Queued(ticket) => self.pool.promote(ticket, priority),
            _ => Stranded::none(),
        }
    }

    /// A stale page, or value, is asked for while it waits to be made anew: it is more urgent each time that this has happened twice
    /// as often.
    pub(crate) fn hurry(&self, flight: &Flight) {
        let asked = flight.asked.load(Ordering::Relaxed).saturating_add(1);
        flight.asked.store(asked, Ordering::Relaxed);
        if asked.is_power_of_two()
            && let Seat::Queued(ticket) = *flight.seat.lock()
        {
            self.pool.hurry(ticket, self.lead_of(flight));
        }
    }

    /// By how many places a flight that nobody waits for goes ahead of its arrival.
    fn lead_of(&self, flight: &Flight) -> u64 {
        let Some(page) = &flight.previous else { return 0 };
        let uses = page.heat().saturating_add(flight.asked.load(Ordering::Relaxed));
        policy::lead(policy::urgency(uses, page.render_micros()), self.options.max_queue)
    }

    /// Fails a flight that waits for a seat, for its owner closes.
    pub(crate) fn withdraw(&self, flight: &Flight) {
        let queued = match *flight.seat.lock() {
            Seat::Queued(ticket) => self.pool.withdraw(ticket),
            _ => None,
        };
        if let Some(queued) = queued {
            queued.refuse(closed_error());
        }
    }

    /// Runs a flight's callback on this thread. The flight may end later.
    pub(crate) fn run(self: &Arc<Self>, flight: &Arc<Flight>) {
        let owner = &flight.owner;
        if owner.is_closed() && flight.parent.as_ref().is_none_or(|p| !p.0.is_of(self)) {
            let _ = self.fail(flight, closed_error());
            return;
        }
        let _busy = Busy::new(owner);
        self.begin(flight);
        let _inside = Inside::enter(self);
        let _entered = Context(flight.clone()).enter();
        let called = catch_unwind(AssertUnwindSafe(|| match &flight.what {
            What::Page(target) => {
                let job = RenderJob::new(self.clone(), flight.clone(), target.clone());
                match target.route.renderer(owner) {
                    Some(renderer) => renderer.render(job),
                    None => drop(job.fail(closed_error())),
                }
            }
            What::Data(target) => {
                let job = LoadJob::new(self.clone(), flight.clone(), target.clone());
                target.loader.load(job);
            }
        }));
        if let Err(panic) = called {
            let what = if matches!(flight.what, What::Page(_)) { "render" } else { "load" };
            let name = flight.what.name();
            let text = format!("the {what} callback of {name} panicked: {}", panic_text(&*panic));
            // Over already: it was finished before the panic.
            let _ = self.fail(flight, Error::render(text, None));
        }
    }

    /// The callback's start: from here its epoch orders it, and its time runs.
    fn begin(self: &Arc<Self>, flight: &Arc<Flight>) {
        if flight.started() == 0 {
            flight.set_started(self.inv.next_epoch());
        }
        match &flight.what {
            What::Page(target) => {
                self.counters.renders.add();
                let identity = target.route.pattern.identity();
                let floor = self.inv.data_floor(&target.path, identity, self.clock.now());
                flight.data_floor.store(floor, Ordering::SeqCst);
            }
            What::Data(_) => self.counters.loads.add(),
        }
        let timeout = self.timeout_of(flight);
        let now = self.clock.steady();
        flight.set_began(now);
        flight.set_deadline(now.plus(timeout));
        if let (Some(store), Some(lease)) = (&self.store, *flight.lease.lock()) {
            // A load inside a render ends with that, which has a time of its own.
            let of_lease = if timeout.is_never() { self.options.default_timeout } else { timeout };
            store.lease_begins(lease, flight.started(), of_lease);
        }
        let weak = Arc::downgrade(flight);
        let engine = Arc::downgrade(self);
        let action = move || {
            if let (Some(flight), Some(engine)) = (weak.upgrade(), engine.upgrade()) {
                engine.time_out(&flight);
            }
        };
        *flight.timer.lock() = self.timers.after(timeout, Box::new(action));
    }

    pub(crate) fn time_out(self: &Arc<Self>, flight: &Arc<Flight>) {
        // Finished in time after all.
        let _ = self.fail(flight, self.timeout_error(flight));
    }

    /// The time that a callback may take.
    fn timeout_of(&self, flight: &Flight) -> Lifetime {
        match &flight.what {
            What::Page(target) => target.route.timeout,
            // A load inside a render ends with the render's time.
            What::Data(_) if flight.parent.as_ref().is_some_and(|p| p.0.is_of(self)) => {
                Lifetime::NEVER
            }
            What::Data(_) => self.options.default_timeout,
        }
    }

    fn timeout_error(&self, flight: &Flight) -> Error {
        let secs = self.timeout_of(flight).as_secs_f64().unwrap_or(0.0);
        let what = if matches!(flight.what, What::Page(_)) { "render" } else { "load" };
        let name = flight.what.name();
        let text = format!("the {what} of {name} took longer than its timeout of {secs} s");
        Error::new(ErrorKind::Timeout, text)
    }
}

crate::sync::thread_local! {
    /// Whose callbacks run on this thread, by the addresses of the engines.
    static INSIDE: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// While it lives, this thread runs a callback of the engine.
pub(crate) struct Inside;

impl Inside {
    pub(crate) fn enter(engine: &Arc<Engine>) -> Inside {
        let _ = INSIDE.try_with(|inside| inside.borrow_mut().push(Arc::as_ptr(engine).addr()));
        Inside
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = INSIDE.try_with(|inside| inside.borrow_mut().pop());
    }
}

/// Whether this thread is inside a callback of the engine.
pub(crate) fn is_inside(engine: &Arc<Engine>) -> bool {
    let address = Arc::as_ptr(engine).addr();
    INSIDE.try_with(|inside| inside.borrow().contains(&address)).unwrap_or(false)
}

fn no_thread_error() -> Error {
    Error::new(ErrorKind::Busy, "the system gives no thread to render on")
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
