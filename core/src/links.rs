//! Who waits for whom: a callback that would wait for itself gets an error at once, and one that waits for another gives its
//! seat away meanwhile.

use std::mem::ManuallyDrop;
use std::sync::Arc;

use crate::engine::Engine;
use crate::error::Error;
use crate::flight::{Flight, Seat, What};
use crate::fork::PerProcess;
use crate::render::Context;
use crate::sync::{Mutex, MutexGuard, global};

global! {
    /// Held while somebody inside a render or load begins to wait, so that two cannot begin to wait for each other.
    static WAITS: ManuallyDrop<PerProcess<Mutex<()>>> =
        ManuallyDrop::new(PerProcess::new(0, Mutex::new(())));
}

pub(crate) fn lock_waits() -> MutexGuard<'static, ()> {
    WAITS.get(|_| Mutex::new(()), |_| ()).lock()
}

/// Whether whatever is asked for from here waits, directly or through others, for this `from`: walks from the asking
/// callback up to all who wait for it.
pub(crate) fn check_self_wait(engine: &Engine, from: &Context, what: &What) -> Result<(), Error> {
    let mut todo = vec![from.0.clone()];
    let mut seen: Vec<Arc<Flight>> = Vec::new();
    while let Some(flight) = todo.pop() {
        if seen.iter().any(|f| Arc::ptr_eq(f, &flight)) || flight.is_over() {
            continue;
        }
        if flight.is_of(engine) && flight.key() == what.key() {
            return Err(Error::invalid(match what {
                What::Page(t) => {
                    format!(
                        "\"{}\" was asked for inside its own render, which would wait for itself",
                        t.path
                    )
                }
                What::Data(t) => {
                    format!(
                        "data entry {:?} was read inside its own load, which would wait for itself",
                        t.parts
                    )
                }
            }));
        }
        todo.extend(flight.parent.iter().map(|c| c.0.clone()));
        let waiters = flight.waiters.lock();
        todo.extend(waiters.iter().filter_map(|w| w.ask.within.as_ref()).map(|c| c.0.clone()));
        drop(waiters);
        seen.push(flight);
    }
    Ok(())
}

/// A callback waits for a load that it leads itself.
pub(crate) fn lead(from: &Context) {
    change(&from.0, 1, 0);
}

pub(crate) fn end_lead(from: &Context) {
    change(&from.0, -1, 0);
}

/// A callback waits for somebody else: its seat is free for others meanwhile. Not to be called with a lock held.
pub(crate) fn join(from: &Context) {
    change_all_on_thread(from, 1);
}

pub(crate) fn end_join(from: &Context) {
    change_all_on_thread(from, -1);
}

/// A load without a seat runs on the thread of the callback that leads it: with the load stands still whoever has the seat.
fn change_all_on_thread(from: &Context, joins: i32) {
    let mut flight = &from.0;
    loop {
        change(flight, 0, joins);
        // None for as long as the load runs: a seat is taken before.
        let has_none = matches!(*flight.seat.lock(), Seat::None);
        match &flight.parent {
            Some(parent) if has_none => flight = &parent.0,
            _ => return,
        }
    }
}

/// The flight has ended: what it still waits for counts no more.
pub(crate) fn clear(flight: &Arc<Flight>) {
    let mut links = flight.links.lock();
    if std::mem::take(&mut links.counted)
        && let Some(engine) = flight.engine.upgrade()
    {
        engine.in_flight.end_waiting();
    }
}

/// Whether its seat is given away while it waits.
pub(crate) fn is_suspended(flight: &Flight) -> bool {
    flight.links.lock().joins > 0
}

fn change(flight: &Arc<Flight>, leads: i32, joins: i32) {
    let Some(engine) = flight.engine.upgrade() else { return };
    let give = {
        // The seat first: the flight's end looks at both in this order.
        let seat = flight.seat.lock();
        let mut links = flight.links.lock();
        let was_joining = links.joins > 0;
        links.leads += leads;
        links.joins += joins;
        let waits = links.leads + links.joins > 0 && !flight.is_over();
        if waits != links.counted {
            links.counted = waits;
            if waits { engine.in_flight.begin_waiting() } else { engine.in_flight.end_waiting() }
        }
        match &*seat {
            Seat::Taken(held) if !was_joining && links.joins > 0 => Some(held.clone()),
            Seat::Taken(held) if was_joining && links.joins <= 0 => {
                engine.pool.retake(held, &flight.bounds);
                None
            }
            _ => None,
        }
    };
    if let Some(held) = give {
        engine.pool.leave(&held);
    }
}
