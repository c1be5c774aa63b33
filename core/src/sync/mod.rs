//! Locks, atomics, threads and channels: the one place from which the core takes them.
//!
//! A normal build re-exports the real ones. With the feature `shuttle` they are the model checker's in the same shape, so
//! that `tests/shuttle` decides which thread goes next at each of their operations.

#[cfg(feature = "shuttle")]
mod model;

#[cfg(not(feature = "shuttle"))]
mod real {
    pub(crate) use crossbeam_channel as channel;
    pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
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
}

/// Words in memory that processes share, and those that a signal handler uses: outside of what a model checker sees.
pub(crate) mod machine {
    pub(crate) use std::sync::atomic::*;
}

#[cfg(feature = "shuttle")]
pub(crate) use model::*;
#[cfg(not(feature = "shuttle"))]
pub(crate) use real::*;
