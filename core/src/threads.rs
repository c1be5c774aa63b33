//! Threads that are waited for when the cache closes, so that no callback and no thread-local outlives it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::fork;
use crate::sync::{Condvar, JoinHandle, Mutex, spawn};

crate::sync::thread_local! {
    /// Which of whose threads this is. Not `thread::current()`, which allocates on a thread of the host.
    static ME: Cell<(usize, u64)> = const { Cell::new((0, 0)) };
}

#[derive(Default)]
pub(crate) struct Threads {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    next: u64,
    threads: BTreeMap<u64, Thread>,
}

struct Thread {
    handle: JoinHandle,
    has_ended: bool,
}

impl Threads {
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Starts a thread.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        name: &str,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let mut s = self.state.lock();
        s.threads.retain(|_, thread| !thread.has_ended);
        s.next += 1;
        let id = s.next;
        let threads = self.clone();
        let handle = spawn(name, move || {
            ME.with(|me| me.set((threads.address(), id)));
            let _ended = Ended { threads, id, process: fork::generation() };
            body();
        })?;
        s.threads.insert(id, Thread { handle, has_ended: false });
        Ok(())
    }

    /// Waits until all have ended but the calling one, if it is among them; whether that came in time. With no time at all it
    /// waits for nothing, not even for what a thread that has ended still tears down: the caller may hold what that needs.
    pub(crate) fn join(&self, timeout: Duration) -> bool {
        let me = ME.with(Cell::get);
        let runs = |(id, thread): (&u64, &Thread)| !thread.has_ended && (self.address(), *id) != me;
        let mut s = self.state.lock();
        if timeout.is_zero() {
            return !s.threads.iter().any(runs);
        }
        self.changed.wait_while_for(&mut s, |s| s.threads.iter().any(runs), timeout);
        let in_time = !s.threads.iter().any(runs);
        let (ended, left) =
            std::mem::take(&mut s.threads).into_iter().partition(|(_, t)| t.has_ended);
        s.threads = left;
        drop(s);
        let ended: BTreeMap<u64, Thread> = ended;
        for thread in ended.into_values() {
            thread.handle.join();
        }
        in_time
    }
}

/// Says that a thread has ended, when it is dropped.
struct Ended {
    threads: Arc<Threads>,
    id: u64,
    process: u32,
}

impl Drop for Ended {
    fn drop(&mut self) {
        if self.process != fork::generation() {
            // In a child nobody waits for it, and the lock may never be free.
            return;
        }
        if let Some(thread) = self.threads.state.lock().threads.get_mut(&self.id) {
            thread.has_ended = true;
        }
        self.threads.changed.notify_all();
    }
}

#[cfg(all(test, not(feature = "shuttle")))]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn join_waits_for_what_runs_and_not_for_itself() {
        let threads = Arc::new(Threads::default());
        let (go, going) = std::sync::mpsc::channel::<()>();
        threads.spawn("a", move || assert!(going.recv().is_err())).unwrap();
        assert!(!threads.join(Duration::ZERO));
        assert!(!threads.join(Duration::from_millis(1)));
        drop(go);
        assert!(threads.join(LONG));
        let (tell, told) = std::sync::mpsc::channel();
        let own = threads.clone();
        threads.spawn("b", move || tell.send(own.join(LONG)).unwrap()).unwrap();
        assert_eq!(told.recv(), Ok(true));
        assert!(threads.join(LONG));
    }
}
