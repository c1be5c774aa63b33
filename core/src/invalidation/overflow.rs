//! Where the oldest records go when there are too many: merged by hash into a fixed number of slots. An entry that shares a
//! slot with another may be rendered once too often, never once too rarely.

use xxhash_rust::xxh3::xxh3_64_with_seed;

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

impl<'a> Subject<'a> {
    pub(crate) fn name(self) -> &'a str {
        match self {
            Subject::Page(n)
            | Subject::Route(n)
            | Subject::PathLayout(n)
            | Subject::RouteLayout(n)
            | Subject::Tag(n) => n,
        }
    }

    /// Its kind as a number that never changes.
    pub(crate) fn code(self) -> u8 {
        match self {
            Subject::Page(_) => 1,
            Subject::Route(_) => 2,
            Subject::PathLayout(_) => 3,
            Subject::RouteLayout(_) => 4,
            Subject::Tag(_) => 5,
        }
    }

    /// The subject of a kind by its number.
    pub(crate) fn from_code(code: u8, name: &'a str) -> Option<Subject<'a>> {
        Some(match code {
            1 => Subject::Page(name),
            2 => Subject::Route(name),
            3 => Subject::PathLayout(name),
            4 => Subject::RouteLayout(name),
            5 => Subject::Tag(name),
            _ => return None,
        })
    }
}

pub(crate) struct Overflow {
    slots: Mutex<Vec<Record>>,
    /// The same in all processes that share the slots through a directory.
    seed: u64,
    latest: AtomicU64,
}

impl Overflow {
    pub(crate) fn new(seed: u64) -> Overflow {
        Overflow { slots: Mutex::new(Vec::new()), seed, latest: AtomicU64::new(0) }
    }

    /// The newest epoch in any slot; 0 while nothing was merged.
    pub(crate) fn latest(&self) -> u64 {
        self.latest.load(Ordering::Acquire)
    }

    pub(crate) fn absorb(&self, subject: Subject<'_>, record: &Record) {
        self.absorb_slot(self.slot(subject), record);
    }

    /// Takes over what another process had merged in a slot.
    pub(crate) fn absorb_slot(&self, slot: usize, record: &Record) {
        let mut slots = self.slots.lock();
        if slots.is_empty() {
            slots.resize(SLOTS, Record::default());
        }
        slots[slot % SLOTS].absorb(record);
        self.latest.fetch_max(record.latest(), Ordering::Release);
    }

    /// Calls `f` with each slot that holds anything.
    pub(crate) fn each_slot(&self, mut f: impl FnMut(usize, &Record)) {
        for (slot, record) in self.slots.lock().iter().enumerate() {
            if record.latest() > 0 {
                f(slot, record);
            }
        }
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
        let seed = self.seed ^ u64::from(subject.code());
        (xxh3_64_with_seed(subject.name().as_bytes(), seed) % SLOTS as u64) as usize
    }
}
