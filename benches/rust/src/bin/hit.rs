//! The hit path beside what a user would pick instead: nanoseconds a look-up, medians of interleaved rounds.
//!
//! The peers look up an `Arc` by a path; libisr does that and all of its semantics (time, epochs of tags and paths, statistics).

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Arc, Barrier, Mutex};

use clap::Parser;
use isr_bench::{Rows, Stopwatch, available_bytes, cache, fill, paths, thread_nanos, zipf};
use isr_core::Request;

/// Nanoseconds a hit, libisr beside other caches, Zipf 0.99.
#[derive(Parser)]
struct Args {
    /// Stored pages.
    #[arg(long, default_value_t = 100_000)]
    pages: usize,
    /// Bytes of a body; 256 where memory does not allow so many for each contestant.
    #[arg(long, default_value_t = 10_000)]
    body: usize,
    /// Threads, one run for each number.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8")]
    threads: Vec<usize>,
    /// Look-ups in a round, of all threads.
    #[arg(long, default_value_t = 1_000_000)]
    lookups: usize,
    /// Interleaved rounds.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// libisr without its peers.
    #[arg(long)]
    alone: bool,
    /// A line of JSON for each result.
    #[arg(long)]
    json: bool,
}

type Body = Arc<Vec<u8>>;
type Lookup<'a> = Box<dyn Fn(&str) -> usize + Sync + 'a>;

fn main() {
    let args = Args::parse();
    let rows = Rows::new("rust", args.json);
    let body = match available_bytes() / 2 > 6 * (args.pages * args.body) as u64 {
        true => args.body,
        false => args.body.min(256),
    };
    let paths = paths(args.pages);
    let order = zipf(args.pages, args.lookups);

    let isr = cache(None, 1 << 36, body);
    fill(&isr, &paths, body);
    let hasher = ahash::RandomState::new();
    let shard = |p: &str| hasher.hash_one(p) as usize % 64;
    let make = || Arc::new(vec![b'x'; body]);
    let capacity = 2 * args.pages; // nobody evicts
    let quick = quick_cache::sync::Cache::<String, Body>::new(capacity);
    let moka = moka::sync::Cache::<String, Body>::new(capacity as u64);
    let foyer: foyer_memory::Cache<String, Body> = foyer_memory::CacheBuilder::new(capacity)
        .with_eviction_config(foyer_memory::S3FifoConfig::default())
        .build();
    let mutexes: Vec<Mutex<lru::LruCache<String, Body>>> =
        (0..64).map(|_| Mutex::new(lru::LruCache::unbounded())).collect();
    let mut frozen: HashMap<String, Body, ahash::RandomState> = HashMap::default();
    let stored = if args.alone { &[] } else { &paths[..] };
    for path in stored {
        quick.insert(path.clone(), make());
        moka.insert(path.clone(), make());
        foyer.insert(path.clone(), make());
        mutexes[shard(path)].lock().unwrap().put(path.clone(), make());
        frozen.insert(path.clone(), make());
    }
    moka.run_pending_tasks();

    let mut contestants: Vec<(&str, Lookup)> = vec![
        ("libisr", Box::new(|p| isr.get(&Request::new(p)).map_or(0, |a| a.page().body().len()))),
        ("limit: frozen HashMap", Box::new(|p| frozen.get(p).cloned().map_or(0, |b| b.len()))),
        ("quick_cache", Box::new(|p| quick.get(p).map_or(0, |b| b.len()))),
        (
            "lru in 64 mutexes",
            Box::new(|p| mutexes[shard(p)].lock().unwrap().get(p).cloned().map_or(0, |b| b.len())),
        ),
        ("foyer (S3-FIFO)", Box::new(|p| foyer.get(p).map_or(0, |e| e.value().len()))),
        ("moka", Box::new(|p| moka.get(p).map_or(0, |b| b.len()))),
    ];
    if args.alone {
        contestants.truncate(1);
    }
    for threads in args.threads {
        let mut times = vec![Vec::new(); contestants.len()];
        for number in 0..=args.rounds {
            for (i, (_, lookup)) in contestants.iter().enumerate() {
                let nanos = round(lookup, &paths, &order, threads, body);
                // The first round warms up.
                if number > 0 {
                    times[i].push(nanos);
                }
            }
        }
        let case = format!("hit, {} pages of {body} B", args.pages);
        for ((name, _), samples) in contestants.iter().zip(&times) {
            rows.median(&case, name, threads as f64, "ns", samples);
        }
    }
}

/// Nanoseconds a look-up, over all threads: from the first thread's start to the last one's end. Of one thread, its processor
/// time: the same, less what others do on a busy machine.
fn round(lookup: &Lookup, paths: &[String], order: &[u32], threads: usize, body: usize) -> f64 {
    let start = Barrier::new(threads);
    let watch = Stopwatch::start();
    let spans: Vec<(f64, f64)> = std::thread::scope(|scope| {
        let workers: Vec<_> = order
            .chunks(order.len().div_ceil(threads))
            .map(|part| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    let now = || if threads == 1 { thread_nanos() } else { watch.nanos() };
                    let begin = now();
                    for n in part {
                        assert_eq!(black_box(lookup(&paths[*n as usize])), body);
                    }
                    (begin, now())
                })
            })
            .collect();
        workers.into_iter().map(|w| w.join().unwrap()).collect()
    });
    let begin = spans.iter().map(|s| s.0).fold(f64::INFINITY, f64::min);
    let end = spans.iter().map(|s| s.1).fold(0.0, f64::max);
    (end - begin) / order.len() as f64
}
