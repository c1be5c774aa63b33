//! Who has opened an engine: mostly one; several where parts of a process share one cache, as the isolates of a Node process do.
//!
//! Callbacks belong to owners. A flight runs a callback of its owner and ends with it; whoever else waits for it has another
//! owner's callback begin anew. The engine closes with its last owner.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::engine::closed_error;
use crate::error::{Error, OnTrouble};
use crate::fork::ForChildren;
use crate::render::Renderer;
use crate::site::Route;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex};

/// One who has opened an engine.
pub(crate) struct Owner {
    closed: AtomicBool,
    busy: Count,
    idle: (Mutex<()>, Condvar),
    /// The routes that it has added, as a forked child reads them.
    pub(crate) added: ForChildren<(Arc<Route>, Arc<dyn Renderer>)>,
    pub(crate) on_trouble: Option<OnTrouble>,
}

/// Flights that run its callbacks, callbacks that have not returned, and its requests that wait. Away from what hits read.
#[derive(Default)]
#[repr(align(128))]
struct Count(AtomicUsize);

impl Owner {
    pub(crate) fn new(on_trouble: Option<OnTrouble>) -> Arc<Owner> {
        Arc::new(Owner {
            closed: AtomicBool::new(false),
            busy: Count::default(),
            idle: (Mutex::new(()), Condvar::new()),
            added: ForChildren::default(),
            on_trouble,
        })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.is_closed() { Err(closed_error()) } else { Ok(()) }
    }

    /// True for the first caller only.
    pub(crate) fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::SeqCst)
    }

    pub(crate) fn busy(&self) -> usize {
        self.busy.0.load(Ordering::SeqCst)
    }

    /// After it has closed: waits until it is not busy; whether that came in time.
    pub(crate) fn wait_until_idle(&self, timeout: Duration) -> bool {
        let mut held = self.idle.0.lock();
        self.idle.1.wait_while_for(&mut held, |()| self.busy() > 0, timeout);
        self.busy() == 0
    }

    /// Tells it of trouble with the directory. Not to be called with a lock held.
    pub(crate) fn tell(&self, trouble: &Error) {
        if let Some(on_trouble) = &self.on_trouble {
            // Whatever the receiver does, the others are told.
            let _ = catch_unwind(AssertUnwindSafe(|| (on_trouble.0)(trouble)));
        }
    }
}

/// Keeps an owner busy while it lives.
pub(crate) struct Busy(Arc<Owner>);

impl Busy {
    pub(crate) fn new(owner: &Arc<Owner>) -> Busy {
        owner.busy.0.fetch_add(1, Ordering::SeqCst);
        Busy(owner.clone())
    }

    pub(crate) fn owner(&self) -> &Arc<Owner> {
        &self.0
    }
}

impl Clone for Busy {
    fn clone(&self) -> Busy {
        Busy::new(&self.0)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // Nobody waits for an owner that is not closed.
        if self.0.busy.0.fetch_sub(1, Ordering::SeqCst) == 1 && self.0.is_closed() {
            let _held = self.0.idle.0.lock();
            self.0.idle.1.notify_all();
        }
    }
}

/// The owners of an engine.
pub(crate) struct Owners(Mutex<List>);

enum List {
    Open(Vec<Arc<Owner>>),
    /// The last one has left. He is told of trouble to the end.
    Left(Arc<Owner>),
}

impl Owners {
    pub(crate) fn new(first: Arc<Owner>) -> Arc<Owners> {
        Arc::new(Owners(Mutex::new(List::Open(vec![first]))))
    }

    /// One more; not where the last one has left.
    pub(crate) fn join(&self, owner: &Arc<Owner>) -> bool {
        match &mut *self.0.lock() {
            List::Open(list) => {
                list.push(owner.clone());
                true
            }
            List::Left(_) => false,
        }
    }

    /// One leaves, if it has not left before. Whether none is left.
    pub(crate) fn leave(&self, owner: &Arc<Owner>) -> bool {
        let mut owners = self.0.lock();
        let List::Open(list) = &mut *owners else { return true };
        list.retain(|o| !Arc::ptr_eq(o, owner));
        let is_last = list.is_empty();
        if is_last {
            // From here on nobody joins.
            *owners = List::Left(owner.clone());
        }
        is_last
    }

    /// Tells all of trouble with the directory.
    pub(crate) fn on_trouble(self: &Arc<Self>) -> OnTrouble {
        let owners = self.clone();
        OnTrouble(Arc::new(move |trouble| {
            let list = match &*owners.0.lock() {
                List::Open(list) => list.clone(),
                List::Left(last) => vec![last.clone()],
            };
            list.iter().for_each(|owner| owner.tell(trouble));
        }))
    }
}
