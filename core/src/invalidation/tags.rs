//! Tags: one node each, which pages and data entries point to.

use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashMap;

use crate::error::{Error, ErrorKind};
use crate::invalidation::overflow::{Overflow, Subject};
use crate::invalidation::record::Record;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};

/// Most tags of one page or data entry (semantics, section 6).
pub(crate) const MAX_TAGS: usize = 128;
const MAX_TAG_BYTES: usize = 256;
/// Nodes that may lie about unused before they are swept.
const SLACK: usize = 1024;
/// A node with its place in the table; its name is there twice.
const NODE_COST: usize = size_of::<Tag>() + 64;

/// A tag and its invalidations.
#[derive(Debug)]
pub(crate) struct Tag {
    name: Box<str>,
    /// The newest epoch in the record: readers look at the record only where it is later than their page.
    latest: AtomicU64,
    record: Mutex<Record>,
}

impl Tag {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Bytes that an entry adds by having this tag: the whole node where no other entry has it.
    pub(crate) fn cost(self: &Arc<Self>) -> usize {
        // The table's own and this one.
        let alone = Arc::strong_count(self) <= 2;
        size_of::<Arc<Tag>>() + if alone { NODE_COST + 2 * self.name.len() } else { 0 }
    }

    pub(crate) fn latest(&self) -> u64 {
        self.latest.load(Ordering::Acquire)
    }

    pub(crate) fn read<R>(&self, f: impl FnOnce(&mut Record) -> R) -> R {
        f(&mut self.record.lock())
    }

    pub(crate) fn write(&self, f: impl FnOnce(&mut Record)) {
        let mut record = self.record.lock();
        f(&mut record);
        self.latest.store(record.latest(), Ordering::Release);
    }
}

/// Checks a tag's form.
pub(crate) fn check_tag(tag: &str) -> Result<(), Error> {
    let wrong = |rule: &str| {
        let shown: String = tag.chars().take(64).collect();
        Err(Error::new(ErrorKind::InvalidTag, format!("a tag {rule}; got {shown:?}")))
    };
    if tag.is_empty() {
        return wrong("must not be empty");
    }
    if tag.len() > MAX_TAG_BYTES {
        return wrong(&format!("has at most {MAX_TAG_BYTES} bytes, not {}", tag.len()));
    }
    if tag.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return wrong("must not have control bytes");
    }
    Ok(())
}

/// All tags that a stored entry has or that were invalidated.
pub(crate) struct TagTable {
    nodes: RwLock<Nodes>,
    max_records: usize,
}

struct Nodes {
    by_name: HashMap<Box<str>, Arc<Tag>, RandomState>,
    sweep_at: usize,
}

impl TagTable {
    pub(crate) fn new(max_records: usize) -> TagTable {
        TagTable {
            nodes: RwLock::new(Nodes {
                by_name: HashMap::with_hasher(RandomState::new()),
                sweep_at: max_records.saturating_add(SLACK),
            }),
            max_records,
        }
    }

    /// The node of a tag whose form is right.
    pub(crate) fn node(&self, name: &str, overflow: &Overflow) -> Arc<Tag> {
        if let Some(tag) = self.nodes.read().by_name.get(name) {
            return tag.clone();
        }
        let mut nodes = self.nodes.write();
        if nodes.by_name.len() >= nodes.sweep_at {
            self.sweep(&mut nodes, overflow);
        }
        nodes
            .by_name
            .entry(name.into())
            .or_insert_with(|| {
                Arc::new(Tag {
                    name: name.into(),
                    latest: AtomicU64::new(0),
                    record: Mutex::new(Record::default()),
                })
            })
            .clone()
    }

    /// Calls `f` with each record of a tag that was invalidated.
    pub(crate) fn each(&self, mut f: impl FnMut(Subject<'_>, &Record)) {
        for tag in self.nodes.read().by_name.values().filter(|t| t.latest() > 0) {
            tag.read(|record| f(Subject::Tag(tag.name()), record));
        }
    }

    /// Drops nodes that nothing points to; of those with a record, the newest `max_records` stay and the others are merged.
    fn sweep(&self, nodes: &mut Nodes, overflow: &Overflow) {
        nodes.by_name.retain(|_, tag| Arc::strong_count(tag) > 1 || tag.latest() > 0);
        let mut unused: Vec<u64> = nodes
            .by_name
            .values()
            .filter(|tag| Arc::strong_count(tag) == 1)
            .map(|tag| tag.latest())
            .collect();
        if unused.len() > self.max_records {
            unused.sort_unstable();
            // Half of them at a time, so that the next sweep is far away.
            let newest_merged = unused[unused.len() - self.max_records / 2 - 1];
            nodes.by_name.retain(|name, tag| {
                let merged = Arc::strong_count(tag) == 1 && tag.latest() <= newest_merged;
                if merged {
                    tag.read(|record| overflow.absorb(Subject::Tag(name), record));
                }
                !merged
            });
        }
        nodes.sweep_at = nodes.by_name.len() + self.max_records.max(SLACK);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.nodes.read().by_name.len()
    }
}
