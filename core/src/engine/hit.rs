//! The way of a hit: a fresh page from memory, with all that could have happened to it looked at, and nothing else.

use crate::answer::{Answer, CacheWord};
use crate::clock::Time;
use crate::engine::Engine;
use crate::lanes::Lane;
use crate::page::Page;
use crate::sync::atomic::Ordering;

impl Engine {
    /// A fresh page of a plain path, without anything that a hit does not need. What is not a canonical path is no key, so it
    /// is not found.
    #[inline(always)]
    pub(crate) fn hit(&self, path: &[u8]) -> Option<Answer> {
        let lane = Lane::mine();
        let page = self.memory.get(lane, path)?;
        let now = self.fresh_at(&page).filter(|_| page.is_plain())?;
        self.counters.hits.add(lane);
        Some(answer(page, now))
    }

    /// As [`Engine::hit`], with the page that answered the same question before.
    #[inline]
    pub(crate) fn hit_again(&self, page: &Page) -> Option<Answer> {
        self.kept_hit(page, |_| true).map(|now| answer(page.clone(), now))
    }

    /// As [`Engine::hit_again`], where the time is in `from..until`; nothing is counted otherwise.
    #[inline]
    pub(crate) fn hit_between(&self, page: &Page, from: Time, until: Time) -> bool {
        self.kept_hit(page, |now| from <= now && now < until).is_some()
    }

    /// Counts a hit of a page that is kept, where it is one at a time that will do: that time.
    #[inline(always)]
    fn kept_hit(&self, page: &Page, will_do: impl Fn(Time) -> bool) -> Option<Time> {
        if page.place().is_gone() {
            return None;
        }
        let now = self.fresh_at(page).filter(|now| will_do(*now))?;
        page.place().mark();
        self.counters.hits.add(Lane::mine());
        Some(now)
    }

    /// The present time, if a page in the store is fresh now.
    #[inline(always)]
    fn fresh_at(&self, page: &Page) -> Option<Time> {
        if page.routes_seen() != self.routes_version.load(Ordering::Acquire) {
            return None;
        }
        let now = self.clock.now();
        if !page.is_in_time(now) {
            return None;
        }
        if let Some(store) = &self.store {
            let (slot, version) = page.version();
            if !store.is_current(slot, version) {
                return None;
            }
        }
        let latest = self.inv.latest();
        if !page.is_clean_at(latest) {
            if !self.verdict(page, now).is_clean() {
                return None;
            }
            page.set_clean_at(latest);
        }
        Some(now)
    }
}

#[inline(always)]
fn answer(page: Page, now: Time) -> Answer {
    Answer { page, word: CacheWord::Hit, stored: true, invalidated: false, now }
}
