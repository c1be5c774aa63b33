//! Who reads: so that a writer learns when nobody looks any more at what he has taken out.
//!
//! A reader says in his lane that he is inside, with plain stores. Before a writer looks at the lanes he makes every processor
//! finish what it has begun (membarrier(2)), so that readers need no fence of their own; where the system has no such call,
//! they have one.

use crate::lanes::{LANES, Lane};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use crate::sync::{ReadGuard, RwLock, barrier};

pub(crate) struct Readers {
    /// Odd while its thread is inside.
    passes: Box<[Passes; LANES]>,
    /// For threads without a lane.
    crowd: RwLock<()>,
    is_crowded: AtomicBool,
    barrier: barrier::Kind,
}

#[repr(align(128))]
struct Passes(AtomicU64);

/// As long as this lives, nothing is dropped that could be found when it was made.
pub(crate) enum Reading<'a> {
    Lane(&'a AtomicU64),
    /// Within another one of the same thread.
    Nested,
    Crowd(#[allow(dead_code, reason = "held")] ReadGuard<'a, ()>),
}

impl Drop for Reading<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Reading::Lane(passes) = self {
            passes.store(passes.load(Ordering::Relaxed) + 1, Ordering::Release);
        }
    }
}

/// Those who were inside at one moment.
pub(crate) struct Inside(Vec<(usize, u64)>);

impl Readers {
    pub(crate) fn new() -> Readers {
        Readers {
            passes: Box::new([const { Passes(AtomicU64::new(0)) }; LANES]),
            crowd: RwLock::new(()),
            is_crowded: AtomicBool::new(false),
            barrier: barrier::Kind::of_system(),
        }
    }

    /// A thread without a lane must not be inside already.
    #[inline]
    pub(crate) fn enter(&self, lane: Lane) -> Reading<'_> {
        match lane.of(&self.passes) {
            Some(Passes(passes)) => {
                let before = passes.load(Ordering::Relaxed);
                if before % 2 == 1 {
                    return Reading::Nested;
                }
                passes.store(before + 1, Ordering::Relaxed);
                barrier::light(self.barrier);
                Reading::Lane(passes)
            }
            None => self.enter_crowd(),
        }
    }

    #[cold]
    fn enter_crowd(&self) -> Reading<'_> {
        self.is_crowded.store(true, Ordering::SeqCst);
        let crowd = self.crowd.read();
        fence(Ordering::SeqCst);
        Reading::Crowd(crowd)
    }

    /// Who is inside now: what was taken out before can be found by nobody else. None where that cannot be told.
    pub(crate) fn inside(&self) -> Option<Inside> {
        if !barrier::heavy(self.barrier) {
            return None;
        }
        let odd = |(lane, passes): (usize, &Passes)| {
            let now = passes.0.load(Ordering::Acquire);
            (now % 2 == 1).then_some((lane, now))
        };
        let inside = self.passes.iter().enumerate().filter_map(odd).collect();
        if self.is_crowded.load(Ordering::SeqCst) {
            // They stay for as long as one look takes.
            drop(self.crowd.write());
        }
        Some(Inside(inside))
    }

    /// Whether all of these have left since.
    pub(crate) fn have_left(&self, inside: &mut Inside) -> bool {
        inside.0.retain(|(lane, then)| self.passes[*lane].0.load(Ordering::Acquire) == *then);
        inside.0.is_empty()
    }
}
