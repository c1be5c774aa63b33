//! What is compared: the engine's own order, what users would pick instead, and what papers recommend.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::queues::{Queues, Standing};
use crate::traces::Page;

/// A hit of the engine counts up to here.
const MAX_USES: u8 = 3;

/// A cache of so many bytes that is asked for one page after another.
pub trait Policy {
    /// Whether it is a hit; else the page is stored.
    fn request(&mut self, id: u32, page: Page) -> bool;
}

/// The engine's own: the code that it runs.
pub struct Own {
    queues: Queues,
    /// Uses since last asked, bytes.
    stored: HashMap<u64, (u8, u32), ahash::RandomState>,
    bytes: u64,
    capacity: u64,
}

impl Own {
    pub fn new(capacity: u64) -> Own {
        Own { queues: Queues::new(capacity), stored: HashMap::default(), bytes: 0, capacity }
    }
}

impl Policy for Own {
    fn request(&mut self, id: u32, page: Page) -> bool {
        let key = u64::from(id);
        if let Some((uses, _)) = self.stored.get_mut(&key) {
            *uses = (*uses + 1).min(MAX_USES);
            return true;
        }
        if u64::from(page.bytes) > self.capacity {
            return false;
        }
        while self.bytes + u64::from(page.bytes) > self.capacity {
            let stored = &mut self.stored;
            let victim = self.queues.pop(|turn| {
                let of = |(uses, bytes): &mut (u8, u32)| Standing {
                    uses: std::mem::take(uses),
                    bytes: u64::from(*bytes),
                };
                stored.get_mut(&turn.hash).map_or(Standing { uses: 0, bytes: 0 }, of)
            });
            let Some(victim) = victim else { break };
            if let Some((_, bytes)) = self.stored.remove(&victim.hash) {
                self.bytes -= u64::from(bytes);
            }
        }
        self.queues.push(key, page.bytes.into(), page.micros);
        self.stored.insert(key, (0, page.bytes));
        self.bytes += u64::from(page.bytes);
        false
    }
}

/// Least recently used, by the `lru` crate.
pub struct Lru {
    stored: lru::LruCache<u32, u32>,
    bytes: u64,
    capacity: u64,
}

impl Lru {
    pub fn new(capacity: u64) -> Lru {
        Lru { stored: lru::LruCache::unbounded(), bytes: 0, capacity }
    }
}

impl Policy for Lru {
    fn request(&mut self, id: u32, page: Page) -> bool {
        if self.stored.get(&id).is_some() {
            return true;
        }
        self.bytes += u64::from(page.bytes);
        self.stored.put(id, page.bytes);
        while self.bytes > self.capacity
            && let Some((_, bytes)) = self.stored.pop_lru()
        {
            self.bytes -= u64::from(bytes);
        }
        false
    }
}

/// S3-FIFO (Yang et al., SOSP 2023), in bytes.
pub struct S3Fifo {
    /// Uses, bytes.
    stored: HashMap<u32, (u8, u32), ahash::RandomState>,
    small: VecDeque<u32>,
    main: VecDeque<u32>,
    ghosts: VecDeque<u32>,
    is_ghost: HashSet<u32, ahash::RandomState>,
    small_bytes: u64,
    main_bytes: u64,
    capacity: u64,
}

impl S3Fifo {
    pub fn new(capacity: u64) -> S3Fifo {
        S3Fifo {
            stored: HashMap::default(),
            small: VecDeque::new(),
            main: VecDeque::new(),
            ghosts: VecDeque::new(),
            is_ghost: HashSet::default(),
            small_bytes: 0,
            main_bytes: 0,
            capacity,
        }
    }

    fn evict(&mut self) {
        let from_small = self.small_bytes * 10 > self.capacity || self.main.is_empty();
        if from_small && let Some(id) = self.small.pop_front() {
            let (uses, bytes) = self.stored[&id];
            self.small_bytes -= u64::from(bytes);
            if uses > 0 {
                self.stored.insert(id, (0, bytes));
                self.main.push_back(id);
                self.main_bytes += u64::from(bytes);
                return;
            }
            self.stored.remove(&id);
            // As many ghosts as there are entries in the main queue.
            self.ghosts.push_back(id);
            self.is_ghost.insert(id);
            while self.ghosts.len() > self.main.len().max(16)
                && let Some(old) = self.ghosts.pop_front()
            {
                self.is_ghost.remove(&old);
            }
        } else if let Some(id) = self.main.pop_front() {
            let (uses, bytes) = self.stored[&id];
            if uses > 0 {
                self.stored.insert(id, (uses - 1, bytes));
                self.main.push_back(id);
            } else {
                self.main_bytes -= u64::from(bytes);
                self.stored.remove(&id);
            }
        }
    }
}

impl Policy for S3Fifo {
    fn request(&mut self, id: u32, page: Page) -> bool {
        if let Some((uses, _)) = self.stored.get_mut(&id) {
            *uses = (*uses + 1).min(3);
            return true;
        }
        let bytes = u64::from(page.bytes);
        if bytes > self.capacity {
            return false;
        }
        while self.small_bytes + self.main_bytes + bytes > self.capacity {
            self.evict();
        }
        self.stored.insert(id, (0, page.bytes));
        if self.is_ghost.remove(&id) {
            self.main.push_back(id);
            self.main_bytes += bytes;
        } else {
            self.small.push_back(id);
            self.small_bytes += bytes;
        }
        false
    }
}

/// SIEVE (Zhang et al., NSDI 2024), in bytes.
pub struct Sieve {
    /// Used, bytes.
    stored: HashMap<u32, (bool, u32), ahash::RandomState>,
    /// Newest last; the hand walks from the oldest on.
    order: std::collections::BTreeMap<u64, u32>,
    hand: u64,
    next: u64,
    bytes: u64,
    capacity: u64,
}

impl Sieve {
    pub fn new(capacity: u64) -> Sieve {
        let order = std::collections::BTreeMap::new();
        Sieve { stored: HashMap::default(), order, hand: 0, next: 0, bytes: 0, capacity }
    }

    fn evict(&mut self) {
        loop {
            let Some((&at, &id)) = self.order.range(self.hand..).next() else {
                self.hand = 0;
                continue;
            };
            self.hand = at + 1;
            let Some((used, bytes)) = self.stored.get_mut(&id) else { return };
            if !std::mem::take(used) {
                self.bytes -= u64::from(*bytes);
                self.order.remove(&at);
                self.stored.remove(&id);
                return;
            }
        }
    }
}

impl Policy for Sieve {
    fn request(&mut self, id: u32, page: Page) -> bool {
        if let Some((used, _)) = self.stored.get_mut(&id) {
            *used = true;
            return true;
        }
        let bytes = u64::from(page.bytes);
        if bytes > self.capacity {
            return false;
        }
        while self.bytes + bytes > self.capacity {
            self.evict();
        }
        self.stored.insert(id, (false, page.bytes));
        self.order.insert(self.next, id);
        self.next += 1;
        self.bytes += bytes;
        false
    }
}

#[derive(Clone)]
struct Weigh;

impl quick_cache::Weighter<u32, u32> for Weigh {
    fn weight(&self, _: &u32, bytes: &u32) -> u64 {
        (*bytes).into()
    }
}

/// quick_cache, bounded in bytes.
pub struct Quick(quick_cache::unsync::Cache<u32, u32, Weigh, ahash::RandomState>);

impl Quick {
    pub fn new(capacity: u64, entries: usize) -> Quick {
        let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
        Quick(quick_cache::unsync::Cache::with(
            entries,
            capacity,
            Weigh,
            hasher,
            Default::default(),
        ))
    }
}

impl Policy for Quick {
    fn request(&mut self, id: u32, page: Page) -> bool {
        if self.0.get(&id).is_some() {
            return true;
        }
        self.0.insert(id, page.bytes);
        false
    }
}

/// moka (W-TinyLFU), bounded in bytes.
pub struct Moka(moka::sync::Cache<u32, u32, ahash::RandomState>);

impl Moka {
    pub fn new(capacity: u64) -> Moka {
        let cache = moka::sync::Cache::builder()
            .max_capacity(capacity)
            .weigher(|_, bytes: &u32| *bytes)
            .build_with_hasher(ahash::RandomState::with_seeds(1, 2, 3, 4));
        Moka(cache)
    }
}

impl Policy for Moka {
    fn request(&mut self, id: u32, page: Page) -> bool {
        let hit = self.0.get(&id).is_some();
        if !hit {
            self.0.insert(id, page.bytes);
        }
        // It evicts and admits only now and then; at once here, so that the order is the same on every run.
        self.0.run_pending_tasks();
        hit
    }
}
