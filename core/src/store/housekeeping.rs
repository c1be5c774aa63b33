//! The store's own thread: tells of trouble, notices that the directory was replaced, and lets the janitor in. It starts with
//! the first page that is written, or the first trouble.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::store::Store;
use crate::store::locks::JANITOR;
use crate::store::trouble::Trouble;
use crate::sync::{Condvar, Mutex};
use crate::threads::Threads;

/// How often it looks whether the directory is still there.
const TICK: Duration = Duration::from_secs(1);
/// Ticks between two passes of the janitor where nothing calls for one.
const CLEAN_EVERY: u64 = 3600;

#[derive(Default)]
pub(crate) struct Housekeeping {
    state: Mutex<State>,
    changed: Condvar,
    threads: Arc<Threads>,
}

#[derive(Default)]
struct State {
    has_thread: bool,
    closed: bool,
    /// Something is to be done before the next tick.
    wanted: bool,
}

impl Housekeeping {
    /// Something is to be done soon.
    pub(crate) fn wake(&self) {
        self.state.lock().wanted = true;
        self.changed.notify_all();
    }

    fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Sleeps for a while; no longer when the cache closes.
    fn pause(&self, most: Duration) {
        let mut s = self.state.lock();
        self.changed.wait_while_for(&mut s, |s| !s.closed, most);
    }

    /// Waits for the next tick, or until something is to be done. False: the cache closes.
    fn wait(&self) -> bool {
        let mut s = self.state.lock();
        self.changed.wait_while_for(&mut s, |s| !s.closed && !s.wanted, TICK);
        s.wanted = false;
        !s.closed
    }
}

impl Store {
    /// Starts the thread, if it does not run.
    pub(crate) fn keep_house(&self) {
        let house = &self.housekeeping;
        let mut s = house.state.lock();
        if s.has_thread || s.closed {
            return;
        }
        let (own, weak) = (house.clone(), self.me.clone());
        // Without one, the next write tries again.
        s.has_thread = house.threads.spawn("isr-store", move || run(&own, &weak)).is_ok();
    }

    /// Stops the thread, waiting for it, and leaves the directory to the others. Whether the thread ended in time.
    pub(crate) fn close(&self, timeout: Duration) -> bool {
        self.housekeeping.state.lock().closed = true;
        self.housekeeping.changed.notify_all();
        let in_time = self.housekeeping.threads.join(timeout);
        self.go_offline();
        self.locks.leave_seat(self.seat);
        in_time
    }

    /// Whether the directory is the one that was opened; if not, says so once and goes on without it.
    fn check_place(&self) {
        if self.is_online() && !self.shared.is_in_place(&self.v1).unwrap_or(true) {
            self.go_offline();
            self.trouble(Trouble::Replaced, "the files that this process uses are no longer there");
        }
    }

    /// Lets the janitor in, unless it is in another process.
    fn clean(&self) {
        match self.locks.try_lock(JANITOR) {
            Ok(Some(_only)) => {}
            Ok(None) => {}
            Err(e) => self.trouble(Trouble::Locks, e),
        }
    }

    /// Whether a process waits or is to go on cleaning.
    pub(crate) fn is_closing(&self) -> bool {
        self.housekeeping.is_closed() || !self.is_online()
    }

    pub(crate) fn pause(&self, most: Duration) {
        self.housekeeping.pause(most);
    }
}

fn run(house: &Housekeeping, store: &Weak<Store>) {
    let mut ticks: u64 = 0;
    while house.wait() {
        let Some(store) = store.upgrade() else { return };
        store.troubles.deliver();
        store.check_place();
        let too_much = store.disk_bytes() > store.max_disk_bytes;
        if store.is_online() && (too_much || ticks.is_multiple_of(CLEAN_EVERY)) {
            store.clean();
        }
        ticks += 1;
    }
    if let Some(store) = store.upgrade() {
        store.troubles.deliver();
    }
}
