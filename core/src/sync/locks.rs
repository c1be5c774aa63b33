//! Locks without poisoning: those of `std`, or of the model checker, which has the same ones.
//!
//! A lock of `std` is a word of its own. Locks that share a table of those who wait would not do: a child of a fork may find
//! the table locked by a thread that it does not have.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;

use super::base;

#[derive(Default)]
pub(crate) struct Mutex<T>(base::Mutex<T>);

pub(crate) struct MutexGuard<'a, T> {
    /// Empty only while a condition variable waits.
    held: Option<base::MutexGuard<'a, T>>,
    mutex: &'a base::Mutex<T>,
}

impl<T> Mutex<T> {
    #[track_caller]
    pub(crate) const fn new(value: T) -> Mutex<T> {
        Mutex(base::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard { held: Some(locked(&self.0)), mutex: &self.0 }
    }
}

impl<'a, T> MutexGuard<'a, T> {
    /// Passes what is held through a wait.
    pub(super) fn pass(
        &mut self,
        wait: impl FnOnce(base::MutexGuard<'a, T>, &'a base::Mutex<T>) -> base::MutexGuard<'a, T>,
    ) {
        if let Some(held) = self.held.take() {
            self.held = Some(wait(held, self.mutex));
        }
    }
}

pub(crate) type ReadGuard<'a, T> = base::RwLockReadGuard<'a, T>;

pub(super) fn locked<T>(mutex: &base::Mutex<T>) -> base::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.held {
            Some(held) => held,
            None => unreachable!("whoever waits cannot look"),
        }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.held {
            Some(held) => held,
            None => unreachable!("whoever waits cannot look"),
        }
    }
}

pub(crate) struct RwLock<T>(base::RwLock<T>);

impl<T> RwLock<T> {
    #[track_caller]
    pub(crate) const fn new(value: T) -> RwLock<T> {
        RwLock(base::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> ReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> base::RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
