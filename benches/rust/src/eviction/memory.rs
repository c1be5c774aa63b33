//! What the process takes while pages come and go, beside what the cache says it holds.

use std::sync::Arc;

use isr_core::{Cache, Options, PageResult, RenderJob, Request, RouteOptions};

use crate::traces::normal;

/// Threads that ask.
const THREADS: usize = 2;
/// Of the bodies.
const MEAN_SIZE: u64 = 16_500;
/// Pages of the site, by what fits.
const PAGES: u64 = 8;

/// Fills a cache of so many megabytes with pages of log-normal sizes around 10 KB until all has been replaced this many times, and
/// prints the most that it took.
pub fn churn(megabytes: u64, threads: usize, rounds: u64) {
    let max_bytes = megabytes << 20;
    let before = resident();
    let cache = Cache::open(Options { max_bytes, threads, ..Options::default() }).unwrap();
    let render = |job: RenderJob| {
        let id = job.path().rsplit('/').next().and_then(|id| id.parse().ok()).unwrap_or(0);
        drop(job.complete(PageResult::new(vec![b'x'; size_of(id)])));
    };
    cache.add_route("/page/[id]", RouteOptions::default(), Arc::new(render)).unwrap();
    let fits = max_bytes / MEAN_SIZE;
    let (pages, requests) = (PAGES * fits, rounds * fits);
    let most = std::thread::scope(|scope| {
        let asks = |thread: usize| {
            let (cache, mut random) = (&cache, fastrand::Rng::with_seed(thread as u64));
            let mut most = (0, 0);
            for n in 0..requests / THREADS as u64 {
                let id = random.u64(0..pages);
                cache.get(&Request::new(&format!("/page/{id}"))).unwrap();
                if n % 256 == 0 {
                    most.0 = resident().max(most.0);
                    most.1 = cache.stats().bytes_stored.max(most.1);
                }
            }
            most
        };
        let threads: Vec<_> = (0..THREADS).map(|t| scope.spawn(move || asks(t))).collect();
        threads
            .into_iter()
            .map(|t| t.join().unwrap())
            .fold((0, 0), |a, b| (a.0.max(b.0), a.1.max(b.1)))
    });
    let stats = cache.stats();
    let (resident, stored) = (most.0 - before, most.1);
    let of = |bytes: u64| bytes as f64 / max_bytes as f64;
    println!(
        "{megabytes} MiB, {threads} render threads: {} pages, {} evicted; stored at most {:.3} of the budget, resident {:.3} ({} MiB beside {} at the start)",
        stats.entries_stored,
        stats.evictions,
        of(stored),
        of(resident),
        resident >> 20,
        before >> 20,
    );
}

/// Of a page's body: the same at each render.
fn size_of(id: u64) -> usize {
    (10_000.0 * normal(&mut fastrand::Rng::with_seed(id)).exp()).clamp(300.0, 1e6) as usize
}

/// Bytes of the process that are in memory.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}
