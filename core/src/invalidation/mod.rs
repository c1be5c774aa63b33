//! Invalidations: epochs, and what each call covers (semantics, section 6).
//!
//! Cost does not grow with the number of entries: a call writes one record per name, and a page looks at its own names only
//! when something was invalidated since it was last found clean.

mod follow;
mod overflow;
mod paths;
mod record;
mod tags;
mod wire;

use std::sync::Arc;

use crate::clock::Time;
use crate::invalidation::follow::{Follower, Replay};
use crate::invalidation::overflow::Overflow;
use crate::invalidation::paths::{PathRecords, covering};
use crate::invalidation::record::Record;
use crate::invalidation::tags::TagTable;
use crate::invalidation::wire::{Call, Effect, Item};
use crate::store::log::push_frame;
use crate::store::{Opened, Store};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};
use crate::window::Windows;

pub(crate) use follow::newest_epoch;
pub(crate) use overflow::Subject;
pub(crate) use tags::{MAX_TAGS, Tag, Tags, check_tag};

/// An invalidation takes an epoch so far ahead, and epochs go on behind it only when everybody sees it. What begins meanwhile,
/// and may read an old data entry, is then older than it.
const AHEAD: u64 = 1024;

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
    /// Whether it was removed: as if it were not stored.
    pub(crate) removed: bool,
}

impl Verdict {
    /// Whether nothing has happened to it.
    pub(crate) fn is_clean(self) -> bool {
        self == Verdict::default()
    }
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
    /// Orders renders, loads and invalidations, where there is no directory that orders those of all processes.
    epoch: AtomicU64,
    /// The newest invalidation that is in the records.
    applied: AtomicU64,
    /// There are no others any more, and what they did was applied.
    alone: AtomicBool,
    /// Held while records are written, so that they are published in the order of their epochs, and read, so that those of
    /// one call are seen together.
    publish: RwLock<Option<Follower>>,
    store: Option<Arc<Store>>,
    records: Records,
    windows: Arc<Windows>,
}

/// All that is known.
struct Records {
    paths: PathRecords,
    tags: TagTable,
    overflow: Overflow,
    /// Whatever began before counts as removed: an invalidation could not be written or read.
    flushed: AtomicU64,
    /// Paths that other processes removed, for the memory.
    gone: Mutex<Vec<(String, u64)>>,
    has_gone: AtomicBool,
}

impl Records {
    fn new(max_records: usize, seed: u64) -> Records {
        Records {
            paths: PathRecords::new(max_records),
            tags: TagTable::new(max_records),
            overflow: Overflow::new(seed),
            flushed: AtomicU64::new(0),
            gone: Mutex::new(Vec::new()),
            has_gone: AtomicBool::new(false),
        }
    }

    fn flushed(&self) -> u64 {
        self.flushed.load(Ordering::SeqCst)
    }

    fn apply(&self, call: &Call<'_>) {
        for subject in &call.subjects {
            let write = |r: &mut Record| match call.effect {
                Effect::Invalidate(Strength::Hard) => r.add_hard(call.epoch, call.at),
                Effect::Invalidate(Strength::Soft) => r.add_soft(call.epoch),
                Effect::Invalidate(Strength::SoftUntil(deadline)) => {
                    r.add_pending(call.epoch, deadline);
                }
                Effect::Remove(upto) => r.add_removed(upto),
            };
            match subject {
                Subject::Tag(name) => self.tags.node(name, &self.overflow).write(write),
                _ => self.paths.write(*subject, &self.overflow, write),
            }
        }
    }
}

impl Replay for Records {
    fn replay(&self, item: Item<'_>) {
        match item {
            Item::Call(call) => {
                self.apply(&call);
                if let Effect::Remove(upto) = call.effect {
                    let paths = call.subjects.iter().map(|s| (s.name().to_string(), upto));
                    self.gone.lock().extend(paths);
                    self.has_gone.store(true, Ordering::SeqCst);
                }
            }
            Item::Record(Subject::Tag(name), record) => {
                self.tags.node(name, &self.overflow).write(|r| r.absorb(&record));
            }
            Item::Record(subject, record) => {
                self.paths.write(subject, &self.overflow, |r| r.absorb(&record));
            }
            Item::Merged(slot, record) => self.overflow.absorb_slot(slot, &record),
        }
    }

    fn flush(&self, epoch: u64) {
        self.flushed.fetch_max(epoch, Ordering::SeqCst);
    }

    fn snapshot(&self) -> Vec<u8> {
        let mut frames = Vec::new();
        let mut push = |item: Item<'_>| push_frame(&mut frames, &item.bytes());
        self.paths.each(|subject, r| push(Item::Record(subject, r.clone())));
        self.tags.each(|subject, r| push(Item::Record(subject, r.clone())));
        self.overflow.each_slot(|slot, r| push(Item::Merged(slot, r.clone())));
        frames
    }
}

impl Invalidations {
    /// Those of one process, or, with a directory, of all that share it. Without one, epochs go on after `inherited`: of what was
    /// invalidated until then nothing is known, so that what began before counts as removed. `windows` are
    /// told of each invalidation.
    pub(crate) fn new(
        max_records: usize,
        inherited: u64,
        opened: Option<Opened>,
        windows: Arc<Windows>,
    ) -> Invalidations {
        let store = opened.as_ref().map(|o| o.store.clone());
        let records = Records::new(max_records, store.as_ref().map_or(0, |s| s.seed()));
        let applied = opened.as_ref().map_or(inherited, |o| o.latest);
        if opened.is_none() {
            records.flush(inherited);
        }
        let follower = opened.map(|opened| Follower::new(opened, &records));
        Invalidations {
            epoch: AtomicU64::new(inherited),
            applied: AtomicU64::new(applied),
            alone: AtomicBool::new(false),
            publish: RwLock::new(follower),
            store,
            records,
            windows,
        }
    }

    /// A new epoch, later than every invalidation that has returned.
    pub(crate) fn next_epoch(&self) -> u64 {
        let Some(store) = &self.store else {
            return self.epoch.fetch_add(1, Ordering::SeqCst) + 1;
        };
        let (epoch, reserve) = store.next_epoch();
        if reserve && let Some(follower) = &mut *self.publish.write() {
            follower.reserve(&self.records);
        }
        epoch
    }

    /// The present epoch: invalidations that have returned are not later.
    pub(crate) fn now(&self) -> u64 {
        match &self.store {
            Some(store) => store.epoch(),
            None => self.epoch.load(Ordering::SeqCst),
        }
    }

    /// The newest published invalidation: an entry found clean at this value needs no second look until it grows.
    #[inline]
    pub(crate) fn latest(&self) -> u64 {
        let applied = self.applied.load(Ordering::Acquire);
        match &self.store {
            Some(store) if store.latest() != applied || store.is_alone() => self.catch_up(store),
            _ => applied,
        }
    }

    /// Other processes have invalidated something.
    #[cold]
    fn catch_up(&self, store: &Store) -> u64 {
        if self.alone.load(Ordering::Acquire) {
            return self.applied.load(Ordering::Acquire);
        }
        let mut follower = self.publish.write();
        let applied = self.applied.load(Ordering::Acquire);
        let latest = store.latest();
        if store.has_lost_words(applied) {
            if let Some(follower) = &mut *follower {
                follower.catch_up_alone(&self.records);
            }
            let (epoch, _) = store.next_epoch();
            self.applied.store(epoch, Ordering::Release);
            self.alone.store(true, Ordering::Release);
            return epoch;
        }
        if latest == applied {
            return applied;
        }
        if let Some(follower) = &mut *follower {
            follower.catch_up(latest, &self.records);
        }
        // Whoever told of it may have died before he went on to it.
        store.reach(latest);
        self.applied.store(latest, Ordering::Release);
        latest
    }

    /// The paths that other processes have removed, and the epochs of that.
    pub(crate) fn take_gone(&self) -> Vec<(String, u64)> {
        if !self.records.has_gone.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut gone = self.records.gone.lock();
        self.records.has_gone.store(false, Ordering::SeqCst);
        std::mem::take(&mut *gone)
    }

    /// Whatever began before counts as removed, also by what other processes have just told of.
    fn flushed(&self) -> u64 {
        self.latest();
        self.records.flushed()
    }

    /// The node of a tag whose form was checked.
    pub(crate) fn tag(&self, name: &str) -> Arc<Tag> {
        self.records.tags.node(name, &self.records.overflow)
    }

    /// What has happened to an entry that began at `started`.
    pub(crate) fn verdict(&self, names: Names<'_>, started: u64, now: Time) -> Verdict {
        let mut v = Verdict { removed: self.flushed() > started, ..Verdict::default() };
        self.each(names, Some(started), now, |r| {
            v.hard_at = match (v.hard_at, r.hard_at(started)) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            v.soft |= r.soft() > started;
            v.removed |= r.removed() > started;
        });
        v
    }

    /// The newest invalidation of any kind that names this entry.
    pub(crate) fn latest_of(&self, names: Names<'_>, now: Time) -> u64 {
        let mut latest = self.flushed();
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
        let flushed = self.flushed();
        let mut found = flushed > started && flushed <= asked;
        self.each(names, Some(started), now, |r| {
            found |= r.hard_between(started, asked) || (soft_too && r.soft_between(started, asked));
        });
        found
    }

    /// Whether a path was removed after `started`.
    pub(crate) fn removed_after(&self, path: &str, started: u64) -> bool {
        self.latest() > started && self.removed(path) > started
    }

    /// What of a path began before this epoch was removed; zero: nothing.
    pub(crate) fn removed(&self, path: &str) -> u64 {
        let mut removed = self.flushed();
        self.records.paths.read_covering(path, "/", |r| removed = removed.max(r.removed()));
        if self.records.overflow.latest() > 0 {
            let merged = self.records.overflow.read(Subject::Page(path), |r| r.removed());
            removed = removed.max(merged.unwrap_or(0));
        }
        removed
    }

    /// The newest path call that covers a page: renders treat data entries that began before it as missing.
    pub(crate) fn data_floor(&self, path: &str, identity: &str, now: Time) -> u64 {
        let mut floor = self.flushed();
        let names = Names { place: Some((path, identity)), tags: &[] };
        self.each(names, None, now, |r| floor = floor.max(r.hard()));
        floor
    }

    /// Invalidates pages by place, all together.
    pub(crate) fn invalidate_places(&self, subjects: &[Subject<'_>], now: Time) {
        self.publish(now, subjects.to_vec(), |_| Effect::Invalidate(Strength::Hard));
    }

    /// Invalidates by tags whose form was checked, all together.
    pub(crate) fn invalidate_tags(&self, tags: &[&str], strength: Strength, now: Time) {
        let subjects = tags.iter().map(|t| Subject::Tag(t)).collect();
        self.publish(now, subjects, |_| Effect::Invalidate(strength));
    }

    /// Removes pages that began before now (or before `upto`), all together. The epoch of the removal.
    pub(crate) fn remove_pages(&self, paths: &[&str], upto: Option<u64>, now: Time) -> u64 {
        let subjects = paths.iter().map(|p| Subject::Page(p)).collect();
        let epoch = self.publish(now, subjects, |epoch| Effect::Remove(upto.unwrap_or(epoch)));
        upto.unwrap_or(epoch)
    }

    /// Nobody invalidates any more.
    pub(crate) fn close(&self) {
        if let Some(follower) = &mut *self.publish.write() {
            follower.close(&self.records);
        }
    }

    fn publish(&self, at: Time, subjects: Vec<Subject<'_>>, effect: impl Fn(u64) -> Effect) -> u64 {
        let mut follower = self.publish.write();
        let mut call = Call { epoch: 0, at, effect: effect(0), subjects };
        match &mut *follower {
            Some(follower) => {
                follower.write(&self.records, |epoch| {
                    call.epoch = epoch;
                    call.effect = effect(epoch);
                    Item::Call(call.clone()).bytes()
                });
                self.records.apply(&call);
                self.applied.store(call.epoch, Ordering::Release);
            }
            None => loop {
                call.epoch = self.now() + AHEAD;
                call.effect = effect(call.epoch);
                self.records.apply(&call);
                self.applied.store(call.epoch, Ordering::Release);
                if self.epoch.fetch_max(call.epoch, Ordering::SeqCst) < call.epoch {
                    break;
                }
            },
        }
        self.windows.change();
        call.epoch
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
            self.records.paths.read_covering(path, identity, &mut f);
        }
        if self.records.overflow.latest() > floor {
            let places = names.place.map(|(p, i)| covering(p, i)).into_iter().flatten();
            for s in names.tags.iter().map(|t| Subject::Tag(t.name())).chain(places) {
                self.records.overflow.read(s, |r| {
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
        let inv = Invalidations::new(100, 0, None, Arc::default());
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
        let inv = Invalidations::new(16, 0, None, Arc::default());
        let started = inv.next_epoch();
        let names: Vec<String> = (0..5000).map(|i| format!("/p/{i}")).collect();
        for n in &names {
            inv.invalidate_tags(&[n], Strength::Hard, t(1));
            inv.invalidate_places(&[Subject::Page(n)], t(1));
            inv.remove_pages(&[n], None, t(1));
        }
        assert!(inv.records.tags.len() < 3000, "{}", inv.records.tags.len());
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
