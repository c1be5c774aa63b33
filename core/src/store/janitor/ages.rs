//! Bytes by how long ago they were used: finds what must go without knowing every file.

use crate::clock::Time;
use crate::lifetime::Lifetime;

/// Steps of a doubling of the age: younger than this many seconds a bin is a second, older 1/256 of the age or less.
const STEPS: u64 = 256;
const STEP_BITS: u32 = STEPS.ilog2();
/// Of the oldest age that a time can have.
const BINS: usize = bin_of_secs(u64::MAX / NANOS) + 1;
const NANOS: u64 = 1_000_000_000;
/// Further in the future, a use was noted by a clock that was wrong.
const AHEAD: Lifetime = Lifetime::from_secs(24 * 3600);

/// The histogram; 57 KB however many files there are.
pub(super) struct Ages {
    now: Time,
    bytes: Box<[u64]>,
}

impl Ages {
    /// Ages as of `now`.
    pub(super) fn new(now: Time) -> Ages {
        Ages { now, bytes: vec![0; BINS].into() }
    }

    pub(super) fn add(&mut self, used: Time, bytes: u64) {
        self.bytes[bin(self.now, used)] += bytes;
    }

    /// What must go so that `bytes` do, the oldest first.
    pub(super) fn cutoff(&self, bytes: u64) -> Cutoff {
        let mut left = bytes;
        for (bin, &held) in self.bytes.iter().enumerate().rev() {
            if held >= left {
                return Cutoff { now: self.now, bin, of_bin: left };
            }
            left -= held;
        }
        Cutoff { now: self.now, bin: 0, of_bin: bytes }
    }
}

/// Where the files that go begin.
pub(super) struct Cutoff {
    now: Time,
    bin: usize,
    /// Bytes of this bin that go; of older ones all do.
    of_bin: u64,
}

impl Cutoff {
    /// Whether a file of `bytes` goes.
    pub(super) fn takes(&mut self, used: Time, bytes: u64) -> bool {
        let bin = bin(self.now, used);
        if bin == self.bin && self.of_bin > 0 {
            self.of_bin = self.of_bin.saturating_sub(bytes);
            return true;
        }
        bin > self.bin
    }
}

fn bin(now: Time, used: Time) -> usize {
    let ahead = used.since(now);
    // A clock set back by an hour, or a use since the pass began, is no age; one ahead by years goes before what was used.
    let age = if ahead > AHEAD { ahead } else { now.since(used) };
    bin_of_secs(age.nanos().unwrap_or(u64::MAX) / NANOS)
}

const fn bin_of_secs(secs: u64) -> usize {
    if secs < STEPS {
        return secs as usize;
    }
    let doublings = secs.ilog2() - STEP_BITS;
    (STEPS * doublings as u64 + (secs >> doublings)) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn t(secs: u64) -> Time {
        Time::from_nanos(secs * NANOS)
    }

    #[test]
    fn bins_are_in_order_and_there_for_every_age() {
        let mut last = 0;
        for secs in (0..5000).chain((13..34).map(|n| 1 << n)) {
            let bin = bin_of_secs(secs);
            assert!(bin == last || bin == last + 1 || secs >= 5000 && bin > last, "{secs}");
            last = bin;
        }
        assert_eq!((bin_of_secs(255), bin_of_secs(256), bin_of_secs(512)), (255, 256, 512));
        assert!(bin_of_secs(u64::MAX / NANOS) == BINS - 1 && BINS * 8 < 60_000, "{BINS}");
        // The ends of time are ages like others.
        for (now, used) in [(0, u64::MAX), (u64::MAX, 0), (0, 0), (u64::MAX, u64::MAX)] {
            assert!(bin(Time::from_nanos(now), Time::from_nanos(used)) < BINS);
        }
    }

    #[test]
    fn the_oldest_go_first_and_no_more_than_must() {
        let mut ages = Ages::new(t(NOW));
        for secs in 0..100 {
            ages.add(t(NOW - secs), 10);
        }
        let mut cutoff = ages.cutoff(95);
        let gone: Vec<u64> = (0..100).filter(|s| cutoff.takes(t(NOW - s), 10)).collect();
        assert_eq!(gone, (90..100).collect::<Vec<_>>());
        let mut cutoff = ages.cutoff(0);
        assert!((0..100).all(|s| !cutoff.takes(t(NOW - s), 10)));
        let mut cutoff = ages.cutoff(10_000);
        assert!((0..100).all(|s| cutoff.takes(t(NOW - s), 10)));
    }

    #[test]
    fn of_a_bin_only_so_much_goes() {
        let mut ages = Ages::new(t(NOW));
        for _ in 0..100 {
            ages.add(t(NOW - 7), 10);
        }
        let mut cutoff = ages.cutoff(250);
        assert_eq!((0..100).filter(|_| cutoff.takes(t(NOW - 7), 10)).count(), 25);
    }

    #[test]
    fn a_clock_set_back_keeps_and_one_gone_wild_does_not() {
        let used_in = |ahead| bin(t(NOW), t(NOW + ahead));
        assert_eq!(used_in(3600), 0);
        assert_eq!(used_in(24 * 3600), 0);
        assert!(used_in(10 * 365 * 24 * 3600) > bin(t(NOW), t(NOW - 365 * 24 * 3600)));
    }

    proptest! {
        #[test]
        fn older_is_never_in_a_younger_bin(a in 0..NOW, b in 0..NOW) {
            let (young, old) = (a.min(b), a.max(b));
            prop_assert!(bin(t(NOW), t(NOW - young)) <= bin(t(NOW), t(NOW - old)));
        }

        #[test]
        fn what_goes_is_enough(files in prop::collection::vec((0..100_000u64, 1..50u64), 1..50), part in 0..=100u64) {
            let mut ages = Ages::new(t(NOW));
            files.iter().for_each(|(age, bytes)| ages.add(t(NOW - age), *bytes));
            let all: u64 = files.iter().map(|f| f.1).sum();
            let wanted = all * part / 100;
            let mut cutoff = ages.cutoff(wanted);
            let gone: u64 =
                files.iter().filter(|(age, bytes)| cutoff.takes(t(NOW - age), *bytes)).map(|f| f.1).sum();
            prop_assert!(gone >= wanted && gone < wanted + 50);
        }
    }
}
