//! Invalidations: epochs, and what each call covers (semantics, section 6).
//!
//! Cost does not grow with the number of entries: a call writes one record per name, and a page looks at its own names only
//! when something was invalidated since it was last found clean.

mod overflow;
mod paths;
mod record;
mod tags;

use std::sync::Arc;

use crate::clock::Time;
use crate::invalidation::overflow::Overflow;
use crate::invalidation::paths::{PathRecords, covering};
use crate::invalidation::record::Record;
use crate::invalidation::tags::TagTable;
use crate::sync::RwLock;
use crate::sync::atomic::{AtomicU64, Ordering};

pub(crate) use overflow::Subject;
pub(crate) use tags::{MAX_TAGS, Tag, check_tag};

/// What can invalidate an entry: where it lies (pages only), and its tags.
#[derive(Clone, Copy)]
pub(crate) struct Names<'a> {
    /// The canonical path and the identity of the route's pattern; none for data entries.
    pub(crate) place: Option<(&'a str, &'a str)>,
    pub(crate) tags: &'a [Arc<Tag>],
}

/// What has happened to an entry since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// When it was first hard-invalidated, by the earliest reason still recorded.
    pub(crate) hard_at: Option<Time>,
    /// Whether it was softly invalidated.
    pub(crate) soft: bool,
}

/// How a tag is invalidated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strength {
    Hard,
    Soft,
    /// Soft, and hard after this time.
    SoftUntil(Time),
}

pub(crate) struct Invalidations {
    /// Orders renders, loads and invalidations.
    epoch: AtomicU64,
    /// The newest invalidation that readers must know of.
    latest: AtomicU64,
    /// Held while records are written, so that they are published in the order of their epochs, and read, so that those of
    /// one call are seen together.
    publish: RwLock<()>,
    paths: PathRecords,
    tags: TagTable,
    overflow: Overflow,
}

impl Invalidations {
    /// Remembers so many one by one. Epochs go on after `epoch`.
    pub(crate) fn new(max_records: usize, epoch: u64) -> Invalidations {
        Invalidations {
            epoch: AtomicU64::new(epoch),
            latest: AtomicU64::new(0),
            publish: RwLock::new(()),
            paths: PathRecords::new(max_records),
            tags: TagTable::new(max_records),
            overflow: Overflow::new(),
        }
    }

    /// A new epoch, later than every invalidation that has returned.
    pub(crate) fn next_epoch(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The present epoch: invalidations that have returned are not later.
    pub(crate) fn now(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// The newest published invalidation: an entry found clean at this value needs no second look until it grows.
    pub(crate) fn latest(&self) -> u64 {
        self.latest.load(Ordering::Acquire)
    }

    /// The node of a tag whose form was checked.
    pub(crate) fn tag(&self, name: &str) -> Arc<Tag> {
        self.tags.node(name, &self.overflow)
    }

    /// What has happened to an entry that began at `started`.
    pub(crate) fn verdict(&self, names: Names<'_>, started: u64, now: Time) -> Verdict {
        let mut v = Verdict::default();
        self.each(names, Some(started), now, |r| {
            v.hard_at = match (v.hard_at, r.hard_at(started)) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            v.soft |= r.soft() > started;
        });
        v
    }

    /// The newest invalidation of any kind that names this entry.
    pub(crate) fn latest_of(&self, names: Names<'_>, now: Time) -> u64 {
        let mut latest = 0;
        self.each(names, None, now, |r| latest = latest.max(r.latest()));
        latest
    }

    /// Whether a hard invalidation (with `soft_too`: any) lies after `started` and not after `asked`.
    pub(crate) fn between(
        &self,
        names: Names<'_>,
        started: u64,
        asked: u64,
        soft_too: bool,
        now: Time,
    ) -> bool {
        let mut found = false;
        self.each(names, Some(started), now, |r| {
            found |= r.hard_between(started, asked) || (soft_too && r.soft_between(started, asked));
        });
        found
    }

    /// Whether a path was removed after `started`.
    pub(crate) fn removed_after(&self, path: &str, started: u64) -> bool {
        if self.latest() <= started {
            return false;
        }
        let mut removed = 0;
        self.paths.read_covering(path, "/", |r| removed = removed.max(r.removed()));
        if self.overflow.latest() > started {
            let merged = self.overflow.read(Subject::Page(path), |r| r.removed());
            removed = removed.max(merged.unwrap_or(0));
        }
        removed > started
    }

    /// The newest path call that covers a page: renders treat data entries that began before it as missing.
    pub(crate) fn data_floor(&self, path: &str, identity: &str, now: Time) -> u64 {
        let mut floor = 0;
        let names = Names { place: Some((path, identity)), tags: &[] };
        self.each(names, None, now, |r| floor = floor.max(r.hard()));
        floor
    }

    /// Invalidates pages by place, all together.
    pub(crate) fn invalidate_places(&self, subjects: &[Subject<'_>], now: Time) {
        self.publish(|epoch| {
            for s in subjects {
                self.paths.write(*s, &self.overflow, |r| r.add_hard(epoch, now));
            }
        });
    }

    /// Invalidates by tags whose form was checked, all together.
    pub(crate) fn invalidate_tags(&self, tags: &[&str], strength: Strength, now: Time) {
        self.publish(|epoch| {
            for name in tags {
                self.tag(name).write(|r| match strength {
                    Strength::Hard => r.add_hard(epoch, now),
                    Strength::Soft => r.add_soft(epoch),
                    Strength::SoftUntil(deadline) => r.add_pending(epoch, deadline),
                });
            }
        });
    }

    /// Removes pages that began before now (or at `upto` or before), all together. The epoch of the removal.
    pub(crate) fn remove_pages(&self, paths: &[&str], upto: Option<u64>) -> u64 {
        let mut removed = 0;
        self.publish(|epoch| {
            removed = upto.unwrap_or(epoch);
            for path in paths {
                self.paths.write(Subject::Page(path), &self.overflow, |r| r.add_removed(removed));
            }
        });
        removed
    }

    fn publish(&self, write: impl FnOnce(u64)) {
        let _order = self.publish.write();
        let epoch = self.next_epoch();
        write(epoch);
        self.latest.store(epoch, Ordering::Release);
    }

    /// Calls `f` with each record that names an entry. With `since`, records without anything later may be left out.
    fn each(&self, names: Names<'_>, since: Option<u64>, now: Time, mut f: impl FnMut(&Record)) {
        let floor = since.unwrap_or(0);
        if self.latest() <= floor {
            return;
        }
        let _whole = self.publish.read();
        for tag in names.tags.iter().filter(|t| t.latest() > floor) {
            tag.read(|r| {
                r.ripen(now);
                f(r);
            });
        }
        if let Some((path, identity)) = names.place {
            self.paths.read_covering(path, identity, &mut f);
        }
        if self.overflow.latest() > floor {
            let places = names.place.map(|(p, i)| covering(p, i)).into_iter().flatten();
            for s in names.tags.iter().map(|t| Subject::Tag(t.name())).chain(places) {
                self.overflow.read(s, |r| {
                    r.ripen(now);
                    f(r);
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(secs: u64) -> Time {
        Time::from_nanos(secs * 1_000_000_000)
    }

    #[test]
    fn a_page_is_touched_by_its_own_names_only() {
        let inv = Invalidations::new(100, 0);
        let tags = [inv.tag("a")];
        let names = Names { place: Some(("/b/1", "/b/[]")), tags: &tags };
        let started = inv.next_epoch();
        inv.invalidate_tags(&["x"], Strength::Hard, t(1));
        inv.invalidate_places(&[Subject::Page("/b"), Subject::PathLayout("/b/1/c")], t(1));
        let v = inv.verdict(names, started, t(1));
        assert_eq!((v.hard_at, v.soft), (None, false));
        inv.invalidate_places(&[Subject::PathLayout("/b")], t(2));
        assert_eq!(inv.verdict(names, started, t(3)).hard_at, Some(t(2)));
        assert_eq!(inv.verdict(names, inv.next_epoch(), t(3)).hard_at, None);
    }

    #[test]
    fn beyond_the_bound_no_invalidation_is_lost() {
        let inv = Invalidations::new(16, 0);
        let started = inv.next_epoch();
        let names: Vec<String> = (0..5000).map(|i| format!("/p/{i}")).collect();
        for n in &names {
            inv.invalidate_tags(&[n], Strength::Hard, t(1));
            inv.invalidate_places(&[Subject::Page(n)], t(1));
            inv.remove_pages(&[n], None);
        }
        assert!(inv.tags.len() < 3000, "{}", inv.tags.len());
        for n in &names {
            let tags = [inv.tag(n)];
            let by_tag = Names { place: None, tags: &tags };
            let by_path = Names { place: Some((n, "/p/[]")), tags: &[] };
            assert!(inv.verdict(by_tag, started, t(2)).hard_at.is_some(), "{n}");
            assert!(inv.verdict(by_path, started, t(2)).hard_at.is_some(), "{n}");
            assert!(inv.removed_after(n, started), "{n}");
        }
        let fresh = inv.next_epoch();
        let by_path = Names { place: Some(("/p/1", "/p/[]")), tags: &[] };
        assert_eq!(inv.verdict(by_path, fresh, t(2)).hard_at, None);
    }
}
