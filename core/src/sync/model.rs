//! Waiting, channels and statics as the core uses them, made of the parts of `shuttle`.

use std::sync::PoisonError;
use std::time::Duration;

use shuttle::rand::Rng;

use super::locks::{MutexGuard, locked};

pub(crate) use shuttle::sync::atomic;
pub(crate) use shuttle::{thread, thread_local};

/// A static of a type from this module: new in each execution.
macro_rules! global {
    ($(#[$doc:meta])* static $name:ident: $type:ty = $init:expr;) => {
        shuttle::lazy_static! {
            $(#[$doc])*
            static ref $name: $type = $init;
        }
    };
}
pub(crate) use global;

/// What waits for longer than this waits for ever.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

#[derive(Default)]
pub(crate) struct Condvar(shuttle::sync::Condvar);

impl Condvar {
    #[track_caller]
    pub(crate) const fn new() -> Condvar {
        Condvar(shuttle::sync::Condvar::new())
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        guard.pass(|held, _| self.0.wait(held).unwrap_or_else(PoisonError::into_inner));
    }

    /// Shuttle has no time: this ends, for no reason but that, whenever others have had a turn.
    pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, timeout: Duration) {
        if timeout > FOREVER {
            return self.wait(guard);
        }
        guard.pass(|held, mutex| {
            drop(held);
            shuttle::thread::yield_now();
            locked(mutex)
        });
    }

    /// Times out at any point, unless it waits for ever.
    pub(crate) fn wait_while_for<T>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        mut condition: impl FnMut(&mut T) -> bool,
        timeout: Duration,
    ) {
        let mut in_time = !timeout.is_zero();
        while in_time && condition(guard) {
            self.wait_for(guard, timeout);
            in_time = timeout > FOREVER || shuttle::rand::thread_rng().gen_ratio(7, 8);
        }
    }
}

/// A thread that runs on when this is dropped.
pub(crate) struct JoinHandle(shuttle::thread::JoinHandle<()>);

/// Starts a thread.
pub(crate) fn spawn(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle> {
    shuttle::thread::Builder::new().name(name.into()).spawn(body).map(JoinHandle)
}

impl JoinHandle {
    /// Waits for its end.
    pub(crate) fn join(self) {
        // What it panicked with was reported where it happened.
        let _ = self.0.join();
    }
}

/// An unbounded channel with many receivers.
pub(crate) mod channel {
    use std::collections::VecDeque;
    use std::sync::Arc;

    use super::super::locks::Mutex;
    use super::Condvar;

    pub(crate) struct Sender<T>(Arc<Channel<T>>);
    pub(crate) struct Receiver<T>(Arc<Channel<T>>);
    /// Every sender is gone and all was received.
    pub(crate) struct RecvError;
    /// Every receiver is gone.
    pub(crate) struct SendError<T>(pub(crate) T);

    struct Channel<T> {
        state: Mutex<State<T>>,
        changed: Condvar,
    }

    struct State<T> {
        sent: VecDeque<T>,
        senders: usize,
        receivers: usize,
    }

    pub(crate) fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
        let state = State { sent: VecDeque::new(), senders: 1, receivers: 1 };
        let channel = Arc::new(Channel { state: Mutex::new(state), changed: Condvar::new() });
        (Sender(channel.clone()), Receiver(channel))
    }

    impl<T> Sender<T> {
        pub(crate) fn send(&self, value: T) -> Result<(), SendError<T>> {
            let mut s = self.0.state.lock();
            if s.receivers == 0 {
                return Err(SendError(value));
            }
            s.sent.push_back(value);
            drop(s);
            self.0.changed.notify_one();
            Ok(())
        }
    }

    impl<T> Clone for Sender<T> {
        fn clone(&self) -> Sender<T> {
            self.0.state.lock().senders += 1;
            Sender(self.0.clone())
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            self.0.state.lock().senders -= 1;
            self.0.changed.notify_all();
        }
    }

    impl<T> Receiver<T> {
        pub(crate) fn recv(&self) -> Result<T, RecvError> {
            let mut s = self.0.state.lock();
            loop {
                match s.sent.pop_front() {
                    Some(value) => return Ok(value),
                    None if s.senders == 0 => return Err(RecvError),
                    None => self.0.changed.wait(&mut s),
                }
            }
        }
    }

    impl<T> Drop for Receiver<T> {
        fn drop(&mut self) {
            self.0.state.lock().receivers -= 1;
        }
    }
}
