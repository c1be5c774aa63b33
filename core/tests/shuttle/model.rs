//! How a property is checked, and a small site to check it on.

use std::sync::Arc;

use ahash::random_state::{RandomSource, set_random_source};
use isr_core::{
    Answer, Cache, Error, ManualClock, Options, PageResult, RenderJob, Request, RouteOptions, Time,
};
use shuttle::rand::RngCore;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::sync::atomic::{AtomicU64, Ordering};
use shuttle::{Config, MaxSteps, Runner};

const SEED: u64 = 0x15_12;

/// Hash seeds that a schedule decides, too: which keys share a shard must be the same in its replay.
struct Scheduled;

impl RandomSource for Scheduled {
    fn gen_hasher_seed(&self) -> usize {
        shuttle::rand::thread_rng().next_u64() as usize
    }
}

/// Checks a property in this many random orders, and as many by PCT.
pub fn check(orders: usize, property: impl Fn() + Send + Sync + Clone + 'static) {
    // Set already by another test of this process.
    let _ = set_random_source(Scheduled);
    let mut config = Config::new();
    config.stack_size = 256 * 1024;
    config.silence_warnings = true;
    config.max_steps = MaxSteps::FailAfter(50_000);
    Runner::new(RandomScheduler::new_from_seed(SEED, orders), config.clone()).run(property.clone());
    for depth in [2, 3, 5] {
        let pct = PctScheduler::new_from_seed(SEED, depth, orders / 3);
        Runner::new(pct, config.clone()).run(property.clone());
    }
}

/// A cache on a manual clock, closed when the last handle goes.
pub fn open(threads: usize, set: impl FnOnce(&mut Options)) -> (Cache, ManualClock) {
    let clock = ManualClock::new(Time::from_nanos(1_000_000_000_000));
    let mut options = Options {
        threads,
        backoff_jitter: 0.0,
        draft_secret: Some(vec![7; 16]),
        clock: clock.clone().into(),
        ..Options::default()
    };
    set(&mut options);
    (Cache::open(options).unwrap(), clock)
}

/// Adds a route without options.
pub fn route(cache: &Cache, pattern: &str, render: impl Fn(RenderJob) + Send + Sync + 'static) {
    cache.add_route(pattern, RouteOptions::default(), Arc::new(render)).unwrap();
}

pub fn get(cache: &Cache, path: &str) -> Result<Answer, Error> {
    cache.get(&Request::new(path))
}

/// Waits until nothing runs or is queued any more: renders end after their answers are given.
pub fn quiet(cache: &Cache) {
    loop {
        let activity = cache.activity();
        if activity.running == 0 && activity.queued == 0 {
            assert_eq!(activity.waiting, 0);
            return;
        }
        shuttle::thread::yield_now();
    }
}

/// What a page or a value was made from.
pub fn number(body: &[u8]) -> u64 {
    std::str::from_utf8(body).unwrap().parse().unwrap()
}

/// What pages are made from, and how much of it callers were told is in force.
#[derive(Default)]
pub struct Database {
    now: AtomicU64,
    told: AtomicU64,
}

impl Database {
    pub fn read(&self) -> u64 {
        self.now.load(Ordering::SeqCst)
    }

    /// Changes it; `invalidate` tells the cache. What begins after this never sees anything older.
    pub fn change(&self, to: u64, invalidate: impl FnOnce()) {
        self.now.fetch_max(to, Ordering::SeqCst);
        invalidate();
        self.told.fetch_max(to, Ordering::SeqCst);
    }

    /// Whoever asks now must get nothing older.
    pub fn told(&self) -> u64 {
        self.told.load(Ordering::SeqCst)
    }

    /// A page of what is there now.
    pub fn page(&self) -> PageResult {
        PageResult::new(self.read().to_string())
    }
}

/// Runs these at the same time and waits for all.
pub fn together(bodies: Vec<Box<dyn FnOnce() + Send>>) {
    let threads: Vec<_> = bodies.into_iter().map(shuttle::thread::spawn).collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

/// A closure for [`together`] that owns clones of what it names.
#[macro_export]
macro_rules! run {
    ($($name:ident),* => $body:expr) => {{
        $(let $name = $name.clone();)*
        Box::new(move || { $body; }) as Box<dyn FnOnce() + Send>
    }};
}
