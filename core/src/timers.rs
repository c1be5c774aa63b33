//! Things to do after some time, on the cache's clock: one thread for the system clock, none for a manual one.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::clock::{Clock, Time, TimeWatcher};
use crate::lifetime::Lifetime;
use crate::sync::{Condvar, Mutex};
use crate::threads::Threads;

type Action = Box<dyn FnOnce() + Send>;

/// Names a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimerId(Time, u64);

pub(crate) struct Timers {
    clock: Clock,
    state: Mutex<State>,
    changed: Condvar,
    threads: Arc<Threads>,
}

struct State {
    actions: BTreeMap<TimerId, Action>,
    next: u64,
    has_thread: bool,
    closed: bool,
}

impl Timers {
    pub(crate) fn new(clock: Clock) -> Arc<Timers> {
        let timers = Arc::new(Timers {
            clock,
            state: Mutex::new(State {
                actions: BTreeMap::new(),
                next: 0,
                has_thread: false,
                closed: false,
            }),
            changed: Condvar::new(),
            threads: Arc::default(),
        });
        if let Some(manual) = timers.clock.manual() {
            let watcher: Weak<dyn TimeWatcher> = Arc::<Timers>::downgrade(&timers);
            manual.watch(watcher);
        }
        timers
    }

    /// Does something when strictly more than `after` has passed. Nothing for never.
    pub(crate) fn after(self: &Arc<Self>, after: Lifetime, action: Action) -> Option<TimerId> {
        let deadline = self.clock.steady().plus(after);
        if deadline == Time::FAR {
            return None;
        }
        let mut s = self.state.lock();
        if s.closed {
            return None;
        }
        s.next += 1;
        let id = TimerId(deadline, s.next);
        let is_first = s.actions.keys().next().is_none_or(|first| id < *first);
        s.actions.insert(id, action);
        if self.clock.manual().is_none() {
            if !s.has_thread {
                let timers = self.clone();
                s.has_thread = self.threads.spawn("isr-timer", move || timers.run()).is_ok();
            } else if is_first {
                self.changed.notify_one();
            }
        }
        Some(id)
    }

    pub(crate) fn cancel(&self, id: TimerId) {
        let action = self.state.lock().actions.remove(&id);
        drop(action);
    }

    pub(crate) fn close(&self) {
        let actions = {
            let mut s = self.state.lock();
            s.closed = true;
            std::mem::take(&mut s.actions)
        };
        drop(actions);
        self.changed.notify_all();
    }

    /// After [`Timers::close`]: waits for the thread; see [`Threads::join`].
    pub(crate) fn join(&self, timeout: Duration) -> bool {
        self.threads.join(timeout)
    }

    fn run(self: Arc<Self>) {
        loop {
            self.fire_due();
            let mut s = self.state.lock();
            if s.closed {
                return;
            }
            let now = self.clock.steady();
            match s.actions.keys().next() {
                None => self.changed.wait(&mut s),
                Some(TimerId(deadline, _)) => {
                    let nanos = deadline.since(now).nanos().unwrap_or(u64::MAX);
                    // One millisecond more: it is due strictly after its deadline.
                    let wait = Duration::from_nanos(nanos).saturating_add(Duration::from_millis(1));
                    self.changed.wait_for(&mut s, wait.min(Duration::from_secs(3600)));
                }
            }
        }
    }

    fn fire_due(&self) {
        let now = self.clock.steady();
        loop {
            let action = {
                let mut s = self.state.lock();
                match s.actions.first_entry() {
                    Some(first) if now > first.key().0 => first.remove(),
                    _ => return,
                }
            };
            action();
        }
    }
}

impl TimeWatcher for Timers {
    fn time_moved(&self) {
        self.fire_due();
    }
}
