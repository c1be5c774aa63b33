//! The entries by key: read without a lock by any number of threads, written by one at a time.
//!
//! Groups of seven entries fill a cache line each, with a byte of every entry's hash beside it (after F14, Bronson and Shi 2019):
//! most look-ups read one line and the entry. An entry never moves within a table; a larger table takes the place of one
//! that is full. What is taken out is dropped when no reader can see it any more (`readers`).

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::Arc;

use crate::lanes::Lane;
use crate::memory::readers::{Inside, Readers};
use crate::page::Page;
use crate::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// Entries of a group.
const ENTRIES: usize = 7;
/// On average so many of them are taken at most.
const MOST: usize = 5;
/// The byte of a group's marks that counts those who looked here for a place and found none; it sticks at its top.
const PASSED: u32 = 8 * ENTRIES as u32;
const LOW_BITS: u64 = 0x0101_0101_0101_0101;
/// The highest bit of the byte of each entry.
const HIGH_BITS: u64 = 0x0080_8080_8080_8080;
/// Taken out entries are dropped when there are so many of them.
const MANY: usize = 64;

/// Entries that lie together.
#[derive(Default)]
#[repr(align(64))]
struct Group {
    /// For each entry a byte of its hash, zero where there is none; the last byte: see [`PASSED`].
    marks: AtomicU64,
    entries: [AtomicPtr<c_void>; ENTRIES],
}

struct Groups(Box<[Group]>);

/// Groups that are no longer the table's. Readers may have them until this is dropped.
struct OldGroups(*mut Groups);

// SAFETY: groups belong to no thread.
unsafe impl Send for OldGroups {}

impl Drop for OldGroups {
    fn drop(&mut self) {
        // SAFETY: from a box, taken out of the table once.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// What readers have.
pub(crate) struct Table {
    /// Never null; a box of the writer.
    groups: AtomicPtr<Groups>,
    readers: Readers,
}

/// What the one writer has. Entries stay in the table when it is dropped.
pub(crate) struct Writer {
    table: Arc<Table>,
    entries: usize,
    removed: Removed,
    waiting: Vec<(Inside, Removed)>,
    /// How many bytes of entries may wait before they are dropped.
    max_removed: u64,
}

/// What was taken out and may still be read.
#[derive(Default)]
struct Removed {
    pages: Vec<Page>,
    bytes: u64,
    groups: Vec<OldGroups>,
}

/// A hash's byte in the marks.
#[inline]
fn mark_of(hash: u64) -> u64 {
    hash >> 57 | 0x80
}

impl Groups {
    fn new(count: usize) -> Groups {
        Groups((0..count).map(|_| Group::default()).collect())
    }

    /// Where the way of a hash begins.
    #[inline]
    fn first(&self, hash: u64) -> usize {
        (((hash & u64::from(u32::MAX)) * self.0.len() as u64) >> 32) as usize
    }

    /// Where it goes on.
    #[inline]
    fn next(&self, at: usize) -> usize {
        if at + 1 < self.0.len() { at + 1 } else { 0 }
    }

    /// The entry of a hash that `is_it` knows again, with its place. The caller sees to it that entries stay.
    #[inline]
    fn find(&self, hash: u64, is_it: impl Fn(&Page) -> bool) -> Option<(&Group, usize, Borrowed)> {
        let mut at = self.first(hash);
        for _ in 0..self.0.len() {
            let group = &self.0[at];
            let marks = group.marks.load(Ordering::Acquire);
            let differs = marks ^ (mark_of(hash) * LOW_BITS);
            // May also find what is none, above one that is: the key decides.
            let mut same = differs.wrapping_sub(LOW_BITS) & !differs & HIGH_BITS;
            while same != 0 {
                let entry = same.trailing_zeros() as usize / 8;
                let found = group.entries[entry].load(Ordering::Acquire);
                if !found.is_null() {
                    // SAFETY: not null, so from `into_raw`; the caller keeps it alive.
                    let page = unsafe { Borrowed::new(found) };
                    if is_it(&page) {
                        return Some((group, entry, page));
                    }
                }
                same &= same - 1;
            }
            if marks >> PASSED == 0 {
                return None;
            }
            at = self.next(at);
        }
        None
    }

    /// Puts in an entry that is not there.
    fn add(&self, hash: u64, entry: *mut c_void) {
        let mut at = self.first(hash);
        loop {
            let group = &self.0[at];
            let marks = group.marks.load(Ordering::Relaxed);
            if let Some(free) = (0..ENTRIES).find(|n| marks >> (8 * n) & 0xff == 0) {
                group.entries[free].store(entry, Ordering::Release);
                group.marks.store(marks | mark_of(hash) << (8 * free), Ordering::Release);
                return;
            }
            if marks >> PASSED < 0xff {
                group.marks.store(marks + (1 << PASSED), Ordering::Release);
            }
            at = self.next(at);
        }
    }

    /// Takes out the entry that lies there.
    fn remove(&self, hash: u64, from: &Group, entry: usize) -> *mut c_void {
        let mut at = self.first(hash);
        while !ptr::eq(&self.0[at], from) {
            let group = &self.0[at];
            let marks = group.marks.load(Ordering::Relaxed);
            if (1..0xff).contains(&(marks >> PASSED)) {
                group.marks.store(marks - (1 << PASSED), Ordering::Release);
            }
            at = self.next(at);
        }
        let marks = from.marks.load(Ordering::Relaxed);
        from.marks.store(marks & !(0xff << (8 * entry)), Ordering::Release);
        from.entries[entry].swap(ptr::null_mut(), Ordering::AcqRel)
    }

    fn each(&self) -> impl Iterator<Item = *mut c_void> {
        let entries = self.0.iter().flat_map(|group| &group.entries);
        entries.map(|e| e.load(Ordering::Acquire)).filter(|e| !e.is_null())
    }
}

/// An entry as it lies in a table, which counts it: looked at, not owned.
struct Borrowed(ManuallyDrop<Page>);

impl Borrowed {
    /// # Safety
    /// From [`Page::into_raw`], and kept alive by the caller for as long as this is used.
    unsafe fn new(raw: *mut c_void) -> Borrowed {
        // SAFETY: as the caller says; never dropped as its own.
        Borrowed(ManuallyDrop::new(unsafe { Page::from_raw(raw) }))
    }
}

impl std::ops::Deref for Borrowed {
    type Target = Page;

    fn deref(&self) -> &Page {
        &self.0
    }
}

impl Table {
    /// An empty one, and its writer. `max_removed` bytes of what was taken out may wait to be dropped.
    pub(crate) fn new(max_removed: u64) -> (Arc<Table>, Writer) {
        let groups = Box::into_raw(Box::new(Groups::new(1)));
        let table = Arc::new(Table { groups: AtomicPtr::new(groups), readers: Readers::new() });
        let writer = Writer {
            table: table.clone(),
            entries: 0,
            removed: Removed::default(),
            waiting: Vec::new(),
            max_removed,
        };
        (table, writer)
    }

    /// The entry of a key.
    #[inline]
    pub(crate) fn get(&self, lane: Lane, hash: u64, key: &[u8]) -> Option<Page> {
        let _reading = self.readers.enter(lane);
        // SAFETY: what is reachable now is not dropped before the reading ends.
        let groups = unsafe { &*self.groups.load(Ordering::Acquire) };
        let (_, _, page) = groups.find(hash, |page| page.key() == key)?;
        Some(Page::clone(&page))
    }

    /// Calls `f` with every entry; it must not read the table itself.
    pub(crate) fn each(&self, lane: Lane, mut f: impl FnMut(&Page)) {
        let _reading = self.readers.enter(lane);
        // SAFETY: as in `get`.
        let groups = unsafe { &*self.groups.load(Ordering::Acquire) };
        for entry in groups.each() {
            // SAFETY: as in `get`.
            let page = unsafe { Borrowed::new(entry) };
            f(&page);
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: from a box; nobody has the table any more.
        let groups = unsafe { Box::from_raw(*self.groups.get_mut()) };
        for entry in groups.each() {
            // SAFETY: from `into_raw`, and taken out once.
            drop(unsafe { Page::from_raw(entry) });
        }
    }
}

impl Writer {
    fn groups(&self) -> &Groups {
        // SAFETY: a box that only this writer gives back.
        unsafe { &*self.table.groups.load(Ordering::Relaxed) }
    }

    /// The entry of a hash that `is_it` knows again.
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(&Page) -> bool) -> Option<Page> {
        // This writer alone takes entries out.
        let (_, _, page) = self.groups().find(hash, is_it)?;
        Some(Page::clone(&page))
    }

    /// Puts in an entry whose key is not there. `hash_of` tells the hash of any entry.
    pub(crate) fn insert(&mut self, hash: u64, page: Page, hash_of: impl Fn(&Page) -> u64) {
        if self.entries >= self.groups().0.len() * MOST {
            self.grow(hash_of);
        }
        self.groups().add(hash, page.into_raw());
        self.entries += 1;
    }

    /// Puts an entry in place of one that is there, by the same key.
    pub(crate) fn replace(&mut self, hash: u64, old: &Page, new: Page) {
        let found = self.groups().find(hash, |page| page.is_same(old));
        let Some((group, entry, _)) = found else { return };
        let raw = group.entries[entry].swap(new.into_raw(), Ordering::AcqRel);
        // SAFETY: from `into_raw`, and no longer in the table.
        self.keep_for_readers(unsafe { Page::from_raw(raw) });
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, hash: u64, old: &Page) {
        let groups = self.groups();
        let found = groups.find(hash, |page| page.is_same(old));
        let Some((group, entry, _)) = found else { return };
        let raw = groups.remove(hash, group, entry);
        self.entries -= 1;
        // SAFETY: from `into_raw`, and no longer in the table.
        self.keep_for_readers(unsafe { Page::from_raw(raw) });
    }

    /// Takes everything out.
    pub(crate) fn clear(&mut self) -> Vec<Page> {
        let old = self.put_up(Groups::new(1));
        self.entries = 0;
        // SAFETY: not dropped yet.
        let entries = unsafe { &*old.0 }.each();
        // SAFETY: from `into_raw`, and no longer in the table.
        let pages: Vec<Page> = entries.map(|raw| unsafe { Page::from_raw(raw) }).collect();
        // The old groups still name them, without counting them.
        self.removed.groups.push(old);
        self.removed.pages.extend(pages.iter().cloned());
        self.drop_removed();
        pages
    }

    fn grow(&mut self, hash_of: impl Fn(&Page) -> u64) {
        let groups = self.groups().0.len();
        let larger = Groups::new(groups + groups / 2 + 1);
        for entry in self.groups().each() {
            // SAFETY: in the table, which this writer alone changes.
            let page = unsafe { Borrowed::new(entry) };
            let hash = hash_of(&page);
            larger.add(hash, entry);
        }
        let old = self.put_up(larger);
        self.removed.groups.push(old);
        self.drop_removed();
    }

    fn put_up(&mut self, groups: Groups) -> OldGroups {
        let new = Box::into_raw(Box::new(groups));
        OldGroups(self.table.groups.swap(new, Ordering::AcqRel))
    }

    fn keep_for_readers(&mut self, page: Page) {
        self.removed.bytes += page.cost();
        self.removed.pages.push(page);
        if self.removed.bytes > self.max_removed || self.removed.pages.len() >= MANY {
            self.drop_removed();
        }
    }

    /// Drops what nobody can see any more.
    fn drop_removed(&mut self) {
        let readers = &self.table.readers;
        self.waiting.retain_mut(|(inside, _)| !readers.have_left(inside));
        let Some(mut inside) = readers.inside() else { return };
        let removed = std::mem::take(&mut self.removed);
        if !readers.have_left(&mut inside) {
            self.waiting.push((inside, removed));
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.drop_removed();
        // Who reads at this moment may see the rest: it stays for ever.
        std::mem::forget(std::mem::take(&mut self.removed));
        std::mem::forget(std::mem::take(&mut self.waiting));
    }
}

#[cfg(all(test, not(feature = "shuttle")))]
mod tests;
