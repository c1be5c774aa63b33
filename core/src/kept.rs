//! A page kept by the one who was answered with it, so that the same question needs no look-up.

use crate::answer::{Answer, CacheWord};
use crate::cache::Cache;
use crate::fork;
use crate::page::Page;

/// The page of a hit, kept by a door under the request target that it answered. It keeps the page in memory, also beyond
/// `max_bytes`: keep few, and let go of those that answer no more.
#[derive(Clone, Debug)]
pub struct Kept {
    page: Page,
    /// A child of a fork has nothing in its store.
    process: u32,
}

impl Kept {
    /// The page.
    pub fn page(&self) -> &Page {
        &self.page
    }

    /// Whether it is not stored any more, so that it will never answer again.
    pub fn is_gone(&self) -> bool {
        self.page.place().is_gone()
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
            Kept { page: self.page.clone(), process: fork::generation() }
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
}
