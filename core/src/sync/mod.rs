//! Locks, atomics, threads and channels: the one place from which the core takes them.
//!
//! A normal build re-exports the real ones. With the feature `shuttle` they are the model checker's in the same shape, so
//! that `tests/shuttle` decides which thread goes next at each of their operations.

pub(crate) mod barrier;
mod locks;
#[cfg(feature = "shuttle")]
mod model;
#[cfg(not(feature = "shuttle"))]
mod native;
#[cfg(not(feature = "shuttle"))]
mod real;

#[cfg(feature = "shuttle")]
use shuttle::sync as base;
#[cfg(not(feature = "shuttle"))]
use std::sync as base;

/// Words in memory that processes share, and those that a signal handler uses: outside of what a model checker sees.
pub(crate) mod machine {
    pub(crate) use std::sync::atomic::*;
}

pub(crate) use locks::{Mutex, MutexGuard, ReadGuard, RwLock};
#[cfg(feature = "shuttle")]
pub(crate) use model::*;
#[cfg(not(feature = "shuttle"))]
pub(crate) use real::*;
