//! Waiting for a flight: one that is there, or one that begins for it. All with the lock of the key's shard held.

use std::sync::Arc;

use crate::engine::{Engine, Flown, Step};
use crate::error::Error;
use crate::flight::{Ask, Done, Flight, Link, Purpose, Shard, Waiter};
use crate::links;
use crate::pool::Stranded;
use crate::queue::Priority;
use crate::render::Context;
use crate::store::lease::Ended;

/// The newest flight that one who asks may join, of those that began when it will do. One that has not begun will be the newest.
pub(crate) fn newest_joinable(
    ask: &Ask,
    flights: &[Arc<Flight>],
    will_do: impl Fn(u64) -> bool,
) -> Option<Arc<Flight>> {
    let begin = |f: &&Arc<Flight>| if f.started() == 0 { u64::MAX } else { f.started() };
    let may_join = |f: &&Arc<Flight>| {
        f.is_joinable() && (f.elsewhere.is_none() || ask.waits_elsewhere()) && will_do(f.started())
    };
    flights.iter().filter(may_join).max_by_key(begin).cloned()
}

impl Engine {
    /// Enters one who asks as a waiter of a flight.
    pub(crate) fn push_waiter(
        &self,
        flight: &Arc<Flight>,
        ask: Ask,
        done: Done,
        owns: bool,
        link: Link,
    ) {
        let link = if ask.within.is_some() { link } else { Link::None };
        flight.waiters.lock().push(Waiter { ask, done, owns, link });
    }

    /// Gives back the lease of a flight that is over or was never begun.
    pub(crate) fn release(&self, flight: &Flight, ended: &Ended) {
        if let Some(lease) = flight.lease.lock().take()
            && let (Some(store), Some(key)) = (&self.store, self.store_key(&flight.what))
        {
            store.release(&key, lease, ended);
        }
    }

    /// Waits for a flight that is there. Whoever gets a seat by that, and no thread, is to be told when no lock is held.
    pub(crate) fn join(&self, flight: &Arc<Flight>, ask: Ask, done: Done) -> Stranded<Flown> {
        let priority = priority(&ask);
        self.push_waiter(flight, ask, done, false, Link::Join);
        self.promote(flight, priority)
    }

    /// Begins a flight on the pool for one who asks.
    pub(crate) fn begin_for(
        self: &Arc<Self>,
        shard: &mut Shard,
        flight: Flight,
        ask: Ask,
        done: Done,
    ) -> Result<(), (Error, Option<Done>)> {
        let flight = Arc::new(flight);
        let priority = priority(&ask);
        // Entered before it is admitted: it may end at once. Its end needs the shard's lock, which is held.
        self.push_waiter(&flight, ask, done, true, Link::Join);
        if let Err(error) = self.admit(&flight, priority) {
            self.release(&flight, &Ended::Done);
            let done = flight.waiters.lock().pop().map(|w| w.done);
            return Err((error, done));
        }
        shard.add(flight);
        Ok(())
    }
}

/// How urgent a flight is for one who asks.
fn priority(ask: &Ask) -> Priority {
    match ask.purpose {
        _ if ask.within.is_some() => Priority::Nested,
        Purpose::Prerender => Priority::Prerender,
        _ => Priority::Waited,
    }
}

/// The answer will come. Whoever asked from inside a callback stands still meanwhile. Not to be called with a lock held.
pub(crate) fn stand_still(within: Option<Context>) -> Step {
    if let Some(within) = within {
        links::join(&within);
    }
    Step::Waiting
}
