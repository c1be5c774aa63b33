//! A page kept by the one who was answered with it, so that the same question needs no look-up.

use crate::answer::{Answer, CacheWord};
use crate::cache::Cache;
use crate::clock::Time;
use crate::fork;
use crate::http::same_head_until;
use crate::page::Page;

/// The page of a hit, kept by a door under the request target that it answered. It keeps the page in memory, also beyond
/// `max_bytes`: keep few, and let go of those that answer no more.
#[derive(Clone, Debug)]
pub struct Kept {
    page: Page,
    /// A child of a fork has nothing in its store.
    process: u32,
    /// In `from..until` the answer has the same age and the same head.
    from: Time,
    until: Time,
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
            Kept {
                page: self.page.clone(),
                process: fork::generation(),
                from: self.now,
                until: same_head_until(self.page.generated(), self.page.revalidate(), self.now),
            }
        })
    }
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

    /// As [`hit_kept`](Cache::hit_kept) for a caller that has the kept answer itself: whether the request would be answered
    /// just so now, with the same age and head. Where it would, it has been, and counts as a hit.
    #[inline]
    pub fn hit_same(&self, kept: &Kept) -> bool {
        kept.process == fork::generation()
            && self.present().is_some_and(|e| e.hit_between(&kept.page, kept.from, kept.until))
    }

    /// How many pages have left the memory, for newer ones or for good. Who keeps pages looks for those that are gone when it
    /// has grown.
    pub fn pages_gone(&self) -> u64 {
        self.present().map_or(0, |engine| engine.memory.pages_gone())
    }
}
