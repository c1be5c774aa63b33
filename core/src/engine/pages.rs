//! What a request for a page gets (semantics, sections 3 to 5).

use std::sync::Arc;

use crate::answer::{Answer, CacheWord, State};
use crate::clock::Time;
use crate::engine::background::{Answered, NOT_AHEAD};
use crate::engine::lookup::Found;
use crate::engine::waiting::{newest_joinable, stand_still};
use crate::engine::{Engine, Step, closed_error};
use crate::error::{Error, ErrorKind};
use crate::flight::{Ask, Done, Flight, Purpose, Seat, Shard, Target, Trouble, What};
use crate::invalidation::{Names, Tags};
use crate::lifetime::Lifetime;
use crate::links;
use crate::owner::{Busy, Owner};
use crate::page::{Page, Parts};
use crate::policy::{self, Judged};
use crate::queue::{Bound, Kind};
use crate::render::{Context, Reason};
use crate::route::{Variant, canonical};
use crate::store::lease::Claim;
use crate::sync::MutexGuard;
use crate::sync::atomic::Ordering;

/// A stored page and its state.
pub(crate) struct Stored {
    pub(crate) page: Page,
    pub(crate) judged: Judged,
}

/// Whether a key must wait before its next attempt.
pub(crate) enum BackOff {
    No,
    /// The last attempt failed.
    Failed(Error),
    /// The last result may not be stored: only a stale page waits before it tries again.
    NotStorable,
}

impl Engine {
    /// Finds the route of a request and makes its key.
    pub(crate) fn target(
        &self,
        path: &str,
        variant: Option<&Variant>,
    ) -> Result<Arc<Target>, Error> {
        let canonical = canonical(path)?;
        let routes = self.routes.read();
        let routes_version = self.routes_version.load(Ordering::Acquire);
        let Some(found) = routes.find(&canonical.path) else {
            return Err(no_route(&canonical.path));
        };
        let route = found.value.clone();
        let params = found.params;
        drop(routes);
        let mut variant = variant.cloned().unwrap_or_default();
        if let Some(query) = canonical.query {
            variant.add_query(&route.query, query);
        }
        let mut key = canonical.path.as_bytes().to_vec();
        variant.append_to_key(&mut key);
        Ok(Arc::new(Target {
            key: key.into(),
            path: canonical.path.into_owned(),
            route,
            params,
            variant,
            routes_version,
        }))
    }

    pub(crate) fn page_ask(
        &self,
        owner: &Arc<Owner>,
        target: Arc<Target>,
        purpose: Purpose,
        within: Option<&Context>,
    ) -> Ask {
        Ask {
            by: Busy::new(owner),
            what: What::Page(target),
            purpose,
            asked: self.inv.now(),
            word: None,
            within: Context::asking(within.cloned()),
            rounds: 0,
        }
    }

    /// Answers an ask for a page, or begins or joins the render that will.
    pub(crate) fn page_step(
        self: &Arc<Self>,
        target: &Arc<Target>,
        mut ask: Ask,
        done: Option<Done>,
    ) -> Step {
        if let Err(error) = ask.by.owner().check_open() {
            return Step::Ready(Err(error), done);
        }
        if !target.route.serves(&target.path) {
            return Step::Ready(Ok(self.not_listed(target)), done);
        }
        if ask.purpose == Purpose::Draft {
            ask.word = Some(CacheWord::Bypass);
            return match done {
                None => Step::WouldWait,
                Some(done) => self.begin_draft(target, ask, done),
            };
        }
        let mut done = done;
        loop {
            let found = self.look_up(&ask.what);
            let mut shard = self.table.lock(&target.key);
            // Read under the lock: no page that is recorded meanwhile is then from the future, and stale by that.
            let now = self.clock.now();
            let stored = self.stored(target, &found, now);
            shard.end_trouble_before(&target.key, stored.as_ref().map(|s| s.page.started()));
            ask.word.get_or_insert(if stored.is_some() {
                CacheWord::Revalidated
            } else {
                CacheWord::Miss
            });
            if let Some(s) = &stored
                && let Some(answer) = self.from_store(target, &mut shard, &ask, &found, s, now)
            {
                drop(shard);
                return Step::Ready(Ok(answer), done);
            }
            match self.wait_for_render(target, shard, ask, done, &found, stored, now) {
                Ok(step) => return step,
                // Another process has stored something meanwhile.
                Err(again) => (ask, done) = again,
            }
        }
    }

    /// The answer that needs no waiting, if there is one. Begins the regeneration of a stale page.
    fn from_store(
        self: &Arc<Self>,
        target: &Arc<Target>,
        shard: &mut Shard,
        ask: &Ask,
        found: &Found,
        s: &Stored,
        now: Time,
    ) -> Option<Answer> {
        let word = ask.word.unwrap_or(CacheWord::Hit);
        let answer = |word| Some(self.stored_answer(s, word, now));
        let answered = Answered { asks: ask.by.owner(), target, found, s, now };
        match (ask.purpose, s.judged.state) {
            // Another process has rendered it for this call.
            (Purpose::Regenerate, _) if ask.is_again() && s.page.started() > ask.asked => {
                answer(word)
            }
            (Purpose::Regenerate, _) => None,
            (Purpose::Prerender, State::Fresh) => answer(CacheWord::Hit),
            (Purpose::Prerender, _) => None,
            // Somebody else's newer render ended while this one waited.
            (_, State::Fresh) if ask.is_again() => answer(word),
            (purpose, State::Fresh) => {
                if purpose == Purpose::Get && now > s.page.look_after() {
                    self.refresh_early(shard, &answered);
                }
                answer(CacheWord::Hit)
            }
            (Purpose::Prefetch, _) => answer(CacheWord::Stale),
            (_, State::Stale) => {
                self.regenerate_in_background(shard, &answered, NOT_AHEAD);
                answer(if ask.is_again() { word } else { CacheWord::Stale })
            }
            _ if ask.is_again() && self.answers_nevertheless(ask, s, now) => answer(word),
            _ => None,
        }
    }

    /// Whether a page that was invalidated after the question may still answer it.
    fn answers_nevertheless(&self, ask: &Ask, s: &Stored, now: Time) -> bool {
        let times = s.page.times();
        now <= times.generated.plus(times.expire)
            && !self.inv.between(s.page.names(), s.page.started(), ask.asked, false, now)
    }

    /// What becomes of one who must wait; he himself where he should look again.
    #[allow(clippy::too_many_arguments)]
    fn wait_for_render(
        self: &Arc<Self>,
        target: &Arc<Target>,
        mut shard: MutexGuard<'_, Shard>,
        ask: Ask,
        done: Option<Done>,
        found: &Found,
        stored: Option<Stored>,
        now: Time,
    ) -> Result<Step, (Ask, Option<Done>)> {
        // One that closes lets go of all who wait by then, shard by shard.
        if let Err(error) = ask.by.owner().check_open() {
            return Ok(Step::Ready(Err(error), done));
        }
        let names = self.names(target, stored.as_ref());
        let trouble = shard.troubles.get(&target.key).cloned();
        let unshared = trouble.as_ref().is_some_and(|t| t.unshared);
        // From here to the waiter's entry nobody else inside a callback may begin to wait.
        let waits = ask.within.is_some().then(links::lock_waits);
        if let Some(within) = &ask.within
            && let Err(error) = links::check_self_wait(self, within, &ask.what)
        {
            return Ok(Step::Ready(Err(error), done));
        }
        let will_do = |started: u64| {
            let regenerated = ask.purpose == Purpose::Regenerate && started <= ask.asked;
            let too_old = || {
                self.inv.between(names, started, ask.asked, false, now)
                    || self.inv.removed_after(&target.path, started)
            };
            let is_newer = |s: &Stored| started == 0 || started > s.page.started();
            stored.as_ref().is_none_or(is_newer) && (started == 0 || !(regenerated || too_old()))
        };
        shard.flights(&target.key).iter().for_each(|f| self.refresh(f));
        let joined = newest_joinable(&ask, shard.flights(&target.key), will_do);
        if let Some(flight) = joined.filter(|_| !unshared) {
            let Some(done) = done else { return Ok(Step::WouldWait) };
            let within = ask.within.clone();
            self.say_waits(within.as_ref(), &ask.what);
            let stranded = self.join(&flight, ask, done);
            drop((waits, shard));
            stranded.tell();
            return Ok(stand_still(within));
        }
        if matches!(ask.purpose, Purpose::Get | Purpose::Prefetch)
            && let BackOff::Failed(error) = self.back_off(&mut shard, &target.key, names, now)
        {
            return Ok(Step::Ready(self.last_good(stored.as_ref(), now).ok_or(error), done));
        }
        let Some(done) = done else { return Ok(Step::WouldWait) };
        let Some(owner) = target.route.runner(ask.by.owner()) else {
            return Ok(Step::Ready(Err(no_renderer(&ask, target)), Some(done)));
        };
        let within = ask.within.clone();
        let claim = if unshared || !ask.waits_elsewhere() {
            Claim::Ours(None)
        } else {
            self.claim(found, target.route.timeout, within.as_ref(), will_do)
        };
        let lease = match claim {
            Claim::Ours(lease) => lease,
            Claim::Changed => return Err((ask, Some(done))),
            Claim::Theirs(lease) => {
                let waiting = self.wait_elsewhere(&mut shard, lease, ask, done);
                drop((waits, shard));
                return Ok(match waiting {
                    Ok(()) => stand_still(within),
                    Err(done) => Step::Ready(Err(closed_error()), Some(done)),
                });
            }
        };
        let reason = match ask.purpose {
            Purpose::Prerender => Reason::Prerender,
            Purpose::Regenerate => Reason::Regenerate,
            _ if stored.is_some() => Reason::Expired,
            _ => Reason::Miss,
        };
        self.say_waits(within.as_ref(), &ask.what);
        let flight = self.page_flight(owner, target, reason, stored.as_ref());
        flight.joinable.store(!unshared, Ordering::SeqCst);
        *flight.lease.lock() = lease;
        if let Err((error, done)) = self.begin_for(&mut shard, flight, ask, done) {
            let busy = error.kind() == ErrorKind::Busy;
            let good = if busy { self.last_good(stored.as_ref(), now) } else { None };
            return Ok(Step::Ready(good.ok_or(error), done));
        }
        drop((waits, shard));
        Ok(stand_still(within))
    }

    fn begin_draft(self: &Arc<Self>, target: &Arc<Target>, ask: Ask, done: Done) -> Step {
        let found = self.look_up(&ask.what);
        let mut shard = self.table.lock(&target.key);
        let previous = self.stored(target, &found, self.clock.now()).map(|s| s.page);
        let waits = ask.within.is_some().then(links::lock_waits);
        if let Some(within) = &ask.within
            && let Err(error) = links::check_self_wait(self, within, &ask.what)
        {
            return Step::Ready(Err(error), Some(done));
        }
        let Some(owner) = target.route.runner(ask.by.owner()) else {
            return Step::Ready(Err(no_renderer(&ask, target)), Some(done));
        };
        let mut flight = self.page_flight(owner, target, Reason::Miss, None);
        flight.live = true;
        flight.previous = previous;
        flight.joinable.store(false, Ordering::SeqCst);
        let within = ask.within.clone();
        if let Err((error, done)) = self.begin_for(&mut shard, flight, ask, done) {
            return Step::Ready(Err(error), done);
        }
        drop((waits, shard));
        stand_still(within)
    }

    pub(crate) fn page_flight(
        self: &Arc<Self>,
        owner: Arc<Owner>,
        target: &Arc<Target>,
        reason: Reason,
        stored: Option<&Stored>,
    ) -> Flight {
        let mut flight = Flight::new(self, owner, What::Page(target.clone()), reason, Seat::None);
        flight.previous = stored.map(|s| s.page.clone());
        let route = &target.route;
        let kind = Kind::Route(Arc::as_ptr(route).addr());
        flight.bounds.extend(route.max_concurrent.map(|most| Bound { kind, most }));
        flight
    }

    /// What can invalidate the page of a target: its place, and the tags of the stored page or, where none is, the route's.
    pub(crate) fn names<'a>(&self, target: &'a Target, stored: Option<&'a Stored>) -> Names<'a> {
        Names {
            place: Some((&target.path, target.route.pattern.identity())),
            tags: stored.map_or(&target.route.tags, |s| s.page.tag_nodes()),
        }
    }

    /// Why a key must wait before its next attempt, unless it was invalidated since the last one.
    pub(crate) fn back_off(
        &self,
        shard: &mut Shard,
        key: &[u8],
        names: Names<'_>,
        now: Time,
    ) -> BackOff {
        let Some(trouble) = shard.troubles.get(key) else { return BackOff::No };
        let over = self.clock.steady() >= trouble.retry_at;
        if over || self.inv.latest_of(names, now) > trouble.last_attempt {
            return BackOff::No;
        }
        match &trouble.last_error {
            Some(error) => BackOff::Failed(error.clone()),
            None => BackOff::NotStorable,
        }
    }

    /// An expired page in place of an error, if that is allowed.
    pub(crate) fn last_good(&self, stored: Option<&Stored>, now: Time) -> Option<Answer> {
        let s = stored?;
        policy::may_serve_stale_error(s.judged.expired_at, self.options.stale_if_error, now)
            .then(|| self.stored_answer(s, CacheWord::StaleError, now))
    }

    pub(crate) fn stored_answer(&self, s: &Stored, word: CacheWord, now: Time) -> Answer {
        Answer { page: s.page.clone(), word, stored: true, invalidated: s.judged.invalidated, now }
    }

    /// The answer for a path that a closed route does not list.
    fn not_listed(&self, target: &Target) -> Answer {
        let now = self.clock.now();
        let page = Page::new(Parts {
            key: target.key.clone(),
            path_len: target.path.len(),
            route: Some(target.route.clone()),
            status: 404,
            fields: Vec::new(),
            body: Box::default(),
            etag: "".into(),
            encoded: Vec::new(),
            tags: Tags::default(),
            revalidate: Lifetime::ZERO,
            expire: Lifetime::ZERO,
            started: 0,
            render_micros: 0,
            generated: now,
            oldest: 0,
        });
        Answer { page, word: CacheWord::Bypass, stored: false, invalidated: false, now }
    }

    /// A new or changed memory of a key's trouble.
    pub(crate) fn trouble<'s>(&self, shard: &'s mut Shard, key: &[u8]) -> &'s mut Trouble {
        shard.troubles.get_or_insert_mut(key.into(), || Trouble {
            failures: 0,
            retry_at: Time::from_nanos(0),
            last_attempt: 0,
            last_error: None,
            unshared: false,
        })
    }
}

fn no_route(path: &str) -> Error {
    Error::new(ErrorKind::NoRoute, format!("no route matches \"{path}\""))
}

/// Why nobody renders for one who asks: he has closed, or the last one that had the route.
fn no_renderer(ask: &Ask, target: &Target) -> Error {
    ask.by.owner().check_open().err().unwrap_or_else(|| no_route(&target.path))
}
