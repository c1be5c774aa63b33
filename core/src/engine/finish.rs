//! The end of a render or load: its result is recorded, then those who wait are answered.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::answer::{Answer, CacheWord, State};
use crate::clock::Time;
use crate::engine::lookup::Found;
use crate::engine::result::{Outcome, Run};
use crate::engine::run::Inside;
use crate::engine::{Engine, Step, closed_error};
use crate::error::{Error, ErrorKind};
use crate::flight::{Ask, Done, Flight, Link, Purpose, Seat, Shard, Waiter, What, finished_error};
use crate::lanes::Lane;
use crate::lifetime::Lifetime;
use crate::links;
use crate::memory::Inserted;
use crate::owner::Owner;
use crate::page::{Page, PageResult};
use crate::policy;
use crate::store::Saved;
use crate::store::lease::Ended;
use crate::sync::atomic::Ordering;

/// A recorded outcome, as the waiters see it.
enum Recorded {
    Page {
        page: Page,
        /// Whether it is in the store now.
        stored: bool,
        /// Whether it could be.
        storable: bool,
        /// For the one alone for whom the render began.
        personal: bool,
        /// Its path was removed after it began.
        removed: bool,
    },
    Failed(Error),
}

impl Recorded {
    /// What other processes are told.
    fn ended(&self) -> Ended {
        match self {
            Recorded::Page { personal: true, .. } => Ended::Unshared,
            Recorded::Page { .. } => Ended::Done,
            // That is this process's own matter: others begin anew.
            Recorded::Failed(e) if matches!(e.kind(), ErrorKind::Closed | ErrorKind::Busy) => {
                Ended::Done
            }
            Recorded::Failed(e) => Ended::Failed(e.clone()),
        }
    }
}

impl Engine {
    /// Ends a render with a result. See [`RenderJob::complete`](crate::RenderJob::complete).
    pub(crate) fn complete_page(
        self: &Arc<Self>,
        flight: &Arc<Flight>,
        result: PageResult,
    ) -> Result<(), Error> {
        let What::Page(target) = &flight.what else { return Err(finished_error()) };
        if flight.is_over() {
            return Err(finished_error());
        }
        let deps = flight.take_deps();
        let outcome = self.page_outcome(target, result, self.run_of(flight), &deps);
        self.complete(flight, outcome)
    }

    /// Ends a load with a value. See [`LoadJob::complete`](crate::LoadJob::complete).
    pub(crate) fn complete_data(
        self: &Arc<Self>,
        flight: &Arc<Flight>,
        value: Vec<u8>,
    ) -> Result<(), Error> {
        let What::Data(target) = &flight.what else { return Err(finished_error()) };
        if flight.is_over() {
            return Err(finished_error());
        }
        let deps = flight.take_deps();
        let outcome = self.data_outcome(target, value, self.run_of(flight), &deps);
        self.complete(flight, outcome)
    }

    fn run_of(&self, flight: &Flight) -> Run {
        Run { started: flight.started(), micros: flight.micros(self.clock.steady()) }
    }

    /// Ends a render or load with a failure.
    pub(crate) fn fail(self: &Arc<Self>, flight: &Arc<Flight>, error: Error) -> Result<(), Error> {
        if self.finish(flight, Outcome::Fail(error)) { Ok(()) } else { Err(finished_error()) }
    }

    fn complete(self: &Arc<Self>, flight: &Arc<Flight>, outcome: Outcome) -> Result<(), Error> {
        // The process may have stood still past the time-out: then others have taken over.
        if self.clock.steady() > flight.deadline() {
            self.time_out(flight);
            return Err(finished_error());
        }
        let invalid = match &outcome {
            Outcome::Fail(error) => Some(error.clone()),
            _ => None,
        };
        if !self.finish(flight, outcome) {
            return Err(finished_error());
        }
        invalid.map_or(Ok(()), Err)
    }

    /// Records an outcome and answers all who wait. False if the flight was over.
    fn finish(self: &Arc<Self>, flight: &Arc<Flight>, outcome: Outcome) -> bool {
        if !flight.end() {
            return false;
        }
        let now = self.clock.now();
        let saved = match &outcome {
            Outcome::Store(page) if !flight.live => self.save(&flight.what, page),
            _ => Saved::No,
        };
        let found = match &outcome {
            Outcome::Store(page) => Found { page: Some(page.clone()), key: None, version: 0 },
            _ => self.look_up(&flight.what),
        };
        let (recorded, waiters) = {
            let mut shard = self.table.lock(flight.key());
            let recorded = self.record(&mut shard, flight, outcome, saved, &found);
            shard.remove(flight);
            (recorded, std::mem::take(&mut *flight.waiters.lock()))
        };
        self.release(flight, &recorded.ended());
        if let Some(timer) = flight.timer.lock().take() {
            self.timers.cancel(timer);
        }
        self.leave_seat(flight);
        links::clear(flight);
        if matches!(&recorded, Recorded::Failed(e) if e.kind() == ErrorKind::Timeout) {
            self.abandon_loads_of(flight);
        }
        for waiter in waiters {
            match &recorded {
                Recorded::Page { .. } => self.settle(waiter, flight, &recorded, now),
                // Because its owner closes; others have theirs.
                Recorded::Failed(error)
                    if error.kind() != ErrorKind::Timeout
                        && flight.owner.is_closed()
                        && !waiter.ask.by.owner().is_closed() =>
                {
                    self.ask_again(waiter);
                }
                Recorded::Failed(error) => self.settle_failure(waiter, flight, error, &found),
            }
        }
        flight.busy.lock().take();
        self.in_flight.end();
        true
    }

    fn record(
        &self,
        shard: &mut Shard,
        flight: &Flight,
        outcome: Outcome,
        saved: Saved,
        found: &Found,
    ) -> Recorded {
        let key = flight.key();
        match outcome {
            Outcome::Store(page) | Outcome::Pass { page, .. } if flight.live => Recorded::Page {
                page,
                stored: false,
                storable: false,
                personal: false,
                removed: false,
            },
            Outcome::Store(page) => {
                shard.troubles.pop(key);
                let inserted = self.insert(&flight.what, &page, saved);
                if inserted == Inserted::TooLarge {
                    self.counters.too_large.add();
                }
                Recorded::Page {
                    page,
                    stored: inserted == Inserted::Stored,
                    storable: inserted != Inserted::TooManyVariants,
                    personal: false,
                    removed: inserted == Inserted::Removed,
                }
            }
            Outcome::Pass { page, personal, remove } => {
                if remove && let What::Page(target) = &flight.what {
                    self.remove_older(&target.path, flight.started());
                }
                let stored = found.page.as_ref().filter(|_| !remove);
                let wait =
                    stored.map_or(Lifetime::ZERO, |p| policy::backoff_base(Some(p.revalidate())));
                let retry_at = self.clock.steady().plus(wait);
                let trouble = self.trouble(shard, key);
                trouble.failures = 0;
                trouble.last_error = None;
                trouble.note_attempt(flight);
                trouble.retry_at = retry_at;
                trouble.unshared |= personal;
                Recorded::Page { page, stored: false, storable: false, personal, removed: false }
            }
            Outcome::Fail(error) => {
                self.record_failure(shard, flight, &error, found);
                Recorded::Failed(error)
            }
        }
    }

    fn record_failure(&self, shard: &mut Shard, flight: &Flight, error: &Error, found: &Found) {
        if matches!(error.kind(), ErrorKind::Closed | ErrorKind::Busy) {
            return;
        }
        match flight.what {
            What::Page(_) => self.counters.render_failures.add(),
            What::Data(_) => self.counters.load_failures.add(),
        }
        if error.kind() == ErrorKind::Timeout {
            self.counters.render_timeouts.add();
        } else if flight.owner.is_closed() {
            return;
        }
        self.note_failure(shard, flight, error, found);
    }

    /// Remembers a failure: the next attempt waits.
    pub(crate) fn note_failure(
        &self,
        shard: &mut Shard,
        flight: &Flight,
        error: &Error,
        found: &Found,
    ) {
        let stored = self.newest(flight.key(), found);
        if flight.live || stored.as_ref().is_some_and(|p| p.started() > flight.started()) {
            return;
        }
        let revalidate = stored.map(|p| p.revalidate());
        let steady = self.clock.steady();
        let jitter = self.options.backoff_jitter;
        let trouble = self.trouble(shard, flight.key());
        trouble.failures = trouble.failures.saturating_add(1);
        trouble.note_attempt(flight);
        trouble.last_error = Some(error.for_keeping());
        trouble.retry_at =
            steady.plus(policy::backoff(trouble.failures, revalidate, jitter, fastrand::f64()));
    }

    fn leave_seat(&self, flight: &Flight) {
        let held = {
            let mut seat = flight.seat.lock();
            if matches!(*seat, Seat::None) {
                return;
            }
            let lent = links::is_suspended(flight);
            match std::mem::replace(&mut *seat, Seat::Left) {
                Seat::Taken(held) if !lent => held,
                _ => return,
            }
        };
        self.pool.leave(&held);
    }

    /// A timed-out render may hang in one of its loads: others do not wait for that any longer. If it ends, it is kept.
    fn abandon_loads_of(self: &Arc<Self>, flight: &Arc<Flight>) {
        for load in self.table.all() {
            let led = load.parent.as_ref().is_some_and(|p| Arc::ptr_eq(&p.0, flight));
            if !led {
                continue;
            }
            // Before: whoever comes after does not wait for it.
            load.joinable.store(false, Ordering::SeqCst);
            for waiter in self.take_waiters(&load, |w| !w.owns) {
                self.ask_again(waiter);
            }
            self.abandon_loads_of(&load);
        }
    }

    /// Answers one who waited, or lets him ask again where this result is not for him.
    fn settle(self: &Arc<Self>, waiter: Waiter, flight: &Flight, recorded: &Recorded, now: Time) {
        let Recorded::Page { page, stored, storable, personal, removed } = recorded else { return };
        if *personal && !waiter.owns {
            return self.ask_again(waiter);
        }
        let ask = &waiter.ask;
        let inside = self.inside(ask);
        let too_old = !flight.live
            && self.inv.between(page.names(), flight.started(), ask.asked, inside.is_some(), now);
        // What it read itself may be older than a path call that covers the page asked for.
        let floor = inside.map_or(0, |w| w.0.data_floor.load(Ordering::SeqCst));
        if too_old || (inside.is_some() && !flight.live && page.oldest() <= floor) {
            return self.ask_again(waiter);
        }
        if let Some(inside) = inside {
            inside.0.deps.lock().add_entry(page);
        }
        let word = if *storable { ask.word.unwrap_or(CacheWord::Miss) } else { CacheWord::Bypass };
        let invalidated = *removed || (*storable && !self.verdict(page, now).is_clean());
        let answer = Answer { page: page.clone(), word, stored: *stored, invalidated, now };
        self.tell(waiter, Ok(answer));
    }

    /// Answers one who waited for what failed.
    pub(crate) fn settle_failure(
        self: &Arc<Self>,
        waiter: Waiter,
        flight: &Flight,
        error: &Error,
        found: &Found,
    ) {
        let ask = &waiter.ask;
        if let (Some(inside), What::Data(target)) = (self.inside(ask), &ask.what) {
            let mut deps = inside.0.deps.lock();
            deps.add(target.revalidate, &target.tags);
            let nested = flight.deps.lock();
            deps.add(nested.revalidate, &nested.tags);
        }
        let result = self.instead_of(error, ask, found);
        self.tell(waiter, result);
    }

    /// What one who waited for a failed render gets: the last good page where there is one for him, else the error.
    fn instead_of(&self, error: &Error, ask: &Ask, found: &Found) -> Result<Answer, Error> {
        let keeps_last_good = match ask.purpose {
            Purpose::Get | Purpose::Prefetch => true,
            Purpose::Read => self.inside(ask).is_none(),
            Purpose::Draft | Purpose::Regenerate | Purpose::Prerender => false,
        };
        let now = self.clock.now();
        let page = self.newest(ask.what.key(), found).filter(|_| keeps_last_good);
        let Some(stored) = page.and_then(|page| self.judged(page, now)) else {
            return Err(error.clone());
        };
        match stored.judged.state {
            State::Fresh => {
                Ok(self.stored_answer(&stored, ask.word.unwrap_or(CacheWord::Hit), now))
            }
            State::Stale => Ok(self.stored_answer(&stored, CacheWord::Stale, now)),
            _ => self.last_good(Some(&stored), now).ok_or_else(|| error.clone()),
        }
    }

    /// An owner has closed: whatever it still waits for goes on without it.
    pub(crate) fn dismiss_waiters(self: &Arc<Self>, owner: &Arc<Owner>) {
        let is_its = |waiter: &Waiter| Arc::ptr_eq(waiter.ask.by.owner(), owner);
        for flight in self.table.all() {
            for waiter in self.take_waiters(&flight, is_its) {
                self.tell(waiter, Err(closed_error()));
            }
        }
    }

    /// Those who wait for a flight and are chosen.
    fn take_waiters(&self, flight: &Flight, chosen: impl Fn(&Waiter) -> bool) -> Vec<Waiter> {
        let _shard = self.table.lock(flight.key());
        let mut waiters = flight.waiters.lock();
        let (taken, left) = std::mem::take(&mut *waiters).into_iter().partition(chosen);
        *waiters = left;
        taken
    }

    pub(crate) fn ask_again(self: &Arc<Self>, waiter: Waiter) {
        self.end_wait(&waiter);
        let ask = Ask { rounds: waiter.ask.rounds.saturating_add(1), ..waiter.ask };
        let purpose = ask.purpose;
        match self.step(ask, Some(waiter.done)) {
            Step::Ready(result, Some(done)) => self.deliver(purpose, result, done),
            // On this thread, others who wait would be held up.
            Step::Lead(load) => self.run_on_pool(&load),
            Step::Ready(_, None) | Step::Waiting | Step::WouldWait => {}
        }
    }

    fn tell(self: &Arc<Self>, waiter: Waiter, result: Result<Answer, Error>) {
        self.end_wait(&waiter);
        self.deliver(waiter.ask.purpose, result, waiter.done);
    }

    /// Counts an answer and hands it over. Whatever the receiver does, the others get theirs.
    pub(crate) fn deliver(
        self: &Arc<Self>,
        purpose: Purpose,
        result: Result<Answer, Error>,
        done: Done,
    ) {
        self.count(purpose, &result);
        let _inside = Inside::enter(self);
        let _ = catch_unwind(AssertUnwindSafe(|| done(result)));
    }

    /// Counts the answer to a request.
    pub(crate) fn count(&self, purpose: Purpose, result: &Result<Answer, Error>) {
        if !matches!(purpose, Purpose::Get | Purpose::Prefetch | Purpose::Draft) {
            return;
        }
        let c = &self.counters;
        let counter = match result {
            Err(_) => &c.errors,
            Ok(answer) => match answer.word {
                CacheWord::Hit => return c.hits.add(Lane::mine()),
                CacheWord::Stale => &c.stale,
                CacheWord::Miss => &c.misses,
                CacheWord::Revalidated => &c.revalidated,
                CacheWord::StaleError => &c.stale_errors,
                CacheWord::Bypass => &c.bypasses,
            },
        };
        counter.add();
    }

    /// He who asked from inside a callback waits no longer.
    fn end_wait(&self, waiter: &Waiter) {
        let Some(within) = &waiter.ask.within else { return };
        if let Some(key) = self.store_key(&waiter.ask.what) {
            self.say_waits_no_more(Some(within), key.hash);
        }
        match waiter.link {
            Link::Lead => links::end_lead(within),
            Link::Join => links::end_join(within),
            Link::None => {}
        }
    }
}
