//! The store's own thread: tells of trouble, notices that the directory was replaced, marks files whose pages memory serves,
//! and lets the janitor in. It starts with the first page that is written, or the first trouble.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::clock::Time;
use crate::store::Store;
use crate::store::janitor::{self, Ground};
use crate::store::locks::{JANITOR, SEATS};
use crate::store::trouble::Trouble;
use crate::sync::atomic::Ordering;
use crate::sync::machine::{self, AtomicU64};
use crate::sync::{Condvar, Mutex};
use crate::threads::Threads;

/// How often it looks whether the directory is still there.
const TICK: Duration = Duration::from_secs(1);
/// Between two directories the janitor leaves the disk to others for so long.
const PAUSE: Duration = Duration::from_millis(1);
/// Ticks between two marks of what is used.
const MARK_EVERY: u64 = 60;
/// Ticks between two looks for a deployment whose last process has gone.
const LOOK_EVERY: u64 = 2;
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
            self.is_replaced();
        }
    }

    /// Marks the files of pages that are served from memory as used, where the janitor may soon have to choose.
    fn mark_used(&self) {
        if self.disk_bytes() < self.max_disk_bytes / 2 {
            return;
        }
        let uses = self.uses.lock().as_ref().and_then(Weak::upgrade);
        for page in uses.map_or_else(Vec::new, |uses| uses.take_used()) {
            // One that cannot be marked counts as less used than it is.
            let _ = self.files.touch(&self.key_of(&page).place, self.clock.now());
        }
    }

    /// Whether the last process of a deployment has gone since this was last asked by any process.
    fn was_deployment_left(&self) -> bool {
        let is_left = |deployment: &&AtomicU64| {
            let hash = deployment.load(machine::Ordering::SeqCst);
            hash != 0 && !self.is_deployment_live(&format!("{hash:016x}"))
        };
        if !self.shared.deployments.iter().any(|d| is_left(&d)) {
            return false;
        }
        // Nobody takes a seat meanwhile.
        let Ok(_opening) = self.lock_log() else { return false };
        let left: Vec<_> = self.shared.deployments.iter().filter(is_left).collect();
        left.iter().for_each(|d| d.store(0, machine::Ordering::SeqCst));
        !left.is_empty()
    }

    /// Lets the janitor in, unless it is in another process.
    fn clean(&self) {
        let _only = match self.locks.try_lock(JANITOR) {
            Ok(Some(only)) => only,
            Ok(None) => return,
            Err(e) => return self.trouble(Trouble::Locks, e),
        };
        let is_full = self.is_disk_full.swap(false, Ordering::Relaxed);
        let bytes = self.disk_bytes();
        let most =
            if is_full { bytes.min(self.max_disk_bytes) / 10 * 9 } else { self.max_disk_bytes };
        match janitor::pass(&self.v1, most, self).map(|passed| passed.trouble) {
            Ok(None) => self.troubles.is_over(Trouble::Clean),
            Ok(Some(e)) | Err(e) => self.trouble(Trouble::Clean, e),
        }
    }
}

impl Ground for Store {
    fn stopping(&self) -> bool {
        self.housekeeping.state.lock().closed || !self.is_online()
    }

    fn pause(&self) {
        let mut s = self.housekeeping.state.lock();
        if self.disk_bytes() <= self.max_disk_bytes {
            self.housekeeping.changed.wait_while_for(&mut s, |s| !s.closed, PAUSE);
        }
    }

    fn is_seat_alive(&self, seat: u32) -> bool {
        seat == self.seat || (seat < SEATS && self.locks.is_seated(seat))
    }

    fn is_deployment_live(&self, name: &str) -> bool {
        let Ok(hash) = u64::from_str_radix(name, 16) else { return true };
        let seats = self.shared.deployments.iter().zip(0..);
        seats
            .filter(|(deployment, _)| deployment.load(machine::Ordering::SeqCst) == hash)
            .any(|(_, seat)| self.is_seat_alive(seat))
    }

    fn disk_bytes(&self) -> u64 {
        Store::disk_bytes(self)
    }

    fn set_disk_bytes(&self, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.shared.disk_bytes.0.store(bytes, machine::Ordering::Relaxed);
    }

    fn sub_disk_bytes(&self, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.shared.disk_bytes.0.fetch_sub(bytes, machine::Ordering::Relaxed);
    }

    fn now(&self) -> Time {
        self.clock.now()
    }
}

fn run(house: &Housekeeping, store: &Weak<Store>) {
    let mut ticks: u64 = 0;
    while house.wait() {
        let Some(store) = store.upgrade() else { return };
        store.troubles.deliver();
        store.check_place();
        let too_much =
            store.disk_bytes() > store.max_disk_bytes || store.is_disk_full.load(Ordering::Relaxed);
        if store.is_online() && (too_much || ticks.is_multiple_of(MARK_EVERY)) {
            store.mark_used();
        }
        let is_due = ticks.is_multiple_of(CLEAN_EVERY)
            || (ticks.is_multiple_of(LOOK_EVERY) && store.was_deployment_left());
        if store.is_online() && (too_much || is_due) {
            store.clean();
        }
        ticks += 1;
    }
    if let Some(store) = store.upgrade() {
        store.troubles.deliver();
    }
}
