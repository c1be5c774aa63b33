//! Tags: one node each, which pages and data entries point to.

use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashMap;
use triomphe::ThinArc;

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

/// The allocator's and the counter's part of a list of tags.
const LIST_COST: usize = 32;

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

/// The tags of an entry, each once. The pages of a route that add none of their own share one list.
#[derive(Clone, Default)]
pub(crate) struct Tags(Option<ThinArc<(), Arc<Tag>>>);

impl Tags {
    /// Keeps the first of equal tags.
    pub(crate) fn of(tags: impl Iterator<Item = Arc<Tag>>) -> Tags {
        let mut list: Vec<Arc<Tag>> = Vec::new();
        for tag in tags {
            if !list.iter().any(|t| Arc::ptr_eq(t, &tag)) {
                list.push(tag);
            }
        }
        Tags((!list.is_empty()).then(|| ThinArc::from_header_and_iter((), list.into_iter())))
    }

    /// These with more of them; the same list where all are in it.
    pub(crate) fn and(&self, more: impl Iterator<Item = Arc<Tag>>) -> Tags {
        let all = Tags::of(self.iter().cloned().chain(more));
        if all.len() == self.len() { self.clone() } else { all }
    }

    /// The other list, where that has the same tags.
    pub(crate) fn or_equal(self, other: &Tags) -> Tags {
        if self.iter().map(Arc::as_ptr).eq(other.iter().map(Arc::as_ptr)) {
            return other.clone();
        }
        self
    }

    /// Whether both are one list.
    pub(crate) fn is_same(&self, other: &Tags) -> bool {
        let address = |tags: &Tags| tags.0.as_ref().map(ThinArc::as_ptr);
        address(self) == address(other)
    }

    /// Bytes that an entry adds by having them.
    pub(crate) fn cost(&self) -> usize {
        match &self.0 {
            Some(list) if ThinArc::strong_count(list) == 1 => {
                LIST_COST + self.iter().map(Tag::cost).sum::<usize>()
            }
            // The route's own, or none.
            _ => 0,
        }
    }
}

impl std::ops::Deref for Tags {
    type Target = [Arc<Tag>];

    fn deref(&self) -> &[Arc<Tag>] {
        self.0.as_ref().map_or(&[], |list| &list.slice)
    }
}

impl std::fmt::Debug for Tags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|t| t.name())).finish()
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
