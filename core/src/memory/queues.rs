//! The eviction order: S3-FIFO (Yang et al., SOSP 2023). New entries pass a small queue and are kept only if used
//! again, so that a flood of unknown paths pushes out little but itself. Decided in docs/decisions.md.

use std::collections::VecDeque;

use hashbrown::HashMap;
use lru::LruCache;

/// The small queue's part of all bytes: one tenth.
const SMALL_PART: u64 = 10;
/// Hashes of entries evicted from the small queue; one that comes back goes to the main queue.
const GHOSTS: usize = 16_384;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    Small,
    Main,
}

/// A node taken from a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) id: u64,
    pub(crate) hash: u64,
    pub(crate) queue: Queue,
}

pub(crate) struct Queues {
    small: VecDeque<(u64, u64)>,
    main: VecDeque<(u64, u64)>,
    /// Live nodes: their queue and bytes. A queued id that is not here was removed.
    live: HashMap<u64, (Queue, u64)>,
    small_bytes: u64,
    main_bytes: u64,
    ghosts: LruCache<u64, ()>,
    next_id: u64,
}

impl Queues {
    pub(crate) fn new() -> Queues {
        let ghosts = std::num::NonZeroUsize::new(GHOSTS).unwrap_or(std::num::NonZeroUsize::MIN);
        Queues {
            small: VecDeque::new(),
            main: VecDeque::new(),
            live: HashMap::new(),
            small_bytes: 0,
            main_bytes: 0,
            ghosts: LruCache::new(ghosts),
            next_id: 0,
        }
    }

    /// Queues a new entry and returns its node's id.
    pub(crate) fn push(&mut self, hash: u64, cost: u64) -> u64 {
        let queue = if self.ghosts.pop(&hash).is_some() { Queue::Main } else { Queue::Small };
        self.push_to(queue, hash, cost)
    }

    /// Queues an entry that has proved its use.
    pub(crate) fn push_main(&mut self, hash: u64, cost: u64) -> u64 {
        self.push_to(Queue::Main, hash, cost)
    }

    /// The next candidate for eviction.
    pub(crate) fn pop(&mut self) -> Option<Node> {
        loop {
            let all = self.small_bytes + self.main_bytes;
            let from_small = self.main.is_empty() || self.small_bytes * SMALL_PART > all;
            let (queue, list) = if from_small && !self.small.is_empty() {
                (Queue::Small, &mut self.small)
            } else {
                (Queue::Main, &mut self.main)
            };
            let (id, hash) = match list.pop_front() {
                Some(node) => node,
                None if self.small.is_empty() && self.main.is_empty() => return None,
                None => continue,
            };
            if let Some((_, cost)) = self.live.remove(&id) {
                *self.bytes(queue) -= cost;
                return Some(Node { id, hash, queue });
            }
        }
    }

    /// An entry's cost has changed.
    pub(crate) fn resize(&mut self, id: u64, old: u64, new: u64) {
        if let Some((queue, cost)) = self.live.get_mut(&id) {
            *cost = new;
            let bytes = match queue {
                Queue::Small => &mut self.small_bytes,
                Queue::Main => &mut self.main_bytes,
            };
            *bytes = *bytes + new - old;
        }
    }

    /// An entry was removed otherwise.
    pub(crate) fn forget(&mut self, id: u64, cost: u64) {
        if let Some((queue, _)) = self.live.remove(&id) {
            *self.bytes(queue) -= cost;
        }
        if self.small.len() + self.main.len() > 2 * self.live.len() + 64 {
            let live = &self.live;
            self.small.retain(|(id, _)| live.contains_key(id));
            self.main.retain(|(id, _)| live.contains_key(id));
        }
    }

    /// Remembers an entry that was evicted before it was used.
    pub(crate) fn remember(&mut self, hash: u64) {
        self.ghosts.put(hash, ());
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.small.len() + self.main.len()
    }

    fn push_to(&mut self, queue: Queue, hash: u64, cost: u64) -> u64 {
        self.next_id += 1;
        let id = self.next_id;
        match queue {
            Queue::Small => self.small.push_back((id, hash)),
            Queue::Main => self.main.push_back((id, hash)),
        }
        self.live.insert(id, (queue, cost));
        *self.bytes(queue) += cost;
        id
    }

    fn bytes(&mut self, queue: Queue) -> &mut u64 {
        match queue {
            Queue::Small => &mut self.small_bytes,
            Queue::Main => &mut self.main_bytes,
        }
    }
}
