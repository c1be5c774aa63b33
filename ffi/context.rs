//! The render or load from which a cache is asked.

use isr_core::Context;

use crate::handle::handle;

/// A render or load in progress, as the place from which the cache is asked: give it as `within` to calls that are made for a job
/// on another thread than the one that runs its callback.
///
/// Ownership: belongs to its job; valid as long as the job's handle.
pub struct isr_context {
    _opaque: (),
}
handle!(isr_context, Context, b"isrcntxt");
