//! The nodes of the eviction queues: made in chunks, used again, linked by their numbers.

/// No node.
pub(crate) const NONE: u32 = u32::MAX;
/// So many are made at once.
const CHUNK: usize = 512;

/// An entry's place in the order. 32 bytes each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    /// The entry's hash.
    pub(crate) hash: u64,
    /// The inflation when it was queued.
    pub(crate) inflation: f64,
    /// Render time for each byte.
    pub(crate) worth: f32,
    pub(crate) prev: u32,
    pub(crate) next: u32,
    pub(crate) queue: u8,
    /// How often it was used, as far as that was counted.
    pub(crate) frequency: u8,
}

/// Nodes by their numbers. They never move, so that no insert waits for a copy of all.
pub(crate) struct Nodes {
    chunks: Vec<Box<[Node]>>,
    /// The first of those not in use, linked by `next`.
    free: u32,
}

impl Nodes {
    pub(crate) fn new() -> Nodes {
        Nodes { chunks: Vec::new(), free: NONE }
    }

    /// A node that is not linked yet.
    pub(crate) fn take(&mut self, hash: u64, worth: f32, frequency: u8) -> u32 {
        if self.free == NONE {
            self.grow();
        }
        let id = self.free;
        self.free = self.get(id).next;
        let (prev, next) = (NONE, NONE);
        *self.get_mut(id) = Node { hash, inflation: 0.0, worth, prev, next, queue: 0, frequency };
        id
    }

    /// Gives a node back that is not linked any more.
    pub(crate) fn free(&mut self, id: u32) {
        self.get_mut(id).next = self.free;
        self.free = id;
    }

    pub(crate) fn get(&self, id: u32) -> &Node {
        &self.chunks[id as usize / CHUNK][id as usize % CHUNK]
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> &mut Node {
        &mut self.chunks[id as usize / CHUNK][id as usize % CHUNK]
    }

    fn grow(&mut self) {
        let first = (self.chunks.len() * CHUNK) as u32;
        let free = |n: u32| Node {
            hash: 0,
            inflation: 0.0,
            worth: 0.0,
            prev: NONE,
            next: if n + 1 < CHUNK as u32 { first + n + 1 } else { NONE },
            queue: 0,
            frequency: 0,
        };
        self.chunks.push((0..CHUNK as u32).map(free).collect());
        self.free = first;
    }
}
