//! Where the oldest records go when there are too many: merged by hash into a fixed number of slots. An entry that shares a
//! slot with another may be rendered once too often, never once too rarely.

use ahash::RandomState;

use crate::invalidation::record::Record;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

const SLOTS: usize = 4096;

/// What an invalidation names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Subject<'a> {
    /// One path, by its canonical form.
    Page(&'a str),
    /// Every page of a route, by the identity of its pattern.
    Route(&'a str),
    /// Everything at or below a path.
    PathLayout(&'a str),
    /// Everything at or below a pattern.
    RouteLayout(&'a str),
    Tag(&'a str),
}

pub(crate) struct Overflow {
    slots: Mutex<Vec<Record>>,
    hasher: RandomState,
    latest: AtomicU64,
}

impl Overflow {
    pub(crate) fn new() -> Overflow {
        Overflow {
            slots: Mutex::new(Vec::new()),
            hasher: RandomState::new(),
            latest: AtomicU64::new(0),
        }
    }

    /// The newest epoch in any slot; 0 while nothing was merged.
    pub(crate) fn latest(&self) -> u64 {
        self.latest.load(Ordering::Acquire)
    }

    pub(crate) fn absorb(&self, subject: Subject<'_>, record: &Record) {
        let mut slots = self.slots.lock();
        if slots.is_empty() {
            slots.resize(SLOTS, Record::default());
        }
        slots[self.slot(subject)].absorb(record);
        self.latest.fetch_max(record.latest(), Ordering::Release);
    }

    pub(crate) fn read<R>(
        &self,
        subject: Subject<'_>,
        f: impl FnOnce(&mut Record) -> R,
    ) -> Option<R> {
        let mut slots = self.slots.lock();
        let slot = self.slot(subject);
        slots.get_mut(slot).map(f)
    }

    fn slot(&self, subject: Subject<'_>) -> usize {
        (self.hasher.hash_one(subject) % SLOTS as u64) as usize
    }
}
