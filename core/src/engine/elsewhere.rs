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
    has_thread: bool,
    closed: bool,
}

impl Elsewhere {
    pub(crate) fn close(&self) {
        let mut s = self.state.lock();
        s.closed = true;
        s.flights.clear();
        self.changed.notify_all();
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
        let mut s = self.elsewhere.state.lock();
        if !s.has_thread && !s.closed {
            let engine = Arc::downgrade(self);
            let spawned = self.elsewhere.threads.spawn("isr-elsewhere", move || watch(&engine));
            s.has_thread = spawned.is_ok();
        }
        s.has_thread && !s.closed
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
        let mut flight = Flight::new(self, ask.what.clone(), Reason::Miss, Seat::None);
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

/// Waits for flights of other processes, while there are any.
fn watch(engine: &Weak<Engine>) {
    loop {
        let Some(engine) = engine.upgrade() else { return };
        let Some(store) = engine.store.clone() else { return };
        let releases = store.releases();
        let ended: Vec<(Arc<Flight>, Ended)> = {
            let mut s = engine.elsewhere.state.lock();
            if s.closed {
                return;
            }
            let mut ended = Vec::new();
            s.flights.retain(|(lease, flight)| match store.lease_ended(*lease) {
                _ if flight.is_over() => false,
                None => true,
                Some(how) => {
                    ended.push((flight.clone(), how));
                    false
                }
            });
            if s.flights.is_empty() && ended.is_empty() {
                engine.elsewhere.changed.wait_for(&mut s, Duration::from_secs(1));
                continue;
            }
            ended
        };
        let none = ended.is_empty();
        for (flight, how) in ended {
            engine.end_elsewhere(&flight, how);
        }
        drop(engine);
        if none {
            store.sleep(releases, LOOK_EVERY);
        }
    }
}
