//! How long hits take while the cache has other work: p50, p99 and p99.9, in batches of 16 hits.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use isr_bench::{Rows, Stopwatch, cache, fill, get, paths, put, zipf};
use isr_core::{Cache, CacheWord, Request, TagOptions};

const BODY: usize = 10_000;
const PAGES: usize = 2_000;
/// One reading of the clock for so many hits: 20 ns would be a third of a hit.
const BATCH: usize = 16;

/// Percentiles of hits, idle and beside work.
#[derive(Parser)]
struct Args {
    /// Milliseconds of one round.
    #[arg(long, default_value_t = 500)]
    millis: u64,
    /// Interleaved rounds, of which the medians count.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// A line of JSON for each result.
    #[arg(long)]
    json: bool,
}

type Work<'a> = Box<dyn Fn(&AtomicBool) + Sync + 'a>;

fn main() {
    let args = Args::parse();
    let rows = Rows::new("latency", args.json);
    let paths = paths(PAGES);
    let order = zipf(PAGES, 1 << 16);
    let roomy = cache(None, 1 << 30, BODY);
    fill(&roomy, &paths, BODY);
    // Twice the pages that are asked for: they stay, and those that nobody asks for again are evicted.
    let tight = cache(None, (2 * PAGES * BODY) as u64, BODY);
    fill(&tight, &paths, BODY);
    paths.iter().for_each(|p| _ = get(&tight, p, CacheWord::Hit));
    let others: Vec<String> = (0..2 * PAGES).map(|n| format!("/blog/other-{n}")).collect();
    fill(&tight, &others, BODY);

    let cases: [(&str, &Cache, Work); 4] = [
        ("idle", &roomy, Box::new(|_| ())),
        (
            "regenerations, one after another",
            &roomy,
            Box::new(|stop| regenerate(&roomy, &paths, stop)),
        ),
        ("10,000 tags a second invalidated", &roomy, Box::new(|stop| invalidate(&roomy, stop))),
        ("10,000 pages a second evicted", &tight, Box::new(|stop| evict(&tight, stop))),
    ];
    let before = tight.stats().evictions;
    let mut seen: Vec<[Vec<f64>; 3]> = vec![Default::default(); cases.len()];
    for _ in 0..args.rounds {
        for (i, (_, cache, work)) in cases.iter().enumerate() {
            let batches = round(cache, work, &paths, &order, args.millis);
            for (samples, part) in seen[i].iter_mut().zip([0.5, 0.99, 0.999]) {
                samples.push(percentile(&batches, part));
            }
        }
    }
    assert!(tight.stats().evictions > before, "nothing was evicted");
    for ((name, ..), [p50, p99, p999]) in cases.iter().zip(&seen) {
        rows.median("latency of a hit", name, 50.0, "ns", p50);
        rows.median("latency of a hit", name, 99.0, "ns", p99);
        rows.median("latency of a hit", name, 99.9, "ns", p999);
    }
}

/// Nanoseconds a hit of each batch, in order of size.
fn round(cache: &Cache, work: &Work, paths: &[String], order: &[u32], millis: u64) -> Vec<f64> {
    let stop = AtomicBool::new(false);
    let mut batches = Vec::with_capacity(1 << 20);
    std::thread::scope(|scope| {
        scope.spawn(|| work(&stop));
        let whole = Stopwatch::start();
        for ranks in order.chunks_exact(BATCH).cycle() {
            let watch = Stopwatch::start();
            let mut hits = 0;
            for n in ranks {
                hits +=
                    usize::from(black_box(cache.hit(&Request::new(&paths[*n as usize]))).is_some());
            }
            let nanos = watch.nanos();
            if hits == BATCH {
                batches.push(nanos / BATCH as f64);
            } else {
                // A page went after all: it is stored again, outside of what is measured.
                ranks.iter().for_each(|n| put(cache, &paths[*n as usize], BODY));
            }
            if whole.nanos() > millis as f64 * 1e6 {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(batches.len() > 1000, "too few hits");
    batches.sort_by(f64::total_cmp);
    batches
}

fn regenerate(cache: &Cache, paths: &[String], stop: &AtomicBool) {
    for path in paths.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        cache.regenerate(&Request::new(path), false).expect("a render");
    }
}

fn invalidate(cache: &Cache, stop: &AtomicBool) {
    let tags: Vec<String> = (0..10_000).map(|n| format!("tag-{n}")).collect();
    let mut next = tags.iter().cycle();
    paced(stop, || {
        let tag = next.next().expect("a tag");
        cache.revalidate_tag(&[tag], TagOptions::default()).expect("a tag");
    });
}

fn evict(cache: &Cache, stop: &AtomicBool) {
    let mut random = fastrand::Rng::with_seed(3);
    paced(stop, || put(cache, &format!("/blog/x{}", random.u64(..)), BODY));
}

/// Ten thousand times a second.
fn paced(stop: &AtomicBool, mut f: impl FnMut()) {
    let watch = Stopwatch::start();
    let mut done = 0.0;
    while !stop.load(Ordering::Relaxed) {
        while done < watch.nanos() / 1e5 {
            f();
            done += 1.0;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}

fn percentile(sorted: &[f64], part: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * part) as usize]
}
