//! The eviction order: GDSF (Cherkasova, 1998) with lazy queues, ghosts and a group of its own for what was never used.
//!
//! What saves the least render time for its bytes goes first: an entry's value is `frequency x render time / size`. A queue
//! holds the values of one power of two, in the order of their coming, and is due at the inflation at which they came and its value;
//! what goes sets the inflation to where it was due, and so ages the others. A hit is only counted: the entry is put where
//! it belongs when its turn comes.
//!
//! An entry that was never used stands in the group `NEW` and goes before those of the group `USED`, unless `NEW` is small or it
//! is worth far more: so a flood of unknown paths pushes out little but itself. Measured in docs/decisions.md.

mod nodes;

use std::num::NonZeroUsize;

use lru::LruCache;

use nodes::{NONE, Node, Nodes};

/// Bytes that an entry takes in the queues.
pub(crate) const NODE_COST: usize = size_of::<Node>();
/// Queues of a group.
const QUEUES: usize = 64;
/// The queue of the value 1: one microsecond for each byte.
const MIDDLE: f32 = 32.0;
/// Entries that were never used, and the others.
const NEW: usize = 0;
const USED: usize = 1;
/// The part of all bytes that `NEW` has without being asked first: one tenth.
const NEW_PART: u64 = 10;
/// By how many powers of two an entry of `NEW` must be worth more than one of `USED` to stay where its group is large.
const WORTH_MORE: usize = 1;
/// By how many it must be worth less to go where its group is small.
const WORTH_LESS: usize = 3;
/// A use that was seen says this much more than the one that the entry was made for.
const USE: f32 = 4.0;
/// Frequencies end here, so that what is not used any more ages in time.
const MAX_FREQUENCY: u8 = 31;
/// A ghost for this many bytes of the store: one for each entry, or two.
const BYTES_OF_GHOST: u64 = 8192;
const GHOSTS: std::ops::RangeInclusive<u64> = 256..=1 << 18;
/// So many used entries are put off for one that goes: then one goes although it was used, so that nobody waits long.
const MOST_PUT_OFF: usize = 256;
/// The measured render times whose mean stands for one that is not known.
const MEAN_OF: f32 = 64.0;

/// What the store knows of an entry whose turn has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    /// How often it was used since this was last asked.
    pub(crate) uses: u8,
    /// What it takes.
    pub(crate) bytes: u64,
}

/// An entry that goes: its hash and its node, which is free again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Victim {
    pub(crate) hash: u64,
    pub(crate) node: u32,
}

#[derive(Clone, Copy)]
struct Queue {
    head: u32,
    tail: u32,
    /// The inflation at which its head goes.
    due: f64,
}

struct Group {
    queues: [Queue; QUEUES],
    /// The queues that are not empty, as bits.
    filled: u64,
    inflation: f64,
    bytes: u64,
}

pub(crate) struct Queues {
    nodes: Nodes,
    groups: [Group; 2],
    /// Hashes of evicted entries, with their frequency.
    ghosts: LruCache<u64, u8>,
    /// Of the render times measured, in microseconds.
    mean: Option<f32>,
}

impl Queues {
    /// For a store of so many bytes.
    pub(crate) fn new(max_bytes: u64) -> Queues {
        let ghosts = (max_bytes / BYTES_OF_GHOST).clamp(*GHOSTS.start(), *GHOSTS.end());
        let ghosts = NonZeroUsize::new(ghosts as usize).unwrap_or(NonZeroUsize::MIN);
        Queues {
            nodes: Nodes::new(),
            groups: [Group::new(), Group::new()],
            ghosts: LruCache::new(ghosts),
            mean: None,
        }
    }

    /// Queues a new entry and returns its node. `micros` is its render time; 0 where that is not known.
    pub(crate) fn push(&mut self, hash: u64, bytes: u64, micros: u32) -> u32 {
        // What was evicted too early comes back a little higher.
        let frequency = self.ghosts.pop(&hash).map_or(0, |f| f - f / 4 + 1).min(MAX_FREQUENCY);
        let worth = self.micros_or_mean(micros) / bytes.max(1) as f32;
        let id = self.nodes.take(hash, worth, frequency);
        self.append(id, bytes);
        id
    }

    /// Another entry has taken an entry's place. Its turn stays; its value is seen when that comes.
    pub(crate) fn replace(&mut self, id: u32, old_bytes: u64, bytes: u64, micros: u32) {
        let old = *self.nodes.get(id);
        // One whose time is not known costs what the old one did.
        let time = if micros == 0 {
            old.worth * old_bytes.max(1) as f32
        } else {
            self.micros_or_mean(micros)
        };
        self.nodes.get_mut(id).worth = time / bytes.max(1) as f32;
        let group = &mut self.groups[group_of(&old)];
        group.bytes = group.bytes + bytes - old_bytes;
    }

    /// An entry was removed otherwise.
    pub(crate) fn forget(&mut self, id: u32, bytes: u64) {
        self.unlink(id, bytes);
        self.nodes.free(id);
    }

    /// Takes the entry that goes next. `ask` is asked for one whose turn has come; its uses count from then on anew.
    pub(crate) fn pop(&mut self, mut ask: impl FnMut(Victim) -> Standing) -> Option<Victim> {
        let mut put_off = 0;
        loop {
            let (group, queue) = self.next()?;
            let Queue { head: id, due, .. } = self.groups[group].queues[queue];
            let Node { hash, frequency, .. } = *self.nodes.get(id);
            let victim = Victim { hash, node: id };
            let Standing { uses, bytes } = ask(victim);
            self.unlink(id, bytes);
            // It only grows: a queue's first may have been due before.
            let inflation = &mut self.groups[group].inflation;
            *inflation = inflation.max(due);
            if uses == 0 || put_off == MOST_PUT_OFF {
                self.ghosts.put(hash, frequency);
                self.nodes.free(id);
                return Some(victim);
            }
            put_off += 1;
            self.nodes.get_mut(id).frequency = frequency.saturating_add(uses).min(MAX_FREQUENCY);
            self.append(id, bytes);
        }
    }

    /// The group and queue whose head's turn it is.
    fn next(&self) -> Option<(usize, usize)> {
        let [new, used] = &self.groups;
        let (n, u) = match (new.first(), used.first()) {
            (Some(n), Some(u)) => (n, u),
            (None, u) => return u.map(|u| (USED, u)),
            (n, None) => return n.map(|n| (NEW, n)),
        };
        let many_new = new.bytes * NEW_PART > new.bytes + used.bytes;
        let new_goes = if many_new { n <= u + WORTH_MORE } else { n + WORTH_LESS <= u };
        Some(if new_goes { (NEW, n) } else { (USED, u) })
    }

    fn micros_or_mean(&mut self, micros: u32) -> f32 {
        if micros == 0 {
            return self.mean.unwrap_or(1.0);
        }
        let micros = micros as f32;
        let mean = self.mean.unwrap_or(micros);
        self.mean = Some(mean + (micros - mean) / MEAN_OF);
        micros
    }

    /// Puts a node at the end of the queue of its value.
    fn append(&mut self, id: u32, bytes: u64) {
        let node = self.nodes.get_mut(id);
        let group = &mut self.groups[group_of(node)];
        let value = (1.0 + USE * f32::from(node.frequency)) * node.worth;
        let queue = (value.log2().round() + MIDDLE).clamp(0.0, QUEUES as f32 - 1.0) as usize;
        let last = &mut group.queues[queue];
        node.queue = queue as u8;
        node.inflation = group.inflation;
        node.prev = last.tail;
        node.next = NONE;
        if last.tail == NONE {
            last.head = id;
            last.due = group.inflation + value_of(queue);
            group.filled |= 1 << queue;
        } else {
            self.nodes.get_mut(last.tail).next = id;
        }
        last.tail = id;
        group.bytes += bytes;
    }

    fn unlink(&mut self, id: u32, bytes: u64) {
        let node = *self.nodes.get(id);
        let group = &mut self.groups[group_of(&node)];
        let queue = &mut group.queues[usize::from(node.queue)];
        if node.next == NONE {
            queue.tail = node.prev;
        } else {
            self.nodes.get_mut(node.next).prev = node.prev;
        }
        if node.prev != NONE {
            self.nodes.get_mut(node.prev).next = node.next;
        } else {
            queue.head = node.next;
            if node.next == NONE {
                group.filled &= !(1 << node.queue);
            } else {
                let first = self.nodes.get(node.next);
                queue.due = first.inflation + value_of(usize::from(node.queue));
            }
        }
        group.bytes -= bytes;
    }
}

impl Group {
    fn new() -> Group {
        let empty = Queue { head: NONE, tail: NONE, due: 0.0 };
        Group { queues: [empty; QUEUES], filled: 0, inflation: 0.0, bytes: 0 }
    }

    /// The queue whose head is due first.
    fn first(&self) -> Option<usize> {
        let filled = (0..QUEUES).filter(|q| self.filled & (1 << q) != 0);
        filled.min_by(|a, b| self.queues[*a].due.total_cmp(&self.queues[*b].due))
    }
}

fn group_of(node: &Node) -> usize {
    if node.frequency == 0 { NEW } else { USED }
}

/// The value that all of a queue have.
fn value_of(queue: usize) -> f64 {
    (queue as f64 - f64::from(MIDDLE)).exp2()
}

#[cfg(test)]
mod tests;
