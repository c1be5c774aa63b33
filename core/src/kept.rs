//! A page kept by the one who was answered with it, so that the same question needs no look-up.

use crate::answer::{Answer, CacheWord};
use crate::cache::Cache;
use crate::clock::Time;
use crate::engine::Engine;
use crate::fork;
use crate::http::same_head_until;
use crate::lifetime::Lifetime;
use crate::page::Page;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::window::Window;

/// The page of a hit, kept by a door under the request target that it answered. It keeps the page in memory, also beyond
/// `max_bytes`: keep few, and let go of those that answer no more.
#[derive(Clone, Debug)]
pub struct Kept {
    page: Page,
    /// A child of a fork has nothing in its store.
    process: u32,
    /// In `from..until` the answer has the same age and the same head, and needs no closer look at its age.
    from: Time,
    until: Time,
}

/// The generation of a window at which a kept answer was found to stand; for
/// [`hit_same_in`](Cache::hit_same_in), one for each kept answer.
#[derive(Debug)]
pub struct Stood(AtomicU64);

/// No generation, which has 32 bits.
const NEVER: u64 = u64::MAX;

impl Default for Stood {
    fn default() -> Stood {
        Stood(AtomicU64::new(NEVER))
    }
}

impl Stood {
    fn at(&self, generation: u32, window: &Window, engine: &Engine) {
        // Other processes say in the directory what they have done: it must be looked at each time.
        if engine.store.is_none() && window.is_of(&engine.windows) {
            self.0.store(generation.into(), Ordering::Relaxed);
        }
    }
}

impl Kept {
    /// The page.
    pub fn page(&self) -> &Page {
        &self.page
    }

    /// Whether the page has left the store for good, so that there is no use in keeping it.
    pub fn is_gone(&self) -> bool {
        self.process != fork::generation() || self.page.place().is_gone()
    }

    /// Whether it is as it was when it was found to stand at the present generation; counts as a hit then.
    #[inline]
    fn stands_in(&self, window: &Window, stood: &Stood) -> bool {
        let stands = stood.0.load(Ordering::Relaxed) == window.generation().into()
            && self.process == fork::generation()
            && (self.from..self.until).contains(&window.clock().now());
        if stands {
            self.mark();
            window.count_hit();
        }
        stands
    }

    /// Marks the page as used, for who gives its answer again by a [`Window`](crate::Window): what is not used is evicted.
    pub fn mark(&self) {
        self.page.place().mark();
    }
}

impl Answer {
    /// Keeps the page of a hit for the same request target and variant; `None` for another answer.
    pub fn keep(&self) -> Option<Kept> {
        let is_hit = self.word == CacheWord::Hit && self.stored;
        is_hit.then(|| {
            self.page.place().keep();
            let (page, process) = (self.page.clone(), fork::generation());
            Kept { until: same_until(&page, self.now), page, process, from: self.now }
        })
    }
}

/// For how long the answer of this time has the same age and head, and needs no closer look.
fn same_until(page: &Page, now: Time) -> Time {
    // At the end of its time it is still fresh.
    let in_time_before = page.look_after().plus(Lifetime::from_nanos(1));
    same_head_until(page.generated(), page.revalidate(), now).min(in_time_before)
}

impl Cache {
    /// As [`hit`](Cache::hit) for the request that was answered with this page, by this cache: an answer where the page is
    /// still stored and fresh, `None` where the request must be asked again. Whatever could change the answer is looked at:
    /// time, invalidations, newer pages, eviction, routes, the closing of the cache.
    #[inline]
    pub fn hit_kept(&self, kept: &Kept) -> Option<Answer> {
        if kept.process != fork::generation() {
            return None;
        }
        self.present()?.hit_again(&kept.page)
    }

    /// As [`hit_same_in`](Cache::hit_same_in) for a caller that lets the kept answer grow older: where it is a hit again, both
    /// become what they would be now, `kept` that of `answer` as before.
    pub fn hit_older_in(
        &self,
        window: &Window,
        kept: &mut Kept,
        stood: &Stood,
        answer: &mut Answer,
    ) -> bool {
        if kept.process != fork::generation() {
            return false;
        }
        // Before it is looked: what happens from here on is another generation.
        let generation = window.generation();
        let Some(engine) = self.present() else { return false };
        let now = engine.kept_hit(&kept.page, |_| true);
        if let Some(now) = now {
            (kept.from, kept.until) = (now, same_until(&kept.page, now));
            answer.now = now;
            stood.at(generation, window, engine);
        }
        now.is_some()
    }

    /// As [`hit_kept`](Cache::hit_kept) for a caller that has the kept answer itself: whether the request would be answered
    /// just so now, with the same age and head. Where it would, it has been, and counts as a hit.
    #[inline]
    pub fn hit_same(&self, kept: &Kept) -> bool {
        kept.process == fork::generation()
            && self.present().is_some_and(|e| e.hit_between(&kept.page, kept.from, kept.until))
    }

    /// As [`hit_same`](Cache::hit_same), for a caller that has a window of this cache: nothing but the time is looked at where
    /// nothing has happened since the answer was found to stand. One thread at a time for each window.
    #[inline]
    pub fn hit_same_in(&self, window: &Window, kept: &Kept, stood: &Stood) -> bool {
        kept.stands_in(window, stood) || self.look_in(window, kept, stood)
    }

    fn look_in(&self, window: &Window, kept: &Kept, stood: &Stood) -> bool {
        // Before it is looked: what happens from here on is another generation.
        let generation = window.generation();
        let is_same = self.hit_same(kept);
        if is_same && let Some(engine) = self.present() {
            stood.at(generation, window, engine);
        }
        is_same
    }

    /// How many pages have left the memory, for newer ones or for good. Who keeps pages looks for those that are gone when it
    /// has grown.
    pub fn pages_gone(&self) -> u64 {
        self.present().map_or(0, |engine| engine.memory.pages_gone())
    }
}
