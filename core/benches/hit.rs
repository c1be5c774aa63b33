//! The hit path beside what a user would pick instead: nanoseconds a look-up, medians of interleaved rounds.
//!
//! `make bench`, or `cargo bench -p libisr-core --bench hit -- PAGES THREADS`. The peers look up an `Arc` by a path; libisr does that
//! and all of its semantics (time, epochs of tags and paths, statistics).

use std::hint::black_box;
use std::sync::{Arc, Barrier, Mutex};

use isr_core::{Cache, Clock, Options, PageResult, RenderJob, Request, RouteOptions};

const ROUNDS: usize = 7;
const LOOKUPS: usize = 1_000_000;
const BODY: usize = 256;

type Lookup<'a> = Box<dyn Fn(&str) -> usize + Sync + 'a>;

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let pages = numbers.first().copied().unwrap_or(100_000);
    let threads = numbers.get(1).copied().unwrap_or(1);
    let paths: Vec<String> = (0..pages).map(|n| format!("/blog/{n}")).collect();
    let order = zipf(pages, LOOKUPS);

    let cache = isr(&paths);
    let quick = quick_cache::sync::Cache::<String, Arc<Vec<u8>>>::new(2 * pages);
    let lru: Vec<Mutex<lru::LruCache<String, Arc<Vec<u8>>>>> =
        (0..64).map(|_| Mutex::new(lru::LruCache::unbounded())).collect();
    let hasher = ahash::RandomState::new();
    for path in &paths {
        quick.insert(path.clone(), Arc::new(vec![0; BODY]));
        let shard = &lru[hasher.hash_one(path) as usize % 64];
        shard.lock().unwrap().put(path.clone(), Arc::new(vec![0; BODY]));
    }
    let contestants: [(&str, Lookup); 3] = [
        ("libisr", Box::new(|p| cache.get(&Request::new(p)).map_or(0, |a| a.page().body().len()))),
        ("quick_cache", Box::new(|p| quick.get(p).map_or(0, |b| b.len()))),
        (
            "lru in 64 mutexes",
            Box::new(|p| {
                let shard = &lru[hasher.hash_one(p) as usize % 64];
                shard.lock().unwrap().get(p).cloned().map_or(0, |b| b.len())
            }),
        ),
    ];
    let mut times = vec![Vec::new(); contestants.len()];
    for _ in 0..ROUNDS {
        for (i, (_, lookup)) in contestants.iter().enumerate() {
            times[i].push(round(lookup, &paths, &order, threads));
        }
    }
    println!("{pages} pages, {threads} thread(s), Zipf 0.99, medians of {ROUNDS} rounds");
    println!("{:<20}{:>12}{:>18}", "", "ns/look-up", "rate to libisr");
    let medians: Vec<f64> = times.iter_mut().map(|t| median(t)).collect();
    for ((name, _), ns) in contestants.iter().zip(&medians) {
        println!("{name:<20}{ns:>12.1}{:>18.2}", medians[0] / ns);
    }
}

/// Nanoseconds a look-up, over all threads.
fn round(lookup: &Lookup, paths: &[String], order: &[u32], threads: usize) -> f64 {
    let clock = Clock::system();
    let start = Barrier::new(threads + 1);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|t| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    let skipped = t * order.len() / threads;
                    for n in order.iter().cycle().skip(skipped).take(order.len()) {
                        assert_eq!(black_box(lookup(&paths[*n as usize])), BODY);
                    }
                })
            })
            .collect();
        start.wait();
        let begin = clock.now();
        for worker in workers {
            worker.join().unwrap();
        }
        let nanos = clock.now().since(begin).nanos().unwrap_or(0);
        nanos as f64 / (order.len() * threads) as f64
    })
}

fn isr(paths: &[String]) -> Cache {
    let cache = Cache::open(Options { max_bytes: 1 << 34, ..Options::default() }).unwrap();
    let options = RouteOptions { tags: vec!["blog".into()], ..RouteOptions::default() };
    let render = |job: RenderJob| drop(job.complete(PageResult::new(vec![0; BODY])));
    cache.add_route("/blog/[id]", options, Arc::new(render)).unwrap();
    for path in paths {
        let page = PageResult::new(vec![0; BODY]);
        cache.put(path, None, page, cache.started()).unwrap();
    }
    cache
}

/// Indices in Zipf order with exponent 0.99, the same on every run.
fn zipf(n: usize, count: usize) -> Vec<u32> {
    let mut cumulated: Vec<f64> = Vec::with_capacity(n);
    let mut sum = 0.0;
    for rank in 1..=n {
        sum += (rank as f64).powf(-0.99);
        cumulated.push(sum);
    }
    let mut random = fastrand::Rng::with_seed(7);
    // Ranks are spread over the keys, so that hot pages are not neighbours.
    let mut keys: Vec<u32> = (0..n as u32).collect();
    random.shuffle(&mut keys);
    (0..count)
        .map(|_| {
            let at = random.f64() * sum;
            keys[cumulated.partition_point(|c| *c < at).min(n - 1)]
        })
        .collect()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
