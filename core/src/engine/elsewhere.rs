//! Renders and loads that other processes of the machine run: waited for like our own.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::engine::Engine;
use crate::engine::lookup::Found;
use crate::flight::{Ask, Done, Flight, Link, Seat, Shard, What};
use crate::lifetime::Lifetime;
use crate::links;
use crate::render::{Context, Reason};
use crate::store::Store;
use crate::store::lease::{Claim, Ended, LeaseId};
use crate::sync::{Condvar, Mutex};
use crate::threads::Threads;

/// How soon the death of a process is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Flights elsewhere, and the thread that waits for them.
#[derive(Default)]
pub(crate) struct Elsewhere {
    state: Mutex<State>,
    changed: Condvar,
    threads: Arc<Threads>,
}

#[derive(Default)]
struct State {
    flights: Vec<(LeaseId, Arc<Flight>)>,
    /// One thread watches. Who has found an end answers those who wait for it, which may take long, while another one watches.
    is_watched: bool,
    closed: bool,
}

impl Elsewhere {
    /// Nobody watches any more. Those who came since the others were given up are given up, too.
    pub(crate) fn close(&self) -> Vec<Arc<Flight>> {
        let mut s = self.state.lock();
        s.closed = true;
        self.changed.notify_all();
        s.flights.drain(..).map(|(_, flight)| flight).collect()
    }

    /// After [`Elsewhere::close`]: waits for the thread; see [`Threads::join`].
    pub(crate) fn join(&self, timeout: Duration) -> bool {
        self.threads.join(timeout)
    }
}

impl Engine {
    /// Asks whether this process may run what a look-up did not find, or another one does. `will_do` tells whether the result
    /// of a flight that began at an epoch would.
    pub(crate) fn claim(
        self: &Arc<Self>,
        found: &Found,
        timeout: Lifetime,
        within: Option<&Context>,
        will_do: impl Fn(u64) -> bool,
    ) -> Claim {
        let (Some(store), Some(key)) = (&self.store, &found.key) else { return Claim::Ours(None) };
        let claim = store.claim(key, found.version, timeout, will_do);
        if !matches!(claim, Claim::Theirs(_)) {
            return claim;
        }
        if !self.is_watching() {
            return Claim::Ours(None);
        }
        let Some(within) = within else { return claim };
        // Said first, then looked: of two that wait for one another at least one sees it. It runs its own, then, and the walk
        // through this process tells the rest.
        let chain = chain(store, within);
        for (flight, _) in &chain {
            if let Some(lease) = *flight.lease.lock() {
                store.lease_waits(lease, key.hash);
            }
        }
        let own: Vec<u64> = chain.iter().map(|(_, hash)| *hash).collect();
        if store.waits_for_any(key.hash, &own) {
            self.say_waits_no_more(Some(within), key.hash);
            return Claim::Ours(None);
        }
        claim
    }

    /// Whether there is a thread that waits for other processes.
    fn is_watching(self: &Arc<Self>) -> bool {
        self.watched(&mut self.elsewhere.state.lock())
    }

    /// Sees to it that there is one.
    fn watched(self: &Arc<Self>, s: &mut State) -> bool {
        if s.is_watched || s.closed {
            return !s.closed;
        }
        let engine = Arc::downgrade(self);
        s.is_watched =
            self.elsewhere.threads.spawn("isr-elsewhere", move || watch(&engine)).is_ok();
        s.is_watched
    }

    /// A callback begins to wait for a flight of this process: other processes may have to know.
    pub(crate) fn say_waits(&self, within: Option<&Context>, what: &What) {
        let (Some(store), Some(within)) = (&self.store, within) else { return };
        let Some(key) = self.store_key(what) else { return };
        for (flight, _) in chain(store, within) {
            if let Some(lease) = *flight.lease.lock() {
                store.lease_waits(lease, key.hash);
            }
        }
    }

    /// It waits for that no longer.
    pub(crate) fn say_waits_no_more(&self, within: Option<&Context>, waited_for: u64) {
        let (Some(store), Some(within)) = (&self.store, within) else { return };
        for (flight, _) in chain(store, within) {
            if let Some(lease) = *flight.lease.lock() {
                store.lease_waits_no_more(lease, waited_for);
            }
        }
    }

    /// Waits for a flight of another process; not where the cache has closed meanwhile.
    pub(crate) fn wait_elsewhere(
        self: &Arc<Self>,
        shard: &mut Shard,
        lease: LeaseId,
        ask: Ask,
        done: Done,
    ) -> Result<(), Done> {
        let mut watched = self.elsewhere.state.lock();
        if watched.closed {
            return Err(done);
        }
        let mut flight =
            Flight::new(self, ask.by.owner().clone(), ask.what.clone(), Reason::Miss, Seat::None);
        flight.elsewhere = Some(lease);
        let flight = Arc::new(flight);
        self.refresh(&flight);
        self.push_waiter(&flight, ask, done, false, Link::Join);
        self.in_flight.begin();
        shard.add(flight.clone());
        watched.flights.push((lease, flight));
        self.elsewhere.changed.notify_one();
        Ok(())
    }

    /// Learns when a flight of another process began.
    pub(crate) fn refresh(&self, flight: &Flight) {
        if let (Some(store), Some(lease)) = (&self.store, flight.elsewhere)
            && flight.started() == 0
        {
            flight.set_started(store.lease_started(lease));
        }
    }

    /// A flight of another process has ended: those who wait get its failure, or look again.
    fn end_elsewhere(self: &Arc<Self>, flight: &Arc<Flight>, ended: Ended) {
        self.refresh(flight);
        if !flight.end() {
            return;
        }
        let found = self.look_up(&flight.what);
        let waiters = {
            let mut shard = self.table.lock(flight.key());
            match &ended {
                Ended::Done => {}
                Ended::Unshared => {
                    let trouble = self.trouble(&mut shard, flight.key());
                    trouble.note_attempt(flight);
                    trouble.unshared = true;
                }
                Ended::Failed(error) => self.note_failure(&mut shard, flight, error, &found),
            }
            shard.remove(flight);
            std::mem::take(&mut *flight.waiters.lock())
        };
        links::clear(flight);
        flight.busy.lock().take();
        for waiter in waiters {
            match &ended {
                Ended::Failed(error) => self.settle_failure(waiter, flight, error, &found),
                _ => self.ask_again(waiter),
            }
        }
        self.in_flight.end();
    }
}

/// The flight of a context and those that lead it, with the hashes of their keys: of all caches that share the directory.
fn chain(store: &Store, within: &Context) -> Vec<(Arc<Flight>, u64)> {
    let mut chain = Vec::new();
    let mut next = Some(within);
    while let Some(context) = next {
        let flight = &context.0;
        if let Some(engine) = flight.engine.upgrade()
            && engine.store.as_ref().is_some_and(|s| s.era() == store.era())
            && let Some(key) = engine.store_key(&flight.what)
        {
            chain.push((flight.clone(), key.hash));
        }
        next = flight.parent.as_ref();
    }
    chain
}

/// Waits for flights of other processes, and answers those who wait for them.
fn watch(engine: &Weak<Engine>) {
    while let Some(engine) = engine.upgrade() {
        let Some(store) = engine.store.clone() else { return };
        let releases = store.releases();
        let ended = {
            let mut s = engine.elsewhere.state.lock();
            if s.closed {
                return;
            }
            s.flights.retain(|(_, flight)| !flight.is_over());
            if s.flights.is_empty() {
                engine.elsewhere.changed.wait_for(&mut s, Duration::from_secs(1));
                continue;
            }
            let ended = s
                .flights
                .iter()
                .enumerate()
                .find_map(|(at, (lease, _))| store.lease_ended(*lease).map(|how| (at, how)));
            ended.map(|(at, how)| {
                let (_, flight) = s.flights.swap_remove(at);
                s.is_watched = false;
                if !s.flights.is_empty() {
                    // Without one, this thread comes back to them.
                    engine.watched(&mut s);
                }
                (flight, how)
            })
        };
        match ended {
            Some((flight, how)) => {
                engine.end_elsewhere(&flight, how);
                let mut s = engine.elsewhere.state.lock();
                if s.is_watched {
                    return;
                }
                s.is_watched = true;
            }
            None => {
                drop(engine);
                store.sleep(releases, LOOK_EVERY);
            }
        }
    }
}
