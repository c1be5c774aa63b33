//! What is known of the invalidations of one path, layout, route or tag. Pure.

use crate::clock::Time;

/// Hard stamps, and soft ones, kept apart; beyond, the two oldest are merged.
const MAX_STAMPS: usize = 4;
/// Soft invalidations that become hard later, kept apart.
const MAX_PENDING: usize = 8;

/// One invalidation, or a run of them merged into one that is at least as strong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    first: u64,
    last: u64,
    at: Time,
}

/// Stamps, newest last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Stamps(Vec<Stamp>);

impl Stamps {
    fn push(&mut self, stamp: Stamp) {
        let list = &mut self.0;
        if list.contains(&stamp) {
            return;
        }
        let at = list.partition_point(|s| s.last <= stamp.last);
        list.insert(at, stamp);
        if list.len() > MAX_STAMPS {
            let old = list.remove(0);
            let next = &mut list[0];
            next.first = next.first.min(old.first);
            next.at = next.at.min(old.at);
        }
    }

    fn newest(&self) -> u64 {
        self.0.last().map_or(0, |s| s.last)
    }

    /// Whether one lies after `started` and not after `asked`.
    fn has_between(&self, started: u64, asked: u64) -> bool {
        self.0.iter().any(|s| s.last > started && s.first <= asked)
    }
}

/// A soft invalidation that is hard after its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pending {
    epoch: u64,
    deadline: Time,
}

/// The invalidations of one subject, newest last. A weaker or earlier call never undoes a stronger or later one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    hard: Stamps,
    soft: Stamps,
    pending: Vec<Pending>,
    removed: u64,
}

impl Record {
    pub(crate) fn add_hard(&mut self, epoch: u64, at: Time) {
        self.hard.push(Stamp { first: epoch, last: epoch, at });
    }

    pub(crate) fn add_soft(&mut self, epoch: u64) {
        // Nobody asks since when an entry is stale.
        self.soft.push(Stamp { first: epoch, last: epoch, at: Time::from_nanos(0) });
    }

    /// Soft now, hard for entries older than `epoch` once `deadline` has passed.
    pub(crate) fn add_pending(&mut self, epoch: u64, deadline: Time) {
        self.add_soft(epoch);
        self.push_pending(Pending { epoch, deadline });
    }

    pub(crate) fn add_removed(&mut self, epoch: u64) {
        self.removed = self.removed.max(epoch);
    }

    /// Turns soft invalidations whose deadline has passed into hard ones.
    pub(crate) fn ripen(&mut self, now: Time) {
        while let Some(i) = self.pending.iter().position(|p| now > p.deadline) {
            let p = self.pending.swap_remove(i);
            self.hard.push(Stamp { first: p.epoch, last: p.epoch, at: p.deadline });
        }
    }

    /// The newest epoch of any kind.
    pub(crate) fn latest(&self) -> u64 {
        self.hard.newest().max(self.soft.newest()).max(self.removed)
    }

    /// When an entry that began at `started` was first hard-invalidated.
    pub(crate) fn hard_at(&self, started: u64) -> Option<Time> {
        self.hard.0.iter().filter(|s| s.last > started).map(|s| s.at).min()
    }

    /// Whether a hard invalidation lies after `started` and not after `asked`.
    pub(crate) fn hard_between(&self, started: u64, asked: u64) -> bool {
        self.hard.has_between(started, asked)
    }

    /// Whether a soft invalidation lies after `started` and not after `asked`.
    pub(crate) fn soft_between(&self, started: u64, asked: u64) -> bool {
        self.soft.has_between(started, asked)
    }

    /// The newest soft invalidation.
    pub(crate) fn soft(&self) -> u64 {
        self.soft.newest()
    }

    /// The newest hard invalidation.
    pub(crate) fn hard(&self) -> u64 {
        self.hard.newest()
    }

    /// The newest removal.
    pub(crate) fn removed(&self) -> u64 {
        self.removed
    }

    /// It as numbers, for the log of a directory.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> {
        let stamps = |s: &Stamps| {
            let each = s.0.clone().into_iter().flat_map(|s| [s.first, s.last, s.at.nanos()]);
            std::iter::once(s.0.len() as u64).chain(each)
        };
        let pending = self.pending.clone().into_iter().flat_map(|p| [p.epoch, p.deadline.nanos()]);
        stamps(&self.hard)
            .chain(stamps(&self.soft))
            .chain(std::iter::once(self.pending.len() as u64))
            .chain(pending)
            .chain(std::iter::once(self.removed))
    }

    /// From [`Record::numbers`]; none where they are not such.
    pub(crate) fn from_numbers(next: &mut impl FnMut() -> Option<u64>) -> Option<Record> {
        let mut record = Record::default();
        for stamps in [&mut record.hard, &mut record.soft] {
            for _ in 0..next()? {
                let (first, last, at) = (next()?, next()?, Time::from_nanos(next()?));
                stamps.push(Stamp { first, last, at });
            }
        }
        for _ in 0..next()? {
            record.push_pending(Pending { epoch: next()?, deadline: Time::from_nanos(next()?) });
        }
        record.removed = next()?;
        Some(record)
    }

    /// Takes over all of another record: the result is at least as strong as both.
    pub(crate) fn absorb(&mut self, other: &Record) {
        for s in &other.hard.0 {
            self.hard.push(*s);
        }
        for s in &other.soft.0 {
            self.soft.push(*s);
        }
        for p in &other.pending {
            self.push_pending(*p);
        }
        self.removed = self.removed.max(other.removed);
    }

    fn push_pending(&mut self, new: Pending) {
        if self.pending.iter().any(|p| p.epoch >= new.epoch && p.deadline <= new.deadline) {
            return;
        }
        self.pending.retain(|p| !(new.epoch >= p.epoch && new.deadline <= p.deadline));
        self.pending.push(new);
        if self.pending.len() > MAX_PENDING {
            self.pending.sort_by_key(|p| p.epoch);
            let old = self.pending.remove(0);
            let next = &mut self.pending[0];
            next.deadline = next.deadline.min(old.deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifetime::Lifetime;

    fn t(secs: u64) -> Time {
        Time::from_nanos(0).plus(Lifetime::from_secs(secs))
    }

    #[test]
    fn a_later_soft_call_never_undoes_a_hard_one() {
        let mut r = Record::default();
        r.add_hard(5, t(1));
        r.add_soft(6);
        r.add_pending(7, t(100));
        assert_eq!(r.hard_at(4), Some(t(1)));
        assert_eq!(r.hard_at(5), None);
        assert!(r.soft() > 6);
    }

    #[test]
    fn pending_is_hard_strictly_after_its_deadline_and_for_older_entries_only() {
        let mut r = Record::default();
        r.add_pending(5, t(10));
        r.ripen(t(10));
        assert_eq!(r.hard_at(4), None);
        r.ripen(Time::from_nanos(t(10).nanos() + 1));
        assert_eq!(r.hard_at(4), Some(t(10)));
        assert_eq!(r.hard_at(5), None);
    }

    #[test]
    fn an_earlier_deadline_of_an_older_call_is_kept_beside_a_newer_call() {
        let mut r = Record::default();
        r.add_pending(5, t(10));
        r.add_pending(6, t(100));
        r.ripen(t(11));
        assert_eq!(r.hard_at(4), Some(t(10)));
        assert_eq!(
            r.hard_at(5),
            None,
            "an entry begun after the first call waits for the second deadline"
        );
        r.ripen(t(101));
        assert_eq!(r.hard_at(5), Some(t(100)));
    }

    #[test]
    fn merging_never_weakens() {
        let mut full = Vec::new();
        let mut r = Record::default();
        for e in 1..=40 {
            r.add_hard(e * 10, t(e));
            r.add_pending(e * 10 + 1, t(1000 - e));
            full.push(e * 10);
        }
        for started in 0..450 {
            for asked in started..450 {
                let exact = full.iter().any(|&e| e > started && e <= asked);
                assert!(!exact || r.hard_between(started, asked), "{started} {asked}");
            }
            assert_eq!(r.hard_at(started).is_some(), started < 400);
        }
        r.ripen(t(2000));
        for started in 0..401 {
            assert!(r.hard_at(started).is_some(), "{started}");
        }
    }

    #[test]
    fn a_soft_call_after_asking_does_not_hide_one_before() {
        let mut r = Record::default();
        r.add_soft(5);
        r.add_soft(9);
        assert!(r.soft_between(4, 7));
        assert!(!r.soft_between(6, 7));
        for e in 10..30 {
            r.add_soft(e);
        }
        assert!(r.soft_between(4, 7), "merged, not forgotten");
        assert!(!r.soft_between(29, 40));
    }

    #[test]
    fn the_earliest_recorded_reason_counts() {
        let mut r = Record::default();
        r.add_hard(5, t(1));
        r.add_hard(9, t(50));
        assert_eq!(r.hard_at(4), Some(t(1)));
        assert_eq!(r.hard_at(6), Some(t(50)));
    }
}
