//! Renders and loads in flight: who waits for them, what they read, and their seat in the pool.

use std::sync::{Arc, Weak};

use ahash::RandomState;
use hashbrown::HashMap;
use lru::LruCache;

use crate::answer::{Answer, CacheWord};
use crate::clock::Time;
use crate::data::Loader;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::fork;
use crate::invalidation::{MAX_TAGS, Tag, Tags};
use crate::lifetime::Lifetime;
use crate::owner::{Busy, Owner};
use crate::page::Page;
use crate::queue::{Bound, Held, Ticket};
use crate::render::{Context, Reason};
use crate::route::{Params, Variant};
use crate::site::Route;
use crate::store::lease::LeaseId;
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::timers::TimerId;

/// Called once with an answer.
pub(crate) type Done = Box<dyn FnOnce(Result<Answer, Error>) + Send>;

/// What is rendered or loaded.
#[derive(Clone)]
pub(crate) enum What {
    Page(Arc<Target>),
    Data(Arc<DataTarget>),
}

/// A page as it was asked for.
pub(crate) struct Target {
    pub(crate) key: Box<[u8]>,
    pub(crate) path: String,
    pub(crate) route: Arc<Route>,
    pub(crate) params: Params,
    pub(crate) variant: Variant,
    /// The version of the routes by which it was matched.
    pub(crate) routes_version: u32,
}

/// A data entry as it was asked for.
pub(crate) struct DataTarget {
    pub(crate) key: Box<[u8]>,
    pub(crate) parts: Vec<String>,
    pub(crate) tags: Tags,
    pub(crate) revalidate: Lifetime,
    pub(crate) loader: Arc<dyn Loader>,
}

impl What {
    pub(crate) fn key(&self) -> &[u8] {
        match self {
            What::Page(t) => &t.key,
            What::Data(t) => &t.key,
        }
    }

    /// How messages call it.
    pub(crate) fn name(&self) -> String {
        match self {
            What::Page(t) => t.path.clone(),
            What::Data(t) => format!("{:?}", t.parts),
        }
    }
}

/// Why the cache is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A request.
    Get,
    /// A request that regenerates nothing that is stored.
    Prefetch,
    /// A request for a page rendered live.
    Draft,
    Regenerate,
    Prerender,
    /// A data entry.
    Read,
}

/// One who asks, also while he waits.
#[derive(Clone)]
pub(crate) struct Ask {
    /// Whose ask it is.
    pub(crate) by: Busy,
    pub(crate) what: What,
    pub(crate) purpose: Purpose,
    /// The epoch on asking: invalidations that had returned by then are not later.
    pub(crate) asked: u64,
    /// The state on asking as a word; set at the first try.
    pub(crate) word: Option<CacheWord>,
    /// The render or load from which it is asked.
    pub(crate) within: Option<Context>,
    /// How many renders have ended that could not answer.
    pub(crate) rounds: u32,
}

/// So often one waits for other processes, which may remove or invalidate what they render for him again and again.
const MAX_ROUNDS: u32 = 3;

impl Ask {
    /// Whether a render has ended that could not answer.
    pub(crate) fn is_again(&self) -> bool {
        self.rounds > 0
    }

    /// Whether it still waits for what another process runs; else it has one of its own run.
    pub(crate) fn waits_elsewhere(&self) -> bool {
        self.rounds < MAX_ROUNDS
    }
}

pub(crate) struct Waiter {
    pub(crate) ask: Ask,
    pub(crate) done: Done,
    /// Whether the render began for it: a personal result is for it alone.
    pub(crate) owns: bool,
    pub(crate) link: Link,
}

/// How the callback that asks waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// It is not asked from a callback.
    None,
    /// Its own thread runs the load.
    Lead,
    /// Its thread stands still.
    Join,
}

/// What a render or load has read: the min rule and the tags.
pub(crate) struct Deps {
    pub(crate) revalidate: Lifetime,
    pub(crate) tags: Vec<Arc<Tag>>,
    /// The begin of the oldest entry read, nested ones too.
    pub(crate) oldest: u64,
}

impl Deps {
    pub(crate) fn none() -> Deps {
        Deps { revalidate: Lifetime::NEVER, tags: Vec::new(), oldest: u64::MAX }
    }

    pub(crate) fn add_entry(&mut self, entry: &Page) {
        self.oldest = self.oldest.min(entry.oldest());
        self.add(entry.revalidate(), entry.tag_nodes());
    }

    pub(crate) fn add(&mut self, revalidate: Lifetime, tags: &[Arc<Tag>]) {
        self.revalidate = self.revalidate.min(revalidate);
        for tag in tags {
            if self.tags.len() > MAX_TAGS {
                // Too many already, which fails the result.
                return;
            }
            if !self.tags.iter().any(|t| Arc::ptr_eq(t, tag)) {
                self.tags.push(tag.clone());
            }
        }
    }
}

/// A flight's seat in the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seat {
    /// It needs none: it runs on the thread that asked.
    None,
    /// It waits for one.
    Queued(Ticket),
    Taken(Held),
    /// It was given back at the end.
    Left,
}

/// A render or load: from the request that began it to its answer.
pub(crate) struct Flight {
    /// The process in which it began: in a forked child it is over.
    process: u32,
    pub(crate) engine: Weak<Engine>,
    /// Whose callback it runs, or who waits for another process.
    pub(crate) owner: Arc<Owner>,
    /// Until it ends.
    pub(crate) busy: Mutex<Option<Busy>>,
    pub(crate) what: What,
    pub(crate) reason: Reason,
    /// The stored page that the result may replace.
    pub(crate) previous: Option<Page>,
    /// The render or load that leads this load on its own thread.
    pub(crate) parent: Option<Context>,
    /// Another process runs it.
    pub(crate) elsewhere: Option<LeaseId>,
    /// Tells other processes that this one runs it.
    pub(crate) lease: Mutex<Option<LeaseId>>,
    /// When it has taken too long, on the steady clock; `FAR` before it begins.
    deadline: AtomicU64,
    /// Of a draft: nothing is stored, shared, or read from the store.
    pub(crate) live: bool,
    /// Whether others may wait for it.
    pub(crate) joinable: AtomicBool,
    /// The epoch of its begin; 0 while it waits for a seat.
    started: AtomicU64,
    /// When its callback began, on the steady clock.
    began: AtomicU64,
    over: AtomicBool,
    /// Of an early refresh, and its loads: when the page would be stale. Data entries that are stale by then are so now.
    pub(crate) data_at: Time,
    /// Data entries that began before count as missing.
    pub(crate) data_floor: AtomicU64,
    pub(crate) deps: Mutex<Deps>,
    pub(crate) waiters: Mutex<Vec<Waiter>>,
    pub(crate) seat: Mutex<Seat>,
    /// How many of its kind may run at once.
    pub(crate) bounds: Vec<Bound>,
    /// Requests that were answered stale while it waited for a seat.
    pub(crate) asked: AtomicU32,
    pub(crate) timer: Mutex<Option<TimerId>>,
    /// For how many others it waits now, and of these, for how many while its thread stands still.
    pub(crate) links: Mutex<Links>,
}

#[derive(Default)]
pub(crate) struct Links {
    pub(crate) leads: i32,
    /// Below zero for a moment when an answer comes before its waiting was noted.
    pub(crate) joins: i32,
    /// Whether it is counted as waiting.
    pub(crate) counted: bool,
}

impl Flight {
    pub(crate) fn new(
        engine: &Arc<Engine>,
        owner: Arc<Owner>,
        what: What,
        reason: Reason,
        seat: Seat,
    ) -> Flight {
        Flight {
            process: fork::generation(),
            engine: Arc::downgrade(engine),
            busy: Mutex::new(Some(Busy::new(&owner))),
            owner,
            what,
            reason,
            previous: None,
            parent: None,
            elsewhere: None,
            lease: Mutex::new(None),
            deadline: AtomicU64::new(Time::FAR.nanos()),
            live: false,
            joinable: AtomicBool::new(true),
            started: AtomicU64::new(0),
            began: AtomicU64::new(Time::FAR.nanos()),
            over: AtomicBool::new(false),
            data_at: Time::from_nanos(0),
            data_floor: AtomicU64::new(0),
            deps: Mutex::new(Deps::none()),
            waiters: Mutex::new(Vec::new()),
            seat: Mutex::new(seat),
            bounds: Vec::new(),
            asked: AtomicU32::new(0),
            timer: Mutex::new(None),
            links: Mutex::new(Links::default()),
        }
    }

    pub(crate) fn key(&self) -> &[u8] {
        self.what.key()
    }

    /// Whether it is one of this cache: keys, epochs and tags of another one mean something else.
    pub(crate) fn is_of(&self, engine: &Engine) -> bool {
        std::ptr::eq(self.engine.as_ptr(), engine)
    }

    pub(crate) fn started(&self) -> u64 {
        self.started.load(Ordering::SeqCst)
    }

    pub(crate) fn set_started(&self, epoch: u64) {
        self.started.store(epoch, Ordering::SeqCst);
    }

    pub(crate) fn deadline(&self) -> Time {
        Time::from_nanos(self.deadline.load(Ordering::SeqCst))
    }

    pub(crate) fn set_deadline(&self, deadline: Time) {
        self.deadline.store(deadline.nanos(), Ordering::SeqCst);
    }

    pub(crate) fn set_began(&self, now: Time) {
        self.began.store(now.nanos(), Ordering::SeqCst);
    }

    /// How long it has run, in microseconds: at least one, for 0 says that it is not known.
    pub(crate) fn micros(&self, now: Time) -> u32 {
        let ran = now.since(Time::from_nanos(self.began.load(Ordering::SeqCst)));
        ran.nanos().map_or(0, |nanos| u32::try_from(nanos / 1000).unwrap_or(u32::MAX).max(1))
    }

    /// Whether it began, or will begin, later than this epoch.
    pub(crate) fn is_later_than(&self, epoch: u64) -> bool {
        let started = self.started();
        started == 0 || started > epoch
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_foreign() || self.over.load(Ordering::SeqCst)
    }

    /// Whether it began before the process was forked: nothing of it may be touched here.
    pub(crate) fn is_foreign(&self) -> bool {
        self.process != fork::generation()
    }

    /// Refuses a call for a flight that is not of this process.
    pub(crate) fn check_process(&self) -> Result<(), Error> {
        if self.is_foreign() { Err(finished_error()) } else { Ok(()) }
    }

    /// Ends it: true for the first caller only.
    pub(crate) fn end(&self) -> bool {
        !self.is_foreign() && !self.over.swap(true, Ordering::SeqCst)
    }

    /// What it has read, for its result.
    pub(crate) fn take_deps(&self) -> Deps {
        std::mem::replace(&mut self.deps.lock(), Deps::none())
    }

    pub(crate) fn is_joinable(&self) -> bool {
        self.joinable.load(Ordering::SeqCst)
    }
}

pub(crate) fn finished_error() -> Error {
    Error::new(
        ErrorKind::Finished,
        "the job was finished before: by an earlier call, its timeout, the closing of the cache, or a fork of the process",
    )
}

/// What is remembered of failures and of results that may not be stored. Not kept over a restart.
#[derive(Clone)]
pub(crate) struct Trouble {
    /// Failures in a row.
    pub(crate) failures: u32,
    /// On the steady clock.
    pub(crate) retry_at: Time,
    /// The epoch at which the last attempt began.
    pub(crate) last_attempt: u64,
    pub(crate) last_error: Option<Error>,
    /// The last result was personal or live: nobody shares until one may be stored again.
    pub(crate) unshared: bool,
}

impl Trouble {
    /// The last attempt is the one that began last, not the one that ended last.
    pub(crate) fn note_attempt(&mut self, flight: &Flight) {
        self.last_attempt = self.last_attempt.max(flight.started());
    }
}

const SHARDS: usize = 16;
/// Troubles remembered in each shard.
const TROUBLES: usize = 1024;

/// Flights and troubles by key. One lock of a shard makes a decision about a key atomic.
pub(crate) struct FlightTable {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
}

pub(crate) struct Shard {
    flights: HashMap<Box<[u8]>, Vec<Arc<Flight>>, RandomState>,
    pub(crate) troubles: LruCache<Box<[u8]>, Trouble>,
}

impl FlightTable {
    pub(crate) fn new() -> FlightTable {
        let troubles = std::num::NonZeroUsize::new(TROUBLES).unwrap_or(std::num::NonZeroUsize::MIN);
        let hasher = RandomState::new();
        let shard = || {
            Mutex::new(Shard {
                flights: HashMap::with_hasher(hasher.clone()),
                troubles: LruCache::new(troubles),
            })
        };
        FlightTable { shards: (0..SHARDS).map(|_| shard()).collect(), hasher }
    }

    pub(crate) fn lock(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        self.shards[self.hasher.hash_one(key) as usize % SHARDS].lock()
    }

    /// Everything that is in flight.
    pub(crate) fn all(&self) -> Vec<Arc<Flight>> {
        let of =
            |s: &Mutex<Shard>| s.lock().flights.values().flatten().cloned().collect::<Vec<_>>();
        self.shards.iter().flat_map(of).collect()
    }
}

impl Shard {
    pub(crate) fn flights(&self, key: &[u8]) -> &[Arc<Flight>] {
        self.flights.get(key).map_or(&[], Vec::as_slice)
    }

    /// What is stored began later than the last attempt, in another process: its trouble is over.
    pub(crate) fn end_trouble_before(&mut self, key: &[u8], stored: Option<u64>) {
        let is_over = |t: &Trouble| t.last_attempt > 0 && stored > Some(t.last_attempt);
        if stored.is_some() && self.troubles.peek(key).is_some_and(is_over) {
            self.troubles.pop(key);
        }
    }

    pub(crate) fn add(&mut self, flight: Arc<Flight>) {
        self.flights.entry(flight.key().into()).or_default().push(flight.clone());
    }

    pub(crate) fn remove(&mut self, flight: &Arc<Flight>) {
        if let Some(list) = self.flights.get_mut(flight.key()) {
            list.retain(|f| !Arc::ptr_eq(f, flight));
            if list.is_empty() {
                self.flights.remove(flight.key());
            }
        }
    }
}
