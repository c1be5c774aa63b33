//! The real parts.

use std::sync::PoisonError;
use std::time::Duration;

use super::locks::MutexGuard;

pub(crate) use super::native::{JoinHandle, spawn};
pub(crate) use crossbeam_channel as channel;
pub(crate) use std::sync::atomic;
pub(crate) use std::{thread, thread_local};

/// A static of a type from this module.
macro_rules! global {
    ($(#[$doc:meta])* static $name:ident: $type:ty = $init:expr;) => {
        $(#[$doc])*
        static $name: $type = $init;
    };
}
pub(crate) use global;

#[derive(Default)]
pub(crate) struct Condvar(std::sync::Condvar);

impl Condvar {
    pub(crate) const fn new() -> Condvar {
        Condvar(std::sync::Condvar::new())
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

    pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, timeout: Duration) {
        guard.pass(|held, _| {
            self.0.wait_timeout(held, timeout).unwrap_or_else(PoisonError::into_inner).0
        });
    }

    pub(crate) fn wait_while_for<T>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        condition: impl FnMut(&mut T) -> bool,
        timeout: Duration,
    ) {
        guard.pass(|held, _| {
            let waited = self.0.wait_timeout_while(held, timeout, condition);
            waited.unwrap_or_else(PoisonError::into_inner).0
        });
    }
}
