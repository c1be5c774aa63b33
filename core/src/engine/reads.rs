//! What a read of a data entry gets (semantics, section 8).

use std::sync::Arc;

use crate::answer::{Answer, CacheWord, State};
use crate::clock::Time;
use crate::data::{DataAnswer, DataDone, DataOptions, Loader};
use crate::engine::lookup::Found;
use crate::engine::pages::{BackOff, Stored};
use crate::engine::waiting::{newest_joinable, stand_still};
use crate::engine::{Engine, Step, closed_error};
use crate::error::Error;
use crate::flight::{Ask, DataTarget, Done, Flight, Link, Purpose, Seat, Shard, What};
use crate::invalidation::{MAX_TAGS, Names, Tags, check_tag};
use crate::links;
use crate::oneshot::oneshot;
use crate::owner::{Busy, Owner};
use crate::queue::Priority;
use crate::render::{Context, Reason};
use crate::store::lease::{Claim, Ended};
use crate::sync::MutexGuard;
use crate::sync::atomic::Ordering;

/// Nobody means a key of more; see [`Page`](crate::page::Page), which counts its length in 32 bits.
const MAX_KEY_BYTES: usize = 1 << 20;
/// The first byte of a data entry's key: no path begins with it.
const DATA: u8 = 1;

impl Engine {
    /// Reads a data entry and blocks until it is there.
    pub(crate) fn data(
        self: &Arc<Self>,
        owner: &Arc<Owner>,
        within: Option<Context>,
        key: &[&str],
        options: &DataOptions,
        loader: Arc<dyn Loader>,
    ) -> Result<DataAnswer, Error> {
        let (done, answer) = oneshot();
        self.data_then(owner, within, key, options, loader, done);
        answer.wait()
    }

    /// Reads a data entry; `done` is called at once or later.
    pub(crate) fn data_then(
        self: &Arc<Self>,
        owner: &Arc<Owner>,
        within: Option<Context>,
        key: &[&str],
        options: &DataOptions,
        loader: Arc<dyn Loader>,
        done: DataDone,
    ) {
        let done: Done = Box::new(|result: Result<Answer, Error>| {
            done(result.map(|a| DataAnswer { entry: a.page, word: a.word }));
        });
        let target = match self.data_target(key, options, loader) {
            Ok(target) => Arc::new(target),
            Err(error) => return done(Err(error)),
        };
        let ask = Ask {
            by: Busy::new(owner),
            what: What::Data(target),
            purpose: Purpose::Read,
            asked: self.inv.now(),
            word: None,
            within: Context::asking(within),
            rounds: 0,
        };
        match self.step(ask, Some(done)) {
            Step::Ready(result, Some(done)) => done(result),
            Step::Lead(load) => self.run(&load),
            Step::Ready(_, None) | Step::Waiting | Step::WouldWait => {}
        }
    }

    fn data_target(
        &self,
        parts: &[&str],
        options: &DataOptions,
        loader: Arc<dyn Loader>,
    ) -> Result<DataTarget, Error> {
        if parts.is_empty() {
            return Err(Error::invalid(
                "a data key is a list of at least one text; got an empty list",
            ));
        }
        for tag in &options.tags {
            check_tag(tag)?;
        }
        let tags = Tags::of(options.tags.iter().map(|t| self.inv.tag(t)));
        if tags.len() > MAX_TAGS {
            return Err(Error::new(
                crate::error::ErrorKind::InvalidTag,
                format!("a data entry has at most {MAX_TAGS} tags; got {}", tags.len()),
            ));
        }
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        if bytes > MAX_KEY_BYTES {
            return Err(Error::invalid(format!(
                "a data key has at most {MAX_KEY_BYTES} bytes in all; got {bytes}"
            )));
        }
        let mut key = vec![DATA];
        for part in parts {
            key.extend_from_slice(&(part.len() as u64).to_le_bytes());
            key.extend_from_slice(part.as_bytes());
        }
        Ok(DataTarget {
            key: key.into(),
            parts: parts.iter().map(|p| (*p).to_string()).collect(),
            tags,
            revalidate: options.revalidate,
            loader,
        })
    }

    /// Answers a read, or begins or joins the load that will.
    pub(crate) fn data_step(
        self: &Arc<Self>,
        target: &Arc<DataTarget>,
        mut ask: Ask,
        done: Option<Done>,
    ) -> Step {
        if let Err(error) = ask.by.owner().check_open() {
            return Step::Ready(Err(error), done);
        }
        let inside = self.inside(&ask).cloned();
        let live = inside.as_ref().is_some_and(|w| w.0.live);
        let floor = data_floor(inside.as_ref());
        let data_at = data_at(inside.as_ref());
        let mut done = done;
        loop {
            let found = self.look_up(&ask.what);
            let mut shard = self.table.lock(&target.key);
            // Read under the lock, as for pages.
            let now = self.clock.now();
            let page = self.newest(&target.key, &found).filter(|p| !live && p.oldest() > floor);
            let stored = page.and_then(|page| self.judged(page, now.max(data_at)));
            shard.end_trouble_before(&target.key, stored.as_ref().map(|s| s.page.started()));
            ask.word.get_or_insert(if stored.is_some() {
                CacheWord::Revalidated
            } else {
                CacheWord::Miss
            });
            if let Some(s) = &stored
                && let Some(answer) = self.data_from_store(target, &mut shard, &ask, &found, s, now)
            {
                drop(shard);
                if let Some(inside) = inside {
                    inside.0.deps.lock().add_entry(&answer.page);
                }
                return Step::Ready(Ok(answer), done);
            }
            match self.wait_for_load(target, shard, ask, done, &found, stored, now) {
                Ok(step) => return step,
                // Another process has stored something meanwhile.
                Err(again) => (ask, done) = again,
            }
        }
    }

    /// What becomes of one who must wait; he himself where he should look again.
    #[allow(clippy::too_many_arguments)]
    fn wait_for_load(
        self: &Arc<Self>,
        target: &Arc<DataTarget>,
        mut shard: MutexGuard<'_, Shard>,
        ask: Ask,
        done: Option<Done>,
        found: &Found,
        stored: Option<Stored>,
        now: Time,
    ) -> Result<Step, (Ask, Option<Done>)> {
        // As for pages.
        if let Err(error) = ask.by.owner().check_open() {
            return Ok(Step::Ready(Err(error), done));
        }
        let within = ask.within.clone();
        let inside = self.inside(&ask).cloned();
        let live = inside.as_ref().is_some_and(|w| w.0.live);
        let floor = data_floor(inside.as_ref());
        let waits = within.is_some().then(links::lock_waits);
        if let Some(within) = &within
            && let Err(error) = links::check_self_wait(self, within, &ask.what)
        {
            if let Some(inside) = &inside {
                inside.0.deps.lock().add(target.revalidate, &target.tags);
            }
            return Ok(Step::Ready(Err(error), done));
        }
        let unshared = live || shard.troubles.get(&*target.key).is_some_and(|t| t.unshared);
        let soft_too = inside.is_some();
        let names = data_names(target, stored.as_ref());
        let will_do = |started: u64| {
            stored.as_ref().is_none_or(|s| started == 0 || started > s.page.started())
                && (started == 0
                    || (started > floor
                        && !self.inv.between(names, started, ask.asked, soft_too, now)))
        };
        shard.flights(&target.key).iter().for_each(|f| self.refresh(f));
        let joined = newest_joinable(&ask, shard.flights(&target.key), will_do);
        if let Some(flight) = joined.filter(|_| !unshared) {
            let Some(done) = done else { return Ok(Step::WouldWait) };
            self.say_waits(within.as_ref(), &ask.what);
            let stranded = self.join(&flight, ask, done);
            drop((waits, shard));
            stranded.tell();
            return Ok(stand_still(within));
        }
        if inside.is_none()
            && stored.is_some()
            && let BackOff::Failed(error) = self.back_off(&mut shard, &target.key, names, now)
        {
            return Ok(Step::Ready(self.last_good(stored.as_ref(), now).ok_or(error), done));
        }
        let Some(done) = done else { return Ok(Step::WouldWait) };
        let claim = if unshared || !ask.waits_elsewhere() {
            Claim::Ours(None)
        } else {
            self.claim(found, self.options.default_timeout, within.as_ref(), will_do)
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
        self.say_waits(within.as_ref(), &ask.what);
        let mut flight = self.data_flight(&ask.by, target);
        flight.live = live;
        flight.joinable.store(!unshared, Ordering::SeqCst);
        flight.data_floor.store(floor, Ordering::SeqCst);
        flight.data_at = data_at(inside.as_ref());
        flight.parent = within.clone();
        *flight.lease.lock() = lease;
        // It begins here: what is invalidated from now on is later.
        flight.set_started(self.inv.next_epoch());
        let flight = Arc::new(flight);
        self.push_waiter(&flight, ask, done, true, Link::Lead);
        self.in_flight.begin();
        shard.add(flight.clone());
        if let Some(within) = within {
            links::lead(&within);
        }
        Ok(Step::Lead(flight))
    }

    /// The answer that needs no waiting, if there is one. Outside of a render a stale value is served and loaded again.
    fn data_from_store(
        self: &Arc<Self>,
        target: &Arc<DataTarget>,
        shard: &mut Shard,
        ask: &Ask,
        found: &Found,
        s: &Stored,
        now: Time,
    ) -> Option<Answer> {
        match s.judged.state {
            State::Fresh => {
                let word = if ask.is_again() {
                    ask.word.unwrap_or(CacheWord::Hit)
                } else {
                    CacheWord::Hit
                };
                Some(self.stored_answer(s, word, now))
            }
            State::Stale if self.inside(ask).is_none() => {
                self.load_in_background(&ask.by, target, shard, found, s, now);
                Some(self.stored_answer(s, CacheWord::Stale, now))
            }
            _ => None,
        }
    }

    fn load_in_background(
        self: &Arc<Self>,
        by: &Busy,
        target: &Arc<DataTarget>,
        shard: &mut Shard,
        found: &Found,
        s: &Stored,
        now: Time,
    ) {
        let started = s.page.started();
        let is_newer = |f: &&Arc<Flight>| !f.live && f.is_later_than(started);
        if let Some(flight) = shard.flights(&target.key).iter().find(is_newer) {
            return self.hurry(flight);
        }
        let names = data_names(target, Some(s));
        if !matches!(self.back_off(shard, &target.key, names, now), BackOff::No) {
            return;
        }
        let newer = |epoch: u64| epoch == 0 || epoch > started;
        let timeout = self.options.default_timeout;
        let Claim::Ours(lease) = self.claim(found, timeout, None, newer) else { return };
        let mut flight = self.data_flight(by, target);
        flight.previous = Some(s.page.clone());
        flight.bounds = self.background_bounds(s.page.tag_nodes());
        *flight.lease.lock() = lease;
        let flight = Arc::new(flight);
        match self.admit(&flight, Priority::Background) {
            Ok(()) => shard.add(flight),
            Err(_) => self.release(&flight, &Ended::Done),
        }
    }

    /// Runs a load that began on a pool thread.
    pub(crate) fn run_on_pool(self: &Arc<Self>, load: &Arc<Flight>) {
        for waiter in load.waiters.lock().iter_mut().filter(|w| w.link == Link::Lead) {
            waiter.link = Link::Join;
        }
        if let Some(parent) = &load.parent {
            // Its thread stands still now, instead of running the load itself.
            links::end_lead(parent);
            links::join(parent);
        }
        match self.admit(load, Priority::Load) {
            // It counts as in flight since it began.
            Ok(()) => self.in_flight.end(),
            // Closed, or no thread at all. Never here: it might wait for the very callback that ends on this thread.
            Err(error) => drop(self.fail(load, error)),
        }
    }

    /// The render or load of this cache that reads a data entry: the entry becomes a part of what it makes.
    pub(crate) fn inside<'a>(&self, ask: &'a Ask) -> Option<&'a Context> {
        ask.within.as_ref().filter(|w| ask.purpose == Purpose::Read && w.0.is_of(self))
    }

    fn data_flight(self: &Arc<Self>, by: &Busy, target: &Arc<DataTarget>) -> Flight {
        Flight::new(self, by.owner().clone(), What::Data(target.clone()), Reason::Miss, Seat::None)
    }
}

/// Entries that began at this epoch or before count as missing here.
fn data_floor(inside: Option<&Context>) -> u64 {
    inside.map_or(0, |w| w.0.data_floor.load(Ordering::SeqCst))
}

/// Entries that are stale then count as stale here.
fn data_at(inside: Option<&Context>) -> Time {
    inside.map_or(Time::from_nanos(0), |w| w.0.data_at)
}

/// The tags of the stored entry and those given with the read.
fn data_names<'a>(target: &'a DataTarget, stored: Option<&'a Stored>) -> Names<'a> {
    Names { place: None, tags: stored.map_or(&target.tags, |s| s.page.tag_nodes()) }
}
