//! The store in memory: read without a lock, bounded in bytes.
//!
//! A hit takes no lock, allocates nothing and marks the entry with a plain store. Inserts and evictions go through one lock:
//! that of the books.

mod place;
mod queues;
mod readers;
mod table;

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashMap;

use crate::lanes::Lane;
use crate::memory::queues::{Queues, Standing, Victim};
use crate::memory::table::{Table, Writer};
use crate::page::Page;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::window::Windows;

pub(crate) use crate::memory::place::Place;

/// Bytes that an entry takes in the table and the queues, on average.
pub(crate) const ENTRY_COST: usize = 20 + queues::NODE_COST;
/// A part of all bytes may be taken out and not dropped yet: one in so many.
const REMOVED_PART: u64 = 64;
/// And not more than this.
const MAX_REMOVED: u64 = 1 << 20;

/// What became of an insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inserted {
    Stored,
    /// A page whose render began later is stored.
    Older,
    /// Its path was removed after its render began.
    Removed,
    /// The path has `max_variants` other variants.
    TooManyVariants,
    /// It alone is larger than the store.
    TooLarge,
}

pub(crate) struct Memory {
    table: Arc<Table>,
    hasher: RandomState,
    books: Mutex<Books>,
    max_bytes: u64,
    max_variants: usize,
    bytes: AtomicU64,
    entries: AtomicUsize,
    evictions: AtomicU64,
    /// Pages that were taken out or replaced.
    pages_gone: AtomicU64,
    windows: Arc<Windows>,
}

/// What only writers touch.
struct Books {
    table: Writer,
    queues: Queues,
    /// The keys of stored variants, by path.
    variants: HashMap<Box<str>, Vec<Box<[u8]>>, RandomState>,
}

impl Memory {
    /// `windows` are told of kept pages that go.
    pub(crate) fn new(max_bytes: u64, max_variants: usize, windows: Arc<Windows>) -> Memory {
        let (table, writer) = Table::new((max_bytes / REMOVED_PART).min(MAX_REMOVED));
        Memory {
            table,
            hasher: RandomState::new(),
            books: Mutex::new(Books {
                table: writer,
                queues: Queues::new(max_bytes),
                variants: HashMap::with_hasher(RandomState::new()),
            }),
            max_bytes,
            max_variants,
            bytes: AtomicU64::new(0),
            entries: AtomicUsize::new(0),
            evictions: AtomicU64::new(0),
            pages_gone: AtomicU64::new(0),
            windows,
        }
    }

    /// The stored entry, marked as used.
    #[inline]
    pub(crate) fn get(&self, lane: Lane, key: &[u8]) -> Option<Page> {
        let page = self.peek(lane, key)?;
        page.place().mark();
        Some(page)
    }

    /// The stored entry, not marked.
    #[inline]
    pub(crate) fn peek(&self, lane: Lane, key: &[u8]) -> Option<Page> {
        self.table.get(lane, self.hash(key), key)
    }

    /// The entries that were used since the last call.
    pub(crate) fn take_used(&self) -> Vec<Page> {
        let mut used = Vec::new();
        self.table.each(Lane::mine(), |page| {
            if page.place().take_used() {
                used.push(page.clone());
            }
        });
        used
    }

    /// Stores an entry unless a newer one is there, and evicts what is too much.
    ///
    /// `removed` tells whether its path was removed after it began. It is asked where no [`remove_path`](Memory::remove_path)
    /// can come between the question and the insert.
    pub(crate) fn insert(&self, page: Page, removed: impl FnOnce() -> bool) -> Inserted {
        let cost = page.cost();
        let hash = self.hash(page.key());
        let mut books = self.books.lock();
        if removed() {
            return Inserted::Removed;
        }
        if cost > self.max_bytes {
            return Inserted::TooLarge;
        }
        let find = |books: &Books| books.table.find(hash, |p| p.key() == page.key());
        // Room first, so that the bound holds at every moment.
        if let Some(old) = find(&books) {
            if old.started() > page.started() {
                return Inserted::Older;
            }
            self.evict(&mut books, cost.saturating_sub(old.cost()));
        }
        // Unless it has just made room itself.
        if let Some(old) = find(&books) {
            page.place().inherit(old.place());
            let node = page.place().node();
            books.queues.replace(node, old.cost(), cost, page.render_micros());
            books.table.replace(hash, &old, page);
            self.leaves(&old);
            self.bytes.fetch_add(cost.wrapping_sub(old.cost()), Ordering::Relaxed);
        } else {
            if let Some(path) = page.variant_path() {
                if books.variants.get(path).map_or(0, Vec::len) >= self.max_variants {
                    return Inserted::TooManyVariants;
                }
                books.variants.entry(path.into()).or_default().push(page.key().into());
            }
            self.evict(&mut books, cost);
            let node = books.queues.push(hash, cost, page.render_micros());
            page.place().set_node(node);
            books.table.insert(hash, page, |p| self.hash(p.key()));
            self.bytes.fetch_add(cost, Ordering::Relaxed);
            self.entries.fetch_add(1, Ordering::Relaxed);
        }
        Inserted::Stored
    }

    /// Removes a path with all its variants, as far as they began before `epoch`. The removal is on record before, so that
    /// whatever is inserted after it knows.
    pub(crate) fn remove_path(&self, path: &str, epoch: u64) {
        let mut books = self.books.lock();
        let mut keys = books.variants.get(path).cloned().unwrap_or_default();
        keys.push(path.as_bytes().into());
        for key in keys {
            let hash = self.hash(&key);
            let found = books.table.find(hash, |p| p.key() == &*key && p.started() < epoch);
            if let Some(page) = found {
                books.table.remove(hash, &page);
                books.queues.forget(page.place().node(), page.cost());
                self.gone(&mut books, &page);
            }
        }
    }

    /// Drops everything.
    pub(crate) fn clear(&self) {
        let mut books = self.books.lock();
        for page in books.table.clear() {
            self.gone(&mut books, &page);
        }
        books.queues = Queues::new(self.max_bytes);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn entries(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    pub(crate) fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    /// Makes room for this many bytes.
    fn evict(&self, books: &mut Books, room: u64) {
        while self.bytes() + room > self.max_bytes {
            let Books { queues, table, .. } = books;
            let find = |turn: Victim| table.find(turn.hash, |p| p.place().is(turn));
            let ask = |turn| match find(turn) {
                Some(page) => Standing { uses: page.place().take_uses(), bytes: page.cost() },
                None => Standing { uses: 0, bytes: 0 },
            };
            let Some(victim) = queues.pop(ask) else { return };
            let Some(page) = find(victim) else { continue };
            table.remove(victim.hash, &page);
            self.evictions.fetch_add(1, Ordering::Relaxed);
            self.gone(books, &page);
        }
    }

    /// Seeded, so that nobody can choose keys that collide; the whole key is compared all the same.
    #[inline]
    fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        hasher.finish()
    }

    /// An entry is no longer the one of its key.
    fn leaves(&self, page: &Page) {
        if page.place().go() {
            self.windows.lose(page.cost());
        }
        self.pages_gone.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn pages_gone(&self) -> u64 {
        self.pages_gone.load(Ordering::Relaxed)
    }

    /// An entry was taken out.
    fn gone(&self, books: &mut Books, page: &Page) {
        self.leaves(page);
        self.bytes.fetch_sub(page.cost(), Ordering::Relaxed);
        self.entries.fetch_sub(1, Ordering::Relaxed);
        if let Some(path) = page.variant_path()
            && let Some(keys) = books.variants.get_mut(path)
        {
            keys.retain(|k| **k != *page.key());
            if keys.is_empty() {
                books.variants.remove(path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Time;
    use crate::invalidation::Tags;
    use crate::lifetime::Lifetime;
    use crate::page::Parts;

    fn page(key: &str, path_len: usize, bytes: usize, started: u64) -> Page {
        Page::new(Parts {
            key: key.as_bytes().into(),
            path_len,
            route: None,
            status: 200,
            fields: Vec::new(),
            body: vec![0; bytes].into(),
            etag: "".into(),
            encoded: Vec::new(),
            tags: Tags::default(),
            revalidate: Lifetime::NEVER,
            expire: Lifetime::NEVER,
            started,
            render_micros: 0,
            generated: Time::from_nanos(0),
            oldest: started,
        })
    }

    fn memory(max_bytes: u64, max_variants: usize) -> Memory {
        Memory::new(max_bytes, max_variants, Arc::default())
    }

    fn put(m: &Memory, page: Page) -> Inserted {
        m.insert(page, || false)
    }

    fn plain(n: usize) -> Page {
        let key = format!("/p/{n}");
        page(&key, key.len(), 1000, 1)
    }

    #[test]
    fn a_page_removed_while_it_was_rendered_is_not_stored() {
        let m = memory(1 << 20, 64);
        assert_eq!(m.insert(plain(1), || true), Inserted::Removed);
        assert_eq!((m.bytes(), m.entries()), (0, 0));
    }

    #[test]
    fn an_older_page_never_replaces_a_newer_one() {
        let m = memory(1 << 20, 64);
        assert_eq!(put(&m, page("/a", 2, 10, 5)), Inserted::Stored);
        assert_eq!(put(&m, page("/a", 2, 20, 4)), Inserted::Older);
        assert_eq!(m.get(Lane::mine(), b"/a").unwrap().body().len(), 10);
        assert_eq!(put(&m, page("/a", 2, 30, 6)), Inserted::Stored);
        assert_eq!((m.get(Lane::mine(), b"/a").unwrap().body().len(), m.entries()), (30, 1));
    }

    #[test]
    fn bytes_are_what_is_stored_and_stay_below_the_bound() {
        let m = memory(100_000, 64);
        for n in 0..1000 {
            put(&m, plain(n % 300));
            assert!(m.bytes() <= 100_000);
        }
        let live: u64 = (0..300)
            .filter_map(|n| m.peek(Lane::mine(), format!("/p/{n}").as_bytes()))
            .map(|p| p.cost())
            .sum();
        assert_eq!(m.bytes(), live);
        for n in 0..300 {
            m.remove_path(&format!("/p/{n}"), 2);
        }
        assert_eq!((m.bytes(), m.entries()), (0, 0));
    }

    #[test]
    fn a_flood_of_unknown_paths_does_not_push_out_what_is_used() {
        let m = memory(200_000, 64);
        for n in 0..50 {
            put(&m, plain(n));
            m.get(Lane::mine(), format!("/p/{n}").as_bytes());
        }
        for n in 1000..20_000 {
            put(&m, plain(n));
            let hot = n % 50;
            m.get(Lane::mine(), format!("/p/{hot}").as_bytes());
        }
        let left = (0..50)
            .filter(|n| m.peek(Lane::mine(), format!("/p/{n}").as_bytes()).is_some())
            .count();
        assert_eq!(left, 50);
    }

    #[test]
    fn a_page_that_replaces_another_takes_its_place_and_its_heat() {
        let m = memory(100_000, 64);
        put(&m, plain(0));
        m.get(Lane::mine(), b"/p/0");
        put(&m, page("/p/0", 4, 1000, 2));
        for n in 1..500 {
            put(&m, plain(n));
        }
        assert_eq!(
            m.peek(Lane::mine(), b"/p/0").map(|p| p.started()),
            Some(2),
            "it was used, the others were not"
        );
        for round in 0..500 {
            put(&m, page("/p/0", 4, 1000, 3 + round));
        }
    }

    #[test]
    fn variants_of_a_path_are_capped_and_go_with_it() {
        let m = memory(1 << 20, 2);
        assert_eq!(put(&m, page("/a", 2, 1, 1)), Inserted::Stored);
        assert_eq!(put(&m, page("/a\0x", 2, 1, 1)), Inserted::Stored);
        assert_eq!(put(&m, page("/a\0y", 2, 1, 1)), Inserted::Stored);
        assert_eq!(put(&m, page("/a\0z", 2, 1, 1)), Inserted::TooManyVariants);
        assert_eq!(
            put(&m, page("/a\0y", 2, 1, 2)),
            Inserted::Stored,
            "one that is there is replaced"
        );
        m.remove_path("/a", 2);
        assert!(m.peek(Lane::mine(), b"/a").is_none() && m.peek(Lane::mine(), b"/a\0x").is_none());
        assert!(m.peek(Lane::mine(), b"/a\0y").is_some(), "it began after the removal");
        assert_eq!(put(&m, page("/a\0z", 2, 1, 1)), Inserted::Stored);
    }

    #[test]
    fn what_is_larger_than_the_store_is_not_stored() {
        let m = memory(1000, 64);
        assert_eq!(put(&m, plain(1)), Inserted::TooLarge);
        assert_eq!(m.bytes(), 0);
    }
}
