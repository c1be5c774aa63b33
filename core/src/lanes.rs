//! A lane for each thread: words that it alone writes, for what it counts and where it says that it reads.
//!
//! A lane belongs to one thread of the process until that ends. Threads that find none free have none, and go a slower way.

use std::cell::Cell;

use crate::fork;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::global;

/// Threads with a lane of their own.
pub(crate) const LANES: usize = 128;
const FREE: u32 = 0;

global! {
    /// To whom each lane belongs: one more than the process's generation. A fork frees the lanes of threads that it left behind.
    static OWNERS: [AtomicU32; LANES] = [const { AtomicU32::new(FREE) }; LANES];
}

/// A thread's lane, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lane(u32);

const NO_LANE: Lane = Lane(LANES as u32);

/// What a thread knows of its lane: the owner by which it took it.
#[derive(Clone, Copy)]
struct Mine {
    owner: u32,
    lane: Lane,
}

const NOTHING: Mine = Mine { owner: FREE, lane: NO_LANE };

crate::sync::thread_local! {
    static MINE: Cell<Mine> = const { Cell::new(NOTHING) };
    static LEAVES: Leaves = const { Leaves };
}

impl Lane {
    /// That of the calling thread.
    #[inline]
    pub(crate) fn mine() -> Lane {
        let owner = owner();
        match MINE.try_with(Cell::get) {
            Ok(mine) if mine.owner == owner => mine.lane,
            Ok(_) => take(owner),
            // The thread ends.
            Err(_) => NO_LANE,
        }
    }

    /// As of a thread that has none.
    #[cfg(feature = "shuttle")]
    #[allow(dead_code, reason = "for tests/shuttle, which takes this file on its own")]
    pub(crate) fn none() -> Lane {
        NO_LANE
    }

    /// Its word among those of all lanes.
    #[inline]
    pub(crate) fn of<T>(self, all: &[T; LANES]) -> Option<&T> {
        all.get(self.0 as usize)
    }
}

fn owner() -> u32 {
    fork::generation() + 1
}

#[cold]
fn take(owner: u32) -> Lane {
    // Gives it back when the thread ends, which it may do already.
    if LEAVES.try_with(|_| ()).is_err() {
        return NO_LANE;
    }
    let is_free = |known: u32| (known != owner).then_some(owner);
    let lane = OWNERS
        .iter()
        .position(|lane| lane.fetch_update(Ordering::Acquire, Ordering::Relaxed, is_free).is_ok());
    let lane = Lane(lane.unwrap_or(LANES) as u32);
    let _ = MINE.try_with(|mine| mine.set(Mine { owner, lane }));
    lane
}

struct Leaves;

impl Drop for Leaves {
    fn drop(&mut self) {
        let mine = MINE.try_with(|m| m.replace(NOTHING)).unwrap_or(NOTHING);
        if let Some(known) = mine.lane.of(&OWNERS) {
            // In a child it may be another thread's.
            let _ = known.compare_exchange(mine.owner, FREE, Ordering::Release, Ordering::Relaxed);
        }
    }
}

/// A counter that its threads raise without sharing a cache line.
pub(crate) struct LaneCounter {
    lanes: Box<[Padded; LANES]>,
    others: AtomicU64,
}

/// Two lines: processors fetch them in pairs.
#[repr(align(128))]
struct Padded(AtomicU64);

impl Default for LaneCounter {
    fn default() -> LaneCounter {
        LaneCounter {
            lanes: Box::new([const { Padded(AtomicU64::new(0)) }; LANES]),
            others: AtomicU64::new(0),
        }
    }
}

impl LaneCounter {
    #[inline]
    pub(crate) fn add(&self, lane: Lane) {
        match lane.of(&self.lanes) {
            // Nobody else writes it.
            Some(Padded(count)) => {
                count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            }
            None => {
                self.others.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn read(&self) -> u64 {
        let lanes: u64 = self.lanes.iter().map(|lane| lane.0.load(Ordering::Relaxed)).sum();
        lanes + self.others.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(feature = "shuttle")))]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn threads_that_run_together_share_no_lane_and_lanes_are_used_again() {
        let count = LaneCounter::default();
        for _ in 0..3 {
            let (all, threads) = (Barrier::new(LANES + 20), LANES + 20);
            let mut lanes: Vec<u32> = std::thread::scope(|s| {
                let run = || {
                    let lane = Lane::mine();
                    assert_eq!(lane, Lane::mine());
                    all.wait();
                    count.add(lane);
                    lane.0
                };
                let running: Vec<_> = (0..threads).map(|_| s.spawn(run)).collect();
                running.into_iter().map(|t| t.join().unwrap()).collect()
            });
            lanes.retain(|lane| *lane != NO_LANE.0);
            let found = lanes.len();
            lanes.sort_unstable();
            lanes.dedup();
            // Threads of other tests have some.
            assert_eq!(lanes.len(), found);
            assert!(found > LANES / 2, "{found}");
        }
        assert_eq!(count.read(), 3 * (LANES as u64 + 20));
    }
}
