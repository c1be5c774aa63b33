//! A fence whose cost the rare side bears: membarrier(2) makes every thread of the process pass a full fence.

use rustix::thread::{MembarrierCommand, membarrier};

use super::atomic::{Ordering, fence};

/// Who fences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The system, for all threads, when [`heavy`] is called.
    System,
    /// Each thread for itself.
    Each,
}

impl Kind {
    /// What this system can do. To be asked again in a forked child.
    pub(crate) fn of_system() -> Kind {
        if cfg!(feature = "shuttle") {
            // To the model checker all is in order anyhow.
            return Kind::Each;
        }
        match membarrier(MembarrierCommand::RegisterPrivateExpedited) {
            Ok(()) if membarrier(MembarrierCommand::PrivateExpedited).is_ok() => Kind::System,
            _ => Kind::Each,
        }
    }
}

/// On the side that is often passed: what was stored before is seen by whoever looks after a [`heavy`] one, or this side sees
/// what was stored before that.
#[inline]
pub(crate) fn light(kind: Kind) {
    match kind {
        Kind::System => std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst),
        Kind::Each => fence(Ordering::SeqCst),
    }
}

/// On the side that is rarely passed. False where the system, which could do it, refuses it now: then nothing is known.
pub(crate) fn heavy(kind: Kind) -> bool {
    fence(Ordering::SeqCst);
    kind == Kind::Each || membarrier(MembarrierCommand::PrivateExpedited).is_ok()
}
