//! The store in memory: sharded for readers, bounded in bytes.
//!
//! A hit takes one shared lock, allocates nothing and marks the entry with a plain store. Inserts and evictions go through
//! one queue lock (`queues.rs`).

mod queues;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use ahash::RandomState;
use hashbrown::{HashMap, HashTable};
use parking_lot::{Mutex, RwLock};

use crate::memory::queues::{Queue, Queues};
use crate::page::Page;

const SHARDS: usize = 64;
/// A hit raises the counter up to here.
const MAX_HEAT: u8 = 3;

/// An entry's place in the eviction queues. It passes from a page to the one that replaces it.
#[derive(Debug, Default)]
pub(crate) struct Place {
    heat: AtomicU8,
    /// Names the queue node: one that no longer matches is skipped.
    node: AtomicU64,
}

/// What became of an insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inserted {
    Stored,
    /// A page whose render began later is stored.
    Older,
    /// The path has `max_variants` other variants.
    TooManyVariants,
    /// It alone is larger than the store.
    TooLarge,
}

pub(crate) struct Memory {
    shards: Box<[RwLock<HashTable<Arc<Page>>>]>,
    hasher: RandomState,
    books: Mutex<Books>,
    max_bytes: u64,
    max_variants: usize,
    bytes: AtomicU64,
    entries: AtomicUsize,
    evictions: AtomicU64,
}

/// What only writers touch.
struct Books {
    queues: Queues,
    /// The keys of stored variants, by path.
    variants: HashMap<Box<str>, Vec<Box<[u8]>>, RandomState>,
}

impl Memory {
    pub(crate) fn new(max_bytes: u64, max_variants: usize) -> Memory {
        Memory {
            shards: (0..SHARDS).map(|_| RwLock::new(HashTable::new())).collect(),
            hasher: RandomState::new(),
            books: Mutex::new(Books {
                queues: Queues::new(),
                variants: HashMap::with_hasher(RandomState::new()),
            }),
            max_bytes,
            max_variants,
            bytes: AtomicU64::new(0),
            entries: AtomicUsize::new(0),
            evictions: AtomicU64::new(0),
        }
    }

    /// The stored entry, marked as used.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Arc<Page>> {
        let page = self.peek(key)?;
        let heat = &page.place.heat;
        let h = heat.load(Ordering::Relaxed);
        if h < MAX_HEAT {
            heat.store(h + 1, Ordering::Relaxed);
        }
        Some(page)
    }

    /// The stored entry, not marked.
    pub(crate) fn peek(&self, key: &[u8]) -> Option<Arc<Page>> {
        let hash = self.hasher.hash_one(key);
        self.shard(hash).read().find(hash, |p| p.key() == key).cloned()
    }

    /// Stores an entry unless a newer one is there, and evicts what is too much.
    pub(crate) fn insert(&self, page: Arc<Page>) -> Inserted {
        let cost = page.cost();
        if cost > self.max_bytes {
            return Inserted::TooLarge;
        }
        let hash = self.hasher.hash_one(page.key());
        let mut books = self.books.lock();
        let mut replaced = None;
        {
            let mut shard = self.shard(hash).write();
            if let Some(slot) = shard.find_mut(hash, |p| p.key() == page.key()) {
                if slot.started() > page.started() {
                    return Inserted::Older;
                }
                page.place.inherit(&slot.place);
                replaced = Some(std::mem::replace(slot, page.clone()));
            }
        }
        if let Some(old) = replaced {
            let node = page.place.node.load(Ordering::Relaxed);
            books.queues.resize(node, old.cost(), cost);
            self.bytes.fetch_add(cost, Ordering::Relaxed);
            self.bytes.fetch_sub(old.cost(), Ordering::Relaxed);
        } else {
            if let Some(path) = page.variant_path() {
                if books.variants.get(path).map_or(0, Vec::len) >= self.max_variants {
                    return Inserted::TooManyVariants;
                }
                books.variants.entry(path.into()).or_default().push(page.key().into());
            }
            page.place.node.store(books.queues.push(hash, cost), Ordering::Relaxed);
            let rehash = |p: &Arc<Page>| self.hasher.hash_one(p.key());
            self.shard(hash).write().insert_unique(hash, page, rehash);
            self.bytes.fetch_add(cost, Ordering::Relaxed);
            self.entries.fetch_add(1, Ordering::Relaxed);
        }
        self.evict(&mut books);
        Inserted::Stored
    }

    /// Removes a path with all its variants, as far as they began before `epoch`.
    pub(crate) fn remove_path(&self, path: &str, epoch: u64) {
        let mut books = self.books.lock();
        let mut keys = books.variants.get(path).cloned().unwrap_or_default();
        keys.push(path.as_bytes().into());
        for key in keys {
            let hash = self.hasher.hash_one(&*key);
            let found = self
                .shard(hash)
                .write()
                .find_entry(hash, |p| p.key() == &*key && p.started() < epoch)
                .ok()
                .map(|e| e.remove().0);
            if let Some(page) = found {
                books.queues.forget(page.place.node.load(Ordering::Relaxed), page.cost());
                self.gone(&mut books, &page);
            }
        }
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

    fn evict(&self, books: &mut Books) {
        while self.bytes() > self.max_bytes {
            let Some(node) = books.queues.pop() else { return };
            let mut shard = self.shard(node.hash).write();
            let entry =
                shard.find_entry(node.hash, |p| p.place.node.load(Ordering::Relaxed) == node.id);
            let Ok(entry) = entry else {
                continue;
            };
            let heat = entry.get().place.heat.load(Ordering::Relaxed);
            if heat > 0 {
                // Used since it came: to the main queue, or once more round it.
                let left = if node.queue == Queue::Small { 0 } else { heat - 1 };
                entry.get().place.heat.store(left, Ordering::Relaxed);
                let id = books.queues.push_main(node.hash, entry.get().cost());
                entry.get().place.node.store(id, Ordering::Relaxed);
                continue;
            }
            let (page, _) = entry.remove();
            drop(shard);
            if node.queue == Queue::Small {
                books.queues.remember(node.hash);
            }
            self.evictions.fetch_add(1, Ordering::Relaxed);
            self.gone(books, &page);
        }
    }

    fn gone(&self, books: &mut Books, page: &Page) {
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

    fn shard(&self, hash: u64) -> &RwLock<HashTable<Arc<Page>>> {
        // The table uses the low and the topmost bits.
        &self.shards[(hash >> 32) as usize % SHARDS]
    }
}

impl Place {
    fn inherit(&self, old: &Place) {
        self.heat.store(old.heat.load(Ordering::Relaxed), Ordering::Relaxed);
        self.node.store(old.node.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}
