//! Regenerations that nobody waits for: of stale pages, and early ones of pages that soon will be.

use std::sync::Arc;

use crate::clock::Time;
use crate::engine::Engine;
use crate::engine::lookup::Found;
use crate::engine::pages::{BackOff, Stored};
use crate::flight::{Flight, Shard, Target};
use crate::invalidation::Tag;
use crate::lifetime::Lifetime;
use crate::owner::Owner;
use crate::policy::Early;
use crate::queue::{Bound, Kind, Priority};
use crate::render::Reason;
use crate::store::lease::{Claim, Ended};

/// A request that is answered with a stored page.
pub(crate) struct Answered<'a> {
    pub(crate) asks: &'a Arc<Owner>,
    pub(crate) target: &'a Arc<Target>,
    pub(crate) found: &'a Found,
    pub(crate) s: &'a Stored,
    pub(crate) now: Time,
}

/// Data entries count as they are.
pub(crate) const NOT_AHEAD: Time = Time::from_nanos(0);

impl Engine {
    /// A fresh page is near its end: perhaps it is regenerated early. Once at most, unless there was no room for that.
    pub(crate) fn refresh_early(self: &Arc<Self>, shard: &mut Shard, answered: &Answered<'_>) {
        let Answered { target, s, now, .. } = *answered;
        let page = &s.page;
        let stale_at = page.generated().plus(page.revalidate());
        let Some(early) = Early::new(page.render_micros(), target.route.early_refresh) else {
            return page.set_look_after(stale_at);
        };
        // It is fresh at that moment itself.
        let stale = stale_at.plus(Lifetime::from_nanos(1));
        let begins = early.is_due(now, stale_at, fastrand::f64())
            && self.regenerate_in_background(shard, answered, stale);
        page.set_look_after(if begins { stale_at } else { early.next(now, stale_at) });
    }

    /// Begins the regeneration of a page that is answered all the same; data entries that are stale at `data_at` are loaded
    /// anew. Whether one is on its way, here or elsewhere.
    pub(crate) fn regenerate_in_background(
        self: &Arc<Self>,
        shard: &mut Shard,
        answered: &Answered<'_>,
        data_at: Time,
    ) -> bool {
        let Answered { asks, target, found, s, now } = *answered;
        let started = s.page.started();
        let is_newer = |f: &&Arc<Flight>| !f.live && f.is_later_than(started);
        if let Some(flight) = shard.flights(&target.key).iter().find(is_newer) {
            self.hurry(flight);
            return true;
        }
        let names = self.names(target, Some(s));
        if !matches!(self.back_off(shard, &target.key, names, now), BackOff::No) {
            return false;
        }
        let Some(owner) = target.route.runner(asks) else { return false };
        let newer = |epoch: u64| epoch == 0 || epoch > started;
        let Claim::Ours(lease) = self.claim(found, target.route.timeout, None, newer) else {
            return true;
        };
        let mut flight = self.page_flight(owner, target, Reason::Stale, Some(s));
        flight.bounds.extend(self.background_bounds(s.page.tag_nodes()));
        flight.data_at = data_at;
        *flight.lease.lock() = lease;
        let flight = Arc::new(flight);
        match self.admit(&flight, Priority::Background) {
            Ok(()) => {
                shard.add(flight);
                true
            }
            // Another request comes, and with it another try.
            Err(_) => {
                self.release(&flight, &Ended::Done);
                false
            }
        }
    }

    /// How many flights that nobody waits for may run at once: of all, and of those with the same tag. The flight keeps the
    /// stored entry, and that its tags.
    pub(crate) fn background_bounds(&self, tags: &[Arc<Tag>]) -> Vec<Bound> {
        let most = self.options.most_regenerations();
        let mut bounds = vec![Bound { kind: Kind::Background, most }];
        if let Some(most) = self.options.max_regenerations_per_tag {
            let of = |tag: &Arc<Tag>| Kind::Tag(Arc::as_ptr(tag).addr());
            bounds.extend(tags.iter().map(|tag| Bound { kind: of(tag), most }));
        }
        bounds
    }
}
