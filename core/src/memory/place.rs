//! What an entry carries for the store in memory: its node in the eviction queues, its uses, its end.

use crate::memory::queues::Victim;
use crate::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, Ordering};

/// A hit raises the counter up to here.
const MAX_HEAT: u8 = 3;
/// Beside the counter: used since this was last asked for.
const USED: u8 = 0x80;
/// It was in the store and is there no more.
const GONE: u8 = 1;
/// A door keeps it, and must hear when it goes.
const KEPT: u8 = 2;

/// An entry's place in the eviction queues. It passes from a page to the one that replaces it.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// Uses since the queues last asked, up to `MAX_HEAT`, and `USED`.
    heat: AtomicU8,
    /// `GONE` and `KEPT`.
    ends: AtomicU8,
    /// Its node in the queues.
    node: AtomicU32,
    /// With a directory: the slot of its key there.
    slot: AtomicU16,
}

impl Place {
    pub(crate) fn is_gone(&self) -> bool {
        self.ends.load(Ordering::Acquire) & GONE != 0
    }

    /// From here on it is gone. Whether windows are to be told.
    pub(super) fn go(&self) -> bool {
        self.ends.fetch_or(GONE, Ordering::AcqRel) & KEPT != 0
    }

    /// From here on windows are told when it goes.
    pub(crate) fn keep(&self) {
        self.ends.fetch_or(KEPT, Ordering::AcqRel);
    }

    /// Its node in the queues.
    pub(super) fn node(&self) -> u32 {
        self.node.load(Ordering::Relaxed)
    }

    pub(super) fn set_node(&self, node: u32) {
        self.node.store(node, Ordering::Relaxed);
    }

    pub(super) fn is(&self, victim: Victim) -> bool {
        self.node() == victim.node
    }

    /// Uses since the last call.
    pub(super) fn take_uses(&self) -> u8 {
        let heat = self.heat.load(Ordering::Relaxed);
        self.heat.store(heat & USED, Ordering::Relaxed);
        heat & !USED
    }

    pub(crate) fn slot(&self) -> u16 {
        self.slot.load(Ordering::Relaxed)
    }

    pub(crate) fn set_slot(&self, slot: u16) {
        self.slot.store(slot, Ordering::Relaxed);
    }

    /// Used now. Two at a time count as one.
    #[inline]
    pub(crate) fn mark(&self) {
        let heat = self.heat.load(Ordering::Relaxed);
        if heat != MAX_HEAT | USED {
            self.heat.store(((heat & !USED) + 1).min(MAX_HEAT) | USED, Ordering::Relaxed);
        }
    }

    /// Whether it was used since the last call.
    pub(super) fn take_used(&self) -> bool {
        let heat = self.heat.load(Ordering::Relaxed);
        if heat & USED != 0 {
            self.heat.store(heat & !USED, Ordering::Relaxed);
        }
        heat & USED != 0
    }

    /// How often the entry was used lately: 0 to `MAX_HEAT`.
    pub(crate) fn heat(&self) -> u32 {
        u32::from(self.heat.load(Ordering::Relaxed) & !USED)
    }

    pub(super) fn inherit(&self, old: &Place) {
        self.heat.store(old.heat.load(Ordering::Relaxed), Ordering::Relaxed);
        self.node.store(old.node.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}
